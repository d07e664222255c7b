"""`forethought bench search`: the cost of a tree search without a model.

Answers are torch tensors that are made before the measurement. The searches run through the public `begin`, `ask` and
`tell`, with journal, checks and a ledger, on one thread; the driver's column also includes its loop and its store of
states. mctx runs beside them where it is installed.
"""

from __future__ import annotations

import gc
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from ...planning import MCTS, Budget, DiscreteActions, Expansion, Ledger, Size, keys_of, plan
from ..cli_common import write_json
from ..console import Column, say, show_table
from ..progress import progress
from ..records.summary import versions
from ..threads import one_thread

SHAPES = ((1, 2, 50), (32, 4, 50), (256, 4, 50), (256, 18, 50), (64, 82, 200))
GROWTH = (100, 10_000)
FLOOR_SECONDS = 0.25


class PrecomputedModel:
    """A model with precomputed answers for B problems with A actions: a root and one expansion per simulation."""

    cost = 1

    def __init__(self, rows: int, actions: int, simulations: int, seed: int = 0) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.rows, self.width, self.simulations = rows, actions, simulations
        self.actions = DiscreteActions(actions)
        self.root, *self.answers = [self._answer(draw) for _ in range(simulations + 1)]
        self.states = torch.zeros(rows, 1)
        self.calls = 0

    def _answer(self, draw: torch.Generator) -> Expansion:
        return Expansion(
            reward=torch.rand(self.rows, generator=draw),
            discount=torch.full((self.rows,), 0.99),
            value=torch.rand(self.rows, generator=draw),
            logits=torch.randn(self.rows, self.width, generator=draw),
        )

    def start(self, problems: Any) -> tuple[torch.Tensor, Expansion]:
        """See `Model.start`."""
        self.calls = 0
        return self.states, self.root

    def expand(
        self, states: Any, actions: Any, *, to_end: bool = False, evaluate: str = "all"
    ) -> tuple[Any, Expansion]:
        """See `Model.expand`."""
        self.calls += 1
        return states, self.answers[self.calls - 1]


def search_once(model: PrecomputedModel, planner: MCTS) -> None:
    """One whole search by `ask` and `tell`."""
    budget = Budget(nodes=model.simulations)
    search = planner.begin(model.root, model.actions, Size(model.simulations), keys=keys_of(0, model.rows))
    ledger = Ledger(budget, model.rows)
    for answer in model.answers:
        query = search.ask(ledger.remaining())
        ledger.reserve(query)
        search.tell(query, answer)
        ledger.charge(query, None)
    if len(search.ask(ledger.remaining())):
        raise RuntimeError("the search asks for more nodes than its budget")


def drive_once(model: PrecomputedModel, planner: MCTS) -> None:
    """The same search by `plan`, which also stores the states and extracts the plan."""
    plan(planner, model, model.states, Budget(nodes=model.simulations))


def timed(work: Callable[[], None], repeats: int) -> float:
    """Median processor seconds of `work`.

    Each repeat lasts at least `FLOOR_SECONDS`, and garbage is collected between repeats.
    """
    work()
    begun = time.process_time()
    work()
    loops = max(1, int(FLOOR_SECONDS / max(1e-9, time.process_time() - begun)))
    seconds = []
    for _ in range(repeats):
        gc.collect()
        begun = time.process_time()
        for _ in range(loops):
            work()
        seconds.append((time.process_time() - begun) / loops)
    return statistics.median(seconds)


def measure(shape: tuple[int, int, int], repeats: int) -> dict[str, Any]:
    """Microseconds per simulation and root of one shape (problems, actions, simulations)."""
    rows, actions, simulations = shape
    model, planner = PrecomputedModel(*shape), MCTS()
    scale = 1e6 / (rows * simulations)
    found: dict[str, Any] = {"rows": rows, "actions": actions, "simulations": simulations}
    found["search"] = scale * timed(lambda: search_once(model, planner), repeats)
    found["driver"] = scale * timed(lambda: drive_once(model, planner), repeats)
    peer = mctx_search(model)
    found["mctx"] = None if peer is None else scale * timed(peer, repeats)
    return found


def growth(repeats: int) -> dict[str, float]:
    """Microseconds per node of one tree with 100 nodes and with 10,000."""
    cost = {}
    for nodes in GROWTH:
        model = PrecomputedModel(1, 4, nodes)
        cost[nodes] = 1e6 / nodes * timed(lambda model=model: search_once(model, MCTS()), repeats)  # type: ignore[misc]
    few, many = (cost[nodes] for nodes in GROWTH)
    return {"at_100": few, "at_10000": many, "ratio": many / few}


def mctx_search(model: PrecomputedModel) -> Callable[[], None] | None:
    """The same search by mctx's compiled MuZero policy; None where it is not installed."""
    try:
        import jax
        import jax.numpy as jnp
        import mctx
    except ImportError:
        return None
    fields = ("logits", "value", "reward", "discount")
    root, *answers = [
        tuple(jnp.asarray(np.asarray(getattr(a, name))) for name in fields) for a in (model.root, *model.answers)
    ]
    stacked = [jnp.stack(parts) for parts in zip(*answers)]

    def recurrent(params: Any, rng: Any, action: Any, step: Any) -> tuple[Any, Any]:
        logits, value, reward, discount = (part[step[0]] for part in params)
        output = mctx.RecurrentFnOutput(reward=reward, discount=discount, prior_logits=logits, value=value)
        return output, jnp.minimum(step + 1, model.simulations - 1)

    def run(params: Any, key: Any) -> Any:
        start = mctx.RootFnOutput(prior_logits=root[0], value=root[1], embedding=jnp.zeros(model.rows, jnp.int32))
        return mctx.muzero_policy(params, key, start, recurrent, model.simulations, dirichlet_fraction=0.0).action

    compiled = jax.jit(run)
    key = jax.random.PRNGKey(0)
    return lambda: compiled(stacked, key).block_until_ready()


def main(out: Path | None = None, *, repeats: int = 5, console: Console | None = None) -> dict[str, Any]:
    """Measure, print, and write JSON to `out` if given."""
    console = console or Console()
    with one_thread():
        shapes = []
        with progress(len(SHAPES) + 1, "bench search", console) as advance:
            for shape in SHAPES:
                shapes.append(measure(shape, repeats))
                advance()
            grown = growth(repeats)
        result = {
            "unit": "processor microseconds per simulation per root, median", "threads": 1,
            "machine": platform.machine(),
            "versions": versions(), "shapes": shapes, "growth": grown,
        }  # fmt: skip
    _show(result, console)
    write_json(result, out, console)
    return result


def _show(result: dict[str, Any], console: Console) -> None:
    names = ("problems", "actions", "simulations", "ask and tell", "plan()", "mctx")
    rows = [
        [
            *(str(row[name]) for name in ("rows", "actions", "simulations")),
            *("not installed" if row[name] is None else f"{row[name]:.2f}" for name in ("search", "driver", "mctx")),
        ]
        for row in result["shapes"]
    ]
    title = "processor microseconds per simulation per root, model excluded, one thread"
    show_table(console, [Column(name) for name in names], rows, title=title, keys=3)
    grown = result["growth"]
    few, many, ratio = (grown[name] for name in ("at_100", "at_10000", "ratio"))
    line = f"one tree: {few:.2f} us per node at 100 nodes, {many:.2f} at 10,000 (ratio {ratio:.2f})"
    say(console, line)
