"""What are known equations worth beside data? Free flight known, contact not, at equal data.

The bouncing mass of `control/dynamics/bouncer.py`: the equations of free flight alone, an ensemble alone, and the
equations corrected by an ensemble of as many members (`ResidualModel`; each member is two networks, one of them for
whether there is contact), all judged on steps that none of them saw and by the returns of planning with them. The
hybrid learns from every step, so that the ensemble alone is shown twice: as it is trained elsewhere, stopped by a tenth
of the steps, and on every step as the hybrid is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...control.data.collector import collect
from ...control.data.transitions import Transitions
from ...control.dynamics import Bouncer
from ...control.episodes import run_episodes
from ...control.tasks import BOUNCER
from ...control.world_models.analytic import AnalyticModel
from ...control.world_models.ensemble.fit import fit_ensemble, fit_stacked
from ...control.world_models.ensemble.model import EnsembleModel
from ...control.world_models.ensemble.net import EnsembleConfig, StackedNet
from ...control.world_models.mlp.fit import Fit, config_for, targets_of
from ...control.world_models.network import inputs_of
from ...control.world_models.residual.fit import fit_residual
from ...planning import CEM, Budget, GaussianSettings
from ..records.statistics import student
from .sheet import Row, Sheet, lines, said

RIVALS = ("analytic", "learned", "learned, every step")
MODELS = (*RIVALS, "hybrid")
MEASURES = ("one step", "contact", "ten steps", "return")
Found = dict[tuple[int, str], list[dict[str, float]]]
PLANNER = CEM(horizon=12, population=48, iterations=3, smoothing=0.1, vectors=GaussianSettings(std=1.0))
ABOUT = (
    "A pushed mass over a springy floor, `forethought/Bouncer-v0`. analytic: free flight, which is all that is known. "
    "learned: 5 deterministic networks, each stopped by its error on a tenth of the steps. learned, every step: the "
    "same networks taught by all steps to the end. hybrid: free flight plus gate times 5 corrections, each by two "
    "such networks, one for how much and one for the probability that there is anything to correct, taught by all "
    "steps to the end. Data: steps of random forces, the same for all. Errors: root mean square over components of "
    "predicted minus true state, each in units of its deviation, on 1,000 other steps of the same policy: after one "
    "step, after one step on steps that touch the floor, after ten. {returns}Mean and 95 % t interval over {seeds} "
    "seeds of data, networks and episodes."
)
RETURNS = (
    "Return: mean of {episodes} episodes of 100 steps under CEM with 144 sequences of 12 a decision, whatever a step "
    "costs. "
)


def run(
    full: bool = False,
    seed: int = 0,
    *,
    sizes: Sequence[int] | None = None,
    seeds: int | None = None,
    episodes: int | None = None,
    epochs: int = 150,
) -> Sheet:
    """50, 150 and 500 steps, 5 seeds; `full`: also 1,500, and 10 seeds. No episodes: no returns."""
    sizes = sizes or ((50, 150, 500, 1500) if full else (50, 150, 500))
    seeds, episodes = seeds or (10 if full else 5), (10 if full else 4) if episodes is None else episodes
    found: Found = {}
    for s in range(seed, seed + seeds):
        other = collect(Bouncer.env_id, 1000, seed=5000 + s, hold=4)
        plain = measured(AnalyticModel(Bouncer().free()), other, s, episodes)
        for size in sizes:
            data = collect(Bouncer.env_id, size, seed=s, hold=4)
            for name, model in fitted(data, Fit(epochs=epochs, seed=s)).items():
                found.setdefault((size, name), []).append(measured(model, other, s, episodes))
            found.setdefault((size, "analytic"), []).append(plain)
    return sheet_of(found, sizes, seeds, episodes)


def sheet_of(found: Found, sizes: Sequence[int], seeds: int, episodes: int) -> Sheet:
    """The page of all that was measured, by size and model one entry for each seed."""
    rows = [row_of(size, name, what, each) for (size, name), each in found.items() for what in each[0]]
    about = ABOUT.format(seeds=seeds, returns=RETURNS.format(episodes=episodes) if episodes else "")
    return Sheet("What are known equations worth beside data?", about, rows, table_of(rows), verdicts(found, sizes))


def fitted(data: Transitions, fit: Fit) -> dict[str, Any]:
    """The pure learned models and the hybrid of the same steps."""
    config = config_for(Bouncer.env_id, EnsembleConfig, probabilistic=False, reward="given")
    learned, _ = fit_ensemble(data, config, fit)
    hybrid, _ = fit_residual(data, Bouncer().free(), config, fit)
    net, pair = StackedNet(config, fit.seed), (inputs_of(config, data.seen, data.actions), targets_of(data))
    fit_stacked(net, pair, pair, fit)
    every = EnsembleModel(config, net.eval(), propagate="mean")
    return {"learned": learned.propagated("mean"), "learned, every step": every, "hybrid": hybrid}


@torch.no_grad()
def measured(model: Any, other: Transitions, seed: int, episodes: int) -> dict[str, float]:
    """Every measure of one model; its return only where there are episodes."""
    unit = other.reached.std(0)
    off = ((model.step(other.seen, other.actions)[0] - other.reached) / unit).square().mean(1)
    touch = other.reached[:, 1].minimum(other.seen[:, 1]) < 0
    errors = {
        "one step": float(off.mean().sqrt()), "contact": float(off[touch].mean().sqrt()),
        "ten steps": float(walked(model, other, 10, unit)),
    }  # fmt: skip
    if not episodes:
        return errors
    played = run_episodes(
        PLANNER, model, BOUNCER, range(seed, seed + episodes), budget=Budget(model_calls=10**9), seed=seed
    )
    return errors | {"return": float(played.returns.mean())}


def walked(model: Any, other: Transitions, length: int, unit: Tensor) -> Tensor:
    """Root mean square error after `length` steps, from every so many steps on (an episode has 100)."""
    truth, actions = (x.view(-1, length, x.shape[1]) for x in (other.reached, other.actions))
    at = other.seen.view(-1, length, truth.shape[2])[:, 0]
    for t in range(length):
        at = model.step(at, actions[:, t])[0]
    return ((at - truth[:, -1]) / unit).square().mean().sqrt()


def row_of(size: int, name: str, what: str, each: Sequence[dict[str, float]]) -> Row:
    mean = student([figures[what] for figures in each])
    row = {"steps": size, "model": name, "measure": what, "value": mean.value, "low": mean.low, "high": mean.high}
    return row | {"seeds": len(each), "said": said(mean)}


def table_of(rows: Sequence[Row]) -> list[Row]:
    """One line for each size and model, a column for each measure."""
    table: dict[tuple[int, str], Row] = {}
    for row in sorted(rows, key=lambda row: (row["steps"], MODELS.index(row["model"]))):
        line = table.setdefault((row["steps"], row["model"]), {"steps": row["steps"], "model": row["model"]})
        line[row["measure"]] = row["said"]
    return list(table.values())


def verdicts(found: Found, sizes: Sequence[int]) -> list[str]:
    """At each size whether the hybrid beats all others, paired by seed."""
    told = []
    for what in (what for what in MEASURES if what in found[sizes[0], "hybrid"][0]):
        sign = 1 if what == "return" else -1
        for size in sizes:
            parts = []
            for other in RIVALS:
                pairs = zip(found[size, "hybrid"], found[size, other])
                gain = student([sign * (mine[what] - theirs[what]) for mine, theirs in pairs])
                clear = "clear" if gain.low > 0 else "worse" if gain.high < 0 else "not clear"
                parts.append(f"{other} by {said(gain)} ({clear})")
            told.append(f"{what}, {size:,} steps: the hybrid is better than: {'; '.join(parts)}")
    return told


def panels(rows: Sequence[Row]) -> tuple[str, ...]:
    """One for each error."""
    return ("one step", "ten steps")


def draw(axes: Any, rows: Sequence[Row]) -> None:
    for panel, what in zip(axes, panels(rows)):
        chosen = [row for row in rows if row["measure"] == what]
        lines(panel, sorted(chosen, key=lambda row: (MODELS.index(row["model"]), row["steps"])), ("model",), "steps")
        panel.set_xscale("log")
        sizes = sorted({row["steps"] for row in chosen})
        panel.set_xticks(sizes, [f"{size:,}" for size in sizes])
        panel.set_xticks([], minor=True)
        panel.set_yscale("log")
        panel.set_ylabel(f"error after {what}, deviations")
