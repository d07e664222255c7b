"""Whole episodes of real gymnasium environments under a planner: the loop of model predictive control.

One environment per seed, all planned for as one batch. An ended episode stays in the batch at its last observation,
which a model that knows ends plans for at no cost, and is neither charged nor stepped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from ..planning.budget import Budget
from ..planning.driver import Outcome
from ..planning.usage import Usage, no_usage
from .policies.mpc import MPCPolicy
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


class BatchedEnv:
    """One environment per seed, all at the same step. An ended one stays at its last observation."""

    def __init__(self, env_id: str, seeds: Sequence[int], **settings: Any) -> None:
        self.envs = [gymnasium.make(env_id, **settings) for _ in seeds]
        self.seen = np.stack([env.reset(seed=int(seed))[0] for env, seed in zip(self.envs, seeds)])
        self.live = np.ones(len(seeds), np.bool_)
        self.returns = np.zeros(len(seeds))
        self.lengths = np.zeros(len(seeds), np.int64)

    def step(self, actions: Sequence[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """One action per environment; those of ended ones are ignored. Rewards [E] and which terminated now [E]."""
        rewards, over = np.zeros(len(self.envs)), np.zeros(len(self.envs), np.bool_)
        for i in np.flatnonzero(self.live).tolist():
            seen, rewards[i], over[i], cut, _ = self.envs[i].step(actions[i])
            self.seen[i] = seen
            self.lengths[i] += 1
            self.live[i] = not (over[i] or cut)
        self.returns += rewards
        return rewards, over

    def close(self) -> None:
        for env in self.envs:
            env.close()


Watch = Callable[[BatchedEnv], None]


@dataclass(frozen=True)
class Step:
    """One decision in E environments, those that had ended before included.

    seen, reached: [E, O] before and after. live: [E] which took the step. actions: as the environments took them.
    rewards [E], ended [E]: of those that live. outcome: all that planning said. planning: seconds it took.
    """

    seen: NDArray[Any]
    live: NDArray[np.bool_]
    actions: list[Any]
    rewards: NDArray[np.float64]
    reached: NDArray[Any]
    ended: NDArray[np.bool_]
    outcome: Outcome
    planning: float


def steps_of(agent: MPCPolicy, worlds: BatchedEnv) -> Iterator[Step]:
    """Plan, take the first action, look again, until every episode has ended; each step once it is taken."""
    while worlds.live.any():
        seen, live, begun = worlds.seen.copy(), worlds.live.copy(), time.perf_counter()
        actions, outcome = agent.decide(seen)
        planning = time.perf_counter() - begun
        rewards, ended = worlds.step(actions)
        yield Step(seen, live, actions, rewards, worlds.seen.copy(), ended, outcome, planning)


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
    seed: of the planner's own choices. warm: see `MPCPolicy`. watch: called after each step.
    settings: for `gymnasium.make`.

    Errors: ValueError for no seeds, for both or neither cap, and whatever planner and model raise.
    """
    if not len(seeds) or (budget is None) == (nodes_per_decision is None):
        raise ValueError("run_episodes wants at least one seed, and either nodes_per_decision or budget")
    cap = budget or Budget(nodes=nodes_per_decision)
    agent = MPCPolicy(planner, model, cap, seeds=seeds, seed=seed, warm=warm)
    worlds = BatchedEnv(task if isinstance(task, str) else task.env_id, seeds, **settings)
    charged, spent, planning = no_usage(len(seeds)), no_usage(len(seeds)), 0.0
    for step in steps_of(agent, worlds):
        planning += step.planning
        charged[step.live] += step.outcome.charged[step.live]
        spent[step.live] += step.outcome.spent[step.live]
        if watch is not None:
            watch(worlds)
    worlds.close()
    return Episodes(tuple(seeds), worlds.returns, worlds.lengths, charged, spent, planning)


def random_episodes(task: ControlTask | str, seeds: Sequence[int], **settings: Any) -> NDArray[np.float64]:
    """Returns [E] of the policy that draws every action evenly: the floor of every comparison."""
    worlds = BatchedEnv(task if isinstance(task, str) else task.env_id, seeds, **settings)
    for env, seed in zip(worlds.envs, seeds):
        env.action_space.seed(int(seed))
    while worlds.live.any():
        worlds.step([env.action_space.sample() for env in worlds.envs])
    worlds.close()
    return worlds.returns
