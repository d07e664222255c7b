"""From the name of a model to a `TextModel`: builds the engine, format, critic and tape."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

from ..planning.settings_checks import check_integer
from .critics import Critic, CriticDeps, make_critic
from .critics.reward_formats import HEAD_FORMATS, REWARD_FORMATS, RewardFormat
from .engines.base import Engine, Sampling
from .engines.flops import UNKNOWN_FLOPS, DecoderFlops, flops_of_folder
from .engines.replay import ReplayEngine
from .reasoning import reasoning_named
from .reasoning.rap import EXAMPLES as RAP_EXAMPLES
from .tape.sqlite import TapeFile
from .tape.tape import MemoryStore, Tape
from .text.formats import ANSWER_AFTER_MARK, format_for
from .text_model import TextModel

BUILTIN = Path(__file__).parent / "builtin" / "reasoner"
"""The folder of the built-in model, in a checkout and in a wheel."""

BUILTIN_REWARD = BUILTIN.parent / "prm"
"""The folder of the built-in reward model, which evaluates the built-in model's steps."""

ROLLOUT_SEED = 0x526F6C6C
"""Makes the noise of `--value rollout` independent of the noise of the tree that it evaluates."""


@dataclass
class EngineSpec:
    """What an engine is made from.

    model: a name, folder or hub id. file: the file of the tape, if there is one. options: of the engine's class.
    trust_remote_code: whether Python code in the folder of a model is run; code on a tape never is.
    """

    model: str | Path
    device: str = "cpu"
    file: TapeFile | None = None
    options: dict[str, Any] = field(default_factory=dict)
    trust_remote_code: bool = False


Opened = tuple[Engine, str | None]
"""An engine and the folder of its model, None if there is no local folder."""


@dataclass(frozen=True)
class EngineRow:
    """An engine by name.

    where: its class, as `module:Class` with a module below `llm/engines`; it is imported when it is needed. summary: in
    one line. make: from the class and a specification to an engine; by default for one that loads a model itself.
    """

    where: str
    summary: str
    make: Callable[[Any, EngineSpec], Opened]

    @property
    def engine(self) -> type[Engine]:
        """The class, which says what it `requires` and whether it is `replicable`."""
        module, _, name = self.where.partition(":")
        found: type[Engine] = vars(import_module(f".engines.{module}", __package__))[name]
        return found


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
    system: str | None = None,
    delimiter: str | None = None,
    answered: Callable[[str], bool] | None = ANSWER_AFTER_MARK,
    tape: Tape | str | Path | None = None,
    reward_model: str | Path | None = None,
    reward_format: str = "",
    aggregate: str = "last",
    truth: Callable[[str, str], bool] | None = None,
    reasoning: str = "steps",
    replicas: int = 1,
    critics: Mapping[str, Critic] | None = None,
    trust_remote_code: bool = False,
    **options: Any,
) -> TextModel:
    """Load a language model to plan with.

    model: "builtin", a folder in Hugging Face format, or a hub id; for `replay` the name of a model on the tape, or ""
    for the only one. max_steps, max_step_tokens: by default the format's. examples, system, delimiter, answered: of the
    prompt and of the steps, see `format_for`.
    tape: shared between models of a run, or a file (`TapeFile`), which `replay` only reads.
    reward_model, reward_format, aggregate: for the values prm and orm; "builtin" is the one for the built-in model and
    its default. truth: for the value oracle, from (question, solution) to whether it is correct. reasoning: what an
    action is (steps, propose or rap, see `reasoning/`). replicas: number of engines, each in a Ray actor. critics: of
    one's own, by names that `value` may hold. trust_remote_code: run Python code that the model's folder or hub page
    contains; for models that you trust, never for tapes. options: of the engine, such as `dtype` or `base_urls`.

    Errors: ValueError for an unknown engine or value, listing the known ones, for a folder that is no model, and for a
    file that is no tape. ImportError that names the command to install what the engine lacks.
    """
    if engine not in ENGINES:
        raise ValueError(f"no engine {engine!r}; there are {', '.join(ENGINES)}")
    file = TapeFile(tape, read_only=engine == "replay") if isinstance(tape, str | Path) else None
    spec = EngineSpec(model, device, file, options, trust_remote_code)
    made, folder = _make_engine(engine, spec, replicas)
    shown = RAP_EXAMPLES if examples is None and reasoning == "rap" else examples
    format = format_for(made.tokenizer, folder, shown, system=system, delimiter=delimiter, answered=answered)
    sampling = Sampling(temperature, top_p, format.max_step_tokens if max_step_tokens is None else max_step_tokens)
    shared = tape if isinstance(tape, Tape) else Tape(MemoryStore(file) if engine == "replay" else file)
    text = reasoning_named(reasoning)(made, format, None, sampling, seed, max_steps, shared)
    load_reward = _reward_loader(made, engine, spec, *reward_for(model, reward_model, reward_format))
    deps = CriticDeps(text.seeded(seed ^ ROLLOUT_SEED), load_reward, aggregate, truth, critics or {})
    text.value = make_critic(value, deps)
    if file is not None and engine != "replay":
        file.add_model(made, str(model), folder)
        file.add_run(run_settings(text, value))
    return text


def reward_for(model: str | Path, reward_model: str | Path | None, reward_format: str) -> tuple[str | Path | None, str]:
    """The reward model and its format; the built-in ones where the model is built-in and no other is named."""
    unnamed = str(model) == "builtin" and not reward_model and not reward_format
    if unnamed or str(reward_model) == "builtin":
        return "builtin", reward_format or "builtin"
    return reward_model, reward_format


def run_settings(text: TextModel, value: str) -> dict[str, Any]:
    """The settings that determine which records a model requests from its tape."""
    return {
        "model": text.engine.fingerprint, "temperature": text.sampling.temperature, "top_p": text.sampling.top_p,
        "max_step_tokens": text.sampling.max_tokens, "max_steps": text.max_steps, "seed": text.seed, "value": value,
        "flops": list(astuple(text.flops)), "reasoning": text.reasoning,
    }  # fmt: skip


def source_of(model: str | Path) -> str:
    """The folder or hub id that `model` names; ValueError where it names a folder that does not exist."""
    if str(model) == "builtin":
        return _builtin_folder(BUILTIN, "model", "reasoner")
    path = Path(model).expanduser()
    if path.is_file():
        raise ValueError(f"{model} is a file; a model is a folder in Hugging Face format, or a hub id")
    if path.is_dir():
        return str(path)
    if isinstance(model, Path) or path.is_absolute() or model.startswith((".", "~")) or model.count("/") != 1:
        raise ValueError(f'there is no model folder {model}; a model is "builtin", a folder, or a hub id (owner/name)')
    return model


def _builtin_folder(folder: Path, what: str, name: str) -> str:
    if not (folder / "config.json").is_file():
        raise ValueError(f"the built-in {what} is not there; make it with: forethought train {name}")
    return str(folder)


def _local_folder(source: str) -> str | None:
    """The source if it is a folder, None for a hub id."""
    return source if Path(source).is_dir() else None


def _make_engine(engine: str, spec: EngineSpec, replicas: int) -> Opened:
    """The engine of the policy and the folder of its model; the sizes for `flops` come from the folder if need be."""
    check_replicas(engine, replicas)
    if missing := ENGINES[engine].engine.missing_packages():
        raise ImportError(missing)
    made, folder = _opened(engine, spec) if replicas == 1 else _replicated(engine, spec, replicas)
    if made.flops == UNKNOWN_FLOPS and engine != "replay":
        made.flops = flops_of_folder(source_of(spec.model))
    return made, folder


def check_replicas(engine: str, replicas: int) -> None:
    """Errors: ValueError for several replicas of an engine that runs no model itself."""
    check_integer("replicas", replicas, 1)
    if replicas > 1 and not ENGINES[engine].engine.replicable:
        fits = ", ".join(name for name, row in ENGINES.items() if row.engine.replicable)
        raise ValueError(f"--replicas needs an engine that runs a model ({fits}), got {engine}")


def _opened(engine: str, spec: EngineSpec) -> Opened:
    row = ENGINES[engine]
    return row.make(row.engine, spec)


def _local(engine: Callable[..., Engine], spec: EngineSpec) -> Opened:
    source = source_of(spec.model)
    made = engine(source, device=spec.device, trust_remote_code=spec.trust_remote_code, **spec.options)
    return made, _local_folder(source)


def _tokenizer(source: str, trust_remote_code: bool) -> Any:
    """The tokenizer of a folder or hub id. Errors: ValueError where it cannot be loaded."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code)
    except Exception as error:  # a damaged file raises what its parser raises
        raise ValueError(f"cannot load the tokenizer of {source}: {type(error).__name__}: {error}") from error


def _openai(engine: Callable[..., Engine], spec: EngineSpec) -> Opened:
    source = source_of(spec.model)
    tokenizer = _tokenizer(source, spec.trust_remote_code)
    return engine(str(spec.model), tokenizer, **spec.options), _local_folder(source)


def _replicated(engine: str, spec: EngineSpec, replicas: int) -> Opened:
    from .engines.replicas import ReplicatedEngine

    source, without_file = source_of(spec.model), replace(spec, file=None)
    make = partial(_engine_alone, engine, without_file)
    tokenizer = _tokenizer(source, spec.trust_remote_code)
    return ReplicatedEngine(make, tokenizer, replicas, gpus=int(spec.device != "cpu")), _local_folder(source)


def _engine_alone(engine: str, spec: EngineSpec) -> Engine:
    return _opened(engine, spec)[0]


def _replay(spec: EngineSpec, role: str = "policy") -> tuple[ReplayEngine, str | None]:
    from transformers import AutoTokenizer

    if spec.file is None:
        raise ValueError("the replay engine needs a tape in a file: --tape FILE")
    spec.file.check()
    recorded = spec.file.model(str(spec.model) or None, role)
    folder = tempfile.TemporaryDirectory(prefix="forethought-replay-")
    recorded.unpack(Path(folder.name))
    try:
        # a tape is data from a stranger: nothing of it is run, whatever its tokenizer asks for, and nothing downloaded
        tokenizer = AutoTokenizer.from_pretrained(folder.name, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"the tokenizer on the tape {spec.file.path} cannot be used: {reason[:300]}") from None
    engine = ReplayEngine(tokenizer, recorded.fingerprint, recorded.context)
    engine.runs, engine.folder = spec.file.runs(), folder
    sizes = [run["flops"] for run in engine.runs if run.get("model") == recorded.fingerprint and run.get("flops")]
    try:
        engine.flops = DecoderFlops(*map(int, sizes[0])) if sizes else UNKNOWN_FLOPS
    except (TypeError, ValueError):
        raise ValueError(f"the tape {spec.file.path} is damaged: the sizes of its model are no numbers") from None
    return engine, folder.name


ENGINES = {
    "transformers": EngineRow("transformers.engine:TransformersEngine", "models of the transformers library", _local),
    "vllm": EngineRow("vllm.engine:VllmEngine", "vLLM in this process, on a GPU or with its CPU build", _local),
    "openai": EngineRow("http.openai:OpenAIEngine", "servers with OpenAI's completions interface", _openai),
    "replay": EngineRow("replay:ReplayEngine", "a tape without a model", lambda _, spec: _replay(spec)),
}
"""Engines by the name that `--engine` takes; adding one is a file with its class and a row here."""


def _reward_loader(
    policy: Engine, engine: str, spec: EngineSpec, model: str | Path | None, reward_format: str
) -> Callable[[], tuple[Engine, RewardFormat]] | None:
    """A function that loads the reward model when a critic first needs it; None where no reward model is named."""

    @cache
    def load() -> tuple[Engine, RewardFormat]:
        reward, format = _load_reward(reward_format, engine, replace(spec, model=model or "", options={}))
        if isinstance(reward, ReplayEngine) and isinstance(policy, ReplayEngine):
            reward.missing = policy.missing
        return reward, format

    return load if model else None


def _load_reward(name: str, engine: str, spec: EngineSpec) -> tuple[Engine, RewardFormat]:
    """The engine of a reward model and its format. engine: the name of the policy's."""
    if name not in REWARD_FORMATS:
        raise ValueError(f"no reward format {name!r}; there are {', '.join(REWARD_FORMATS)}")
    made: Engine
    if engine == "replay":
        made, _ = _replay(spec, "reward")
    else:
        builtin = str(spec.model) == "builtin"
        source = _builtin_folder(BUILTIN_REWARD, "reward model", "prm") if builtin else source_of(spec.model)
        made = _reward_engine(engine, source, name in HEAD_FORMATS, spec.device)
        if spec.file is not None:
            spec.file.add_model(made, str(spec.model), None, "reward")
    return made, REWARD_FORMATS[name](made.tokenizer)


def _reward_engine(engine: str, source: str, head: bool, device: str) -> Engine:
    """Reward models run on vLLM if the policy does, and on transformers otherwise."""
    if engine == "vllm":
        from .engines.vllm.reward import vllm_reward_engine

        return vllm_reward_engine(source, head=head, device=device)
    from .engines.transformers.reward import reward_engine

    return reward_engine(source, head=head, device=device)
