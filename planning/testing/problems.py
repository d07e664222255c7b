"""Problems whose answers are known, as models: tables of states, and a target in a box. For checks and first tries.

Nothing here is learned and nothing plans: `check.py` and the tests compare what planners find with what is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..interface import BoxActions, DiscreteActions, Evaluate, Expansion, IndexedActions, SampledActions

Array = NDArray[Any]


@dataclass(frozen=True)
class SampledState:
    """A state of an endless table: its number and the actions so far. The slots that led here are its randomness and
    make no difference between states."""

    number: int
    past: tuple[int, ...] = ()
    walked: tuple[int, ...] = field(default=(), compare=False)


@dataclass
class Table:
    """A finite world: action a in state s pays reward[s, a] and leads to next[s, a]. A problem is a state's number.

    next, reward, discount: [S, A]. value: [S] what is said of a state, 0 by default. logits: [S, A], None where all
    actions are alike. endless: offer `SampledActions()`, whose slots are actions drawn by a hash of all slots so far, so
    that some repeat earlier ones; states are then a list of `SampledState`.
    """

    next: Array
    reward: Array
    discount: Array
    value: Array | None = None
    logits: Array | None = None
    endless: bool = False
    cost: int = 1

    @property
    def actions(self) -> IndexedActions:
        return SampledActions() if self.endless else DiscreteActions(self.next.shape[1])

    def start(self, problems: Any) -> tuple[Any, Expansion]:
        number = np.asarray(problems, np.int64)
        states = [SampledState(n) for n in number.tolist()] if self.endless else torch.from_numpy(number.copy())
        return states, self._said(number, np.zeros(len(number)), np.ones(len(number)))

    def expand(
        self, states: Any, actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[Any, Expansion]:
        action = self.taken(states, actions)
        number = np.array([s.number for s in states], np.int64) if self.endless else states.numpy()
        reached = self.next[number, action].astype(np.int64)
        said = self._said(reached, self.reward[number, action], self.discount[number, action])
        if not self.endless:
            return torch.from_numpy(reached), said
        steps = zip(reached.tolist(), states, action.tolist(), np.asarray(actions).tolist())
        return [SampledState(n, (*s.past, a), (*s.walked, k)) for n, s, a, k in steps], said

    def taken(self, states: Any, slots: Any) -> Array:
        """The actions [K] that K slots are."""
        if not self.endless:
            return np.asarray(slots, np.int64)
        count = self.next.shape[1]
        walks = [(*s.walked, k, 0.5) for s, k in zip(states, np.asarray(slots).tolist())]
        return np.array([(hash(walk) >> 20) % count for walk in walks], np.int64)

    def _said(self, number: Array, reward: Array, discount: Array) -> Expansion:
        value = np.zeros(len(number)) if self.value is None else np.where(discount == 0, 0, self.value[number])
        logits = None if self.logits is None or self.endless else self.logits[number].astype(np.float32)
        return Expansion(
            reward.astype(np.float32), discount.astype(np.float32), value.astype(np.float32), logits=logits
        )

    def optimum(self, tolerance: float = 1e-10) -> Array:
        """[S] the best return from every state, by value iteration (Bellman 1957); discounts must be below 1 somewhere
        on every cycle."""
        best = np.zeros(len(self.next))
        while True:
            better = (self.reward + self.discount * best[self.next]).max(1)
            if np.abs(better - best).max() <= tolerance:
                return np.asarray(better)
            best = better


def bandit(rewards: Sequence[float], *, endless: bool = False) -> Table:
    """One choice: arm a pays rewards[a], and it is over. The best return is the largest."""
    arms = np.array([rewards, [0.0] * len(rewards)])
    return Table(np.ones(arms.shape, np.int64), arms, np.zeros(arms.shape), endless=endless)


def chain(length: int, *, endless: bool = False) -> Table:
    """Forward (1) `length` times to a reward of 1, or stop at once (0) for nothing. The best return is 1."""
    here = np.arange(length + 1)
    onward = np.stack([np.full(length + 1, length), np.minimum(here + 1, length)], 1)
    reward = np.zeros((length + 1, 2))
    reward[length - 1, 1] = 1.0
    discount = np.stack([np.zeros(length + 1), (here < length - 1).astype(float)], 1)
    return Table(onward, reward, discount, endless=endless)


@dataclass
class TargetProblem:
    """A step pays minus the squared distance of the action to `goal` within [-1, 1]^D; it never ends. A problem is
    a number that nothing depends on, the best action is the goal and the best return 0."""

    goal: torch.Tensor
    cost: int = 1

    @property
    def actions(self) -> BoxActions:
        return BoxActions(-torch.ones_like(self.goal), torch.ones_like(self.goal))

    def start(self, problems: Any) -> tuple[torch.Tensor, Expansion]:
        states = torch.as_tensor(problems, dtype=torch.float32)
        zero = torch.zeros(len(states))
        return states, Expansion(zero, zero + 1, zero)

    def expand(
        self, states: torch.Tensor, actions: torch.Tensor, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[torch.Tensor, Expansion]:
        reward = -(actions - self.goal).square().sum(-1)
        return states, Expansion(reward, torch.ones_like(reward), torch.zeros_like(reward))
