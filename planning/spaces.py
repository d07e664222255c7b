"""Action spaces: indices of the actions of a state, or vectors within a box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .settings_checks import check_integers


@dataclass(frozen=True)
class DiscreteActions:
    """An action is an index in 0 .. n - 1; actions that a state does not have get logit -inf."""

    n: int

    def __post_init__(self) -> None:
        check_integers(self, 1, "n")


@dataclass(frozen=True)
class SampledActions:
    """An action is the index of one of unboundedly many exchangeable policy samples, such as continuations of a text.

    Logits are None: samples come from the policy already, so weighting them by it would count it twice.
    """


@dataclass(frozen=True)
class BoxActions:
    """An action is a vector within finite bounds, `low` and `high` of shape [D]."""

    low: Tensor
    high: Tensor

    def __post_init__(self) -> None:
        if not (isinstance(self.low, Tensor) and isinstance(self.high, Tensor)):
            raise TypeError(f"BoxActions needs tensors low and high, got {type(self.low)} and {type(self.high)}")
        if self.low.shape != self.high.shape or self.low.ndim != 1 or not len(self.low):
            raise ValueError(
                "BoxActions needs low and high of one shape [D] with at least one component, got "
                f"{tuple(self.low.shape)} and {tuple(self.high.shape)}"
            )
        if {self.low.dtype, self.high.dtype} not in ({torch.float32}, {torch.float64}):
            kinds = f"{self.low.dtype} and {self.high.dtype}"
            raise ValueError(f"BoxActions needs low and high both of float32 or float64, got {kinds}")
        if not bool(torch.isfinite(self.low).all() and torch.isfinite(self.high).all()):
            raise ValueError(
                "BoxActions needs finite bounds; wrap the environment in TransformAction with a finite Box first"
            )
        if not bool((self.low < self.high).all()):
            raise ValueError("BoxActions needs low < high in every component")


IndexedActions = DiscreteActions | SampledActions
"""The spaces whose actions are indices; these are what trees search over."""

ActionSpace = IndexedActions | BoxActions


def indexed_only(actions: ActionSpace, planner: str) -> IndexedActions:
    """The space, for a planner of this name that searches a tree. Errors: ValueError for `BoxActions`."""
    if isinstance(actions, BoxActions):
        raise ValueError(
            f"{planner} searches over indexed actions, got BoxActions; offer vectors one by one: "
            "DiscretizedActions(model, n)"
        )
    return actions


def action_count(actions: IndexedActions) -> int:
    """How many actions every state has, 0 where they are unbounded."""
    return actions.n if isinstance(actions, DiscreteActions) else 0


def action_indices(actions: NDArray[np.int32] | Tensor, n: int, device: torch.device | str) -> Tensor:
    """Indices as a tensor int64 [K]. Errors: ValueError where one of them is not in 0 .. n - 1."""
    index = torch.as_tensor(actions).to(device=device, dtype=torch.int64)
    if index.numel() and (int(index.min()) < 0 or int(index.max()) >= n):
        raise ValueError(f"actions are indices 0..{n - 1}, got {int(index.min())}..{int(index.max())}")
    return index
