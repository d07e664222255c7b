"""Step a model along given action sequences, to answer a `SequenceQuery`.

States are what the model makes them: a tensor [K, ...], or tuples, named tuples, dicts and lists of such. No trajectory
is stored; only running returns and the running product of discounts are carried.

Shapes: M problems asked about, K candidates each, P particles, N = M * K * P states stepped side by side, H steps.
"""

from __future__ import annotations

from functools import cached_property
from typing import cast

import numpy as np
import torch
from torch import Tensor

from .interface import (
    UNITS,
    Constrained,
    Expansion,
    Float,
    Model,
    ModelError,
    Returns,
    SelfAnswering,
    SequenceQuery,
    States,
    Steppable,
    Stochastic,
    Usage,
    Vectorised,
    offered,
)
from .scoring import negative_discount
from .usage import ONE_STEP_USAGE


def take(states: States, index: Tensor) -> States:
    """The states at `index` (int64 [N], repeats allowed), whatever they are made of."""
    return cast(States, _taken(states, index))


def _taken(states: object, index: Tensor) -> object:
    if isinstance(states, Tensor):
        return states[index.to(states.device)]
    if isinstance(states, np.ndarray):
        return states[index.cpu().numpy()]
    if isinstance(states, dict):
        return {name: _taken(part, index) for name, part in states.items()}
    if isinstance(states, tuple):
        parts = [_taken(part, index) for part in states]
        return type(states)(*parts) if hasattr(states, "_fields") else tuple(parts)  # type: ignore[arg-type]
    each = cast("list[object]", states)
    return [each[i] for i in index.tolist()]


class ReturnSum:
    """Running returns and cost of N state sequences. A finished sequence stops counting, the others go on.

    like: a tensor of the type and device of the returns. gamma: a factor on every step beside the model's discounts.
    violation: [N] sums of constraint violations, None until there is one.
    """

    def __init__(self, rows: int, like: Tensor, gamma: float = 1.0) -> None:
        self.like = like
        self.violation: Tensor | None = None
        self.gamma, self.rows = gamma, rows
        self.one_step_calls = 0
        self.usage: Usage | None = None
        self.spent: Usage | None = None
        self.least_discount: Tensor | None = None

    @cached_property
    def total(self) -> Tensor:
        """[N] returns so far."""
        return self.like.new_zeros(self.rows)

    @cached_property
    def weight(self) -> Tensor:
        """[N] products of discounts so far, 0 after an end."""
        return self.like.new_ones(self.rows)

    def add(self, reward: Float, discount: Float) -> None:
        """Add one step: rewards and discounts [N]. Numbers after an end are ignored, NaN included."""
        self.total = self.bootstrapped("reward", reward)
        step = self._checked("discount", discount)
        counted = torch.where(self.weight != 0, step, 0)
        self.least_discount = counted if self.least_discount is None else torch.minimum(self.least_discount, counted)
        weight = self.weight * step
        self.weight = torch.where(self.weight != 0, weight if self.gamma == 1 else weight * self.gamma, 0)

    def add_precomputed(self, steps: int, returns: Tensor) -> Tensor:
        """Count the cost of all steps at once; the returns [N] of the whole sequences are given and passed through."""
        self.one_step_calls += steps
        return self._checked("returns", returns)

    def add_violation(self, violation: Tensor) -> None:
        """Add the violations [N], at least 0, of the coming step; those after an end are ignored."""
        violation = torch.where(self.weight != 0, violation.detach().to(self.total), 0)
        self.violation = violation if self.violation is None else self.violation + violation

    def bootstrapped(self, name: str, value: Float) -> Tensor:
        """The returns [N] with `value` [N] as everything that comes after; `name` is for the error message."""
        return torch.addcmul(self.total, self.weight, torch.where(self.weight != 0, self._checked(name, value), 0))

    def add_usage(self, expansion: Expansion | None) -> None:
        """Add what a step cost: one node and one model call each where the model does not say."""
        if expansion is None or expansion.usage is None:
            self.one_step_calls += 1
            return
        if expansion.spent is not None and self.spent is None:
            self.spent = np.zeros_like(expansion.usage) if self.usage is None else self.usage.copy()
        if self.spent is not None:
            self.spent += expansion.usage if expansion.spent is None else expansion.spent
        self.usage = expansion.usage.copy() if self.usage is None else self.usage + expansion.usage

    def usage_per_problem(self, problems: int) -> tuple[Usage, Usage | None]:
        """Usage and spent [problems, units] of N / problems sequences each; spent None where it is the same.

        Errors: ValueError where a discount was negative.
        """
        if self.least_discount is not None and bool((self.least_discount < 0).any()):
            raise ValueError(negative_discount("planning over sequences"))
        one_step = np.empty((problems, len(ONE_STEP_USAGE)))
        one_step[:] = self.one_step_calls * (self.rows // max(problems, 1)) * ONE_STEP_USAGE
        usage = one_step if self.usage is None else one_step + _summed_by_problem(self.usage, problems)
        return usage, None if self.spent is None else one_step + _summed_by_problem(self.spent, problems)

    def _checked(self, name: str, given: Float) -> Tensor:
        number = torch.as_tensor(given).to(self.like)
        if number.shape != (self.rows,):
            raise ModelError(f"{name} must have shape [{self.rows}], got {list(number.shape)}")
        return number


def _summed_by_problem(usage: Usage, problems: int) -> Usage:
    summed: Usage = usage.reshape(problems, -1, len(UNITS)).sum(1)
    return summed


@torch.no_grad()
def rollout(model: Model[States], states: States, candidates: SequenceQuery, gamma: float = 1.0) -> Returns:
    """Answer `candidates` by stepping `model` to the horizon, with its value of the last states as the rest.

    states: of the M problems asked about, in the order of `candidates.row`. gamma: a factor on every step beside the
        model's own discounts. A query that is `SelfAnswering` computes its own answer.
    A `Vectorised` model computes all steps at once, where no constraint has to see each step; a `Steppable` model is
    stepped without values up to the last step. Both are used where a step costs one node per particle. A `Stochastic`
    model steps P particles of each candidate. Usage counts K * H * P nodes and model calls unless the model says.

    Errors: ModelError naming field and shape.
    """
    if isinstance(candidates, SelfAnswering):
        return candidates.answer(model, states)
    problems, number = candidates.sequences.shape[:2]
    starts, actions = candidate_starts(model, states, candidates)
    returns_so_far = ReturnSum(actions.shape[1], actions, gamma)
    returns = simulate(model, starts, actions, returns_so_far).view(problems, number, particles_of(model))
    violation = returns_so_far.violation
    return Returns(
        returns,
        *returns_so_far.usage_per_problem(problems),
        violation=None if violation is None else violation.view(returns.shape),
    )


def particles_of(model: object) -> int:
    """P, how many particles `model` steps for each candidate; 1 for a deterministic model."""
    stochastic = offered(model, Stochastic)
    return 1 if stochastic is None else stochastic.particles


def candidate_starts(model: Model[States], states: States, candidates: SequenceQuery) -> tuple[States, Tensor]:
    """N start states, the particles of one candidate side by side, and the actions [H, N, D] to take from them."""
    problems, number = candidates.sequences.shape[:2]
    stochastic = offered(model, Stochastic)
    states = take(states, torch.from_numpy(np.arange(problems).repeat(number)))
    flat = candidates.sequences.flatten(0, 1)
    if stochastic is not None and stochastic.particles > 1:
        keys = np.zeros(problems, np.uint64) if candidates.keys is None else candidates.keys
        states = stochastic.repeat(states, np.repeat(keys, number))
        flat = flat.repeat_interleave(stochastic.particles, 0)
    return states, flat.transpose(0, 1).contiguous()


def inner_step(model: Model[States]) -> Steppable[States] | None:
    """The model as `Steppable`, None where it is not or where a step costs more than one node per particle."""
    return offered(model, Steppable) if model.cost <= particles_of(model) else None


def simulate(model: Model[States], states: States, actions: Tensor, run: ReturnSum) -> Tensor:
    """Returns [N] of taking actions [H, N, D] from N states; cost and violations are added to `run`."""
    steppable, constrained = inner_step(model), offered(model, Constrained)
    if steppable is not None and constrained is None and run.gamma == 1 and not torch.is_grad_enabled():
        vectorised = offered(model, Vectorised)
        if vectorised is not None:
            return run.add_precomputed(len(actions), vectorised.rollout_returns(states, actions))
    for action in actions[:-1]:
        if constrained is not None:
            run.add_violation(violation_of(constrained.constraint(states, action), run.rows))
        if steppable is None:
            states, expansion = model.expand(states, action, evaluate="none")
            run.add_usage(expansion)
            run.add(expansion.reward, expansion.discount)
        else:
            states, reward, discount = steppable.step(states, action)
            run.add_usage(None)
            run.add(reward, discount)
    if constrained is not None:
        run.add_violation(violation_of(constrained.constraint(states, actions[-1]), run.rows))
    _, expansion = model.expand(states, actions[-1])
    run.add_usage(expansion)
    run.add(expansion.reward, expansion.discount)
    return run.bootstrapped("value", expansion.value)


def violation_of(constraint: Tensor, rows: int, power: int = 1) -> Tensor:
    """[N] sums of max(0, g)^power of a constraint's g, [N] or [N, C]; infinite where g is NaN.

    Errors: ModelError for another shape.
    """
    g = torch.as_tensor(constraint)
    if g.ndim not in (1, 2) or len(g) != rows:
        raise ModelError(f"constraint must have shape [{rows}] or [{rows}, C], got {list(g.shape)}")
    violation = torch.where(torch.isnan(g), torch.inf, g.clamp(min=0)) ** power
    return violation if g.ndim == 1 else violation.sum(1)
