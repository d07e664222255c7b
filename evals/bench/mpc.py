"""`forethought bench mpc`: milliseconds per decision in learned models, one thread, float32.

The models are untrained networks of two hidden layers of 200 with the shapes of Pendulum-v1, which cost as much as
trained ones: one network, and an ensemble of five with one particle per member. Other libraries (`mpc_peers.py`) roll
out the same weights with the same activation for the same number of evaluations. The lower bound is the time of the
matrix products alone.
"""

from __future__ import annotations

import gc
import itertools
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from ...control.world_models.config import MLPConfig
from ...control.world_models.ensemble.model import EnsembleModel
from ...control.world_models.ensemble.net import EnsembleConfig, StackedNet
from ...control.world_models.mlp.model import MLPModel
from ...control.world_models.mlp.net import MLPNet
from ...planning import CEM, MPPI, Budget, plan
from ..cli_common import write_json
from ..console import Column, say, show_table
from ..progress import progress
from ..records.summary import versions
from ..threads import one_thread
from .mpc_peers import PEERS, Net

HIDDEN, MEMBERS, ITERATIONS = 200, 5, 5
SHAPE: dict[str, Any] = {
    "env_id": "Pendulum-v1", "obs_dim": 3, "n_actions": None, "low": (-2.0,), "high": (2.0,), "hidden": HIDDEN,
}  # fmt: skip
OBSERVATION = torch.tensor([[-1.0, 0.0, 0.5]])
Contender = tuple[str, str]
"""An implementation and its planning method."""


def models() -> dict[str, Any]:
    """The network and the ensemble, by name."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        mlp = MLPModel(MLPConfig(**SHAPE), MLPNet(MLPConfig(**SHAPE)).eval())
    config = EnsembleConfig(**SHAPE, members=MEMBERS, probabilistic=False)
    return {"mlp": mlp, "ensemble": EnsembleModel(config, StackedNet(config).eval())}


def net_of(model: Any) -> Net:
    """The network that other libraries roll out, as a `Net`."""
    if isinstance(model, MLPModel):
        call = lambda x: model.net(x.flatten(0, 1)).view(*x.shape[:2], -1)  # noqa: E731
        return Net(1, call)
    return Net(MEMBERS, lambda x: model.net(x.transpose(0, 1))[0].transpose(0, 1))


def ours(model: Any, candidates: int, horizon: int) -> dict[str, Callable[[], Any]]:
    """One decision by MPPI (one iteration) and by CEM (as many iterations as the other libraries), from scratch."""
    each = candidates * horizon * model.cost
    mppi = MPPI(horizon=horizon, population=candidates, iterations=1)
    cem = CEM(horizon=horizon, population=candidates, iterations=ITERATIONS)
    return {
        "MPPI": lambda: plan(mppi, model, OBSERVATION, Budget(nodes=each)),
        "CEM": lambda: plan(cem, model, OBSERVATION, Budget(nodes=ITERATIONS * each)),
    }


def matrix_products(members: int, candidates: int, horizon: int, *, transposed: bool = False) -> Callable[[], Any]:
    """The matrix products of one iteration: H times those of all candidates through all members.

    transposed: with candidates as the last dimension, as `nets/fused.py` has them, and not as the first.
    """
    sizes = (4, HIDDEN, HIDDEN, 4)
    weights = [torch.randn(members, a, b) for a, b in itertools.pairwise(sizes)]
    pairs = [(torch.randn(members, candidates, len(weight[0])), weight) for weight in weights]
    if transposed:
        pairs = [(weight.mT.contiguous(), x.mT.contiguous()) for x, weight in pairs]
    if members == 1:
        pairs = [(a[0], b[0]) for a, b in pairs]
    outs = [a @ b for a, b in pairs]

    def products() -> None:
        for _ in range(horizon):
            for (a, b), out in zip(pairs, outs):
                torch.matmul(a, b, out=out)

    return products


def timed(works: dict[Contender, Callable[[], Any]], repeats: int) -> dict[Contender, float]:
    """Median processor milliseconds of each; they alternate, so that drifts in the machine's speed affect all alike."""
    for work in works.values():
        work()
    milliseconds: dict[Contender, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            gc.collect()
            begun = time.process_time()
            work()
            milliseconds[name].append(1e3 * (time.process_time() - begun))
    return {name: statistics.median(each) for name, each in milliseconds.items()}


@torch.no_grad()
def measure(name: str, model: Any, candidates: int, horizon: int, repeats: int) -> list[dict[str, Any]]:
    """A row per implementation and method: milliseconds, evaluations per second, and the time as a multiple of ours."""
    net = net_of(model)
    works = {("ours", method): work for method, work in ours(model, candidates, horizon).items()}
    works["matrix products", "MPPI"] = matrix_products(net.members, candidates, horizon)
    works["matrix products, transposed", "MPPI"] = matrix_products(net.members, candidates, horizon, transposed=True)
    for library, (method, make) in PEERS.items():
        work = make(net, candidates, horizon, ITERATIONS)
        if work is not None:
            works[library, method] = work
    times = timed(works, repeats)
    rows = []
    for (implementation, method), ms in times.items():
        evaluations = candidates * horizon * net.members * (1 if method == "MPPI" else ITERATIONS)
        row = {"model": name, "implementation": implementation, "method": method, "ms": ms}
        row |= {"times_ours": ms / times["ours", method], "evaluations_per_second": 1e3 * evaluations / ms}
        rows.append(row)
    return rows


def main(
    out: Path | None = None,
    *,
    candidates: int = 512,
    horizon: int = 20,
    repeats: int = 15,
    console: Console | None = None,
) -> dict[str, Any]:
    """Measure, print, and write JSON to `out` if given."""
    console = console or Console()
    rows = []
    with one_thread(), progress(1 + MEMBERS, "bench mpc", console) as advance:
        for name, model in models().items():
            rows += measure(name, model, candidates, horizon, repeats)
            advance(model.cost)
    result = {
        "unit": "processor milliseconds per decision, median", "threads": 1, "machine": platform.machine(),
        "candidates": candidates, "horizon": horizon, "hidden": [HIDDEN, HIDDEN], "members": MEMBERS,
        "iterations": {"MPPI": 1, "CEM": ITERATIONS}, "versions": versions(), "rows": rows,
    }  # fmt: skip
    _show(result, console)
    write_json(result, out, console)
    return result


def _show(result: dict[str, Any], console: Console) -> None:
    heading = f"K = {result['candidates']}, H = {result['horizon']}, one thread; MPPI 1 iteration, CEM {ITERATIONS}"
    columns = [Column(name, right=False) for name in ("model", "method", "implementation")]
    columns += [Column(name) for name in ("ms per\ndecision", "evaluations/s", "times\nours")]
    rows = [
        [
            *(row[name] for name in ("model", "method", "implementation")),
            f"{row['ms']:.1f}", f"{row['evaluations_per_second']:,.0f}", f"{row['times_ours']:.2f}",
        ]
        for row in result["rows"]
    ]  # fmt: skip
    show_table(console, columns, rows, title=heading, keys=3)
    measured = {row["implementation"] for row in result["rows"]}
    absent = [library for library in PEERS if library not in measured]
    if absent:
        say(console, f"not installed and therefore not measured: {', '.join(absent)}")
