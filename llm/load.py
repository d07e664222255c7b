"""From the name of a model to a `TextModel`: engine, format and critic put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .engines.base import Sampling
from .formats import format_for
from .tape import Tape
from .text_model import TextModel
from .values import value_named

BUILTIN = Path(__file__).parent / "embedded" / "reasoner"
"""Where the built-in model's files are, in a checkout and in a wheel."""


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
    tape: Tape | None = None,
    **options: Any,
) -> TextModel:
    """Load a language model to plan in.

    model: "builtin", a folder in Hugging Face format, or a hub id. max_steps, max_step_tokens: by default the format's.
    examples: worked ones for a few-shot prompt, see `format_for`. options: for the engine, such as `dtype`.

    Errors: ValueError for an unknown engine or value, listing what exists, and for a folder that is no model.
    """
    if engine not in ENGINES:
        raise ValueError(f"no engine {engine!r}; there are {', '.join(ENGINES)}")
    critic = value_named(value)
    source = _source(model)
    made = ENGINES[engine](source, device, options)
    format = format_for(made.tokenizer, source if Path(source).is_dir() else None, examples)
    sampling = Sampling(temperature, top_p, format.max_step_tokens if max_step_tokens is None else max_step_tokens)
    return TextModel(made, format, critic, sampling, seed, max_steps, tape)


def _source(model: str | Path) -> str:
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


def _transformers(source: str, device: str, options: dict[str, Any]) -> Any:
    from .engines.transformers import TransformersEngine

    return TransformersEngine(source, device=device, **options)


ENGINES: dict[str, Callable[[str, str, dict[str, Any]], Any]] = {"transformers": _transformers}
"""Engines by name: (folder or hub id, device, options) to an engine. A new one is a function and a row here."""
