"""Models whose best plans are known: tables of states, and a target in a box. `check_search.py` and tests use them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from ..interface import Actions, BoxActions, DiscreteActions, Evaluate, Expansion, IndexedActions, SampledActions

Reals = NDArray[np.float64]
Indices = NDArray[np.int64]
States = torch.Tensor | list["SampledState"]


@dataclass(frozen=True)
class SampledState:
    """A state of a table whose actions are sampled: its number, the actions so far, and the samples that led here.

    Two states that differ in the samples alone are equal.
    """

    number: int
    past: tuple[int, ...] = ()
    samples: tuple[int, ...] = field(default=(), compare=False)


@dataclass
class Table:
    """A finite decision process: action a in state s earns reward[s, a] and leads to next[s, a]. A problem is a state.

    next, reward, discount: [S, A]. value: [S] the model's value of a state, 0 by default. logits: [S, A], None for a
    uniform policy. sampled: have `SampledActions()`, whose k-th sample is an action drawn by a hash of all samples so
    far, so that some repeat earlier ones; states are then a list of `SampledState`.
    """

    next: Indices
    reward: Reals
    discount: Reals
    value: Reals | None = None
    logits: Reals | None = None
    sampled: bool = False
    cost: int = 1

    @property
    def actions(self) -> IndexedActions:
        return SampledActions() if self.sampled else DiscreteActions(self.next.shape[1])

    def start(self, problems: object) -> tuple[States, Expansion]:
        number = np.asarray(problems, np.int64)
        states: States = [SampledState(n) for n in number.tolist()] if self.sampled else torch.from_numpy(number.copy())
        return states, self._expansion(number, np.zeros(len(number)), np.ones(len(number)))

    def expand(
        self, states: States, actions: Actions, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[States, Expansion]:
        taken = self.taken(states, actions)
        number = states.numpy() if isinstance(states, torch.Tensor) else np.array([s.number for s in states], np.int64)
        reached = self.next[number, taken].astype(np.int64)
        expansion = self._expansion(reached, self.reward[number, taken], self.discount[number, taken])
        if isinstance(states, torch.Tensor):
            return torch.from_numpy(reached), expansion
        steps = zip(reached.tolist(), states, taken.tolist(), np.asarray(actions).tolist())
        return [SampledState(n, (*s.past, a), (*s.samples, k)) for n, s, a, k in steps], expansion

    def taken(self, states: States, actions: Actions | Sequence[int]) -> Indices:
        """The actions of the table [K] that K indices stand for."""
        if isinstance(states, torch.Tensor):
            return np.asarray(actions, np.int64)
        count = self.next.shape[1]
        samples = [(*s.samples, k, 0.5) for s, k in zip(states, np.asarray(actions).tolist())]
        return np.array([(hash(each) >> 20) % count for each in samples], np.int64)

    def _expansion(self, number: Indices, reward: Reals, discount: Reals) -> Expansion:
        value = np.zeros(len(number)) if self.value is None else np.where(discount == 0, 0, self.value[number])
        logits = None if self.logits is None or self.sampled else self.logits[number].astype(np.float32)
        return Expansion(
            reward.astype(np.float32), discount.astype(np.float32), value.astype(np.float32), logits=logits
        )

    def optimum(self, tolerance: float = 1e-10) -> Reals:
        """[S] the best return from every state, by value iteration (Bellman 1957); discounts must be below 1 somewhere
        on every cycle."""
        best = np.zeros(len(self.next))
        while True:
            better = (self.reward + self.discount * best[self.next]).max(1)
            if np.abs(better - best).max() <= tolerance:
                return np.asarray(better)
            best = better


def bandit(rewards: Sequence[float], *, sampled: bool = False) -> Table:
    """One choice: arm a earns rewards[a] and ends the episode. The best return is the largest."""
    arms = np.array([rewards, [0.0] * len(rewards)])
    return Table(np.ones(arms.shape, np.int64), arms, np.zeros(arms.shape), sampled=sampled)


def chain(length: int, *, sampled: bool = False) -> Table:
    """Forward (1) `length` times to a reward of 1, or stop at once (0) for nothing. The best return is 1."""
    here = np.arange(length + 1)
    onward = np.stack([np.full(length + 1, length), np.minimum(here + 1, length)], 1)
    reward = np.zeros((length + 1, 2))
    reward[length - 1, 1] = 1.0
    discount = np.stack([np.zeros(length + 1), (here < length - 1).astype(float)], 1)
    return Table(onward, reward, discount, sampled=sampled)


@dataclass
class TargetProblem:
    """A step earns minus the squared distance of the action to `goal` within [-1, 1]^D; it never ends.

    A problem is a number without meaning; the best action is the goal and the best return 0.
    """

    goal: torch.Tensor
    cost: int = 1

    @property
    def actions(self) -> BoxActions:
        return BoxActions(-torch.ones_like(self.goal), torch.ones_like(self.goal))

    def start(self, problems: object) -> tuple[torch.Tensor, Expansion]:
        states = torch.as_tensor(problems, dtype=torch.float32)
        zero = torch.zeros(len(states))
        return states, Expansion(zero, zero + 1, zero)

    def expand(
        self, states: torch.Tensor, actions: Actions, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[torch.Tensor, Expansion]:
        reward = -(torch.as_tensor(actions) - self.goal).square().sum(-1)
        return states, Expansion(reward, torch.ones_like(reward), torch.zeros_like(reward))
