"""What every physical system here offers; no equation of any of them."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ...planning.interface import ActionSpace


class Dynamics(Protocol):
    """Batched equations of motion, reward and termination of one system, without state of its own.

    env_id: gymnasium's name of the environment it agrees with.
    size: how many numbers a physical state has. observed: how many an observation has.
    A system that no state ends may say so by `endless = True`, which spares models the question.
    """

    env_id: str
    size: int
    observed: int

    @property
    def actions(self) -> ActionSpace: ...

    def step(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[K, size] and [K, D] (or indices [K]) -> next states [K, size], rewards [K], discounts [K] (0 or 1).

        An ended state absorbs: it stays where it is, with reward 0 and discount 0.
        """
        ...

    def reward(self, seen: Tensor, actions: Tensor, reached: Tensor) -> Tensor:
        """[K] reward of a step from `seen` to `reached`, both states or both observations."""
        ...

    def ended(self, states: Tensor) -> Tensor:
        """bool [K]: whether the episode is over in these physical states or observations."""
        ...

    def observe(self, states: Tensor) -> Tensor:
        """[K, size] -> [K, observed], what gymnasium shows of them."""
        ...

    def physical(self, seen: Tensor) -> Tensor:
        """Physical states [K, size] of observations [K, observed]; what is physical already is returned as it is."""
        ...


def wants(name: str, tensor: Tensor, *widths: int) -> Tensor:
    """The tensor, if it is [K, width] with one of these widths; else a ValueError that says what was given."""
    if tensor.ndim != 2 or tensor.shape[1] not in widths:
        allowed = " or ".join(f"[K, {width}]" for width in dict.fromkeys(widths))
        raise ValueError(f"{name} wants {allowed}, got {list(tensor.shape)}")
    return tensor


def rows_of(problems: object, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    """Problems as one tensor [B, width]: a tensor, an array, or a list of vectors.

    Errors: ValueError when they are not of one width, or hold a number that is not finite.
    """
    if isinstance(problems, (list, tuple)):
        problems = torch.stack([torch.as_tensor(p) for p in problems])
    rows = torch.as_tensor(problems).to(dtype=dtype, device=device)
    if rows.ndim != 2:
        raise ValueError(f"problems are rows [B, width] of states or observations, got {list(rows.shape)}")
    if not bool(torch.isfinite(rows).all()):
        raise ValueError("a problem holds NaN or infinity")
    return rows
