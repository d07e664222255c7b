"""Derivatives of one step of a model, many states at once, by torch.func: first and second.

States go in and come out flat, as vectors [K, S]. Copies of the batch carry one direction each, so that a model sees
nothing but a larger batch and may branch on it as it likes (no vmap). Who asks for this is `derivatives.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import jvp, vjp

from ..interface import ModelError, Usage
from ..states import fields_of, like
from ..usage import usage_or_one_step

REMEDY = "the model must answer by torch operations that carry derivatives: no numpy, no torch.no_grad, no .item()"


class Steps:
    """A model's step as a function of flat numbers z [N, n] alone: next state [N, S], reward [N], discount [N]."""

    def __init__(self, model: Any, pattern: Any, size: int, last: bool) -> None:
        self.model, self.pattern, self.size, self.last = model, pattern, size, last
        self.usage: Usage | None = None
        self.spent: Usage | None = None

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        states = states_of(z[:, : self.size], self.pattern)
        reached, said = self.model.expand(states, z[:, self.size :], evaluate="all" if self.last else "none")
        self.usage, self.spent = said.usage, said.spent
        total = said.reward + said.discount * said.value if self.last else said.reward
        return flat_of(reached), total, said.discount

    def ledger(self, rows: int) -> tuple[Usage, Usage]:
        """Usage and spent [N, units] of the last call."""
        usage = usage_or_one_step(self.usage, rows)
        return usage, usage if self.spent is None else self.spent


def bent(rows: Steps, z: Tensor, second: bool) -> tuple[Tensor | None, ...]:
    """Of z [N, n]: rewards and discounts [N], Jacobian [N, S, n], gradient [N, n] and Hessian [N, n, n] of the reward,
    and (second) the Hessians [N, S, n, n] of the next state. Reverse over forward: n copies of z each carry a
    direction, and backward passes through them give the derivatives of what they carry."""
    number, n = z.shape
    along = torch.eye(n).to(z).repeat_interleave(number, 0)

    def carried(z: Tensor) -> tuple[Any, Any]:
        told: Any = jvp(lambda z: _ends(rows(z)), (z,), (along,), has_aux=True)
        (reached, total), slopes, discount = told
        if not reached.requires_grad:  # forward slopes pass through no_grad, where second derivatives would be zero
            raise ModelError(f"the model's next states carry no derivatives; {REMEDY}")
        return slopes, (total, discount)

    told: Any = vjp(carried, z.repeat(n, 1), has_aux=True)
    (moved, slope), pull, (total, discount) = told

    def pulled(one: Tensor, other: Tensor) -> Tensor:
        hessian = pull((one, other))[0].view(n, number, n).permute(1, 0, 2)
        return (hessian + hessian.mT) / 2

    curve = pulled(torch.zeros_like(moved), torch.ones_like(slope))
    units = torch.eye(rows.size).to(moved)
    each = [pulled(unit.expand_as(moved), torch.zeros_like(slope)) for unit in units] if second else []
    moved, slope = moved.view(n, number, -1).permute(1, 2, 0), slope.view(n, number).T
    return total[:number], discount[:number], moved, slope, curve, torch.stack(each, 1) if second else None


def _ends(told: tuple[Tensor, Tensor, Tensor]) -> tuple[tuple[Tensor, Tensor], Tensor]:
    return told[:2], told[2]


def flat_of(states: Any) -> Tensor:
    """States as vectors [K, S]. Errors: ModelError for anything but floating tensors or tuples or dicts of them."""
    fields = [states] if isinstance(states, Tensor) else fields_of(states) if isinstance(states, dict | tuple) else []
    if not fields or not all(isinstance(x, Tensor) and x.is_floating_point() for x in fields):
        raise ModelError(
            f"states are to be differentiated, so they must be floating tensors, got {type(states).__name__}"
        )
    return (
        torch.cat([x.reshape(len(x), -1) for x in fields], 1)
        if len(fields) > 1
        else fields[0].reshape(len(fields[0]), -1)
    )


def states_of(flat: Tensor, pattern: Any) -> Any:
    """Vectors [K, S] as states made like `pattern`; the inverse of `flat_of`."""
    fields, parts, at = fields_of(pattern), [], 0
    for x in fields:
        width = x[0].numel()
        parts.append(flat[:, at : at + width].reshape(len(flat), *x.shape[1:]).to(x.dtype))
        at += width
    return like(pattern, parts)


def differentiated(call: Callable[[], Any]) -> Any:
    """What `call` returns. Errors: ModelError where torch cannot differentiate the model."""
    try:
        return call()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise ModelError(f"the model cannot be differentiated ({error}); {REMEDY}") from error
