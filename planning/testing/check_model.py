"""Check a model: whether its answers keep the contract of `interface.Model`. `check_search.py` checks planners.

check_model(MyModel(), problems)       # ModelError names the field and what is wrong with it
check_search(MyPlanner())              # SearchError says which part of the contract was broken, on which problem
"""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import fields, replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from ..interface import (
    UNITS,
    Actions,
    ActionSpace,
    Bool,
    BoxActions,
    DiscreteActions,
    Expansion,
    Model,
    ModelError,
    SampledActions,
    States,
)
from ..rollout import take
from ..settings_checks import check_integer
from ..trees.tree import as_numpy
from ..usage import NODES
from .check_search import SearchError, check_search

Indices = NDArray[np.int64]

__all__ = ["SearchError", "check_model", "check_search"]


def check_model(
    model: Model[States],
    problems: object,
    *,
    steps: int = 4,
    seed: int = 0,
    tolerance: float = 1e-4,
    gradients: bool = False,
) -> None:
    """Take `steps` random actions from `problems` and check every answer on the way.

    problems: at least two, in what `model.start` takes. tolerance: the relative difference allowed between a row alone
    and in its batch, and the absolute one for numbers below 1, in their units. gradients: also compare the derivatives
    of a `BoxActions` model by its actions with finite differences. Checked: shapes, types, finiteness; values of 0 at
    ends; masks; usage against `model.cost`; that the same query has the same answer, and a row of a batch the same as
    alone; that states are not changed in place; and that `evaluate="none"` changes neither reward nor discount.

    Errors: ModelError for a broken contract, ValueError for too few problems or steps.
    """
    check_integer("steps", steps, 1)
    _check_cost(model)
    draw = np.random.default_rng(seed)
    states, expansion = model.start(problems)
    rows = len(expansion.value)
    if rows < 2:
        raise ValueError(f"check_model needs at least two problems, got {rows}")
    _check_start(model, states, expansion)
    _same_answer(model.start(problems), (states, expansion), "start, asked twice,", 0.0)
    for i in range(rows):
        alone = model.start(take(problems, _index(i)))
        _same_answer(alone, _part(states, expansion, i), f"start of problem {i} alone", tolerance)
    for step in range(steps):
        live = np.flatnonzero(as_numpy(expansion.discount, "discount", (rows,)) != 0)
        if not len(live):
            return
        states, expansion = _part(states, expansion, live)
        actions = _random_actions(model.actions, expansion, len(live), draw)
        if gradients and isinstance(actions, torch.Tensor):
            _check_gradients(model, states, actions, draw)
        states, expansion = _checked_step(model, states, actions, f"step {step}", tolerance)
        rows = len(live)


def _check_cost(model: Model[States]) -> None:
    try:
        check_integer("the model's cost", model.cost, 1)
    except AttributeError:
        raise ModelError("the model has no cost, the nodes that one edge is charged") from None
    except ValueError as error:
        raise ModelError(str(error)) from None


def _checked_step(
    model: Model[States], states: States, actions: Actions, where: str, tolerance: float
) -> tuple[States, Expansion]:
    rows = len(actions)
    before = take(states, torch.arange(rows))
    reached, expansion = first = model.expand(states, actions)
    if not _close(before, states, 0.0):
        raise ModelError(f"states: expand changed in place the states it was given ({where})")
    _check_expansion(model, reached, expansion, rows, where)
    _same_answer(model.expand(states, actions), first, f"{where}, asked twice,", 0.0)
    bare = model.expand(states, actions, evaluate="none")[1]
    for name in ("reward", "discount"):
        if not _close(getattr(bare, name), getattr(expansion, name), tolerance):
            raise ModelError(f"{name} is another with evaluate='none' ({where})")
    for i in range(rows):
        alone = model.expand(take(states, _index(i)), actions[i : i + 1])
        _same_answer(alone, _part(reached, expansion, i), f"row {i} alone in {where}", tolerance)
    return reached, expansion


def _check_start(model: Model[States], states: States, expansion: Expansion) -> None:
    rows = len(expansion.value)
    _check_expansion(model, states, expansion, rows, "start")
    if (as_numpy(expansion.reward, "reward", (rows,)) != 0).any():
        raise ModelError("reward of start must be 0: no action was taken yet")
    if not np.isin(as_numpy(expansion.discount, "discount", (rows,)), (0, 1)).all():
        raise ModelError("discount of start must be 1, or 0 where the problem is over before it began")


def _check_expansion(model: Model[States], states: States, expansion: Expansion, rows: int, where: str) -> None:
    """Check every field of an expansion by itself."""
    for name in ("reward", "discount", "value"):
        given = getattr(expansion, name)
        number = as_numpy(given, name, (rows,))
        if not torch.as_tensor(given).is_floating_point():
            raise ModelError(f"{name} must be floating point, got {given.dtype} ({where})")
        if not np.isfinite(number).all():
            raise ModelError(f"{name} is not finite in row {int(np.flatnonzero(~np.isfinite(number))[0])} ({where})")
    discount = as_numpy(expansion.discount, "discount", (rows,))
    if (np.abs(discount) > 1).any():
        raise ModelError(f"discount must be in [-1, 1], got {discount[np.abs(discount) > 1][0]:g} ({where})")
    over = discount == 0
    wrong = np.flatnonzero(over & (as_numpy(expansion.value, "value", (rows,)) != 0))
    if len(wrong):
        worst = float(expansion.value[int(wrong[0])])
        raise ModelError(f"value must be 0 where discount is 0, row {wrong[0]} has {worst} ({where})")
    _check_logits(model.actions, expansion, over, where)
    _check_usage(model, expansion, rows, where)
    if expansion.dead_end is not None and (_dead_ends(expansion.dead_end, rows) & ~over).any():
        raise ModelError(f"dead_end marks a state that goes on; only ends (discount 0) can be dead ends ({where})")
    if expansion.duplicate_of is not None:
        raise ModelError(f"duplicate_of is set by the driver, a model leaves it None ({where})")
    if count_of(states) != rows:
        raise ModelError(f"states are {count_of(states)}, expected {rows} ({where})")


def _dead_ends(dead_end: Bool, rows: int) -> Bool:
    return np.asarray(as_numpy(dead_end, "dead_end", (rows,)) != 0)


def _check_logits(space: ActionSpace, expansion: Expansion, over: Bool, where: str) -> None:
    if expansion.logits is None:
        return
    if not isinstance(space, DiscreteActions):
        raise ModelError(f"logits must be None for {space} ({where})")
    logits = as_numpy(expansion.logits, "logits", (len(over), space.n))
    if np.isnan(logits).any() or (logits == np.inf).any():
        raise ModelError(f"logits hold NaN or +inf; -inf says that there is no such action ({where})")
    no_action = np.flatnonzero(~over & (logits == -np.inf).all(1))
    if len(no_action):
        raise ModelError(f"logits of row {no_action[0]} leave no action, but its discount is not 0 ({where})")


def _check_usage(model: Model[States], expansion: Expansion, rows: int, where: str) -> None:
    for name in ("usage", "spent"):
        given = getattr(expansion, name)
        if given is None:
            continue
        if np.shape(given) != (rows, len(UNITS)):
            raise ModelError(f"{name} has shape {np.shape(given)}, expected {(rows, len(UNITS))} ({where})")
        if not np.isfinite(given).all() or (given < 0).any():
            raise ModelError(f"{name} holds a number that is negative or not finite ({where})")
    if where != "start" and expansion.usage is not None and (expansion.usage[:, NODES] > model.cost).any():
        raise ModelError(
            f"usage charges {expansion.usage[:, NODES].max():g} nodes, more than cost = {model.cost} ({where})"
        )


def _random_actions(space: ActionSpace, expansion: Expansion, rows: int, draw: np.random.Generator) -> Actions:
    """One random action per state, of those it has."""
    if isinstance(space, BoxActions):
        share = torch.from_numpy(draw.random((rows, len(space.low)))).to(space.low)
        return space.low + share * (space.high - space.low)
    if isinstance(space, SampledActions):
        return draw.integers(0, 4, rows).astype(np.int32)
    if expansion.logits is None:
        return draw.integers(0, space.n, rows).astype(np.int32)
    exists = np.isfinite(as_numpy(expansion.logits, "logits", (rows, space.n)))
    return np.array([draw.choice(np.flatnonzero(row)) for row in exists], np.int32)


def _check_gradients(model: Model[States], states: States, actions: torch.Tensor, draw: np.random.Generator) -> None:
    """Derivative of reward + discount x value along a random direction, against central differences in float64."""

    def total(at: torch.Tensor) -> torch.Tensor:
        expansion = model.expand(states, at)[1]
        reward, discount, value = (torch.as_tensor(x) for x in (expansion.reward, expansion.discount, expansion.value))
        return (reward + discount * value).double().sum()

    with torch.enable_grad():
        at = actions.clone().requires_grad_()
        whole = total(at)
        if not whole.requires_grad:
            raise ModelError("reward and value carry no gradient by the actions")
        gradient = torch.autograd.grad(whole, at)[0]
    direction = torch.from_numpy(draw.normal(size=tuple(actions.shape))).to(actions)
    assert isinstance(model.actions, BoxActions)
    direction = direction * (model.actions.high - model.actions.low) / 2
    step = 1e-3 if actions.dtype == torch.float32 else 1e-6
    with torch.no_grad():
        ahead, behind = float(total(actions + step * direction)), float(total(actions - step * direction))
    measured, stated = (ahead - behind) / (2 * step), float((gradient * direction).sum())
    rounding = 16 * torch.finfo(actions.dtype).eps * max(abs(ahead), abs(behind)) / step
    scale = max(abs(measured), float((gradient * direction).abs().sum()))
    if not abs(stated - measured) <= 0.02 * scale + rounding:
        raise ModelError(f"reward and value: the gradient along a direction is {stated:g}, measured {measured:g}")


def count_of(states: object) -> int:
    """How many states a model's `states` hold."""
    if isinstance(states, dict):
        return count_of(next(iter(states.values())))
    if isinstance(states, tuple) and states and isinstance(states[0], torch.Tensor | np.ndarray):
        return len(states[0])
    return len(cast(Sized, states))


def _index(i: int | Indices) -> torch.Tensor:
    return torch.as_tensor(np.atleast_1d(i), dtype=torch.int64)


def _part(states: States, expansion: Expansion, i: int | Indices) -> tuple[States, Expansion]:
    """The rows `i` of an answer."""
    at = np.atleast_1d(i)
    parts = {f.name: x[at] for f in fields(expansion) if (x := getattr(expansion, f.name)) is not None}
    return take(states, _index(i)), replace(expansion, **parts)


def _same_answer(a: tuple[States, Expansion], b: tuple[States, Expansion], where: str, tolerance: float) -> None:
    for name in ("reward", "discount", "value", "logits"):
        now, before = getattr(a[1], name), getattr(b[1], name)
        if not _close(now, before, tolerance):
            raise ModelError(f"{name}: {where} gives {now}, before it was {before}")
    if not _close(a[0], b[0], tolerance):
        raise ModelError(f"states: {where} leads elsewhere than before")


def _close(a: object, b: object, tolerance: float) -> bool:
    """Whether two states, arrays or containers of them are equal within the tolerance."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_close(a[k], b[k], tolerance) for k in a)
    if isinstance(a, torch.Tensor | np.ndarray):
        x, y = torch.as_tensor(a).detach().double(), torch.as_tensor(b).detach().double()
        return x.shape == y.shape and torch.allclose(x, y, rtol=tolerance, atol=tolerance, equal_nan=True)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(_close(x, y, tolerance) for x, y in zip(a, b))
    return bool(a == b)
