"""Whole episodes of real gymnasium environments under a planner: the loop of model predictive control.

One environment per seed; all live episodes are planned for as one batch. A row's random choices come from the planning
seed, its episode's seed and the step, so an episode is the same alone and among others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from ..planning.driver import Outcome, first_actions, plan
from ..planning.interface import UNITS, Keys, Usage, keys_of
from ..planning.ledger import Budget


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
        for i in np.flatnonzero(self.live):
            seen, reward, ended, cut, _ = self.envs[i].step(actions[i])
            self.seen[i] = seen
            self.returns[i] += reward
            self.lengths[i] += 1
            self.live[i] = not (ended or cut)

    def close(self) -> None:
        for env in self.envs:
            env.close()


def decision_keys(seed: int, step: int, seeds: Sequence[int]) -> Keys:
    """uint64 [E], one key per episode for the decision at `step`."""
    return keys_of(int(keys_of(seed, [step])[0]), seeds)


def run_episodes(
    planner: Any,
    model: Any,
    env_id: str,
    seeds: Sequence[int],
    nodes_per_decision: int | None = None,
    *,
    budget: Budget | None = None,
    seed: int = 0,
    warm: bool = True,
    to_action: Callable[[Any], Any] | None = None,
    watch: Callable[[int, NDArray[np.float64], NDArray[np.bool_]], None] | None = None,
    **settings: Any,
) -> Episodes:
    """Plan, take the first action, look again, until every episode has ended.

    model: plans from observations (`AnalyticModel`, `MLPModel` and their wrappers do).
    seeds: of `reset`, one episode each. nodes_per_decision or budget: the cap of each decision.
    seed: of the planner's own choices. warm: go on from the plan before, where the search can; never for a model whose
        actions are held, since the world takes one step and the plan's first action several.
    to_action: what the environment takes, from a plan's first action; None: `action_of(model)`.
    watch: told the step, the returns so far and which episodes live, after each step.
    settings: for `gymnasium.make`.
    """
    if (budget is None) == (nodes_per_decision is None):
        raise ValueError("run_episodes wants either nodes_per_decision or budget")
    cap = budget or Budget(nodes=nodes_per_decision)
    worlds = Worlds(env_id, seeds, **settings)
    act = to_action or action_of(model)
    charged, spent = np.zeros((len(seeds), len(UNITS))), np.zeros((len(seeds), len(UNITS)))
    after: Outcome | None = None
    planning, step = 0.0, 0
    while worlds.live.any():
        begun = time.perf_counter()
        outcome = plan(planner, model, worlds.seen, cap, keys=decision_keys(seed, step, seeds), after=after)
        planning += time.perf_counter() - begun
        charged[worlds.live] += outcome.charged[worlds.live]
        spent[worlds.live] += outcome.spent[worlds.live]
        taken = first_actions(outcome.plan)
        worlds.step([act(a) for a in taken])
        after = outcome if warm and steps_per_action(model) == 1 and carries_on(outcome, taken) else None
        step += 1
        if watch is not None:
            watch(step, worlds.returns, worlds.live)
    worlds.close()
    return Episodes(tuple(seeds), worlds.returns, worlds.lengths, charged, spent, planning)


def carries_on(outcome: Outcome, taken: Any) -> bool:
    """Moves the search on past the actions taken; False where it cannot (a tree without reuse)."""
    search = outcome.search
    reusable = not hasattr(search, "tree") or bool(getattr(search.planner, "reuse", False))
    if hasattr(search, "advance") and reusable:
        search.advance(taken)
        return True
    return False


def steps_per_action(model: Any) -> int:
    """Real steps that one action of the model stands for."""
    steps = 1
    while model is not None:
        steps *= getattr(model, "k", 1)
        model = getattr(model, "model", None)
    return steps


def action_of(model: Any) -> Callable[[Any], Any]:
    """From an action of the model to one of its environment: slots of a grid to vectors, tensors to numpy."""
    table = None
    while model is not None and table is None:
        table, model = getattr(model, "table", None), getattr(model, "model", None)

    def act(action: Any) -> Any:
        if table is not None:
            return table[int(action)].cpu().numpy()
        return action.cpu().numpy() if hasattr(action, "cpu") else int(action)

    return act
