"""The interface of the physical systems, and checks of the tensors that they are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...planning.interface import ActionSpace
from ...planning.settings_checks import check_numbers


class Dynamics(Protocol):
    """Batched equations of motion, reward and termination of one system; it holds parameters and no state.

    env_id: gymnasium's name of the environment with the same dynamics.
    state_dim: numbers in a physical state. obs_dim: O, numbers in an observation.
    continuing: whether no state terminates an episode (Sutton and Barto 2018, section 3.3), so that models need not
        check for termination.
    """

    env_id: str
    state_dim: int
    obs_dim: int
    continuing: bool

    @property
    def actions(self) -> ActionSpace: ...

    def step(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """States [K, state_dim] and actions [K, D], or indices [K], to next states, rewards [K] and discounts [K].

        The discount is 0 where the next state is terminal, else 1. A terminal state is absorbing: it stays as it is,
        with reward 0 and discount 0.
        """
        ...

    def reward(self, obs: Tensor, actions: Tensor, next_obs: Tensor) -> Tensor:
        """[K] reward of a step from `obs` to `next_obs`, both physical states or both observations."""
        ...

    def terminated(self, states: Tensor) -> Tensor:
        """bool [K]: whether these physical states or observations are terminal."""
        ...

    def observe(self, states: Tensor) -> Tensor:
        """Physical states [K, state_dim] to the observations [K, O] that gymnasium returns for them."""
        ...

    def to_states(self, obs: Tensor) -> Tensor:
        """Observations [K, O] to physical states [K, state_dim]; physical states are returned unchanged."""
        ...


def check_constants(dynamics: object, *, zero: Sequence[str] = ()) -> None:
    """Errors: ValueError unless all fields of dynamics are finite and above 0; those of `zero` may be 0."""
    names = [field.name for field in fields(dynamics)]  # type: ignore[arg-type]
    check_numbers(dynamics, *(name for name in names if name not in zero), above=0)
    check_numbers(dynamics, *(name for name in names if name in zero), least=0)


class Startable(Dynamics, Protocol):
    """Dynamics with a distribution of initial states."""

    def initial_state(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """A physical state [state_dim] for an episode to start in."""
        ...


def check_width(name: str, tensor: Tensor, *widths: int) -> Tensor:
    """The tensor unchanged. Errors: ValueError unless its shape is [K, width] with one of `widths`."""
    if tensor.ndim != 2 or tensor.shape[1] not in widths:
        allowed = " or ".join(f"[K, {width}]" for width in dict.fromkeys(widths))
        raise ValueError(f"{name} must have shape {allowed}, got {list(tensor.shape)}")
    return tensor


def as_batch(problems: object, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    """Problems as one tensor [B, width]: a tensor, an array, or a list of vectors.

    Errors: ValueError where the vectors differ in width, or a number is not finite.
    """
    if isinstance(problems, (list, tuple)):
        problems = torch.stack([torch.as_tensor(p) for p in problems])
    rows = torch.as_tensor(problems).to(dtype=dtype, device=device)
    if rows.ndim != 2:
        raise ValueError(f"problems must be states or observations of shape [B, width], got {list(rows.shape)}")
    if not bool(torch.isfinite(rows).all()):
        raise ValueError("a problem holds NaN or infinity")
    return rows
