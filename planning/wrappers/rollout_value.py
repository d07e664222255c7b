"""Values by rollout: what a policy's walk from a state earns, for models that have no value of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..interface import ActionSpace, BoxActions, Evaluate, Expansion, IndexedActions, SampledActions
from ..noise import fold, uniforms
from ..rollout import ONE, Sum, take

Policy = Literal["logits", "uniform"] | Callable[[Any, Any], Any]


class RolloutValue:
    """A model whose value is the return of `horizon` steps under a policy, and the inner model's value after them.

    policy: "logits" draws from softmax(logits) (all alike where there are none), "uniform" from all slots or the whole
        box, or a callable (states, logits) -> actions.
    Each live state that wants a value is charged `horizon` steps more, hence the cost. Random numbers are a hash of
    seed, step and the state itself (rounded to bfloat16): equal states have equal values in every batch, and near
    ones are compared under the same noise. For that, states must hold tensors unless the policy is a callable.
    """

    def __init__(self, model: Any, horizon: int, policy: Policy = "logits", *, seed: int = 0) -> None:
        if horizon < 1:
            raise ValueError(f"horizon is at least 1, got {horizon}")
        if not callable(policy) and policy not in ("logits", "uniform"):
            raise ValueError(f"policy is 'logits', 'uniform' or a callable, got {policy!r}")
        self.model, self.horizon, self.policy, self.seed = model, horizon, policy, seed

    @property
    def actions(self) -> ActionSpace:
        space: ActionSpace = self.model.actions
        return space

    @property
    def cost(self) -> int:
        return int(self.model.cost) * (1 + self.horizon)

    def start(self, problems: Any) -> tuple[Any, Expansion]:
        states, said = self.model.start(problems)
        return states, self._valued(states, said)

    def expand(
        self, states: Any, actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[Any, Expansion]:
        reached, said = self.model.expand(states, actions, to_end=to_end, evaluate=evaluate)
        return reached, self._valued(reached, said) if evaluate == "all" else said

    @torch.no_grad()
    def _valued(self, states: Any, said: Expansion) -> Expansion:
        """`said` with the value of its live states replaced and their steps added to its usage."""
        discount = torch.as_tensor(said.discount)
        live = torch.nonzero(discount != 0)[:, 0]
        value = torch.zeros_like(discount)
        usage = np.tile(ONE, (len(discount), 1)) if said.usage is None else said.usage.copy()
        spent = usage.copy() if said.spent is None else said.spent.copy()
        if len(live):
            run = Sum(len(live), value)
            logits = None if said.logits is None else torch.as_tensor(said.logits)[live]
            value[live] = self._walk(take(states, live), logits, run)
            more, extra = run.ledger(len(live))
            usage[live.cpu().numpy()] += more
            spent[live.cpu().numpy()] += more if extra is None else extra
        return Expansion(said.reward, said.discount, value, said.logits, usage, spent, said.duplicate_of)

    def _walk(self, states: Any, logits: Any, run: Sum) -> Tensor:
        value: Any = None
        for step in range(self.horizon):
            last = step == self.horizon - 1
            actions = self._draw(states, logits, step)
            states, said = self.model.expand(states, actions, evaluate="all" if last else "none")
            run.charge(said)
            run.add(said.reward, said.discount)
            logits, value = said.logits, said.value
        return run.close("value", value)

    def _draw(self, states: Any, logits: Any, step: int) -> Any:
        if callable(self.policy):
            return self.policy(states, logits)
        bits = fold(content_bits(states), self.seed, step)
        space = self.actions
        if isinstance(space, BoxActions):
            components = torch.arange(len(space.low), device=bits.device)
            share = uniforms(bits[:, None], components, dtype=space.low.dtype)
            return space.low + share * (space.high - space.low)
        if logits is None or self.policy == "uniform":
            return _uniform_slot(space, logits, uniforms(bits, 0, dtype=torch.float64))
        share = torch.softmax(torch.as_tensor(logits).to(bits.device, torch.float64), -1).cumsum(-1)
        return _pick(share, uniforms(bits, 0, dtype=torch.float64))


def _uniform_slot(space: IndexedActions, logits: Any, at: Tensor) -> Tensor:
    """A slot [N] drawn evenly from those that exist, by numbers `at` [N] in [0, 1)."""
    if logits is not None:
        exists = torch.isfinite(torch.as_tensor(logits)).to(at)
        return _pick((exists / exists.sum(-1, keepdim=True)).cumsum(-1), at)
    if isinstance(space, SampledActions):
        raise ValueError("SampledActions() has no uniform policy; give rollout_value a callable")
    return (at * space.n).long()


def _pick(share: Tensor, at: Tensor) -> Tensor:
    """Inverse of the cumulative shares [N, A] at numbers [N]; never a slot whose share is nothing."""
    index = (share <= at[:, None] * share[:, -1:]).sum(-1)
    return index.clamp(max=share.shape[-1] - 1)


def content_bits(states: Any) -> Tensor:
    """int64 [K], a hash of each state's numbers rounded to bfloat16."""
    if isinstance(states, Tensor):
        flat = states.flatten(1) if states.ndim > 1 else states[:, None]
        words = flat.to(torch.bfloat16).view(torch.int16) if states.is_floating_point() else flat
        return fold(torch.zeros_like(words[:, 0], dtype=torch.int64), *words.long().unbind(1))
    if not isinstance(states, dict | tuple) or not states:
        raise ValueError(f"a random policy wants states made of tensors, got {type(states).__name__}; give a callable")
    parts = [content_bits(part) for part in (states.values() if isinstance(states, dict) else states)]
    return fold(parts[0], *parts[1:])


def rollout_value(model: Any, horizon: int, policy: Policy = "logits", *, seed: int = 0) -> RolloutValue:
    """Wrap a model that has no value of its own; see `RolloutValue`."""
    return RolloutValue(model, horizon, policy, seed=seed)
