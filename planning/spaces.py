"""Action spaces: indices into what a state offers, or vectors within a box."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DiscreteActions:
    """An action is an index in 0 .. n - 1; actions that a state does not have get logit -inf."""

    n: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"DiscreteActions wants at least one action, got n = {self.n}")


@dataclass(frozen=True)
class SampledActions:
    """An action is the index of one of unboundedly many exchangeable samples of a policy, such as continuations of a text.

    Logits are None: samples come from the policy already, so weighting them by it would count it twice.
    """


@dataclass(frozen=True)
class BoxActions:
    """An action is a vector within finite bounds, `low` and `high` of shape [D]."""

    low: Tensor
    high: Tensor

    def __post_init__(self) -> None:
        if self.low.shape != self.high.shape or self.low.ndim != 1:
            raise ValueError(
                f"BoxActions wants low and high of one shape [D], got {self.low.shape} and {self.high.shape}"
            )
        if not bool(torch.isfinite(self.low).all() and torch.isfinite(self.high).all()):
            raise ValueError(
                "BoxActions wants finite bounds; wrap the environment in RescaleAction or ClipAction first"
            )
        if not bool((self.low < self.high).all()):
            raise ValueError("BoxActions wants low < high in every component")


IndexedActions = DiscreteActions | SampledActions
"""The spaces whose actions are indices; these are what trees search over."""

ActionSpace = IndexedActions | BoxActions


def action_count(actions: IndexedActions) -> int:
    """How many actions every state offers, 0 where the offer is unbounded."""
    return actions.n if isinstance(actions, DiscreteActions) else 0
