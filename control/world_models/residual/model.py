"""Known physics corrected by an ensemble, where physics fails and the ensemble has enough data to be trusted.

The members' mean correction is multiplied by a gate between 0 and 1. The gate closes where the members disagree more
than they do about steps of the data that they were not trained on, so that far from the data only physics is left. In
addition the magnitude of a correction is shrunk by a multiple of the disagreement, chosen out of bag (`fit.py`). The
correction: Johannink et al. 2019, "Residual reinforcement learning for robot control". Disagreement as a sign of little
data: Lakshminarayanan et al. 2017, "Deep ensembles", section 3.5. The gate is this package's own.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ....planning.interface import Evaluate, Expansion, Steppable
from ....planning.usage import nodes_and_calls
from ....planning.wrappers.terminal_value import ValueFn, value_of
from ...dynamics import KNOWN, Dynamics
from ..base import OptionalValue
from ..ensemble.net import EnsembleConfig, StackedNet
from ..episode_rules import EpisodeRules
from ..normalized_net import network_inputs
from ..storage import load_weights, read_settings, save_model
from .gating import gate_value, shrinkage_factor
from .net import HurdleNet, networks_per_member


class ResidualModel(OptionalValue, Steppable[Tensor]):
    """Physics plus gate times correction, as a `Model`. States are observations [K, O]; deterministic.

    physics: the equations, which may be wrong. net: trained on their error; see `fit_residual`.
    gate: (open, shut), the disagreement up to which every correction is used in full, and from which none is used; see
        `gate_value`.
    shrinkage: this multiple of the disagreement is subtracted from the magnitude of every correction.
    value, gamma: as in `MLPModel`. The cost of a step is one node for each network and one for the physics.

    Errors: ValueError unless there are at least 2 members, 0 <= open < shut and shrinkage >= 0.
    """

    def __init__(
        self,
        config: EnsembleConfig,
        net: StackedNet,
        physics: Dynamics,
        gate: tuple[float, float],
        value: ValueFn | None = None,
        gamma: float = 1.0,
        shrinkage: float = 0.0,
    ) -> None:
        if config.members < 2 or not 0 <= gate[0] < gate[1] or not shrinkage >= 0:
            given = f"got {config.members}, {gate} and {shrinkage}"
            raise ValueError(f"a gate needs at least 2 members, 0 <= open < shut and shrinkage >= 0, {given}")
        self.rules = EpisodeRules(config, net, gamma)
        self.config, self.net, self.value, self.gamma = config, net.requires_grad_(False), value, gamma
        self.physics, self.gate, self.shrinkage = physics, gate, shrinkage
        self.actions, self.terminated = self.rules.actions, self.rules.terminated
        self.cost = networks_per_member(net) * config.members + 1

    def start(self, problems: Any) -> tuple[Tensor, Expansion]:
        """Problems are observations [B, O]."""
        return self.rules.start(problems, self.value)

    def expand(
        self, states: Tensor, actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[Tensor, Expansion]:
        next_obs, reward, discount = self.step(states, actions)
        value = value_of(self.value, next_obs, discount, evaluate)
        return next_obs, Expansion(reward, discount, value, usage=nodes_and_calls(len(reward), self.cost))

    def step(self, states: Tensor, actions: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Observations [K, O] and actions to next observations [K, O], rewards [K] and discounts [K]."""
        actions = self.rules.encode_actions(actions, states)
        correction, trust = self._correction(states, actions)
        out = physics_prediction(self.physics, states, actions) + trust[:, None] * correction
        return self.rules.apply(states, actions, states + out[:, :-1], out[:, -1])

    def trust(self, obs: Tensor, actions: Any) -> Tensor:
        """[K] the factor of the correction: 1 where it is used in full, 0 where only physics is used."""
        return self._correction(obs, self.rules.encode_actions(actions, obs))[1]

    def _correction(self, obs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Mean correction [K, O + 1] of change and reward, and its factor [K]."""
        means = self.net.means(network_inputs(self.config, self.net.centred(obs), actions))
        mean, disagreement = means.mean(0), self.net.disagreement(means)
        magnitude = self.net.magnitude(mean)
        gate = gate_value(disagreement, magnitude, self.gate)
        return mean, gate * shrinkage_factor(disagreement, magnitude, self.shrinkage)

    def save(self, folder: str | Path) -> None:
        """See `storage.save_model`; the constants of the physics are saved too.

        Errors: ValueError for physics of another class than in `dynamics.KNOWN`.
        """
        if type(self.physics) is not type(KNOWN.get(self.config.env_id)):
            raise ValueError(f"only physics of {', '.join(KNOWN)} are saved, this is {type(self.physics).__name__}")
        constants = asdict(self.physics)  # type: ignore[call-overload]
        gate = {"gate": list(self.gate), "shrinkage": self.shrinkage, "networks": networks_per_member(self.net)}
        save_model(folder, "residual", self.config, self.net, gamma=self.gamma, physics=constants, **gate)

    @classmethod
    def load(cls, folder: str | Path, value: ValueFn | None = None) -> ResidualModel:
        """A saved model. Errors: ValueError where the folder holds none, or one of another kind or format."""
        settings = read_settings(folder, "residual")
        config = EnsembleConfig(**settings["config"])
        physics = replace(KNOWN[config.env_id], **settings["physics"])  # type: ignore[type-var]
        opened, shut = settings["gate"]
        net = load_weights((HurdleNet if settings["networks"] == 2 else StackedNet)(config), folder)
        return cls(config, net, physics, (opened, shut), value, settings["gamma"], settings["shrinkage"])


def physics_prediction(physics: Dynamics, obs: Tensor, actions: Tensor) -> Tensor:
    """[K, O + 1] the change of observations [K, O] and the reward by the equations."""
    next_states, reward, _ = physics.step(physics.to_states(obs), actions)
    return torch.cat((physics.observe(next_states) - obs, reward[:, None]), 1)
