"""A perceptron's forward pass for planning: scales folded into the weights, one buffer a layer, no derivatives.

Folding a normalisation (x - mean) / std into the first layer and mean + std y into the last saves passes over the
candidates, and so do biases as one more column of the weights, against a row of ones; buffers that are used again save
the page faults of fresh ones, which cost as much as an activation. Inside, candidates are the last dimension: there are
many more of them than inputs or outputs, and products are quicker so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from .activation import factor_of, silu_of

Scale = tuple[Tensor, Tensor]


def fold_of(weights: Sequence[Tensor], biases: Sequence[Tensor], inputs: Scale, outputs: Scale) -> Folded:
    """Perceptrons of weights [E, in, out] and biases [E, 1, out].

    inputs, outputs: mean and deviation [I] and [O], for the first O outputs; those after them stay as they are. The
    weights are copied: a network that is trained on wants a new `Folded`.
    """
    turned = [weight.detach().mT.clone() for weight in weights]
    offsets = [bias.detach().mT.clone() for bias in biases]
    mean, std = inputs
    turned[0] /= std
    offsets[0] -= turned[0] @ mean[:, None]
    mean, std = outputs[0][:, None], outputs[1][:, None]
    size = len(mean)
    turned[-1][:, :size] *= std
    offsets[-1][:, :size] *= std
    offsets[-1][:, :size] += mean
    return Folded([torch.cat(pair, -1) for pair in zip(turned, offsets)], size)


def scaled(stacked: Sequence[Tensor], factor: float) -> list[Tensor]:
    """The same layers [E, out, in + 1] where hidden numbers stand multiplied by `factor`."""
    last = len(stacked) - 1
    found = [weight * factor if i < last else weight.clone() for i, weight in enumerate(stacked)]
    for weight in found[1:]:
        weight[..., :-1] /= factor
    return found


class Folded:
    """E perceptrons, raw inputs to raw means.

    stacked: weights [E, out, in + 1] of each layer, biases last, as `fold_of` makes them. means: how many of the last
    layer's outputs are means; a Gaussian's free log-variances come after them.
    final, free: the last layer's weights of means, the last of them first, and of what comes after them.
    Not for use by two threads at once.
    """

    def __init__(self, stacked: Sequence[Tensor], means: int) -> None:
        self._stacked, self._means = list(stacked), means
        one = len(stacked[0]) == 1
        weights = scaled(stacked, factor_of(stacked[0]))
        self.weights = [weight[0] for weight in weights] if one else weights
        self._product = torch.mm if one else torch.bmm
        self.final = self.weights[-1][..., :means, :].roll(1, -2)
        self.free = self.weights[-1][..., means:, :]
        self._given: Tensor | None = None
        self._hidden: list[tuple[Tensor, Tensor, Callable[[], Any]]] = []

    @cached_property
    def apart(self) -> list[Folded]:
        """Each member by itself. One after the other they stay in a core's cache, which all together leave."""
        return [Folded(parts, self._means) for parts in zip(*(weight.split(1) for weight in self._stacked))]

    def __call__(self, inputs: Tensor) -> Tensor:
        """[E, N, I] (or [1, N, I] for all members alike) -> [E, N, outputs], in memory of its own."""
        one = self.weights[0].ndim == 2
        turned = (inputs[0] if one else inputs).mT
        given = self.inputs(turned.mT)
        given[..., :-1, :] = turned
        out = self.across(given).mT
        return out[None] if one else out

    def across(self, at: Tensor) -> Tensor:
        """Inputs as in `inputs` -> [E, outputs, N], of one member [outputs, N], in fresh memory."""
        return self._product(self.weights[-1], self.last(at))

    def last(self, at: Tensor) -> Tensor:
        """What the last layer is given for these inputs, [..., hidden + 1, N], in a buffer."""
        for weight, (hidden, whole, activate) in zip(self.weights, self._hidden):
            self._product(weight, at, out=hidden)
            activate()
            at = whole
        return at

    def inputs(self, like: Tensor) -> Tensor:
        """The buffer [E, I + 1, N], of one member [I + 1, N], for the N rows of `like` [..., N, I]; ones come last.

        It is the `room` [..., I + 2, N] without its first row, which is free: for a sum kept beside the inputs.
        """
        rows = like.shape[-2]
        if self._given is None or self._given.shape[-1] != rows:
            *more, width = self.weights[0].shape
            self.room = like.new_ones(*more[:-1], width + 1, rows)
            self._given = self.room[..., 1:, :]
            wholes = [like.new_ones(*w.shape[:-2], w.shape[-1], rows) for w in self.weights[1:]]
            self._hidden = [(whole[..., :-1, :], whole, silu_of(whole[..., :-1, :])) for whole in wholes]
        return self._given
