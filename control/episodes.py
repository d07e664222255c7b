"""Whole episodes of real gymnasium environments under a planner: the loop of model predictive control.

One environment per seed, all planned for as one batch. An ended episode stays in the batch at its last observation,
which a model that knows ends plans for at no cost, and is neither charged nor stepped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from ..planning.interface import UNITS, Usage
from ..planning.ledger import Budget
from .agents.mpc import MPCAgent
from .tasks import ControlTask


@dataclass(frozen=True)
class Episodes:
    """What E episodes brought.

    returns [E], lengths [E]. charged, spent: [E, units] over the whole episode; divide by lengths for a decision.
    planning: seconds spent planning, for all episodes together.
    """

    seeds: tuple[int, ...]
    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    charged: Usage
    spent: Usage
    planning: float

    def per_decision(self) -> Usage:
        """[E, units] charged a decision, in the mean."""
        return self.charged / np.maximum(self.lengths, 1)[:, None]


class Worlds:
    """One environment per seed, all at the same step. An ended one stays at its last observation."""

    def __init__(self, env_id: str, seeds: Sequence[int], **settings: Any) -> None:
        self.envs = [gymnasium.make(env_id, **settings) for _ in seeds]
        self.seen = np.stack([env.reset(seed=int(seed))[0] for env, seed in zip(self.envs, seeds)])
        self.live = np.ones(len(seeds), np.bool_)
        self.returns = np.zeros(len(seeds))
        self.lengths = np.zeros(len(seeds), np.int64)

    def step(self, actions: Sequence[Any]) -> None:
        """One action per environment; those of ended ones are ignored."""
        for i in np.flatnonzero(self.live).tolist():
            seen, reward, ended, cut, _ = self.envs[i].step(actions[i])
            self.seen[i] = seen
            self.returns[i] += reward
            self.lengths[i] += 1
            self.live[i] = not (ended or cut)

    def close(self) -> None:
        for env in self.envs:
            env.close()


Watch = Callable[[Worlds], None]


def run_episodes(
    planner: Any,
    model: Any,
    task: ControlTask | str,
    seeds: Sequence[int],
    nodes_per_decision: int | None = None,
    *,
    budget: Budget | None = None,
    seed: int = 0,
    warm: bool = True,
    watch: Watch | None = None,
    **settings: Any,
) -> Episodes:
    """Plan, take the first action, look again, until every episode has ended.

    model: as the planner is to see it, `view(task, model, name)`. task: a `ControlTask`, or a gymnasium id.
    seeds: of `reset`, one episode each. nodes_per_decision or budget: the cap of each decision.
    seed: of the planner's own choices. warm: see `MPCAgent`. watch: called after each step.
    settings: for `gymnasium.make`.

    Errors: ValueError for no seeds, for both or neither cap, and whatever planner and model raise.
    """
    if not len(seeds) or (budget is None) == (nodes_per_decision is None):
        raise ValueError("run_episodes wants at least one seed, and either nodes_per_decision or budget")
    cap = budget or Budget(nodes=nodes_per_decision)
    agent = MPCAgent(planner, model, cap, seeds=seeds, seed=seed, warm=warm)
    worlds = Worlds(task if isinstance(task, str) else task.env_id, seeds, **settings)
    charged, spent, planning = np.zeros((len(seeds), len(UNITS))), np.zeros((len(seeds), len(UNITS))), 0.0
    while worlds.live.any():
        begun = time.perf_counter()
        actions, outcome = agent.decide(worlds.seen)
        planning += time.perf_counter() - begun
        charged[worlds.live] += outcome.charged[worlds.live]
        spent[worlds.live] += outcome.spent[worlds.live]
        worlds.step(actions)
        if watch is not None:
            watch(worlds)
    worlds.close()
    return Episodes(tuple(seeds), worlds.returns, worlds.lengths, charged, spent, planning)


def random_episodes(task: ControlTask | str, seeds: Sequence[int], **settings: Any) -> NDArray[np.float64]:
    """Returns [E] of the policy that draws every action evenly: the floor of every comparison."""
    worlds = Worlds(task if isinstance(task, str) else task.env_id, seeds, **settings)
    for env, seed in zip(worlds.envs, seeds):
        env.action_space.seed(int(seed))
    while worlds.live.any():
        worlds.step([env.action_space.sample() for env in worlds.envs])
    worlds.close()
    return worlds.returns
