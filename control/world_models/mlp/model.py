"""A multilayer perceptron as a deterministic world model.

It is trained on mean squared error with normalised inputs, and predicts changes of the observation (Nagabandi et al.
2018, "Neural network dynamics for model-based deep reinforcement learning with model-free fine-tuning", section IV-A).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ....planning.interface import Evaluate, Expansion, Kind, Steppable, Vectorised
from ....planning.wrappers.terminal_value import ValueFn, value_of
from ..base import OptionalValue
from ..config import MLPConfig
from ..episode_rules import EpisodeRules
from ..fused_rollout import fused_returns
from ..normalized_net import network_inputs
from ..storage import load_weights, read_settings, save_model
from .net import MLPNet


class MLPModel(OptionalValue, Steppable[Tensor], Vectorised[Tensor]):
    """A trained network as a `Model`. States are observations [K, O], float32 (`NormalizedNet.state_dtype`).

    value: return still to come of observations. gamma: factor on everything after a step.
    A terminal observation is absorbing: it stays, with reward 0 and discount 0.
    Answers can be differentiated by states and actions but not by the weights, which are frozen.
    """

    cost = 1

    def __init__(self, config: MLPConfig, net: MLPNet, value: ValueFn | None = None, gamma: float = 1.0) -> None:
        self.rules = EpisodeRules(config, net, gamma)
        self.config, self.net, self.value, self.gamma = config, net.requires_grad_(False), value, gamma
        self.actions, self.terminated = self.rules.actions, self.rules.terminated

    def start(self, problems: Any) -> tuple[Tensor, Expansion]:
        """Problems are observations [B, O]."""
        return self.rules.start(problems, self.value)

    def expand(
        self, states: Tensor, actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[Tensor, Expansion]:
        next_obs, reward, discount = self.step(states, actions)
        return next_obs, Expansion(reward, discount, value_of(self.value, next_obs, discount, evaluate))

    def step(self, states: Tensor, actions: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Observations [K, O] and actions to next observations [K, O], rewards [K] and discounts [K]."""
        actions = self.rules.encode_actions(actions, states)
        inputs = network_inputs(self.config, self.net.centred(states), actions)
        out = self.net(inputs) if torch.is_grad_enabled() else self.net.forward_fused(inputs[None])[0]
        return self.rules.apply(states, actions, states + out[:, :-1], out[:, -1])

    def offer(self, kind: type[Kind]) -> Kind | None:
        """`Vectorised` only where no state is terminal; the others as in `OptionalValue`."""
        if kind is Vectorised and not self.rules.supports_fused_rollout:
            return None
        return super().offer(kind)

    def rollout_returns(self, states: Tensor, actions: Tensor) -> Tensor:
        """See `Vectorised`."""
        return fused_returns(self.rules, self.net.fused(), states, actions, self.value)

    def save(self, folder: str | Path) -> None:
        """See `storage.save_model`."""
        save_model(folder, "mlp", self.config, self.net, gamma=self.gamma)

    @classmethod
    def load(cls, folder: str | Path, value: ValueFn | None = None) -> MLPModel:
        """A saved model. Errors: ValueError where the folder holds none, or one of another kind or format."""
        settings = read_settings(folder, "mlp")
        config = MLPConfig(**settings["config"])
        return cls(config, load_weights(MLPNet(config), folder), value, settings["gamma"])
