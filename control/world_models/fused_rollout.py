"""Many steps of one perceptron as dynamics at once, without derivatives, for `Vectorised` models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...planning.wrappers.terminal_value import ValueFn
from ..nets.fused import Folded
from .network import Rules, bounds_of

Chance = Callable[[int, Tensor], Tensor]
"""The step, from 0, and what the last layer is given, [hidden + 1, N] -> what chance adds to observations, [O, N]."""


@torch.no_grad()
def walked(
    rules: Rules, net: Folded, states: Tensor, actions: Tensor, value: ValueFn | None, chance: Chance | None = None
) -> Tensor:
    """Returns [N] of as many steps from states [N, O] as there are actions [H, N, D], and of the value there.

    net: a single member. rules: `plain` ones.
    """
    given, moved = net.inputs(states), net.room[: states.shape[1] + 1]
    moved[0], moved[1:] = 0.0, states.mT
    factor = _move(rules, net, moved, given, actions, chance)
    total = moved[0].clone()
    return total if value is None else total.add_(value(moved[1:].mT.clone()), alpha=factor)


def _move(rules: Rules, net: Folded, moved: Tensor, given: Tensor, actions: Tensor, chance: Chance | None) -> float:
    """Take all steps: `moved` [1 + O, N] are returns so far and observations, which `given` has among its rows.

    The last layer's product adds its result to them, rewards being discounted by its weights. The factor on what comes
    after is returned.
    """
    learned, gamma, factor = rules.learned, rules.gamma, 1.0
    total, seen, push = moved[0], moved[1:], host(given[len(moved) - 1 : -1])
    last = net.final if learned and gamma == 1 else net.final.clone()
    if not learned:
        last[0] = 0
    for t, pushed in enumerate(_clipped(rules, actions)):
        before = seen if learned else seen.clone()
        push[:] = pushed
        hidden = net.last(given)
        if hidden is given:  # no hidden layer: what moves would be read while it is written
            hidden = given.clone()
        noise = None if chance is None else chance(t, hidden)
        moved.addmm_(last, hidden)
        if noise is not None:
            seen.add_(noise)
        if not learned:
            total.add_(rules.rewarded(before.mT, actions[t], seen.mT, total), alpha=factor)
        if gamma != 1:
            last[0] *= gamma
            factor *= gamma
    return factor


def _clipped(rules: Rules, actions: Tensor) -> Any:
    """Actions [H, N, D] within the bounds as [H, D, N], on a CPU an array."""
    low, high = bounds_of(rules.config.low, rules.config.high, actions.dtype, actions.device)
    return host(torch.minimum(torch.maximum(actions, low), high).mT)


def host(x: Tensor) -> Any:
    """A tensor as an array where it can be one: copying a row into another takes a fifth of the time."""
    return x.numpy() if x.device.type == "cpu" else x
