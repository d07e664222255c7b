"""How many real steps until a task is solved: an ensemble that is planned with, or model-free learning?

PETS with CEM beside SAC and PPO (Pendulum-v1), DQN and PPO (CartPole-v1) of stable-baselines3, judged alike: by
episodes of the same seeds, which nothing learns from, at several counts of training steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from rich.console import Console

from ...control.agents.pets import PETS
from ...control.episodes import run_episodes
from ...control.models.fit import Fit
from ..baselines import train
from ..statistics import Estimate, student
from ..tasks import BadInput
from ..train_control import shooter
from .sheet import Row, Sheet, lines, said

TARGETS = {"Pendulum-v1": -160.0, "CartPole-v1": 475.0}
BASELINES = {"Pendulum-v1": ("sac", "ppo"), "CartPole-v1": ("dqn", "ppo")}
Point = tuple[int, float]
ABOUT = (
    "Mean return of {probes} episodes of seeds {first} and on, which nothing is learned from, after so many real "
    "steps of training. Steps to target: the first count at which it is reached ({targets}), checked every "
    "{every:,} steps for the baselines and after each round (an episode) for PETS; never: not within its "
    "{steps:,} (PETS {own:,}). PETS: 5 probabilistic networks, CEM at {nodes:,} evaluations. Mean and 95 % t "
    "interval over {seeds} seeds."
)


def run(
    full: bool = False,
    seed: int = 0,
    *,
    seeds: int | None = None,
    steps: int | None = None,
    own: int = 1000,
    probes: int | None = None,
    envs: Sequence[str] | None = None,
    epochs: int = 300,
    nodes: int = 4096,
) -> Sheet:
    """Pendulum-v1, one seed, 5,000 steps of the baselines; `full`: also CartPole-v1, 5 seeds, 50,000 steps."""
    envs = envs or (tuple(TARGETS) if full else ("Pendulum-v1",))
    seeds, steps, probes = (
        seeds or (5 if full else 1),
        steps or (50_000 if full else 5000),
        probes or (20 if full else 5),
    )
    every = steps // 5
    rows = []
    for env in envs:
        for method in ("pets", *BASELINES[env]):
            try:
                curves = [curve(env, method, seed + i, steps, own, every, probes, epochs, nodes) for i in range(seeds)]
            except BadInput as error:
                Console(stderr=True).print(f"{method} left out: {error}", highlight=False, markup=False)
                continue
            rows += rows_of(env, method, curves)
    about = ABOUT.format(
        probes=probes, first=10_000, targets=TARGETS, every=every, steps=steps, own=own, nodes=nodes, seeds=seeds
    )
    return Sheet("How many real steps until it is solved?", about, rows, table_of(rows), verdicts(rows))


def curve(
    env: str, method: str, seed: int, steps: int, own: int, every: int, probes: int, epochs: int, nodes: int
) -> list[Point]:
    """(steps, mean return) of one training."""
    if method == "pets":
        return planned(env, seed, own, probes, epochs, nodes)
    points: list[Point] = []

    def probe(taken: int, act: Callable[[np.ndarray], Any]) -> None:
        points.append((taken, judged(env, act, probes)))

    train(method, env, steps, seed=seed, every=every, probe=probe)
    return points


def planned(env: str, seed: int, steps: int, probes: int, epochs: int, nodes: int) -> list[Point]:
    """The same of PETS: each round's model, and the last."""
    planner, points = shooter(env), []

    def judge(taken: int, model: Any) -> None:
        done = run_episodes(planner, model, env, range(10_000, 10_000 + probes), nodes, seed=seed)
        points.append((taken, float(done.returns.mean())))

    pets = PETS(env, steps, 200, planner=planner, nodes=nodes, fit=Fit(epochs=epochs, seed=seed), seed=seed)
    model, _ = pets.train(watch=lambda row, model: judge(int(row["steps"]), model))
    judge(steps, model)
    return points


def judged(env: str, act: Callable[[np.ndarray], Any], probes: int) -> float:
    """Mean return of a policy over the probing episodes."""
    total, world = 0.0, gymnasium.make(env)
    for i in range(probes):
        (seen, _), over = world.reset(seed=10_000 + i), False
        while not over:
            seen, reward, ended, cut, _ = world.step(act(seen))
            total, over = total + float(reward), ended or cut
    return total / probes


def reached(points: Sequence[Point], target: float) -> float:
    """The first count of steps at which the target is reached, infinity for never."""
    return min((steps for steps, value in points if value >= target), default=float("inf"))


def rows_of(env: str, method: str, curves: Sequence[Sequence[Point]]) -> list[Row]:
    """One row for each count: mean return over seeds, and how many steps each seed took to the target."""
    took = [reached(points, TARGETS[env]) for points in curves]
    words = ", ".join("never" if t == float("inf") else f"{t:,.0f}" for t in took)
    rows = []
    for place in range(min(map(len, curves))):
        mean = student([points[place][1] for points in curves])
        row = {"env": env, "method": method, "steps": curves[0][place][0], "seeds": len(curves)}
        rows.append(row | {"value": mean.value, "low": mean.low, "high": mean.high, "to target": words})
    return rows


def table_of(rows: Sequence[Row]) -> list[Row]:
    """One line for each row."""
    return [
        {"environment": r["env"], "method": r["method"], "steps": f"{r['steps']:,}", "return": cell(r),
         "steps to target, each seed": r["to target"]}
        for r in rows
    ]  # fmt: skip


def cell(row: Row) -> str:
    return said(Estimate(row["value"], row["low"], row["high"]), 4)


def verdicts(rows: Sequence[Row]) -> list[str]:
    pairs = dict.fromkeys((row["env"], row["method"], row["to target"]) for row in rows)
    return [f"{env}, {method}: {took} steps to {TARGETS[env]:g}" for env, method, took in pairs]


def draw(axes: Any, rows: Sequence[Row]) -> None:
    lines(axes, rows, ("env", "method"), "steps")
    axes.set_xscale("log")
    axes.set_ylabel("return")
