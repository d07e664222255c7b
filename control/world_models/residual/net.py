"""Ensembles whose members have two parts: whether there is anything to predict, and what.

A hurdle model: Cragg 1971, "Some statistical models for limited dependent variables with application to the demand for
durable goods".
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ..ensemble.net import EnsembleConfig, StackedNet


class HurdleNet(StackedNet):
    """E members: the prediction of a `StackedNet`, times the probability that the target is not zero.

    classifier: E networks of the same shape that predict this probability.
    """

    def __init__(self, config: EnsembleConfig, seed: int = 0) -> None:
        super().__init__(config, seed)
        self.classifier = ContactClassifier(replace(config, probabilistic=False), seed + 1)

    def means(self, inputs: Tensor) -> Tensor:
        means = super().means(inputs)  # with derivatives they come from `all_members`, which has the probability in it
        return means if torch.is_grad_enabled() else means * self.classifier.probability(inputs)

    def all_members(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        mean, deviation = super().all_members(inputs)
        return mean * self.classifier.probability(inputs), deviation


class ContactClassifier(StackedNet):
    """E networks whose last output is the log-odds that the target is not zero, such as during a contact."""

    def losses(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """[E] cross-entropy of normalised inputs [E, N, I] and targets [E, N, O + 1], the last of which is 0 or 1."""
        logits = self(inputs)[0][..., -1]
        return binary_cross_entropy_with_logits(logits, targets[..., -1], reduction="none").mean(-1)

    def probability(self, inputs: Tensor) -> Tensor:
        """Raw inputs [N, I] to probabilities [E, N, 1]."""
        return torch.sigmoid(self.means(inputs)[..., -1:])


def networks_per_member(net: StackedNet) -> int:
    """How many networks a member consists of."""
    return 2 if isinstance(net, HurdleNet) else 1
