"""PETS: plan with an ensemble, train it on what happened, plan better (Chua et al. 2018, algorithm 1).

A round steps all environments in lock step to the end of their episodes; then a new ensemble is trained on all steps so
far. A round is a function of the settings, its number and the steps so far: environments are reset, and training,
planning and resets have random streams of their own. So only the steps are saved; no optimiser, generator or unfinished
episode outlives a round, and a training that was stopped goes on to bit-equal weights (`checkpoint.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from ...planning.interface import Planner
from ...planning.settings_checks import check_integers
from ...planning.shooting import CEM
from ...planning.shooting_settings import GaussianSettings
from ..data.collector import collect
from ..data.transitions import Row as Step
from ..data.transitions import Transitions, join, transitions_of
from ..envs import BatchedEnv
from ..episodes import iterate_decisions
from ..policies.mpc import MPCPolicy
from ..world_models.ensemble.fit import EnsembleReport, fit_ensemble
from ..world_models.ensemble.model import EnsembleModel
from ..world_models.ensemble.net import EnsembleConfig
from ..world_models.mlp.fit import Fit
from ..world_models.spaces import config_for
from .checkpoint import TrainingState, load_state, save_state, settings_of
from .log import Row

Watch = Callable[[Row, EnsembleModel], None]
"""Called after each round of planning with its figures and the model that planned."""


@dataclass(frozen=True)
class PETS:
    """Settings of a training.

    env_id: gymnasium's name of the environment. steps: environment steps in all. random_steps: how many of them are
        taken under random actions first, each repeated `action_repeat` steps on average. envs: environments stepped in
        lock step.
    planner: of each decision. nodes: its cap per decision; one step of one member is one node. members: networks in the
        ensemble. fit: how they are trained. config: other fields of `EnsembleConfig`. settings: for `gymnasium.make`.

    Errors: ValueError for numbers that are too small.
    """

    env_id: str = "Pendulum-v1"
    steps: int = 1000
    random_steps: int = 200
    action_repeat: int = 4
    envs: int = 1
    planner: Planner = field(default_factory=lambda: CEM(horizon=20, smoothing=0.1, vectors=GaussianSettings(std=1.0)))
    nodes: int = 4096
    members: int = 5
    fit: Fit = field(default_factory=Fit)
    config: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        check_integers(self, 20, "random_steps")
        check_integers(self, self.random_steps, "steps")
        check_integers(self, 1, "envs", "nodes", "action_repeat", "members")

    def train(
        self, folder: str | Path | None = None, watch: Watch | None = None
    ) -> tuple[EnsembleModel, EnsembleReport]:
        """Collect, train and plan in turn until all steps are taken.

        Returns the ensemble trained on all steps, and how well it fits.
        folder: every finished round is saved there, and training goes on from it, also to more steps than before; the
            model is saved there at the end.
        watch: its figures are round, steps the model was trained on, its held_out and train (shares of variance
            unexplained), and episode_return and episode_length, means over environments.

        Errors: ValueError for an environment that cannot be planned in, a folder of other settings, a NaN in a step.
        """
        env = gymnasium.make(self.env_id, **self.settings) if self.settings else self.env_id
        config = config_for(env, EnsembleConfig, members=self.members, **self.config)
        state = TrainingState([], []) if folder is None else load_state(folder, settings_of(self))
        if state.steps > self.steps:
            raise ValueError(f"the training in {folder} has taken {state.steps} steps already, more than {self.steps}")
        while True:
            model, report = self._fit(state, config)
            if state.steps >= self.steps:
                break
            self._play(model, report, state, watch)
            if folder is not None:
                save_state(folder, settings_of(self), state)
        if folder is not None:
            model.save(folder)
        return model, report

    def _fit(self, state: TrainingState, config: EnsembleConfig) -> tuple[EnsembleModel, EnsembleReport]:
        """An ensemble of all steps so far; where there are none, random steps are collected first."""
        if not state.rounds:
            state.rounds.append(self._random())
        number = len(state.rounds)
        fit = self.fit if number == 1 else replace(self.fit, seed=derived_seed(self.fit.seed, number))
        return fit_ensemble(join(state.rounds), config, fit)

    def _random(self) -> Transitions:
        env = gymnasium.make(self.env_id, **self.settings)
        return collect(env, self.random_steps, seed=self.seed, action_repeat=self.action_repeat)

    def _play(self, model: EnsembleModel, report: EnsembleReport, state: TrainingState, watch: Watch | None) -> None:
        """One episode of every environment, or as much of it as steps remain."""
        number, taken = len(state.rounds), state.steps
        steps, env = self._round(model, number, self.steps - taken)
        state.rounds.append(steps)
        row: Row = {"round": number, "steps": taken, "held_out": report.held_out, "train": report.train}
        row |= {"episode_return": float(env.returns.mean()), "episode_length": float(env.lengths.mean())}
        state.rows.append(row)
        if watch is not None:
            watch(row, model)

    def _round(self, model: EnsembleModel, number: int, most: int) -> tuple[Transitions, BatchedEnv]:
        """At most `most` steps under the planner, and the environments with their returns and lengths so far."""
        seeds = [derived_seed(self.seed, number, i) for i in range(self.envs)]
        env = BatchedEnv(self.env_id, seeds, **self.settings)
        policy = MPCPolicy(self.planner, model, self.nodes, seeds=seeds, seed=self.seed)
        rows: list[Step] = []
        for decision in iterate_decisions(policy, env):
            for i in np.flatnonzero(decision.alive)[: most - len(rows)].tolist():
                before = decision.obs[i], decision.actions[i], float(decision.reward[i])
                rows.append((*before, decision.next_obs[i], decision.terminated[i], decision.truncated[i]))
            if len(rows) == most:
                break
        env.close()
        return transitions_of(rows), env


def derived_seed(*numbers: int) -> int:
    """A seed below 2^31 derived from several numbers, so that no two rounds or environments share one."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0] >> 1)
