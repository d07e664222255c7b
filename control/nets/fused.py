"""A perceptron's forward pass for planning: normalisation fused into the weights, reused buffers, no derivatives.

Fusing the input normalisation (x - mean) / std into the first layer and the output scaling mean + std y into the last
saves passes over the candidates. Biases are a further column of the weights, multiplied by a row of ones. Reused
buffers avoid the page faults of new memory, which cost as much as an activation. Inside, candidates are the last
dimension: there are many more of them than inputs or outputs, and matrix products are faster in that layout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from .activation import silu_inplace, silu_scale

Scale = tuple[Tensor, Tensor]
"""Mean and standard deviation."""


def fuse(weights: Sequence[Tensor], biases: Sequence[Tensor], inputs: Scale, outputs: Scale) -> FusedMLP:
    """Fuse perceptrons with weights [E, in, out] and biases [E, 1, out].

    inputs: mean and deviation [I]. outputs: mean and deviation [O] of the first O outputs; further outputs are not
    scaled. The weights are copied, so a network that is trained further must be fused again.
    """
    matrices = [weight.detach().mT.clone() for weight in weights]
    offsets = [bias.detach().mT.clone() for bias in biases]
    mean, std = inputs
    matrices[0] /= std
    offsets[0] -= matrices[0] @ mean[:, None]
    mean, std = outputs[0][:, None], outputs[1][:, None]
    size = len(mean)
    matrices[-1][:, :size] *= std
    offsets[-1][:, :size] *= std
    offsets[-1][:, :size] += mean
    return FusedMLP([torch.cat(pair, -1) for pair in zip(matrices, offsets)], size)


def scale_hidden(layers: Sequence[Tensor], factor: float) -> list[Tensor]:
    """The same function, as layers [E, out, in + 1] whose hidden activations are multiplied by `factor`."""
    last = len(layers) - 1
    scaled = [weight * factor if i < last else weight.clone() for i, weight in enumerate(layers)]
    for weight in scaled[1:]:
        weight[..., :-1] /= factor
    return scaled


class FusedMLP:
    """E perceptrons from raw inputs to raw means.

    layers: weights [E, out, in + 1] of each layer, the biases in the last column, as `fuse` makes them.
    n_means: how many outputs of the last layer are means; a Gaussian's unbounded log-variances follow them.
    mean_weights: the rows of the last layer that give the means, with the last mean (the reward) moved to the front.
    log_variance_weights: the rows of the last layer after the means.

    Calls share buffers, so one object must not be used by two threads at once.
    """

    def __init__(self, layers: Sequence[Tensor], n_means: int) -> None:
        self._layers, self._n_means = list(layers), n_means
        single = len(layers[0]) == 1
        weights = scale_hidden(layers, silu_scale(layers[0]))
        self.weights = [weight[0] for weight in weights] if single else weights
        self._product = torch.mm if single else torch.bmm
        self.mean_weights = self.weights[-1][..., :n_means, :].roll(1, -2)
        self.log_variance_weights = self.weights[-1][..., n_means:, :]
        self._inputs: Tensor | None = None
        self._hidden: list[tuple[Tensor, Tensor, Callable[[], object]]] = []

    @cached_property
    def members(self) -> list[FusedMLP]:
        """Each member alone. Evaluated one after the other they stay in a core's cache, which all together exceed."""
        return [FusedMLP(parts, self._n_means) for parts in zip(*(torch.split(weight, 1) for weight in self._layers))]

    def __call__(self, inputs: Tensor) -> Tensor:
        """Inputs [E, N, I], or [1, N, I] for all members alike, to outputs [E, N, outputs] in new memory."""
        single = self.weights[0].ndim == 2
        transposed = (inputs[0] if single else inputs).mT
        buffer = self.input_buffer(transposed.mT)
        buffer[..., :-1, :] = transposed
        out: Tensor = self._product(self.weights[-1], self.last_hidden(buffer)).mT
        return out[None] if single else out

    def last_hidden(self, inputs: Tensor) -> Tensor:
        """The input of the last layer [..., hidden + 1, N] for inputs as in `input_buffer`; a shared buffer."""
        for weight, (hidden, with_ones, activate) in zip(self.weights, self._hidden):
            self._product(weight, inputs, out=hidden)
            activate()
            inputs = with_ones
        return inputs

    def input_buffer(self, like: Tensor) -> Tensor:
        """The input buffer [E, I + 1, N], [I + 1, N] for a single member, for the N rows of `like` [..., N, I].

        Its last row is ones. It is `padded_inputs` [..., I + 2, N] without the first row, in which a caller can keep a
        running sum contiguous with the inputs.
        """
        rows = like.shape[-2]
        if self._inputs is None or self._inputs.shape[-1] != rows:
            *more, width = self.weights[0].shape
            self.padded_inputs = like.new_ones(*more[:-1], width + 1, rows)
            self._inputs = self.padded_inputs[..., 1:, :]
            buffers = [like.new_ones(*w.shape[:-2], w.shape[-1], rows) for w in self.weights[1:]]
            self._hidden = [(buffer[..., :-1, :], buffer, silu_inplace(buffer[..., :-1, :])) for buffer in buffers]
        return self._inputs
