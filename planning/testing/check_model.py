"""The conformance kit: whether a model and a planner keep the contracts of `interface.py`. Run them on your own.

    check_model(MyModel(), problems)       # ModelError names the field and what is wrong with it
    check_search(MyPlanner())              # SearchError says which promise was broken, and on which problem

Here is the half about models; that about searches is in `conformance.py`. Nothing here plans or learns.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..interface import UNITS, BoxActions, DiscreteActions, Expansion, ModelError, SampledActions
from ..rollout import take
from ..tree import as_numpy
from .check_search import SearchError, check_search

__all__ = ["SearchError", "check_model", "check_search"]


def check_model(
    model: Any, problems: Any, *, steps: int = 4, seed: int = 0, tolerance: float = 1e-4, gradients: bool = False
) -> None:
    """Walk `steps` random actions from `problems` and check every answer on the way.

    problems: at least two, in what `model.start` takes. gradients: also compare the derivatives of a `BoxActions` model by
    its actions with finite differences. Checked: shapes, types, finiteness; ends worth 0; masks; usage against
    `model.cost`; same question, same answer; a batch's row is the same row alone; states are not changed in place;
    `evaluate="none"` changes neither reward nor discount.

    Errors: ModelError for a broken contract, ValueError for too few problems.
    """
    draw = np.random.default_rng(seed)
    states, said = model.start(problems)
    rows = len(said.value)
    if rows < 2:
        raise ValueError(f"check_model wants at least two problems, got {rows}")
    _check_start(model, states, said)
    _same_answer(model.start(problems), (states, said), "start, asked twice,", 0.0)
    for i in range(rows):
        alone = model.start(take(problems, _at(i)))
        _same_answer(alone, _row(states, said, i), f"start of problem {i} alone", tolerance)
    for step in range(steps):
        live = np.flatnonzero(as_numpy(said.discount, "discount", (rows,)) != 0)
        if not len(live):
            return
        states, said = _row(states, said, live)
        actions = _actions(model.actions, said, len(live), draw)
        if gradients and isinstance(model.actions, BoxActions):
            _check_gradients(model, states, actions, draw)
        states, said = _checked_step(model, states, actions, f"step {step}", tolerance)
        rows = len(live)


def _checked_step(model: Any, states: Any, actions: Any, where: str, tolerance: float) -> tuple[Any, Expansion]:
    rows = len(actions)
    before = take(states, torch.arange(rows))
    reached, said = first = model.expand(states, actions)
    if not _close(before, states, 0.0):
        raise ModelError(f"states: expand changed in place the states it was given ({where})")
    _check_said(model, reached, said, rows, where)
    _same_answer(model.expand(states, actions), first, f"{where}, asked twice,", 0.0)
    bare = model.expand(states, actions, evaluate="none")[1]
    for name in ("reward", "discount"):
        if not _close(getattr(bare, name), getattr(said, name), tolerance):
            raise ModelError(f"{name} is another with valued='none' ({where})")
    for i in range(rows):
        alone = model.expand(take(states, _at(i)), actions[i : i + 1])
        _same_answer(alone, _row(reached, said, i), f"row {i} alone in {where}", tolerance)
    return reached, said


def _check_start(model: Any, states: Any, said: Expansion) -> None:
    rows = len(said.value)
    _check_said(model, states, said, rows, "start")
    if (as_numpy(said.reward, "reward", (rows,)) != 0).any():
        raise ModelError("reward of start must be 0: nothing was done yet")
    if not np.isin(as_numpy(said.discount, "discount", (rows,)), (0, 1)).all():
        raise ModelError("discount of start must be 1, or 0 where the problem is over before it began")


def _check_said(model: Any, states: Any, said: Expansion, rows: int, where: str) -> None:
    """Every field of an expansion by itself."""
    for name in ("reward", "discount", "value"):
        given = getattr(said, name)
        number = as_numpy(given, name, (rows,))
        if not torch.as_tensor(given).is_floating_point():
            raise ModelError(f"{name} must be floating point, got {given.dtype} ({where})")
        if not np.isfinite(number).all():
            raise ModelError(f"{name} is not finite in row {int(np.flatnonzero(~np.isfinite(number))[0])} ({where})")
    over = as_numpy(said.discount, "discount", (rows,)) == 0
    worth = np.flatnonzero(over & (as_numpy(said.value, "value", (rows,)) != 0))
    if len(worth):
        worst = float(said.value[int(worth[0])])
        raise ModelError(f"value must be 0 where discount is 0, row {worth[0]} has {worst} ({where})")
    _check_logits(model.actions, said, over, where)
    _check_usage(model, said, rows, where)
    if said.dead_end is not None and (_dead(said, rows) & ~over).any():
        raise ModelError(f"dead marks a state that goes on; only ends (discount 0) can be dead ({where})")
    if said.duplicate_of is not None:
        raise ModelError(f"same_as is the driver's to set, a model leaves it None ({where})")
    if count_of(states) != rows:
        raise ModelError(f"states are {count_of(states)}, expected {rows} ({where})")


def _dead(said: Expansion, rows: int) -> NDArray[np.bool_]:
    return np.asarray(as_numpy(said.dead_end, "dead_end", (rows,)) != 0)


def _check_logits(space: Any, said: Expansion, over: NDArray[np.bool_], where: str) -> None:
    if said.logits is None:
        return
    if not isinstance(space, DiscreteActions):
        raise ModelError(f"logits must be None for {space} ({where})")
    logits = as_numpy(said.logits, "logits", (len(over), space.n))
    if np.isnan(logits).any() or (logits == np.inf).any():
        raise ModelError(f"logits hold NaN or +inf; -inf says that there is no such action ({where})")
    barren = np.flatnonzero(~over & (logits == -np.inf).all(1))
    if len(barren):
        raise ModelError(f"logits of row {barren[0]} leave no action, but its discount is not 0 ({where})")


def _check_usage(model: Any, said: Expansion, rows: int, where: str) -> None:
    for name in ("usage", "spent"):
        given = getattr(said, name)
        if given is None:
            continue
        if np.shape(given) != (rows, len(UNITS)):
            raise ModelError(f"{name} has shape {np.shape(given)}, expected {(rows, len(UNITS))} ({where})")
        if not np.isfinite(given).all() or (given < 0).any():
            raise ModelError(f"{name} holds a number that is negative or not finite ({where})")
    if where != "start" and said.usage is not None and (said.usage[:, 0] > model.cost).any():
        raise ModelError(f"usage charges {said.usage[:, 0].max():g} nodes, more than cost = {model.cost} ({where})")


def _actions(space: Any, said: Expansion, rows: int, draw: np.random.Generator) -> Any:
    """One random action per state, of those it offers."""
    if isinstance(space, BoxActions):
        share = torch.from_numpy(draw.random((rows, len(space.low)))).to(space.low)
        return space.low + share * (space.high - space.low)
    if isinstance(space, SampledActions):
        return draw.integers(0, 4, rows)
    if said.logits is None:
        return draw.integers(0, space.n, rows)
    offered = np.isfinite(as_numpy(said.logits, "logits", (rows, space.n)))
    return np.array([draw.choice(np.flatnonzero(row)) for row in offered])


def _check_gradients(model: Any, states: Any, actions: torch.Tensor, draw: np.random.Generator) -> None:
    """Derivative of reward + discount x value along a random direction, against central differences in float64."""

    def total(at: torch.Tensor) -> torch.Tensor:
        said = model.expand(states, at)[1]
        whole: torch.Tensor = (said.reward + said.discount * said.value).double().sum()
        return whole

    with torch.enable_grad():
        at = actions.clone().requires_grad_()
        whole = total(at)
        if not whole.requires_grad:
            raise ModelError("reward and value carry no gradient by the actions")
        slope = torch.autograd.grad(whole, at)[0]
    direction = torch.from_numpy(draw.normal(size=tuple(actions.shape))).to(actions)
    step = 1e-3 if actions.dtype == torch.float32 else 1e-6
    with torch.no_grad():
        measured = float(total(actions + step * direction) - total(actions - step * direction)) / (2 * step)
    stated = float((slope * direction).sum())
    if abs(stated - measured) > 0.02 * max(abs(stated), abs(measured)) + 0.02:
        raise ModelError(f"reward and value: the gradient along a direction is {stated:g}, measured {measured:g}")


def count_of(states: Any) -> int:
    """How many states are in what a model calls states."""
    if isinstance(states, dict):
        return count_of(next(iter(states.values())))
    if isinstance(states, tuple) and states and isinstance(states[0], torch.Tensor | np.ndarray):
        return len(states[0])
    return len(states)


def _at(i: Any) -> torch.Tensor:
    return torch.as_tensor(np.atleast_1d(i), dtype=torch.int64)


def _row(states: Any, said: Expansion, i: Any) -> tuple[Any, Expansion]:
    """Part of an answer."""
    at = np.atleast_1d(i)
    parts = {f.name: getattr(said, f.name) for f in fields(said)}
    return take(states, _at(i)), Expansion(**{k: None if x is None else x[at] for k, x in parts.items()})


def _same_answer(a: tuple[Any, Expansion], b: tuple[Any, Expansion], where: str, tolerance: float) -> None:
    for name in ("reward", "discount", "value", "logits"):
        now, before = getattr(a[1], name), getattr(b[1], name)
        if not _close(now, before, tolerance):
            raise ModelError(f"{name}: {where} gives {now}, before it was {before}")
    if not _close(a[0], b[0], tolerance):
        raise ModelError(f"states: {where} leads elsewhere than before")


def _close(a: Any, b: Any, tolerance: float) -> bool:
    """Whether two states, arrays or containers of them are alike."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_close(a[k], b[k], tolerance) for k in a)
    if isinstance(a, torch.Tensor | np.ndarray):
        a, b = torch.as_tensor(a).detach().double(), torch.as_tensor(b).detach().double()
        return a.shape == b.shape and torch.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(_close(x, y, tolerance) for x, y in zip(a, b))
    return bool(a == b)
