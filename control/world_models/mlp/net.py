"""A multilayer perceptron that predicts the change of the observation and the reward."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...nets.perceptron import perceptron
from ..config import MLPConfig
from ..normalized_net import NormalizedNet


class MLPNet(NormalizedNet):
    """Observations and actions to changes of the observation and rewards.

    body: the perceptron from normalised inputs [K, O + A] to normalised outputs [K, O + 1].
    """

    def __init__(self, config: MLPConfig) -> None:
        super().__init__(config)
        self.body = perceptron(config.input_dim, config.hidden, config.layers, config.obs_dim + 1)
        self._linear = [layer for layer in self.body if isinstance(layer, nn.Linear)]

    def layer_parameters(self) -> list[Tensor]:
        return [parameter for layer in self._linear for parameter in (layer.weight, layer.bias)]

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        return [(layer.weight.T[None], layer.bias[None, None]) for layer in self._linear]

    def forward(self, inputs: Tensor) -> Tensor:
        """Raw inputs [K, O + A] to raw changes and rewards [K, O + 1]."""
        normalized = self.body((inputs - self.input_mean) / self.input_std)
        return torch.addcmul(self.output_mean, normalized, self.output_std)
