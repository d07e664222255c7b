"""Ensembles whose members are of two parts: whether there is anything to predict, and what.

Cragg 1971, "Some statistical models for limited dependent variables with application to the demand for durable goods".
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ..ensemble.net import EnsembleConfig, StackedNet


class HurdleNet(StackedNet):
    """E members of two parts: what a network of `StackedNet` predicts, times the probability that there is anything.

    judge: as many networks of the same shape, the last output of each the log-odds.
    """

    def __init__(self, config: EnsembleConfig, seed: int = 0) -> None:
        super().__init__(config, seed)
        self.judge = Judge(replace(config, probabilistic=False), seed + 1)

    def means(self, inputs: Tensor) -> Tensor:
        # with derivatives they are those of `every`, which has the chance in it
        return super().means(inputs) if torch.is_grad_enabled() else super().means(inputs) * self.judge.chance(inputs)

    def every(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        mean, deviation = super().every(inputs)
        return mean * self.judge.chance(inputs), deviation


class Judge(StackedNet):
    """Networks whose last output says by its log-odds whether there is anything to predict."""

    def losses(self, normal: Tensor, targets: Tensor) -> Tensor:
        """[E] cross-entropy of normalised inputs and targets [E, N, O + 1], the last of which is 0 or 1."""
        odds = self(normal)[0][..., -1]
        return binary_cross_entropy_with_logits(odds, targets[..., -1], reduction="none").mean(-1)

    def chance(self, inputs: Tensor) -> Tensor:
        """Raw inputs [N, I] to probabilities [E, N, 1]."""
        return torch.sigmoid(self.means(inputs)[..., -1:])


def parts_of(net: StackedNet) -> int:
    """How many networks a member consists of."""
    return 2 if isinstance(net, HurdleNet) else 1
