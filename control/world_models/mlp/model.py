"""A multilayer perceptron as dynamics: it predicts how observations change, and what a step earns.

Deterministic, mean squared error, normalised inputs, changes as targets (Nagabandi et al. 2018, "Neural network
dynamics for model-based deep reinforcement learning with model-free fine-tuning", section IV-A). How it is trained is
in `fit.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ....planning.interface import Evaluate, Expansion, Kind, Steppable, Vectorised
from ....planning.wrappers.terminal_value import ValueFn, value_of
from ..base import OptionalValue
from ..fused_rollout import walked
from ..network import MLPConfig, Rules, Scaled, inputs_of, perceptron
from ..storage import filled, read, save

__all__ = ["MLPConfig", "MLPModel", "MLPNet"]


class MLPNet(Scaled):
    """Normalised (observation, action) [K, O + A] -> normalised change of the observation and reward [K, O + 1]."""

    def __init__(self, config: MLPConfig) -> None:
        super().__init__(config)
        self.body = perceptron(config.inputs, config.hidden, config.layers, config.observed + 1)
        self._linear = [layer for layer in self.body if isinstance(layer, nn.Linear)]

    def parts(self) -> list[Tensor]:
        return [part for layer in self._linear for part in (layer.weight, layer.bias)]

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        return [(layer.weight.T[None], layer.bias[None, None]) for layer in self._linear]

    def forward(self, inputs: Tensor) -> Tensor:
        """Raw inputs [K, O + A] to raw changes and rewards [K, O + 1]."""
        normal = self.body((inputs - self.input_mean) / self.input_std)
        return torch.addcmul(self.output_mean, normal, self.output_std)


class MLPModel(OptionalValue, Steppable[Tensor], Vectorised[Tensor]):
    """A trained network as a `Model`. States are observations [K, O], float32.

    value: return still to come of observations. gamma: factor on everything after a step.
    An ended observation absorbs: it stays, with reward 0 and discount 0.
    Answers carry derivatives by states and actions, none by the weights: those are frozen.
    """

    cost = 1

    def __init__(self, config: MLPConfig, net: MLPNet, value: ValueFn | None = None, gamma: float = 1.0) -> None:
        self.rules = Rules(config, net, gamma)
        self.config, self.net, self.value, self.gamma = config, net.requires_grad_(False), value, gamma
        self.actions, self.ended = self.rules.actions, self.rules.ended

    def start(self, problems: Any) -> tuple[Tensor, Expansion]:
        """A problem is an observation."""
        return self.rules.start(problems, self.value)

    def expand(
        self, states: Tensor, actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[Tensor, Expansion]:
        reached, reward, discount = self.step(states, actions)
        return reached, Expansion(reward, discount, value_of(self.value, reached, discount, evaluate))

    def step(self, states: Tensor, actions: Any) -> tuple[Tensor, Tensor, Tensor]:
        """[K, O] and actions -> next observations [K, O], rewards [K], discounts [K]."""
        actions = self.rules.taken(actions, states)
        inputs = inputs_of(self.config, states, actions)
        out = self.net(inputs) if torch.is_grad_enabled() else self.net.quick(inputs[None])[0]
        return self.rules.land(states, actions, states + out[:, :-1], out[:, -1])

    def offer(self, kind: type[Kind]) -> Kind | None:
        """`Vectorised` where no step can end the episode; the others see `OptionalValue`."""
        return None if kind is Vectorised and not self.rules.plain else super().offer(kind)

    def rollout_returns(self, states: Tensor, actions: Tensor) -> Tensor:
        """See `Vectorised`."""
        return walked(self.rules, self.net.folded(), states, actions, self.value)

    def save(self, folder: str | Path) -> None:
        """See `storage.save`."""
        save(folder, "mlp", self.config, self.net, gamma=self.gamma)

    @classmethod
    def load(cls, folder: str | Path, value: ValueFn | None = None) -> MLPModel:
        """A saved model. Errors: ValueError when the folder holds none, or one of another kind or format."""
        settings = read(folder, "mlp")
        config = MLPConfig(**settings["config"])
        return cls(config, filled(MLPNet(config), folder), value, settings["gamma"])
