"""`forethought list`: the planners, tasks, values, engines and models that there are, by the names of the options."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from ..console import Column, show_table
from ..errors import BadInput
from .completion import KINDS, RUNS, model_folders


@dataclass(frozen=True)
class Listed:
    """A name with what it stands for in one line and where that comes from, "" where there is nothing to cite."""

    name: str
    what: str = ""
    source: str = ""


def main(kind: str, console: Console | None = None) -> list[Listed]:
    """Print what there is of a kind, and return it. Errors: BadInput for an unknown kind."""
    if kind not in LISTINGS:
        raise BadInput(f"nothing to list of {kind!r}; there are {', '.join(KINDS)}")
    found = LISTINGS[kind]()
    columns = {kind.removesuffix("s"): [one.name for one in found]}
    columns |= {"what it is": [one.what for one in found], "source": [one.source for one in found]}
    filled = {head: cells for head, cells in columns.items() if any(cells)}
    heads = [Column(head, right=False) for head in filled]
    show_table(console or Console(), heads, [*zip(*filled.values())], keys=len(heads))
    return found


def planners() -> list[Listed]:
    """The planners of both worlds."""
    from ..planners import PLANNERS

    return [Listed(name, f"{row.summary} ({', '.join(row.kinds)})", row.source) for name, row in PLANNERS.items()]


def tasks() -> list[Listed]:
    """The tasks by name; any other is given as a file."""
    from ..tasks import TASKS

    return [Listed(name, f"{row.summary} ({row.kind})", row.source) for name, row in TASKS.items()]


def values() -> list[Listed]:
    """The critics."""
    from ...llm.critics import CRITICS

    return [Listed(name, row.summary, row.source) for name, row in CRITICS.items()]


def engines() -> list[Listed]:
    """What runs a language model."""
    from ...llm.load import ENGINES

    return [Listed(name, row.summary) for name, row in ENGINES.items()]


def models(runs: Path = RUNS) -> list[Listed]:
    """The built-in models, the equations of motion, and the trained ones below `runs`."""
    built_in = [
        Listed("builtin", "the built-in language model of the stories; with --reward-model the built-in reward model"),
        Listed("analytic", "the equations of motion of a control task"),
    ]
    return built_in + [Listed(str(folder), what) for folder in model_folders(runs) if (what := _kind_of(folder))]


def _kind_of(folder: Path) -> str:
    """What the model in a folder is, "" for a folder that holds something else."""
    try:
        settings: Any = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    if not isinstance(settings, dict):
        return ""
    if isinstance(config := settings.get("config"), dict) and "kind" in settings:
        return f"{settings['kind']} of {config.get('env_id')}, for control"
    if "model_type" not in settings:
        return ""
    own = " with a format of forethought" if (folder / "forethought.json").is_file() else ""
    return f"language model, {settings['model_type']}{own}"


LISTINGS: dict[str, Callable[[], list[Listed]]] = {
    "planners": planners, "tasks": tasks, "values": values, "engines": engines, "models": models,
}  # fmt: skip
