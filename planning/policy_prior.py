"""A policy's own plan, with which a search over sequences begins.

Polished(PolicyPrior(policy, samples=8), CEM(carry=8))

makes CEM's first mean the best of what the policy does, noise beside it, and (`carry`) all of that candidates of its
first iteration: Wang and Ba 2020, "Exploring model-based planning with policy networks", section 4.1; Hansen et al.
2022, TD-MPC, section 3.1. What the policy's walks cost is paid like everything else, and is little.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .interface import (
    ActionSpace,
    BoxActions,
    Constrained,
    Expansion,
    Int,
    Keys,
    ModelError,
    Plan,
    Returns,
    SelfAnswering,
    SequenceQuery,
    Size,
    offered,
)
from .noise import coloured, normals
from .rollout import ReturnSum, candidate_starts, violation_of
from .scoring import order_of
from .vectors.base import SequenceSearch, carried, nothing, refuse_lost, returns_of
from .vectors.queries import one_step
from .vectors.risk import Risk, at_risk, check_risk, want

Act = Callable[[Any, Any], Any]
"""(states, None) of K states -> actions [K, D], as `rollout_value`'s policies."""


@dataclass(slots=True)
class Led(Returns):
    """Returns [M, K, P], and the actions [M, K, H, D] that were taken."""

    actions: Tensor | None = None


@dataclass(slots=True)
class Guided(SequenceQuery, SelfAnswering):
    """Candidates of which the first `led` are what the policy does: step t takes policy(state) + sequence_t, clipped.

    Particles of one candidate act alike, by the mean of what the policy would do in each.
    """

    policy: Act | None = None
    led: int = 0

    def answer(self, model: Any, states: Any) -> Led:
        count, number, steps = self.sequences.shape[:3]
        states, flat = candidate_starts(model, states, self)
        particles, taken = flat.shape[1] // (count * number), []
        run, measure = ReturnSum(flat.shape[1], flat), offered(model, Constrained)
        for t in range(steps):
            taken.append(self._action(model.actions, t, states, particles))
            action = taken[-1].flatten(0, 1).repeat_interleave(particles, 0)
            if measure is not None:
                run.add_violation(violation_of(measure.constraint(states, action), run.rows))
            states = one_step(model, states, action, run, t == steps - 1)
        usage, spent = run.usage_per_problem(count)
        shape = (count, number, particles)
        return Led(
            run.total.view(shape),
            usage,
            spent,
            torch.stack(taken, 2),
            violation=None if run.violation is None else run.violation.view(shape),
        )

    def _action(self, box: BoxActions, t: int, states: Any, particles: int) -> Tensor:
        """[M, K, D] what step t takes."""
        assert self.policy is not None
        offset = self.sequences[:, :, t]
        wish = torch.as_tensor(self.policy(states, None)).to(offset)
        if wish.shape != (offset.shape[0] * offset.shape[1] * particles, offset.shape[2]):
            raise ModelError(f"the policy's actions want shape [K, {offset.shape[2]}], got {list(wish.shape)}")
        wish = wish.view(*offset.shape[:2], particles, -1).mean(2)
        led = torch.arange(offset.shape[1], device=offset.device)[:, None] < self.led
        return (torch.where(led, wish, 0) + offset).clamp(box.low, box.high)


@dataclass(frozen=True, kw_only=True)
class PolicyPrior:
    """The best of a policy's walks; by itself the policy as a planner, before another (`WarmStarted`) its prior.

    policy: (states, None) -> actions [K, D]. horizon: H. samples: walks; the first is the policy's own, the others have
        noise of deviation `std`, as a fraction of the half-range, and colour `beta` on every action.
    risk, repeat_last: as in `Shooting`. Where there is an earlier plan to go on from, it is one more candidate.
    """

    policy: Act
    horizon: int = 20
    samples: int = 1
    std: float = 0.2
    beta: float = 1.0
    risk: Risk = "mean"
    repeat_last: bool = True

    def __post_init__(self) -> None:
        for name in ("horizon", "samples"):
            want(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        want(0 <= self.std < float("inf"), "std", "at least 0 and finite", self.std)
        check_risk(self.risk)

    def begin(
        self, root: Expansion, actions: ActionSpace, size: Size, *, keys: Keys, after: Any | None = None
    ) -> PolicySearch:
        """See `Planner.begin`. Errors: ValueError for actions that are slots."""
        if not isinstance(actions, BoxActions):
            raise ValueError(
                f"PolicyPrior wants vectors within a BoxActions, got {actions}; over slots give priors as logits"
            )
        return PolicySearch(self, root, actions, size, keys, after)


class PolicySearch(SequenceSearch):
    """One run, of one query. kept [B, K, H, D], kept_returns [B, K]: all that was walked, the best first. nodes: what
    it takes of a row's budget."""

    def __init__(
        self, planner: PolicyPrior, root: Expansion, box: BoxActions, size: Size, keys: Keys, after: Any | None = None
    ) -> None:
        super().__init__(root, box, keys)
        self.planner = planner
        horizon = max(1, min(planner.horizon, size.nodes))
        remaining = max(1, size.nodes // horizon)
        old = carried(after, self.rows, box, horizon, planner.repeat_last)
        self.led = min(planner.samples, remaining)
        white = normals(self.keys, 0, (self.led, *old.shape[1:]), dtype=old.dtype, device=old.device)
        noise = planner.std * (box.high - box.low) / 2 * coloured(white, planner.beta)
        noise[:, 0] = 0
        self.kept = noise if after is None or remaining == self.led else torch.cat([noise, old[:, None]], 1)
        self.kept_returns = torch.full_like(self.kept[..., 0, 0], -torch.inf)
        self.violation: Tensor | None = None
        self.start, self.nodes = old, self.kept.shape[1] * horizon

    def ask(self, remaining: Int) -> SequenceQuery:
        """The policy's walks of every free row."""
        free = self._free()
        self._stop_reason[free & (np.asarray(remaining) < self.nodes)] = "budget"
        rows = np.flatnonzero(free & ~self.done)
        if not len(rows):
            return nothing(self.start)
        asked, at = self.kept[self._at(rows)], self._await(rows, self.kept.shape[1])
        return Guided(rows.astype(np.int32), asked, at, self.planner.policy, self.led)

    def tell(self, query: Any, answer: Any) -> None:
        """See `SequenceSearch.tell`."""
        rows = self._waiting(query, "tell")
        if not len(rows):
            return
        returns = at_risk(returns_of(query, answer).to(self.kept_returns), self.planner.risk)
        refuse_lost(rows, torch.isfinite(returns))
        over = None if answer.violation is None else -at_risk(-answer.violation.to(returns), self.planner.risk)
        order, at = order_of(returns, over), self._at(rows)
        row = torch.arange(len(rows), device=order.device)[:, None]
        self.kept[at], self.kept_returns[at] = answer.actions[row, order], returns[row, order]
        if over is not None:
            self.violation = torch.full_like(self.value, torch.inf) if self.violation is None else self.violation
            self.violation[at] = over[row, order][:, 0]
        self._told(rows)
        self._stop_reason[rows] = "exhausted"

    def elites(self) -> tuple[Tensor, Tensor]:
        return self.kept, self.kept_returns

    def plan(self) -> Plan:
        """The best of what was walked, before that the plan begun with; tensor [B, H, D] within the box."""
        told = torch.isfinite(self.kept_returns[:, 0])
        actions = torch.where(told[:, None, None], self.kept[:, 0], self.start)
        found = self._found(actions, torch.where(told, self.kept_returns[:, 0], self.value))
        if self.violation is not None:
            found.violation = self.violation.cpu().numpy().astype(np.float32)
        return found
