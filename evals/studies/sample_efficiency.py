"""How many environment steps until a task is solved, by planning with a learned model and by model-free learning?

MPC with a network trained on random steps, and PETS with `full`, beside SAC and PPO (Pendulum-v1), DQN and PPO
(CartPole-v1) of stable-baselines3. All are evaluated at several numbers of training steps on held-out episodes of the
same seeds. Every curve is stored when it is complete, so that a stopped study can be continued.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from pydantic import BaseModel, TypeAdapter, ValidationError
from rich.console import Console

from ...control.agents.pets import PETS
from ...control.data.collector import collect
from ...control.episodes import run_episodes
from ...control.tasks import CARTPOLE, PENDULUM, view
from ...control.world_models.mlp.fit import Fit, fit_mlp
from ...control.world_models.spaces import config_for
from ...planning import MPPI
from ...planning.files import write_whole
from ..baselines import train
from ..console import say
from ..errors import BadInput
from ..planners import cem_for_environment, planner_for
from ..progress import progress
from ..records.statistics import Estimate, student
from .study_table import Row, StudyTable, format_estimate, plot_lines

TARGETS = {"Pendulum-v1": -160.0, "CartPole-v1": 475.0}
METHODS = {"Pendulum-v1": ("mpc", "pets", "sac", "ppo"), "CartPole-v1": ("mpc", "pets", "dqn", "ppo")}
Point = tuple[int, float]
NEVER = float("inf")


class _Curve(BaseModel):
    """A stored curve. name: environment, method, seed and sizes."""

    name: tuple[str, str, int, str]
    points: list[Point]


_CURVE = TypeAdapter(_Curve)
FIRST = 10_000
"""Seed of the first evaluation episode; no method trains on these."""

DESCRIPTION = (
    "Mean return of {episodes} held-out episodes with seeds from {first} on, after a number of environment steps. "
    "Steps to target: the first evaluation at which the target is reached ({targets}). mpc: a network of two layers of "
    "64 trained on random steps, then CEM over 20 steps at {nodes:,} evaluations (Pendulum-v1, rewards learned), MPPI "
    "over 10 steps at 64 with the LQR cost-to-go of that network as terminal value (CartPole-v1, rewards and "
    "terminations given). pets (--full): 5 probabilistic networks, 200 random steps first, no terminal value. sac, "
    "ppo, dqn: stable-baselines3 with the settings of rl-baselines3-zoo, at most {steps} environment steps. Mean and "
    "95 % t interval over {seeds} seeds."
)


@dataclass(frozen=True)
class Sizes:
    """How much is trained and evaluated.

    seeds: trainings per method. episodes: per evaluation. step_counts: random steps that `mpc` trains on. max_steps:
    environment steps of each other method; a method without an entry is left out. evaluations: per baseline. epochs:
    of every network. nodes: model evaluations per decision of `pets`, and of `mpc` on Pendulum-v1.
    """

    seeds: int = 3
    episodes: int = 5
    step_counts: Sequence[int] = (100, 200, 400, 800)
    max_steps: Mapping[str, int] = field(default_factory=lambda: {"sac": 4000, "ppo": 20_000, "dqn": 20_000})
    evaluations: int = 10
    epochs: int = 300
    nodes: int = 4096


SMALL = Sizes()
FULL_STEPS = {"pets": 1000, "sac": 20_000, "ppo": 100_000, "dqn": 50_000}
FULL = Sizes(seeds=5, episodes=20, step_counts=(50, 100, 200, 400, 800, 1600), max_steps=FULL_STEPS)


def run(
    full: bool = False, seed: int = 0, *, sizes: Sizes | None = None, envs: Sequence[str] = tuple(TARGETS),
    curves_file: Path | None = None, console: Console | None = None,
) -> StudyTable:  # fmt: skip
    """Run both environments with 3 seeds; `full` uses 5 seeds, PETS, and as many steps as the baselines need.

    curves_file: finished curves, which are read first and appended to; None stores none.
    """
    sizes = sizes or (FULL if full else SMALL)
    curves: dict[tuple[str, str], list[list[Point]]] = {}
    names = [(env, method) for env in envs for method in METHODS[env] if method in ("mpc", *sizes.max_steps)]
    with progress(sizes.seeds * len(names), "study sample-efficiency", console) as advance:
        for at in range(seed, seed + sizes.seeds):
            for env, method in names:
                try:
                    points = load_or_compute(curves_file, sizes, env, method, at)
                    curves.setdefault((env, method), []).append(points)
                except BadInput as error:
                    say(Console(stderr=True), f"{method} left out: {error}")
                advance(text=f"{method} on {env}")
    rows = [row for (env, method), each in curves.items() for row in rows_of(env, method, each)]
    description = DESCRIPTION.format(
        episodes=sizes.episodes, first=FIRST, targets=", ".join(f"{v:g} on {k}" for k, v in TARGETS.items()),
        nodes=sizes.nodes, steps=", ".join(f"{k} {v:,}" for k, v in sizes.max_steps.items()), seeds=sizes.seeds,
    )  # fmt: skip
    title = "How many environment steps until a task is solved?"
    return StudyTable(title, description, rows, table_of(rows), findings(rows), keys=3)


def load_or_compute(curves_file: Path | None, sizes: Sizes, env: str, method: str, seed: int) -> list[Point]:
    """The stored curve of these sizes, or a new one, which is stored."""
    name = [env, method, seed, repr(replace(sizes, seeds=1))]
    stored = [] if curves_file is None else _stored_curves(curves_file)
    for row in stored:
        if row["name"] == name:
            return [(int(steps), float(value)) for steps, value in row["points"]]
    points = learning_curve(env, method, seed, sizes)
    if curves_file is not None:
        curves_file.parent.mkdir(parents=True, exist_ok=True)
        rows = [*stored, {"name": name, "points": points}]
        write_whole(curves_file, "".join(json.dumps(row) + "\n" for row in rows))
    return points


def _stored_curves(file: Path) -> list[dict[str, Any]]:
    """The curves in a file, none where there is no file. Errors: BadInput for a line that is no curve."""
    if not file.exists():
        return []
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        try:
            _CURVE.validate_json(line)
        except ValidationError:
            raise BadInput(f"{file}, line {number}: not a learning curve; choose another --out") from None
        rows.append(json.loads(line))
    return rows


def learning_curve(env: str, method: str, seed: int, sizes: Sizes) -> list[Point]:
    """(environment steps, mean return) of one training."""
    if method == "mpc":
        return [(count, mpc_return(env, seed, count, sizes)) for count in sizes.step_counts]
    if method == "pets":
        return pets_curve(env, seed, sizes)
    points: list[Point] = []

    def probe(taken: int, act: Callable[[np.ndarray], Any]) -> None:
        points.append((taken, evaluate_policy(env, act, sizes.episodes)))

    steps = sizes.max_steps[method]
    train(method, env, steps, seed=seed, every=max(1, steps // sizes.evaluations), probe=probe)
    return points


def mpc_return(env: str, seed: int, count: int, sizes: Sizes) -> float:
    """Mean return of MPC with a network trained on `count` random steps."""
    fit, seeds = Fit(epochs=sizes.epochs, seed=seed), range(FIRST, FIRST + sizes.episodes)
    if env == CARTPOLE.env_id:
        model, _ = fit_mlp(collect(env, count, seed=seed), config_for(env, reward="given"), fit)
        done = run_episodes(MPPI(horizon=10), view(CARTPOLE, model, "sequences"), CARTPOLE, seeds, 64, seed=seed)
    else:
        model, _ = fit_mlp(collect(env, count, seed=seed, action_repeat=4), config_for(env), fit)
        done = run_episodes(planner_for(PENDULUM, "cem"), model, PENDULUM, seeds, sizes.nodes, seed=seed)
    return float(done.returns.mean())


def pets_curve(env: str, seed: int, sizes: Sizes) -> list[Point]:
    """The curve of PETS, evaluated with the model of each round and with the last one."""
    planner, steps = cem_for_environment(env), sizes.max_steps["pets"]
    points: list[Point] = []

    def evaluate(taken: int, model: Any) -> None:
        seeds = range(FIRST, FIRST + sizes.episodes)
        points.append((taken, float(run_episodes(planner, model, env, seeds, sizes.nodes, seed=seed).returns.mean())))

    fit = Fit(epochs=sizes.epochs, seed=seed)
    pets = PETS(env, steps, min(200, steps), planner=planner, nodes=sizes.nodes, fit=fit, seed=seed)
    model, _ = pets.train(watch=lambda row, model: evaluate(int(row["steps"]), model))
    evaluate(steps, model)
    return points


def evaluate_policy(env: str, act: Callable[[np.ndarray], Any], episodes: int) -> float:
    """Mean return of a policy over the evaluation episodes."""
    total, environment = 0.0, gymnasium.make(env)
    for i in range(episodes):
        (obs, _), done = environment.reset(seed=FIRST + i), False
        while not done:
            obs, reward, terminated, truncated, _ = environment.step(act(obs))
            total, done = total + float(reward), terminated or truncated
    return total / episodes


def steps_to_target(points: Sequence[Point], target: float) -> float:
    """The first number of steps at which the target is reached, infinity where it never is."""
    return min((steps for steps, value in points if value >= target), default=NEVER)


def rows_of(env: str, method: str, curves: Sequence[Sequence[Point]]) -> list[Row]:
    """One row per evaluation: mean return over seeds, and each seed's steps to the target."""
    steps = [steps_to_target(points, TARGETS[env]) for points in curves]
    text = ", ".join("never" if t == NEVER else f"{t:,.0f}" for t in steps)
    if len(steps) > 1 and max(steps) < NEVER:
        text += f"; mean {format_estimate(student(steps), 4)}"
    rows = []
    for i in range(min(map(len, curves))):
        mean = student([points[i][1] for points in curves])
        row = {"env": env, "method": method, "steps": curves[0][i][0], "seeds": len(curves)}
        rows.append(row | {"value": mean.value, "low": mean.low, "high": mean.high, "to target": text})
    return rows


def table_of(rows: Sequence[Row]) -> list[Row]:
    """One line per row."""
    return [
        {"environment": r["env"], "method": r["method"], "steps": f"{r['steps']:,}", "return": cell(r)} for r in rows
    ]


def cell(row: Row) -> str:
    """The mean return of a row with its interval."""
    return format_estimate(Estimate(row["value"], row["low"], row["high"]), 4)


def findings(rows: Sequence[Row]) -> list[str]:
    """Each seed's steps to the target per environment and method."""
    pairs = dict.fromkeys((row["env"], row["method"], row["to target"]) for row in rows)
    return [f"{env}, {method}: steps to {TARGETS[env]:g}, each seed: {steps}" for env, method, steps in pairs]


def panels(rows: Sequence[Row]) -> list[str]:
    """One panel per environment."""
    return list(dict.fromkeys(row["env"] for row in rows))


def draw(axes: Sequence[Any], rows: Sequence[Row]) -> None:
    """Return against environment steps, with the target as a dotted line."""
    for panel, env in zip(axes, panels(rows)):
        plot_lines(panel, [row for row in rows if row["env"] == env], ("method",), "steps")
        panel.axhline(TARGETS[env], color="0.5", linewidth=0.8, linestyle=":")
        panel.set_xscale("log")
        panel.set_ylabel(f"return on {env}")
