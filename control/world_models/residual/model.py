"""Known physics corrected by an ensemble, wherever physics fails and the ensemble has seen enough to be trusted.

The members' mean correction is multiplied by a gate between 0 and 1, which closes where they disagree more than they do
about steps of the data that they did not learn from, so that far from the data plain physics is left; and on the data
too a share of the disagreement, chosen out of bag, is taken from the length of a correction (`fit_residual.py`). The
correction: Johannink et al. 2019, "Residual reinforcement learning for robot control"; disagreement as a sign of thin
data: Lakshminarayanan et al. 2017, "Deep ensembles", section 3.5; taking from a length: Yuan and Lin 2006, "Model
selection and estimation in regression with grouped variables", section 2; the gate is ours.
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
from ..network import Rules, inputs_of
from ..storage import filled, read, save
from .net import HurdleNet, parts_of

REACH = 5.0
"""The gate is shut at so many times the disagreement up to which it is open."""

SURE, UNSURE = 0.5, 0.9
"""Disagreement as a share of the correction: up to the first the gate is open too, from the second on it is not."""


class ResidualModel(OptionalValue, Steppable[Tensor]):
    """Physics plus gate times correction, as a `Model`. States are observations [K, O], float32; deterministic.

    physics: the equations, with whatever is wrong about them. net: trained on what they leave; see `fit_residual`.
    gate: (open, shut), disagreements up to which any correction counts, and from which none counts at all. Between
        them a correction counts by how sure it is, and up to REACH times `open` for its own sake.
    doubt: how many times the disagreement is taken from the length of a correction, everywhere.
    value, gamma: as in `MLPModel`. A step is charged all networks and the physics.
    """

    def __init__(
        self,
        config: EnsembleConfig,
        net: StackedNet,
        physics: Dynamics,
        gate: tuple[float, float],
        value: ValueFn | None = None,
        gamma: float = 1.0,
        doubt: float = 0.0,
    ) -> None:
        if config.members < 2 or not 0 <= gate[0] < gate[1] or not doubt >= 0:
            told = f"got {config.members}, {gate} and {doubt}"
            raise ValueError(f"a gate wants at least 2 members, 0 <= open < shut and doubt >= 0, {told}")
        self.rules = Rules(config, net, gamma)
        self.config, self.net, self.value, self.gamma = config, net.requires_grad_(False), value, gamma
        self.physics, self.gate, self.doubt = physics, gate, doubt
        self.actions, self.ended, self.cost = self.rules.actions, self.rules.ended, parts_of(net) * config.members + 1

    def start(self, problems: Any) -> tuple[Tensor, Expansion]:
        """A problem is an observation."""
        return self.rules.start(problems, self.value)

    def expand(
        self, states: Tensor, actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[Tensor, Expansion]:
        reached, reward, discount = self.step(states, actions)
        value = value_of(self.value, reached, discount, evaluate)
        return reached, Expansion(reward, discount, value, usage=nodes_and_calls(len(reward), self.cost))

    def step(self, states: Tensor, actions: Any) -> tuple[Tensor, Tensor, Tensor]:
        """[K, O] and actions -> next observations [K, O], rewards [K], discounts [K]."""
        actions = self.rules.taken(actions, states)
        correction, trust = self._corrected(states, actions)
        out = predicted(self.physics, states, actions) + trust[:, None] * correction
        return self.rules.land(states, actions, states + out[:, :-1], out[:, -1])

    def trust(self, seen: Tensor, actions: Any) -> Tensor:
        """[K] the gate: 1 where the correction counts in full, 0 where physics is left alone."""
        return self._corrected(seen, self.rules.taken(actions, seen))[1]

    def _corrected(self, seen: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Mean correction [K, O + 1] of change and reward, and the gate [K]."""
        means = self.net.means(inputs_of(self.config, seen, actions))
        mean, apart = means.mean(0), self.net.disagreement(means)
        low, high = self.gate
        near = falling(apart, low, min(REACH * low, high))
        size = self.net.size_of(mean)
        sure = falling(apart / size, SURE, UNSURE) * falling(apart, high / REACH, high)
        return mean, torch.maximum(near, sure) * left(apart, size, self.doubt)

    def save(self, folder: str | Path) -> None:
        """See `storage.save`. The physics' numbers are written too. Errors: ValueError for physics not in `KNOWN`."""
        if type(self.physics) is not type(KNOWN.get(self.config.env_id)):
            raise ValueError(f"only physics of {', '.join(KNOWN)} are saved, this is {type(self.physics).__name__}")
        numbers = asdict(self.physics)  # type: ignore[call-overload]
        gate = {"gate": list(self.gate), "doubt": self.doubt, "parts": parts_of(self.net)}
        save(folder, "residual", self.config, self.net, gamma=self.gamma, physics=numbers, **gate)

    @classmethod
    def load(cls, folder: str | Path, value: ValueFn | None = None) -> ResidualModel:
        """A saved model. Errors: ValueError when the folder holds none, or one of another kind or format."""
        settings = read(folder, "residual")
        config = EnsembleConfig(**settings["config"])
        physics = replace(KNOWN[config.env_id], **settings["physics"])  # type: ignore[type-var]
        low, high = settings["gate"]
        kind = HurdleNet if settings.get("parts") == 2 else StackedNet
        net, doubt = filled(kind(config), folder), settings.get("doubt", 0.0)
        return cls(config, net, physics, (low, high), value, settings["gamma"], doubt)


def left(apart: Tensor, size: Tensor, doubt: float) -> Tensor:
    """[N] share of a correction of this size that is left when so many times the disagreement is taken from it."""
    return (1 - doubt * apart / size).clamp(min=0)


def falling(number: Tensor, low: float, high: float) -> Tensor:
    """1 up to `low`, 0 from `high` on, smooth between."""
    shut = ((number - low) / max(high - low, 1e-12)).clamp(0, 1)
    return 1 - shut.square() * (3 - 2 * shut)


def predicted(physics: Dynamics, seen: Tensor, actions: Tensor) -> Tensor:
    """[K, O + 1] change of the observation and reward by the equations."""
    reached, reward, _ = physics.step(physics.physical(seen), actions)
    return torch.cat((physics.observe(reached) - seen, reward[:, None]), 1)
