"""PETS: plan with an ensemble, learn from what happened, plan better (Chua et al. 2018, algorithm 1).

A round steps all environments at once to their ends, then a fresh ensemble is trained on every step so far. Rounds are
functions of (settings, number of the round, steps so far): environments begin anew, and training, planning and resets
draw from streams of their own. So the steps are all there is to keep: no optimiser, no generator and no half episode
outlives a round, and a training that was stopped goes on to the same weights (`checkpoint.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from ...planning.shooting import CEM
from ...planning.shooting_settings import GaussianSettings
from ..data.collector import collect, tensors
from ..data.transitions import Transitions, join
from ..episodes import BatchedEnv, steps_of
from ..policies.mpc import MPCPolicy
from ..world_models.ensemble.fit import EnsembleReport, fit_ensemble
from ..world_models.ensemble.model import EnsembleModel
from ..world_models.ensemble.net import EnsembleConfig
from ..world_models.mlp.fit import Fit, config_for
from .checkpoint import Progress, Row, recall, remember

Watch = Callable[[Row, EnsembleModel], None]


@dataclass(frozen=True)
class PETS:
    """Settings of a training.

    env_id: gymnasium's name of the environment. steps: real steps in all; first: those of them under random actions,
        each held `hold` steps on average. envs: environments stepped at once.
    planner: of each decision, over vectors or slots as the environment has them. nodes: its cap; one step of one
        member is one. members: networks in the ensemble. fit: how they are trained. config: other fields of
        `EnsembleConfig`. settings: for `gymnasium.make`.
    """

    env_id: str = "Pendulum-v1"
    steps: int = 1000
    first: int = 200
    hold: int = 4
    envs: int = 1
    planner: Any = field(default_factory=lambda: CEM(horizon=20, smoothing=0.1, vectors=GaussianSettings(std=1.0)))
    nodes: int = 4096
    members: int = 5
    fit: Fit = field(default_factory=Fit)
    config: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("first", 20), ("steps", self.first), ("envs", 1), ("nodes", 1), ("hold", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")

    def train(
        self, folder: str | Path | None = None, watch: Watch | None = None
    ) -> tuple[EnsembleModel, EnsembleReport]:
        """Collect, train and plan in turn until all steps are taken; the ensemble trained on all of them, and how well.

        folder: keeps every finished round there and goes on from it; the model is saved there at the end.
        watch: called after each round of planning with its figures and the model that planned: round, steps the model
            was trained on, its held_out and train (shares of variance unexplained), episode_return and episode_length,
            means over environments.

        Errors: ValueError for an environment that cannot be planned in, a folder of other settings, a NaN in a step.
        """
        config = config_for(self.env_id, EnsembleConfig, members=self.members, **self.config)
        found = Progress([], []) if folder is None else recall(folder, repr(self))
        while True:
            model, report = self._fit(found, config)
            if sum(map(len, found.parts)) >= self.steps:
                break
            self._play(model, report, found, watch)
            if folder is not None:
                remember(folder, repr(self), found)
        if folder is not None:
            model.save(folder)
        return model, report

    def _fit(self, found: Progress, config: EnsembleConfig) -> tuple[EnsembleModel, EnsembleReport]:
        """An ensemble of all steps so far, the first of them taken now where there are none."""
        if not found.parts:
            found.parts.append(self._random())
        number = len(found.parts)
        fit = self.fit if number == 1 else replace(self.fit, seed=stream(self.fit.seed, number))
        return fit_ensemble(join(found.parts), config, fit)

    def _random(self) -> Transitions:
        env = gymnasium.make(self.env_id, **self.settings)
        return collect(env, self.first, seed=self.seed, hold=self.hold)

    def _play(self, model: EnsembleModel, report: EnsembleReport, found: Progress, watch: Watch | None) -> None:
        """One episode of every environment, or as much of it as steps are left."""
        number, taken = len(found.parts), sum(map(len, found.parts))
        part, returns, lengths = self._round(model, number, self.steps - taken)
        found.parts.append(part)
        row: Row = {"round": number, "steps": taken, "held_out": report.held_out, "train": report.train}
        row |= {"episode_return": float(returns.mean()), "episode_length": float(lengths.mean())}
        found.rows.append(row)
        if watch is not None:
            watch(row, model)

    def _round(self, model: EnsembleModel, number: int, most: int) -> tuple[Transitions, Any, Any]:
        """At most so many steps under the planner, with returns [E] and lengths [E] as far as they came."""
        seeds = [stream(self.seed, number, i) for i in range(self.envs)]
        worlds = BatchedEnv(self.env_id, seeds, **self.settings)
        agent = MPCPolicy(self.planner, model, self.nodes, seeds=seeds, seed=self.seed)
        rows: list[tuple[Any, ...]] = []
        for step in steps_of(agent, worlds):
            for i in np.flatnonzero(step.live)[: most - len(rows)].tolist():
                action = step.actions[i]
                rows.append((step.seen[i], action, step.rewards[i], step.reached[i], step.ended[i]))
            if len(rows) == most:
                break
        worlds.close()
        return tensors(rows), worlds.returns, worlds.lengths


def stream(*numbers: int) -> int:
    """A seed below 2^31 made from others, so that no two rounds or environments share one."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0] >> 1)
