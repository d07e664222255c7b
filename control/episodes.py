"""Whole episodes of gymnasium environments under model predictive control.

There is one environment per seed, and all are planned for as one batch. An environment whose episode is over stays in
the batch with its last observation, but is neither stepped nor charged; models that know terminal states plan for it at
no cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..planning.budget import Budget
from ..planning.driver import Outcome
from ..planning.interface import Model, Planner
from ..planning.usage import Usage, no_usage
from .envs import BatchedEnv
from .policies.mpc import MPCPolicy
from .tasks import ControlTask

Watch = Callable[[BatchedEnv], None]
"""Called with the environments after every step."""


@dataclass(frozen=True)
class Episodes:
    """The outcome of E episodes.

    returns: [E]. lengths: [E]. charged, spent: [E, units] over the whole episode; divided by lengths, per decision.
    planning: seconds spent planning, for all episodes together.
    invalid: [E] decisions for which the model's answers could not be planned with (`Plan.faults`); the action taken is
        the first of what the plan holds then, of a tree action 0. fault: the first such fault of all episodes, or "".
    """

    seeds: tuple[int, ...]
    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    charged: Usage
    spent: Usage
    planning: float
    invalid: NDArray[np.int64]
    fault: str = ""

    def per_decision(self) -> Usage:
        """[E, units] charged per decision, on average."""
        per_step: Usage = self.charged / np.maximum(self.lengths, 1)[:, None]
        return per_step


@dataclass(frozen=True)
class Decision:
    """One decision in E environments, including those whose episode was over before.

    obs, next_obs: [E, O] before and after the step. alive: bool [E] which took it. actions: E actions as
    planners know them, rounded to those taken. reward: [E]. terminated, truncated: bool [E]. outcome: of planning.
    planning: seconds.
    """

    obs: NDArray[Any]
    alive: NDArray[np.bool_]
    actions: list[Any]
    reward: NDArray[np.float64]
    next_obs: NDArray[Any]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    outcome: Outcome[Any]
    planning: float


def iterate_decisions(policy: MPCPolicy, env: BatchedEnv) -> Iterator[Decision]:
    """Plan, take the first action, observe, until every episode is over; yields each decision after its step."""
    while env.alive.any():
        obs, alive, begun = env.obs.copy(), env.alive.copy(), time.perf_counter()
        chosen, outcome = policy.decide(obs)
        planning = time.perf_counter() - begun
        actions = env.taken(chosen)
        reward, terminated, truncated = env.step(actions)
        yield Decision(obs, alive, actions, reward, env.obs.copy(), terminated, truncated, outcome, planning)


def run_episodes(
    planner: Planner,
    model: Model[Any],
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
    """Run one episode per seed under `MPCPolicy`.

    model: as the planner sees it, `view(task, model, name)`. task: a `ControlTask`, or a gymnasium id.
    seeds: of the environments. nodes_per_decision or budget: the cap of each decision.
    seed: of the planner's own random choices. warm: see `MPCPolicy`. watch: called after each step.
    settings: for `gymnasium.make`.

    Errors: ValueError for no seeds, and for both or neither cap.
    """
    if not len(seeds) or (budget is None) == (nodes_per_decision is None):
        raise ValueError("run_episodes needs at least one seed, and either nodes_per_decision or budget")
    cap = budget or Budget(nodes=nodes_per_decision)
    policy = MPCPolicy(planner, model, cap, seeds=seeds, seed=seed, warm=warm)
    env = BatchedEnv(env_id_of(task), seeds, **settings)
    charged, spent, planning = no_usage(len(seeds)), no_usage(len(seeds)), 0.0
    invalid, fault = np.zeros(len(seeds), np.int64), ""
    for decision in iterate_decisions(policy, env):
        planning += decision.planning
        charged[decision.alive] += decision.outcome.charged[decision.alive]
        spent[decision.alive] += decision.outcome.spent[decision.alive]
        faults = {i: text for i, text in decision.outcome.plan.faults.items() if decision.alive[i]}
        invalid[list(faults)] += 1
        fault = fault or next(iter(faults.values()), "")
        if watch is not None:
            watch(env)
    env.close()
    return Episodes(tuple(seeds), env.returns, env.lengths, charged, spent, planning, invalid, fault)


def random_episodes(task: ControlTask | str, seeds: Sequence[int], **settings: Any) -> NDArray[np.float64]:
    """Returns [E] of uniformly random actions, the baseline of comparisons. settings: for `gymnasium.make`."""
    env = BatchedEnv(env_id_of(task), seeds, **settings)
    for member, seed in zip(env.envs, seeds):
        member.action_space.seed(int(seed))
    while env.alive.any():
        env.step(env.sample())
    env.close()
    return env.returns


def env_id_of(task: ControlTask | str) -> str:
    return task if isinstance(task, str) else task.env_id
