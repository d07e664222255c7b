"""A multilayer perceptron with SiLU activations."""

from __future__ import annotations

import itertools

from torch import nn


def perceptron(inputs: int, hidden: int, layers: int, outputs: int) -> nn.Sequential:
    """`layers` hidden layers of `hidden` units, each followed by SiLU, and a linear output layer."""
    sizes = [inputs] + [hidden] * layers
    modules: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        modules += [nn.Linear(before, after), nn.SiLU()]
    return nn.Sequential(*modules, nn.Linear(sizes[-1], outputs))
