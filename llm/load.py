"""From the name of a model to a `TextModel`: engine, format, critic and tape put together."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from .critics import CriticDeps, make_critic
from .critics.reward_formats import HEAD_FORMATS, REWARD_FORMATS
from .engines.base import Sampling
from .engines.flops import UNKNOWN, Work, work_of, work_of_folder
from .engines.replay import ReplayEngine
from .reasoning import reasoning_named
from .reasoning.rap import EXAMPLES as BY_QUESTIONS
from .tape.sqlite import TapeFile
from .tape.tape import MemoryStore, Tape
from .text.formats import format_for
from .text_model import TextModel

BUILTIN = Path(__file__).parent / "builtin" / "reasoner"
"""Where the built-in model's files are, in a checkout and in a wheel."""

BUILTIN_REWARD = BUILTIN.parent / "prm"
"""Where those of the built-in reward model are, which judges the built-in model's steps."""

RUNS_A_MODEL = ("transformers", "vllm")
"""Engines of which there can be several replicas."""

ROLLOUT_SEED = 0x526F6C6C
"""Parts the noise of `--value rollout` from that of the tree it judges."""


@dataclass
class Wanted:
    """What an engine is made from: a model's name, where it runs, a tape in a file if there is one, more options."""

    model: str | Path
    device: str = "cpu"
    file: TapeFile | None = None
    options: dict[str, Any] = field(default_factory=dict)


def load_text_model(
    model: str | Path = "builtin",
    engine: str = "transformers",
    value: str = "self",
    *,
    temperature: float = 0.8,
    top_p: float = 1.0,
    seed: int = 0,
    device: str = "cpu",
    max_steps: int | None = None,
    max_step_tokens: int | None = None,
    examples: Sequence[tuple[str, str]] | None = None,
    tape: Tape | str | Path | None = None,
    reward_model: str | Path | None = None,
    reward_format: str = "",
    aggregate: str = "last",
    truth: Callable[[str, str], bool] | None = None,
    reasoning: str = "steps",
    replicas: int = 1,
    **options: Any,
) -> TextModel:
    """Load a language model to plan in.

    model: "builtin", a folder in Hugging Face format, or a hub id; for `replay` the name of a model on the tape, "" for
    the only one. max_steps, max_step_tokens: by default the format's. examples: worked ones for a few-shot prompt, see
    `format_for`. tape: shared between models of a run, or a file (`TapeFile`), which `replay` only reads.
    reward_model, reward_format, aggregate: for the values prm and orm; "builtin" is the one for the built-in model,
    which needs no other. truth: for the value oracle, (question, solution) to whether it is right. reasoning: what an
    action is: steps, propose or rap. replicas: engines, each in a Ray actor. options: for the engine, such
    as `dtype` or `base_urls`.

    Errors: ValueError for an unknown engine or value, listing what exists, for a folder that is no model and for a file
    that is no tape.
    """
    if engine not in ENGINES:
        raise ValueError(f"no engine {engine!r}; there are {', '.join(ENGINES)}")
    store = TapeFile(tape, only_read=engine == "replay") if isinstance(tape, str | Path) else None
    wanted = Wanted(model, device, store, options)
    made, folder = _made(engine, wanted, replicas)
    format = format_for(made.tokenizer, folder, BY_QUESTIONS if examples is None and reasoning == "rap" else examples)
    sampling = Sampling(temperature, top_p, format.max_step_tokens if max_step_tokens is None else max_step_tokens)
    kept = tape if isinstance(tape, Tape) else Tape(MemoryStore(store) if engine == "replay" else store)
    text = reasoning_named(reasoning)(made, format, None, sampling, seed, max_steps, kept)
    judge = _judge(made, engine, wanted, *reward_for(model, reward_model, reward_format))
    text.value = make_critic(value, CriticDeps(text.seeded(seed ^ ROLLOUT_SEED), judge, aggregate, truth))
    if store is not None and engine != "replay":
        store.keep_model(made, str(model), folder)
        store.keep_run(run_of(text, value))
    return text


def reward_for(model: str | Path, reward_model: str | Path | None, reward_format: str) -> tuple[str | Path | None, str]:
    """The reward model that is meant, and how it reads: the built-in one where the built-in policy names no other."""
    unnamed = str(model) == "builtin" and not reward_model and not reward_format
    if unnamed or str(reward_model) == "builtin":
        return "builtin", reward_format or "builtin"
    return reward_model, reward_format


def run_of(text: TextModel, value: str) -> dict[str, Any]:
    """What decides which records a model looks for on its tape."""
    return {
        "model": text.engine.fingerprint, "temperature": text.sampling.temperature, "top_p": text.sampling.top_p,
        "max_step_tokens": text.sampling.max_tokens, "max_steps": text.max_steps, "seed": text.seed, "value": value,
        "work": list(astuple(text.work)), "reasoning": text.reasoning,
    }  # fmt: skip


def _made(engine: str, wanted: Wanted, replicas: int) -> tuple[Any, str | None]:
    """The engine of the policy, which knows what its tokens take, and the folder of its model."""
    made, folder = ENGINES[engine](wanted) if replicas == 1 else _replicated(engine, wanted, replicas)
    if work_of(made) is UNKNOWN and engine != "replay":
        made.work = work_of_folder(source_of(wanted.model))
    return made, folder


def _judge(
    made: Any, engine: str, wanted: Wanted, model: str | Path | None, reads: str
) -> Callable[[], tuple[Any, Any]] | None:
    """What loads the reward model beside the policy `made` when a value first wants it; None where none is named."""

    @cache
    def load() -> tuple[Any, Any]:
        judge, format = _reward(reads, engine, replace(wanted, model=model or "", options={}))
        if engine == "replay":
            judge.lost = made.lost
        return judge, format

    return load if model else None


def _reward(name: str, engine: str, wanted: Wanted) -> Any:
    """The engine of a reward model and the way it reads; `engine` is that of the policy."""
    if name not in REWARD_FORMATS:
        raise ValueError(f"no reward format {name!r}; there are {', '.join(REWARD_FORMATS)}")
    if engine == "replay":
        made, _ = _replay(wanted, "reward")
    else:
        known = str(wanted.model) == "builtin"
        source = _built_in(BUILTIN_REWARD, "reward model", "prm") if known else source_of(wanted.model)
        made = _reward_engine(engine, source, name in HEAD_FORMATS, wanted.device)
        if wanted.file is not None:
            wanted.file.keep_model(made, str(wanted.model), None, "reward")
    return made, REWARD_FORMATS[name](made.tokenizer)


def _reward_engine(engine: str, source: str, head: bool, device: str) -> Any:
    if engine == "vllm":
        from .engines.vllm.reward import vllm_reward_engine

        return vllm_reward_engine(source, head=head, device=device)
    from .engines.transformers.reward import reward_engine

    return reward_engine(source, head=head, device=device)


def source_of(model: str | Path) -> str:
    """The folder or hub id meant by `model`; ValueError where a folder is meant and not there."""
    if str(model) == "builtin":
        return _built_in(BUILTIN, "model", "reasoner")
    path = Path(model).expanduser()
    if path.is_file():
        raise ValueError(f"{model} is a file; a model is a folder in Hugging Face format, or a hub id")
    if path.is_dir():
        return str(path)
    if isinstance(model, Path) or path.is_absolute() or model.startswith((".", "~")) or model.count("/") != 1:
        raise ValueError(f'there is no model folder {model}; a model is "builtin", a folder, or a hub id (owner/name)')
    return model


def _built_in(folder: Path, what: str, name: str) -> str:
    if not (folder / "config.json").is_file():
        raise ValueError(f"the built-in {what} is not there; make it with: forethought train {name}")
    return str(folder)


def _folder(source: str) -> str | None:
    return source if Path(source).is_dir() else None


def _transformers(wanted: Wanted) -> tuple[Any, str | None]:
    from .engines.transformers.engine import TransformersEngine

    source = source_of(wanted.model)
    return TransformersEngine(source, device=wanted.device, **wanted.options), _folder(source)


def _vllm(wanted: Wanted) -> tuple[Any, str | None]:
    from .engines.vllm.engine import VllmEngine

    source = source_of(wanted.model)
    return VllmEngine(source, device=wanted.device, **wanted.options), _folder(source)


def _openai(wanted: Wanted) -> tuple[Any, str | None]:
    from transformers import AutoTokenizer

    from .engines.http.openai import OpenAIEngine

    source = source_of(wanted.model)
    engine = OpenAIEngine(str(wanted.model), AutoTokenizer.from_pretrained(source), **wanted.options)
    return engine, _folder(source)


def _replicated(engine: str, wanted: Wanted, replicas: int) -> tuple[Any, str | None]:
    from transformers import AutoTokenizer

    from .engines.replicas import ReplicatedEngine

    if engine not in RUNS_A_MODEL:
        raise ValueError(f"replicas are of engines that run a model ({', '.join(RUNS_A_MODEL)}), got {engine}")
    source, apart = source_of(wanted.model), Wanted(wanted.model, wanted.device, None, wanted.options)
    make = partial(_engine_of, engine, apart)
    tokenizer = AutoTokenizer.from_pretrained(source)
    return ReplicatedEngine(make, tokenizer, replicas, gpus=int(wanted.device != "cpu")), _folder(source)


def _engine_of(engine: str, wanted: Wanted) -> Any:
    return ENGINES[engine](wanted)[0]


def _replay(wanted: Wanted, role: str = "policy") -> tuple[Any, str | None]:
    from transformers import AutoTokenizer

    if wanted.file is None:
        raise ValueError("the replay engine wants a tape in a file: --tape FILE")
    recorded = wanted.file.model(str(wanted.model) or None, role)
    folder = tempfile.TemporaryDirectory(prefix="forethought-replay-")
    recorded.unpack(Path(folder.name))
    engine = ReplayEngine(AutoTokenizer.from_pretrained(folder.name), recorded.fingerprint, recorded.context)
    engine.runs, engine.folder = wanted.file.runs(), folder
    sizes = [run["work"] for run in engine.runs if run.get("model") == recorded.fingerprint and run.get("work")]
    engine.work = Work(*sizes[0]) if sizes else UNKNOWN
    return engine, folder.name


ENGINES: dict[str, Callable[[Wanted], tuple[Any, str | None]]] = {
    "transformers": _transformers,
    "vllm": _vllm,
    "openai": _openai,
    "replay": _replay,
}
"""Engines by name: from what is wanted to an engine and the folder of its model, where that is one on this machine.
A new one is a function and a row here."""
