"""How much do known equations help beside data, where free flight is known and contact is not?

On the bouncing mass of `control/dynamics/bouncer.py` three models are compared: the equations of free flight, an
ensemble, and the equations corrected by an ensemble of as many members (`ResidualModel`; each member has two networks,
one of them a contact classifier). They are evaluated on held-out steps and by the returns of planning with them. The
hybrid trains on every step, so the ensemble is shown twice: with early stopping on a tenth of the steps, as it is
trained elsewhere, and trained on every step as the hybrid is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from rich.console import Console
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
from ...control.world_models.mlp.fit import Fit
from ...control.world_models.mlp.normalization import raw_pair, target_resolution
from ...control.world_models.residual.fit import fit_residual
from ...control.world_models.spaces import config_for
from ...planning import CEM, Budget, GaussianSettings
from ..progress import progress
from ..records.statistics import student
from .study_table import Row, StudyTable, format_estimate, plot_lines

OTHERS = ("analytic", "learned", "learned, every step")
MODELS = (*OTHERS, "hybrid")
MEASURES = ("one step", "contact", "ten steps", "return")
Found = dict[tuple[int, str], list[dict[str, float]]]
PLANNER = CEM(horizon=12, population=48, iterations=3, smoothing=0.1, vectors=GaussianSettings(std=1.0))
DESCRIPTION = (
    "A pushed mass over a springy floor, `forethought/Bouncer-v0`. analytic: the equations of free flight. learned: 5 "
    "deterministic networks, each with early stopping on a tenth of the steps. learned, every step: the same networks "
    "trained on all steps without early stopping. hybrid: free flight plus gate times 5 corrections, each by two such "
    "networks, one for the correction and one for the probability that one is needed, trained on all steps. Data: "
    "steps of random forces, the same for all. Errors: root mean square over components of predicted minus true "
    "state, each in units of its standard deviation, on 1,000 held-out steps of the same policy: after one step, after "
    "one step on steps that touch the floor, after ten steps. {returns}Mean and 95 % t interval over {seeds} seeds of "
    "data, networks and episodes."
)
RETURNS = (
    "Return: mean of {episodes} episodes of 100 steps under CEM with 144 sequences of 12 steps per decision, whatever "
    "a step costs. "
)


def run(
    full: bool = False,
    seed: int = 0,
    *,
    sizes: Sequence[int] | None = None,
    seeds: int | None = None,
    episodes: int | None = None,
    epochs: int = 150,
    console: Console | None = None,
) -> StudyTable:
    """Run with 50, 150 and 500 steps and 5 seeds; `full` adds 1,500 and uses 10 seeds; 0 episodes omit returns."""
    sizes = sizes or ((50, 150, 500, 1500) if full else (50, 150, 500))
    seeds, episodes = seeds or (10 if full else 5), (10 if full else 4) if episodes is None else episodes
    found: Found = {}
    with progress(seeds * len(sizes), "study residual", console) as advance:
        for s in range(seed, seed + seeds):
            other = collect(Bouncer.env_id, 1000, seed=5000 + s, action_repeat=4)
            plain = measure(AnalyticModel(Bouncer().free()), other, s, episodes)
            for size in sizes:
                data = collect(Bouncer.env_id, size, seed=s, action_repeat=4)
                for name, model in fit_models(data, Fit(epochs=epochs, seed=s)).items():
                    found.setdefault((size, name), []).append(measure(model, other, s, episodes))
                found.setdefault((size, "analytic"), []).append(plain)
                advance()
    return table_from(found, sizes, seeds, episodes)


def table_from(found: Found, sizes: Sequence[int], seeds: int, episodes: int) -> StudyTable:
    """The result of all measurements; `found` has per size and model one entry for each seed."""
    rows = [row_of(size, name, what, each) for (size, name), each in found.items() for what in each[0]]
    description = DESCRIPTION.format(seeds=seeds, returns=RETURNS.format(episodes=episodes) if episodes else "")
    title = "How much do known equations help beside data?"
    return StudyTable(title, description, rows, table_of(rows), findings(found, sizes), keys=2)


def fit_models(data: Transitions, fit: Fit) -> dict[str, Any]:
    """The learned models and the hybrid, trained on the same steps."""
    config = config_for(Bouncer.env_id, EnsembleConfig, probabilistic=False, reward="given")
    learned, _ = fit_ensemble(data, config, fit)
    hybrid, _ = fit_residual(data, Bouncer().free(), config, fit)
    net = StackedNet(config, fit.seed)
    pair = raw_pair(net, config, data)
    fit_stacked(net, pair, pair, fit, target_resolution(data))
    every = EnsembleModel(config, net.eval(), propagate="mean")
    return {"learned": learned.propagated("mean"), "learned, every step": every, "hybrid": hybrid}


@torch.no_grad()
def measure(model: Any, other: Transitions, seed: int, episodes: int) -> dict[str, float]:
    """All measures of one model; its return only where there are episodes."""
    unit = other.next_obs.std(0)
    off = ((model.step(other.obs, other.action)[0] - other.next_obs) / unit).square().mean(1)
    touch = other.next_obs[:, 1].minimum(other.obs[:, 1]) < 0
    errors = {
        "one step": float(off.mean().sqrt()), "contact": float(off[touch].mean().sqrt()),
        "ten steps": float(multi_step_error(model, other, 10, unit)),
    }  # fmt: skip
    if not episodes:
        return errors
    played = run_episodes(
        PLANNER, model, BOUNCER, range(seed, seed + episodes), budget=Budget(model_calls=10**9), seed=seed
    )
    return errors | {"return": float(played.returns.mean())}


def multi_step_error(model: Any, other: Transitions, length: int, unit: Tensor) -> Tensor:
    """Root mean square error after `length` steps, from every `length`-th step on (an episode has 100)."""
    truth, actions = (x.view(-1, length, x.shape[1]) for x in (other.next_obs, other.action))
    at = other.obs.view(-1, length, truth.shape[2])[:, 0]
    for t in range(length):
        at = model.step(at, actions[:, t])[0]
    return ((at - truth[:, -1]) / unit).square().mean().sqrt()


def row_of(size: int, name: str, what: str, each: Sequence[dict[str, float]]) -> Row:
    """The mean of one measure over seeds with its interval."""
    mean = student([figures[what] for figures in each])
    row = {"steps": size, "model": name, "measure": what, "value": mean.value, "low": mean.low, "high": mean.high}
    return row | {"seeds": len(each), "text": format_estimate(mean)}


def table_of(rows: Sequence[Row]) -> list[Row]:
    """One line per size and model, a column per measure."""
    table: dict[tuple[int, str], Row] = {}
    for row in sorted(rows, key=lambda row: (row["steps"], MODELS.index(row["model"]))):
        line = table.setdefault((row["steps"], row["model"]), {"steps": row["steps"], "model": row["model"]})
        line[row["measure"]] = row["text"]
    return list(table.values())


def findings(found: Found, sizes: Sequence[int]) -> list[str]:
    """Per measure and size the gain of the hybrid over each other model, paired by seed."""
    lines = []
    for what in (what for what in MEASURES if what in found[sizes[0], "hybrid"][0]):
        sign = 1 if what == "return" else -1
        for size in sizes:
            parts = []
            for other in OTHERS:
                pairs = zip(found[size, "hybrid"], found[size, other])
                gain = student([sign * (mine[what] - theirs[what]) for mine, theirs in pairs])
                clear = "clear" if gain.low > 0 else "worse" if gain.high < 0 else "not clear"
                parts.append(f"{other} by {format_estimate(gain)} ({clear})")
            lines.append(f"{what}, {size:,} steps: the hybrid is better than: {'; '.join(parts)}")
    return lines


def panels(rows: Sequence[Row]) -> tuple[str, ...]:
    """One panel per error."""
    return ("one step", "ten steps")


def draw(axes: Sequence[Any], rows: Sequence[Row]) -> None:
    """Errors against the number of training steps."""
    for panel, what in zip(axes, panels(rows)):
        shown = [row for row in rows if row["measure"] == what]
        plot_lines(
            panel, sorted(shown, key=lambda row: (MODELS.index(row["model"]), row["steps"])), ("model",), "steps"
        )
        panel.set_xscale("log")
        sizes = sorted({row["steps"] for row in shown})
        panel.set_xticks(sizes, [f"{size:,}" for size in sizes])
        panel.set_xticks([], minor=True)
        panel.set_yscale("log")
        panel.set_ylabel(f"error after {what}, deviations")
