"""Values by rollout: the return of a policy from a state, for models that have no value function of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from ..interface import (
    Actions,
    BoxActions,
    Constrained,
    Evaluate,
    Expansion,
    Float,
    IndexedActions,
    Model,
    Observed,
    Remembering,
    SampledActions,
    States,
)
from ..noise import fold, uniforms
from ..rollout import ReturnSum, take
from ..settings_checks import check_integer
from ..usage import usage_or_one_step
from .base import ModelWrapper

Policy = Literal["logits", "uniform"] | Callable[[States, Float | None], Actions]
"""How rollouts act: "logits", "uniform", or a function of K states and their logits to K actions."""


class RolloutValue(ModelWrapper[States]):
    """A model whose value is the return of `horizon` steps under a policy, plus the inner model's value after them.

    policy: "logits" samples from softmax(logits), evenly where there are none; "uniform" samples from all actions or
        the whole box; or a callable (states, logits) -> actions.
    Each live state that needs a value is charged `horizon` steps more, hence the cost. Random numbers are a hash of
    seed, step and the state itself (rounded to bfloat16): equal states have equal values in every batch, and near
    ones are compared under common random numbers. Therefore states must hold tensors unless the policy is a callable.
    """

    passed_on = (Constrained, Remembering, Observed)

    def __init__(self, model: Model[States], horizon: int, policy: Policy[States] = "logits", *, seed: int = 0) -> None:
        super().__init__(model)
        check_integer("horizon", horizon, 1)
        if not callable(policy) and policy not in ("logits", "uniform"):
            raise ValueError(f"policy is 'logits', 'uniform' or a callable, got {policy!r}")
        self.horizon, self.policy, self.seed = horizon, policy, seed

    @property
    def cost(self) -> int:
        return self.model.cost * (1 + self.horizon)

    def start(self, problems: object) -> tuple[States, Expansion]:
        states, expansion = self.model.start(problems)
        return states, self._with_values(states, expansion)

    def expand(
        self, states: States, actions: Actions, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[States, Expansion]:
        reached, expansion = self.model.expand(states, actions, to_end=to_end, evaluate=evaluate)
        return reached, self._with_values(reached, expansion) if evaluate == "all" else expansion

    @torch.no_grad()
    def _with_values(self, states: States, expansion: Expansion) -> Expansion:
        """`expansion` with the values of its live states replaced and the cost of their rollouts added."""
        discount = torch.as_tensor(expansion.discount)
        live = torch.nonzero(discount != 0)[:, 0]
        value = torch.zeros_like(discount)
        usage = usage_or_one_step(expansion.usage, len(discount)).copy()
        spent = usage.copy() if expansion.spent is None else expansion.spent.copy()
        if len(live):
            run = ReturnSum(len(live), value)
            logits = None if expansion.logits is None else torch.as_tensor(expansion.logits)[live]
            value[live] = self._rollout(take(states, live), logits, run)
            more_usage, more_spent = run.usage_per_problem(len(live))
            rows = live.cpu().numpy()
            usage[rows] += more_usage
            spent[rows] += more_usage if more_spent is None else more_spent
        return replace(expansion, value=value, usage=usage, spent=spent)

    def _rollout(self, states: States, logits: Float | None, run: ReturnSum) -> Tensor:
        """Returns [K] of following the policy from K states."""
        for step in range(self.horizon):
            last = step == self.horizon - 1
            actions = self._sampled(states, logits, step)
            states, expansion = self.model.expand(states, actions, evaluate="all" if last else "finished")
            run.add_usage(expansion)
            run.add(expansion.reward, expansion.discount)
            logits = expansion.logits
        return run.bootstrapped("value", expansion.value)

    def _sampled(self, states: States, logits: Float | None, step: int) -> Actions:
        if not isinstance(self.policy, str):
            return self.policy(states, logits)
        bits = fold(state_hash(states), self.seed, step)
        space = self.actions
        if isinstance(space, BoxActions):
            components = torch.arange(len(space.low), device=bits.device)
            share = uniforms(bits[:, None], components, dtype=space.low.dtype)
            return space.low + share * (space.high - space.low)
        if logits is None or self.policy == "uniform":
            return _uniform_index(space, logits, uniforms(bits, 0, dtype=torch.float64))
        cumulative = torch.softmax(torch.as_tensor(logits).to(bits.device, torch.float64), -1).cumsum(-1)
        return _inverse_cdf(cumulative, uniforms(bits, 0, dtype=torch.float64))


def rollout_value(
    model: Model[States], horizon: int, policy: Policy[States] = "logits", *, seed: int = 0
) -> RolloutValue[States]:
    """The model with values by rollouts of `horizon` steps under a policy; the arguments are those of `RolloutValue`.

    Errors: ValueError for a horizon below 1 and for an unknown policy.
    """
    return RolloutValue(model, horizon, policy, seed=seed)


def _uniform_index(space: IndexedActions, logits: Float | None, uniform: Tensor) -> Tensor:
    """Indices [N] drawn evenly from the actions that exist, by numbers [N] in [0, 1)."""
    if logits is not None:
        exists = torch.isfinite(torch.as_tensor(logits)).to(uniform)
        return _inverse_cdf((exists / exists.sum(-1, keepdim=True)).cumsum(-1), uniform)
    if isinstance(space, SampledActions):
        raise ValueError("SampledActions() has no uniform policy; give RolloutValue a callable")
    return (uniform * space.n).long()


def _inverse_cdf(cumulative: Tensor, uniform: Tensor) -> Tensor:
    """The indices [N] at which cumulative probabilities [N, A] pass numbers [N]; never one of probability 0."""
    index = (cumulative <= uniform[:, None] * cumulative[:, -1:]).sum(-1)
    return index.clamp(max=cumulative.shape[-1] - 1)


def state_hash(states: object) -> Tensor:
    """int64 [K], a hash of each state's numbers rounded to bfloat16."""
    if isinstance(states, Tensor):
        flat = states.flatten(1) if states.ndim > 1 else states[:, None]
        words = flat.to(torch.bfloat16).view(torch.int16) if states.is_floating_point() else flat
        return fold(torch.zeros_like(words[:, 0], dtype=torch.int64), *words.long().unbind(1))
    if not isinstance(states, dict | tuple) or not states:
        raise ValueError(f"a random policy needs states made of tensors, got {type(states).__name__}; give a callable")
    parts = [state_hash(part) for part in (states.values() if isinstance(states, dict) else states)]
    return fold(parts[0], *parts[1:])
