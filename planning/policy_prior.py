"""A policy's plan as the warm start of a search over sequences.

WarmStarted(PolicyPrior(policy, samples=8), CEM(vectors=GaussianSettings(reuse_elites=8)))

CEM's first mean is then the best of the policy's rollouts, and (`reuse_elites`) all rollouts are candidates of its
first iteration: Wang and Ba 2020, "Exploring model-based planning with policy networks", section 4.1; Hansen et al.
2022, TD-MPC, section 3.1. The policy's rollouts are charged to the budget like all others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, cast

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
    Model,
    ModelError,
    Plan,
    Returns,
    SelfAnswering,
    SequenceQuery,
    Size,
    States,
    WarmStartable,
    offered,
)
from .noise import coloured, normals
from .rollout import ReturnSum, candidate_starts, violation_of
from .scoring import order_of
from .settings_checks import check_flags, check_integers, check_numbers, check_setting
from .vectors.base import NO_FINITE_RETURN, SequenceSearch, any_finite, checked_returns, empty_query
from .vectors.queries import step_model
from .vectors.risk import Risk, at_risk, check_risk
from .vectors.warm_start import initial_sequences

Policy = Callable[[States, None], Tensor]
"""(states, None) of K states -> actions [K, D], as the policies of `rollout_value`."""


@dataclass(slots=True)
class PolicyTrajectories(Returns):
    """Returns [M, K, P], and the actions [M, K, H, D] that were taken."""

    actions: Tensor | None = None


@dataclass(slots=True)
class PolicyRollouts(SequenceQuery, SelfAnswering):
    """Candidates of which the first `policy_count` follow the policy.

    Their step t takes policy(state_t) + sequence_t, clipped to the box; that of the others sequence_t. All particles of
    a candidate take the same action, the mean of the policy's actions in them.
    """

    policy: Policy[object] | None = None
    policy_count: int = 0

    def answer(self, model: Model[States], states: States) -> PolicyTrajectories:
        """Errors: ModelError for actions of the policy of a wrong shape."""
        count, number, steps = self.sequences.shape[:3]
        states, flat = candidate_starts(model, states, self)
        particles, taken = flat.shape[1] // (count * number), []
        run, constrained = ReturnSum(flat.shape[1], flat), offered(model, Constrained)
        for t in range(steps):
            taken.append(self._action(cast(BoxActions, model.actions), t, states, particles))
            action = taken[-1].flatten(0, 1).repeat_interleave(particles, 0)
            if constrained is not None:
                run.add_violation(violation_of(constrained.constraint(states, action), run.rows))
            states = step_model(model, states, action, run, t == steps - 1)
        usage, spent = run.usage_per_problem(count)
        shape = (count, number, particles)
        return PolicyTrajectories(
            run.total.view(shape),
            usage,
            spent,
            torch.stack(taken, 2),
            violation=None if run.violation is None else run.violation.view(shape),
        )

    def _action(self, box: BoxActions, t: int, states: object, particles: int) -> Tensor:
        """[M, K, D] the actions of step t."""
        assert self.policy is not None
        offset = self.sequences[:, :, t]
        action = torch.as_tensor(self.policy(states, None)).to(offset)
        if action.shape != (offset.shape[0] * offset.shape[1] * particles, offset.shape[2]):
            raise ModelError(f"the policy's actions must have shape [K, {offset.shape[2]}], got {list(action.shape)}")
        action = action.view(*offset.shape[:2], particles, -1).mean(2)
        follows = torch.arange(offset.shape[1], device=offset.device)[:, None] < self.policy_count
        return (torch.where(follows, action, 0) + offset).clamp(box.low, box.high)


@dataclass(frozen=True, kw_only=True)
class PolicyPrior(Generic[States]):
    """The best of several rollouts of a policy; alone it is the policy as a planner, before another (`WarmStarted`) its
    prior.

        a_kt = clip(policy(x_kt) + noise_kt),  noise_1 = 0,      plan = a_k of the best return

    policy: (states, None) -> actions [K, D]. horizon: H. samples: rollouts; the first is without noise, the others have
        noise of deviation `std`, as a fraction of the half-range, and exponent `noise_beta` (see `GaussianSettings`).
    risk, repeat_last: as in `Shooting` and `GaussianSettings`. An earlier plan to begin with is one more candidate.
    """

    policy: Policy[States]
    horizon: int = 20
    samples: int = 1
    std: float = 0.2
    noise_beta: float = 1.0
    risk: Risk = "mean"
    repeat_last: bool = True

    def __post_init__(self) -> None:
        check_setting(callable(self.policy), "policy", "a function of states", self.policy)
        check_integers(self, 1, "horizon", "samples")
        check_numbers(self, "std", least=0)
        check_numbers(self, "noise_beta")
        check_flags(self, "repeat_last")
        check_risk(self.risk)

    def begin(
        self, root: Expansion, actions: ActionSpace, size: Size, *, keys: Keys, after: WarmStartable | None = None
    ) -> PolicySearch:
        """See `Planner.begin`. Errors: ValueError for indexed actions."""
        if not isinstance(actions, BoxActions):
            raise ValueError(
                f"PolicyPrior plans vectors within BoxActions, got {actions}; over indices give priors as logits"
            )
        return PolicySearch(cast("PolicyPrior[object]", self), root, actions, size, keys, after)


class PolicySearch(SequenceSearch):
    """One run, of one query.

    sequences [B, K, H, D], returns [B, K]: all candidates, before the answer the noise and after it the actions taken,
    the best first. policy_count: how many of them follow the policy.
    """

    def __init__(
        self,
        planner: PolicyPrior[object],
        root: Expansion,
        box: BoxActions,
        size: Size,
        keys: Keys,
        after: WarmStartable | None = None,
    ) -> None:
        super().__init__(root, box, keys)
        self.planner = planner
        horizon = max(1, min(planner.horizon, size.nodes))
        candidates = max(1, size.nodes // horizon)
        start = initial_sequences(after, self.rows, box, horizon, planner.repeat_last)
        self.policy_count = min(planner.samples, candidates)
        white = normals(self.keys, 0, (self.policy_count, *start.shape[1:]), dtype=start.dtype, device=start.device)
        noise = planner.std * (box.high - box.low) / 2 * coloured(white, planner.noise_beta)
        noise[:, 0] = 0
        alone = after is None or candidates == self.policy_count
        self.sequences = noise if alone else torch.cat([noise, start[:, None]], 1)
        self.returns = torch.full_like(self.sequences[..., 0, 0], -torch.inf)
        self.violation: Tensor | None = None
        self.start, self.most_nodes = start, self.sequences.shape[1] * horizon

    def elites(self) -> tuple[Tensor, Tensor] | None:
        return self.sequences, self.returns

    def ask(self, remaining: Int) -> SequenceQuery:
        """The rollouts of every idle row."""
        idle = self._idle()
        self._stop_reason[idle & (np.asarray(remaining) < self.sequences.shape[1] * self.start.shape[1])] = "budget"
        rows = np.flatnonzero(idle & ~self.done)
        if not len(rows):
            return empty_query(self.start)
        sequences, keys = self.sequences[self._index(rows)], self._mark_pending(rows, self.sequences.shape[1])
        return PolicyRollouts(rows.astype(np.int32), sequences, keys, self.planner.policy, self.policy_count)

    def tell(self, query: SequenceQuery, answer: Returns) -> None:
        """See `SequenceSearch.tell`."""
        rows = self._pending_rows(query, "tell")
        if not len(rows):
            return
        assert isinstance(answer, PolicyTrajectories) and answer.actions is not None
        returns = at_risk(checked_returns(query, answer).to(self.returns), self.planner.risk)
        valid = any_finite(torch.isfinite(returns))
        violation = None if answer.violation is None else -at_risk(-answer.violation.to(returns), self.planner.risk)
        order, index = order_of(returns, violation), self._index(rows)
        row = torch.arange(len(rows), device=order.device)[:, None]
        self.sequences[index], self.returns[index] = answer.actions[row, order], returns[row, order]
        if violation is not None:
            self.violation = torch.full_like(self.value, torch.inf) if self.violation is None else self.violation
            self.violation[index] = violation[row, order][:, 0]
        self._mark_told(rows)
        self._stop_reason[rows] = "exhausted"
        self._end_invalid(rows, valid, NO_FINITE_RETURN)

    def plan(self) -> Plan:
        """The best candidate, or the initial sequence until the answer; tensor [B, H, D] within the box."""
        evaluated = torch.isfinite(self.returns[:, 0])
        actions = torch.where(evaluated[:, None, None], self.sequences[:, 0], self.start)
        found = self._make_plan(actions, torch.where(evaluated, self.returns[:, 0], self.value))
        if self.violation is not None:
            found.violation = self.violation.cpu().numpy().astype(np.float32)
        return found
