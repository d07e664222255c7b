"""First and second derivatives of one step of a model, for many states at once, by torch.func.

States are flattened to vectors [N, S]. The batch is repeated once per direction instead of using vmap, so that a model
may contain branches that depend on data. `queries.py` uses this module to answer `Linearization`.

Shapes: N states and actions, S components of a flat state, D of an action, n = S + D components of z = (state, action).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor
from torch.func import jvp, vjp

from ..interface import Model, ModelError, States, Usage
from ..states import fields_of, like
from ..usage import usage_or_one_step

Result = TypeVar("Result")

REMEDY = "the model must answer by torch operations that carry derivatives: no numpy, no torch.no_grad, no .item()"


class FlatStep:
    """A model's step as a function of z [N, n]: next states [N, S], rewards [N] and discounts [N].

    pattern: one state of the model's own type. size: S. last: the reward includes discount x value of the next state.
    """

    def __init__(self, model: Model[States], pattern: States, size: int, last: bool) -> None:
        self.model, self.pattern, self.size, self.last = cast("Model[object]", model), pattern, size, last
        self.usage: Usage | None = None
        self.spent: Usage | None = None

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        states = states_of(z[:, : self.size], self.pattern)
        reached, said = self.model.expand(states, z[:, self.size :], evaluate="all" if self.last else "none")
        self.usage, self.spent = said.usage, said.spent
        reward, discount = cast(Tensor, said.reward), cast(Tensor, said.discount)
        if self.last:
            reward = reward + discount * cast(Tensor, said.value)
        return flat_of(reached), reward, discount

    def usage_of_call(self, rows: int) -> tuple[Usage, Usage]:
        """Usage and spent [N, units] of the latest call."""
        usage = usage_or_one_step(self.usage, rows)
        return usage, usage if self.spent is None else self.spent


@dataclass
class Derivatives:
    """Values and derivatives of a step at z [N, n], by z.

    reward, discount [N]; f_z [N, S, n]: Jacobian of the next state; r_z [N, n], r_zz [N, n, n]: gradient and Hessian of
    the reward; f_zz [N, S, n, n]: Hessians of the components of the next state, or None.
    """

    reward: Tensor
    discount: Tensor
    f_z: Tensor
    r_z: Tensor
    r_zz: Tensor
    f_zz: Tensor | None

    def map(self, change: Callable[[Tensor], Tensor]) -> Derivatives:
        """The same after `change` of every tensor."""
        f_zz = None if self.f_zz is None else change(self.f_zz)
        return Derivatives(
            change(self.reward), change(self.discount), change(self.f_z), change(self.r_z), change(self.r_zz), f_zz
        )


def joined(parts: Sequence[Derivatives]) -> Derivatives:
    """Derivatives [M, T, ...] of consecutive steps as one, concatenated along time."""
    each = ((p.reward, p.discount, p.f_z, p.r_z, p.r_zz) for p in parts)
    reward, discount, f_z, r_z, r_zz = (torch.cat(x, 1) for x in zip(*each))
    f_zz = [p.f_zz for p in parts if p.f_zz is not None]
    return Derivatives(reward, discount, f_z, r_z, r_zz, torch.cat(f_zz, 1) if f_zz else None)


Values = tuple[Tensor, Tensor]
"""Two tensors of a step: of the next state, and of the reward."""


def derivatives_of(step: FlatStep, z: Tensor, second: bool) -> Derivatives:
    """Derivatives of a step at z [N, n]; second: f_zz too.

    Reverse over forward mode: `jvp` along n unit directions gives the first derivatives, and `vjp` through it the
    Hessians.

    Errors: ModelError where the next states do not depend on z.
    """
    number, n = z.shape
    directions = torch.eye(n).to(z).repeat_interleave(number, 0)

    def first_derivatives(z: Tensor) -> tuple[Values, Values]:
        reached_and_reward, tangents, discount = cast(
            "tuple[Values, Values, Tensor]", jvp(lambda z: _with_aux(step(z)), (z,), (directions,), has_aux=True)
        )
        # jvp passes through torch.no_grad, under which the second derivatives would silently be zero
        if not reached_and_reward[0].requires_grad:
            raise ModelError(f"the model's next states carry no derivatives; {REMEDY}")
        return tangents, (reached_and_reward[1], discount)

    (f_z, r_z), pull_back, (reward, discount) = cast(
        "tuple[Values, Callable[[Values], tuple[Tensor]], Values]",
        vjp(first_derivatives, z.repeat(n, 1), has_aux=True),
    )

    def hessian(of_state: Tensor, of_reward: Tensor) -> Tensor:
        found = pull_back((of_state, of_reward))[0].view(n, number, n).permute(1, 0, 2)
        return (found + found.mT) / 2

    r_zz = hessian(torch.zeros_like(f_z), torch.ones_like(r_z))
    units = torch.eye(step.size).to(f_z)
    each = [hessian(unit.expand_as(f_z), torch.zeros_like(r_z)) for unit in units] if second else []
    f_z, r_z = f_z.view(n, number, -1).permute(1, 2, 0), r_z.view(n, number).T
    return Derivatives(reward[:number], discount[:number], f_z, r_z, r_zz, torch.stack(each, 1) if second else None)


def _with_aux(answer: tuple[Tensor, Tensor, Tensor]) -> tuple[Values, Tensor]:
    """What is differentiated, and the discount, which is not."""
    return answer[:2], answer[2]


def flat_of(states: object) -> Tensor:
    """States as vectors [N, S]. Errors: ModelError for anything but floating tensors or tuples or dicts of them."""
    fields = fields_of(states) if isinstance(states, Tensor | dict | tuple) else []
    if not fields or not all(isinstance(x, Tensor) and x.is_floating_point() for x in fields):
        raise ModelError(
            f"states must be floating tensors (or tuples or dicts of them) for derivatives, got {type(states).__name__}"
            "; CEM, MPPI and MCTS need no derivatives"
        )
    flat = [x.reshape(len(x), -1) for x in fields]
    return torch.cat(flat, 1) if len(flat) > 1 else flat[0]


def states_of(flat: Tensor, pattern: States) -> States:
    """Vectors [N, S] as states of the type of `pattern`; the inverse of `flat_of`."""
    fields, parts, begin = fields_of(pattern), [], 0
    for x in fields:
        width = x[0].numel()
        parts.append(flat[:, begin : begin + width].reshape(len(flat), *x.shape[1:]).to(x.dtype))
        begin += width
    return like(pattern, parts)


def differentiated(call: Callable[[], Result]) -> Result:
    """What `call` returns. Errors: ModelError where torch cannot differentiate the model."""
    try:
        return call()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise ModelError(f"the model cannot be differentiated ({error}); {REMEDY}") from error
