"""A perceptron's forward pass for planning: scales folded into the weights, one buffer a layer, no derivatives.

Folding a normalisation (x - mean) / std into the first layer and mean + std y into the last saves passes over the
candidates; buffers that are used again save the page faults of fresh ones, which cost as much as an activation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import silu


class Folded:
    """E perceptrons of weights [E, in, out] and biases [E, 1, out], raw inputs to raw means.

    input_mean, input_std: [I]; output_mean, output_std: [O], for the first O outputs (a Gaussian's free log-variances
    come after them and stay as they are). The weights are copied: a network that is trained on wants a new `Folded`.
    Not for use by two threads at once.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        inputs: tuple[Tensor, Tensor],
        outputs: tuple[Tensor, Tensor],
    ) -> None:
        self.weights = [weight.detach().clone() for weight in weights]
        self.biases = [bias.detach().clone() for bias in biases]
        mean, std = inputs
        self.weights[0] /= std[:, None]
        self.biases[0] -= (mean @ self.weights[0])[:, None]
        mean, std = outputs
        size = len(mean)
        self.weights[-1][..., :size] *= std
        self.biases[-1][..., :size] *= std
        self.biases[-1][..., :size] += mean
        self.one = len(self.weights[0]) == 1
        self._rows = -1
        self._hidden: list[Tensor] = []

    def __call__(self, inputs: Tensor) -> Tensor:
        """[E, N, I] (or [1, N, I] for all members alike) -> [E, N, outputs], in memory of its own."""
        self._sized(inputs)
        at = inputs[0] if self.one else inputs
        for weight, bias, hidden in zip(self.weights, self.biases, self._hidden):
            at = self._layer(at, weight, bias, hidden)
            silu(at, inplace=True)
        out = self._layer(at, self.weights[-1], self.biases[-1], None)
        return out[None] if self.one else out

    def _layer(self, at: Tensor, weight: Tensor, bias: Tensor, out: Tensor | None) -> Tensor:
        if self.one:
            return torch.addmm(bias[0, 0], at, weight[0], out=out)
        return torch.baddbmm(bias, at.expand(len(weight), -1, -1), weight, out=out)

    def _sized(self, inputs: Tensor) -> None:
        """Buffers for N rows."""
        rows = inputs.shape[1]
        if rows != self._rows:
            lead = () if self.one else (len(self.weights[0]),)
            self._hidden = [inputs.new_empty(*lead, rows, weight.shape[2]) for weight in self.weights[:-1]]
            self._rows = rows
