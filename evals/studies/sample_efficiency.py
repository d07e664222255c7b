"""How many real steps until a task is solved: a learned model that is planned with, or model-free learning?

A network of random steps under MPC, and PETS with `full`, beside SAC and PPO (Pendulum-v1), DQN and PPO (CartPole-v1)
of stable-baselines3, judged alike: by episodes of the same seeds, which nothing learns from, at several counts of
training steps. Every curve is kept as soon as it is drawn, so that a study that was stopped goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from rich.console import Console

from ...control.agents.pets import PETS
from ...control.data.collector import collect
from ...control.episodes import run_episodes
from ...control.tasks import CARTPOLE, PENDULUM, view
from ...control.world_models.mlp.fit import Fit, config_for, fit_mlp
from ...planning import CEM, MPPI
from ..baselines import train
from ..cli.train_control import shooter
from ..records.statistics import Estimate, student
from ..tasks import BadInput
from .sheet import Row, Sheet, lines, said

TARGETS = {"Pendulum-v1": -160.0, "CartPole-v1": 475.0}
METHODS = {"Pendulum-v1": ("mpc", "pets", "sac", "ppo"), "CartPole-v1": ("mpc", "pets", "dqn", "ppo")}
Point = tuple[int, float]
NEVER = float("inf")
FIRST = 10_000
"""Seed of the first probing episode; nothing learns from them."""

ABOUT = (
    "Mean return of {probes} episodes of seeds {first} and on, which nothing is learned from, after so many real steps "
    "of training. Steps to target: the first count judged at which it is reached ({targets}). mpc: a network of two "
    "layers of 64 trained on random steps, then CEM over 20 steps at {nodes:,} evaluations (Pendulum-v1, rewards "
    "learned), MPPI over 10 steps at 64 with the LQR cost-to-go of that network at the leaves (CartPole-v1, rewards "
    "and ends given). pets (--full): 5 probabilistic networks, steps of its own after 200 random ones, nothing at the "
    "leaves. sac, ppo, dqn: stable-baselines3 with the settings of rl-baselines3-zoo, {steps} real steps at most. Mean "
    "and 95 % t interval over {seeds} seeds."
)


@dataclass(frozen=True)
class Sizes:
    """seeds: trainings of each method. probes: episodes of a judgement. counts: random steps that `mpc` learns from.
    steps: real steps of each other method; one that is not named is left out. judged: how often a baseline is judged.
    epochs: of every network. nodes: evaluations a decision of `pets`, and of `mpc` on Pendulum-v1."""

    seeds: int = 3
    probes: int = 5
    counts: Sequence[int] = (100, 200, 400, 800)
    steps: Mapping[str, int] = field(default_factory=lambda: {"sac": 4000, "ppo": 20_000, "dqn": 20_000})
    judged: int = 10
    epochs: int = 300
    nodes: int = 4096


SMALL = Sizes()
MOST = {"pets": 1000, "sac": 20_000, "ppo": 100_000, "dqn": 50_000}
FULL = Sizes(seeds=5, probes=20, counts=(50, 100, 200, 400, 800, 1600), steps=MOST)


def run(
    full: bool = False, seed: int = 0, *, sizes: Sizes | None = None, envs: Sequence[str] = tuple(TARGETS),
    keep: Path | None = None,
) -> Sheet:  # fmt: skip
    """Both environments, 3 seeds; `full`: 5 seeds, PETS, and as many steps as the baselines are known to need.

    keep: a file of finished curves, read first and added to; None keeps none.
    """
    sizes = sizes or (FULL if full else SMALL)
    curves: dict[tuple[str, str], list[list[Point]]] = {}
    for at in range(seed, seed + sizes.seeds):
        for env in envs:
            for method in (m for m in METHODS[env] if m == "mpc" or m in sizes.steps):
                try:
                    points = kept(keep, sizes, env, method, at)
                except BadInput as error:
                    Console(stderr=True).print(f"{method} left out: {error}", highlight=False, markup=False)
                    continue
                curves.setdefault((env, method), []).append(points)
    rows = [row for (env, method), each in curves.items() for row in rows_of(env, method, each)]
    about = ABOUT.format(
        probes=sizes.probes, first=FIRST, targets=", ".join(f"{v:g} on {k}" for k, v in TARGETS.items()),
        nodes=sizes.nodes, steps=", ".join(f"{k} {v:,}" for k, v in sizes.steps.items()), seeds=sizes.seeds,
    )  # fmt: skip
    return Sheet("How many real steps until it is solved?", about, rows, table_of(rows), verdicts(rows))


def kept(keep: Path | None, sizes: Sizes, env: str, method: str, seed: int) -> list[Point]:
    """The curve as it was kept under the same sizes, or drawn and kept now."""
    name = [env, method, seed, repr(replace(sizes, seeds=1))]
    if keep is not None and keep.exists():
        for line in keep.read_text().splitlines():
            if (row := json.loads(line))["name"] == name:
                return [(int(steps), float(value)) for steps, value in row["points"]]
    points = curve(env, method, seed, sizes)
    if keep is not None:
        keep.parent.mkdir(parents=True, exist_ok=True)
        with keep.open("a") as file:
            file.write(json.dumps({"name": name, "points": points}) + "\n")
    return points


def curve(env: str, method: str, seed: int, sizes: Sizes) -> list[Point]:
    """(steps, mean return) of one training."""
    if method == "mpc":
        return [(count, modelled(env, seed, count, sizes)) for count in sizes.counts]
    if method == "pets":
        return planned(env, seed, sizes)
    points: list[Point] = []

    def probe(taken: int, act: Callable[[np.ndarray], Any]) -> None:
        points.append((taken, judged(env, act, sizes.probes)))

    steps = sizes.steps[method]
    train(method, env, steps, seed=seed, every=max(1, steps // sizes.judged), probe=probe)
    return points


def modelled(env: str, seed: int, count: int, sizes: Sizes) -> float:
    """Mean return of MPC with a network of so many random steps."""
    fit, probes = Fit(epochs=sizes.epochs, seed=seed), range(FIRST, FIRST + sizes.probes)
    if env == CARTPOLE.env_id:
        model, _ = fit_mlp(collect(env, count, seed=seed), config_for(env, reward="given"), fit)
        done = run_episodes(MPPI(horizon=10), view(CARTPOLE, model, "mppi"), CARTPOLE, probes, 64, seed=seed)
    else:
        model, _ = fit_mlp(collect(env, count, seed=seed, action_repeat=4), config_for(env), fit)
        done = run_episodes(CEM(**PENDULUM.settings["cem"]), model, PENDULUM, probes, sizes.nodes, seed=seed)
    return float(done.returns.mean())


def planned(env: str, seed: int, sizes: Sizes) -> list[Point]:
    """The curve of PETS: each round's model, and the last."""
    planner, points, steps = shooter(env), [], sizes.steps["pets"]

    def judge(taken: int, model: Any) -> None:
        probes = range(FIRST, FIRST + sizes.probes)
        points.append((taken, float(run_episodes(planner, model, env, probes, sizes.nodes, seed=seed).returns.mean())))

    fit = Fit(epochs=sizes.epochs, seed=seed)
    pets = PETS(env, steps, min(200, steps), planner=planner, nodes=sizes.nodes, fit=fit, seed=seed)
    model, _ = pets.train(watch=lambda row, model: judge(int(row["steps"]), model))
    judge(steps, model)
    return points


def judged(env: str, act: Callable[[np.ndarray], Any], probes: int) -> float:
    """Mean return of a policy over the probing episodes."""
    total, world = 0.0, gymnasium.make(env)
    for i in range(probes):
        (seen, _), over = world.reset(seed=FIRST + i), False
        while not over:
            seen, reward, ended, cut, _ = world.step(act(seen))
            total, over = total + float(reward), ended or cut
    return total / probes


def reached(points: Sequence[Point], target: float) -> float:
    """The first count of steps at which the target is reached, infinity for never."""
    return min((steps for steps, value in points if value >= target), default=NEVER)


def rows_of(env: str, method: str, curves: Sequence[Sequence[Point]]) -> list[Row]:
    """One row for each count: mean return over seeds, and how many steps each seed took to the target."""
    took = [reached(points, TARGETS[env]) for points in curves]
    words = ", ".join("never" if t == NEVER else f"{t:,.0f}" for t in took)
    if len(took) > 1 and max(took) < NEVER:
        words += f"; mean {said(student(took), 4)}"
    rows = []
    for place in range(min(map(len, curves))):
        mean = student([points[place][1] for points in curves])
        row = {"env": env, "method": method, "steps": curves[0][place][0], "seeds": len(curves)}
        rows.append(row | {"value": mean.value, "low": mean.low, "high": mean.high, "to target": words})
    return rows


def table_of(rows: Sequence[Row]) -> list[Row]:
    """One line for each row."""
    return [
        {"environment": r["env"], "method": r["method"], "steps": f"{r['steps']:,}", "return": cell(r)} for r in rows
    ]


def cell(row: Row) -> str:
    return said(Estimate(row["value"], row["low"], row["high"]), 4)


def verdicts(rows: Sequence[Row]) -> list[str]:
    pairs = dict.fromkeys((row["env"], row["method"], row["to target"]) for row in rows)
    return [f"{env}, {method}: steps to {TARGETS[env]:g}, each seed: {took}" for env, method, took in pairs]


def panels(rows: Sequence[Row]) -> list[str]:
    """One for each environment."""
    return list(dict.fromkeys(row["env"] for row in rows))


def draw(axes: Any, rows: Sequence[Row]) -> None:
    for panel, env in zip(axes, panels(rows)):
        lines(panel, [row for row in rows if row["env"] == env], ("method",), "steps")
        panel.axhline(TARGETS[env], color="0.5", linewidth=0.8, linestyle=":")
        panel.set_xscale("log")
        panel.set_ylabel(f"return on {env}")
