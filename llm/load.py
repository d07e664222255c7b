"""From the name of a model to a `TextModel`: engine, format, critic and tape put together."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from .engines.base import Sampling
from .engines.replay import ReplayEngine
from .formats import format_for
from .tape import MemoryStore, Tape
from .tape_file import TapeFile
from .text_model import TextModel
from .values import Means, value_named
from .values.reward_formats import HEADS, REWARD_FORMATS

BUILTIN = Path(__file__).parent / "embedded" / "reasoner"
"""Where the built-in model's files are, in a checkout and in a wheel."""

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
    **options: Any,
) -> TextModel:
    """Load a language model to plan in.

    model: "builtin", a folder in Hugging Face format, or a hub id; for `replay` the name of a model on the tape, "" for
    the only one. max_steps, max_step_tokens: by default the format's. examples: worked ones for a few-shot prompt, see
    `format_for`. tape: shared between models of a run, or a file (`TapeFile`), which `replay` only reads.
    reward_model, reward_format, aggregate: for the values prm and orm. truth: for the value oracle, (question,
    solution) to whether it is right. options: for the engine, such as `dtype` or `base_urls`.

    Errors: ValueError for an unknown engine or value, listing what exists, for a folder that is no model and for a file
    that is no tape.
    """
    if engine not in ENGINES:
        raise ValueError(f"no engine {engine!r}; there are {', '.join(ENGINES)}")
    file = tape if isinstance(tape, str | Path) else None
    store = None if file is None else TapeFile(file, only_read=engine == "replay")
    made, folder = ENGINES[engine](Wanted(model, device, store, options))
    kept = Tape(MemoryStore(store) if engine == "replay" else store) if not isinstance(tape, Tape) else tape
    format = format_for(made.tokenizer, folder, examples)
    sampling = Sampling(temperature, top_p, format.max_step_tokens if max_step_tokens is None else max_step_tokens)
    text = TextModel(made, format, None, sampling, seed, max_steps, kept)

    @cache
    def reward() -> Any:
        judge, reads = _reward(reward_format, engine == "replay", Wanted(reward_model or "", device, store))
        if engine == "replay":
            judge.lost = made.lost
        return judge, reads

    text.value = value_named(
        value, Means(text.seeded(seed ^ ROLLOUT_SEED), reward if reward_model else None, aggregate, truth)
    )
    if store is not None and engine != "replay":
        store.keep_model(made, str(model), folder)
        store.keep_run(run_of(text, value))
    return text


def run_of(text: TextModel, value: str) -> dict[str, Any]:
    """What decides which records a model looks for on its tape."""
    return {
        "model": text.engine.fingerprint, "temperature": text.sampling.temperature, "top_p": text.sampling.top_p,
        "max_step_tokens": text.sampling.max_tokens, "max_steps": text.max_steps, "seed": text.seed, "value": value,
    }  # fmt: skip


def _reward(name: str, replay: bool, wanted: Wanted) -> Any:
    """The engine of a reward model and the way it reads."""
    if name not in REWARD_FORMATS:
        raise ValueError(f"no reward format {name!r}; there are {', '.join(REWARD_FORMATS)}")
    if replay:
        engine, _ = _replay(wanted, "reward")
    else:
        from .engines.reward import reward_engine

        source = source_of(wanted.model)
        engine = reward_engine(source, head=name in HEADS, device=wanted.device)
        if wanted.file is not None:
            wanted.file.keep_model(engine, str(wanted.model), None, "reward")
    return engine, REWARD_FORMATS[name](engine.tokenizer)


def source_of(model: str | Path) -> str:
    """The folder or hub id meant by `model`; ValueError where a folder is meant and not there."""
    if str(model) == "builtin":
        if not (BUILTIN / "config.json").is_file():
            raise ValueError("the built-in model is not there; make it with: forethought train reasoner")
        return str(BUILTIN)
    path = Path(model).expanduser()
    if path.is_file():
        raise ValueError(f"{model} is a file; a model is a folder in Hugging Face format, or a hub id")
    if path.is_dir():
        return str(path)
    if isinstance(model, Path) or path.is_absolute() or model.startswith((".", "~")) or model.count("/") != 1:
        raise ValueError(f'there is no model folder {model}; a model is "builtin", a folder, or a hub id (owner/name)')
    return model


def _folder(source: str) -> str | None:
    return source if Path(source).is_dir() else None


def _transformers(wanted: Wanted) -> tuple[Any, str | None]:
    from .engines.transformers import TransformersEngine

    source = source_of(wanted.model)
    return TransformersEngine(source, device=wanted.device, **wanted.options), _folder(source)


def _openai(wanted: Wanted) -> tuple[Any, str | None]:
    from transformers import AutoTokenizer

    from .engines.openai import OpenAIEngine

    source = source_of(wanted.model)
    engine = OpenAIEngine(str(wanted.model), AutoTokenizer.from_pretrained(source), **wanted.options)
    return engine, _folder(source)


def _replay(wanted: Wanted, role: str = "policy") -> tuple[Any, str | None]:
    from transformers import AutoTokenizer

    if wanted.file is None:
        raise ValueError("the replay engine wants a tape in a file: --tape FILE")
    recorded = wanted.file.model(str(wanted.model) or None, role)
    folder = tempfile.TemporaryDirectory(prefix="forethought-replay-")
    recorded.unpack(Path(folder.name))
    engine = ReplayEngine(AutoTokenizer.from_pretrained(folder.name), recorded.fingerprint, recorded.context)
    engine.runs, engine.folder = wanted.file.runs(), folder
    return engine, folder.name


ENGINES: dict[str, Callable[[Wanted], tuple[Any, str | None]]] = {
    "transformers": _transformers,
    "openai": _openai,
    "replay": _replay,
}
"""Engines by name: from what is wanted to an engine and the folder of its model, where that is one on this machine.
A new one is a function and a row here."""
