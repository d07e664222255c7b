"""A perceptron's forward pass for planning: scales folded into the weights, one buffer a layer, no derivatives.

Folding a normalisation (x - mean) / std into the first layer and mean + std y into the last saves passes over the
candidates; buffers that are used again save the page faults of fresh ones, which cost as much as an activation. Inside,
candidates are the last dimension: there are many more of them than inputs or outputs, and products are quicker so.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import silu

Scale = tuple[Tensor, Tensor]


class Folded:
    """E perceptrons of weights [E, in, out] and biases [E, 1, out], raw inputs to raw means.

    input_mean, input_std: [I]; output_mean, output_std: [O], for the first O outputs (a Gaussian's free log-variances
    come after them and stay as they are). The weights are copied: a network that is trained on wants a new `Folded`.
    Not for use by two threads at once.
    """

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor], inputs: Scale, outputs: Scale) -> None:
        self.weights = [weight.detach().mT.clone(memory_format=torch.contiguous_format) for weight in weights]
        self.biases = [bias.detach().mT.clone() for bias in biases]
        mean, std = inputs
        self.weights[0] /= std
        self.biases[0] -= self.weights[0] @ mean[:, None]
        mean, std = outputs[0][:, None], outputs[1][:, None]
        size = len(mean)
        self.weights[-1][:, :size] *= std
        self.biases[-1][:, :size] *= std
        self.biases[-1][:, :size] += mean
        if len(self.weights[0]) == 1:  # one member: plain products
            self.weights, self.biases = [w[0] for w in self.weights], [b[0] for b in self.biases]
        self._hidden: list[Tensor] = []

    def __call__(self, inputs: Tensor) -> Tensor:
        """[E, N, I] (or [1, N, I] for all members alike) -> [E, N, outputs], in memory of its own."""
        one = self.weights[0].ndim == 2
        at = (inputs[0] if one else inputs.expand(len(self.weights[0]), -1, -1)).mT
        out = self.across(at).mT
        return out[None] if one else out

    def across(self, at: Tensor) -> Tensor:
        """[E, I, N] -> [E, outputs, N], of one member [I, N] -> [outputs, N]."""
        for weight, bias, hidden in zip(self.weights, self.biases, self._sized(at)):
            at = silu(torch.matmul(weight, at, out=hidden).add_(bias), inplace=True)
        return torch.matmul(self.weights[-1], at).add_(self.biases[-1])

    def _sized(self, at: Tensor) -> list[Tensor]:
        """Buffers for N rows, of all layers but the last."""
        if not self._hidden or self._hidden[0].shape[-1] != at.shape[-1]:
            shapes = [(*weight.shape[:-1], at.shape[-1]) for weight in self.weights[:-1]]
            self._hidden = [at.new_empty(shape) for shape in shapes]
        return self._hidden
