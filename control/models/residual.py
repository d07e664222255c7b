"""Known physics corrected by an ensemble, wherever that has seen enough to be trusted.

The members learn what the equations leave unexplained. Their mean correction is multiplied by a gate between 0 and 1,
which closes where the members disagree more than they do on the data, so that far from the data plain physics is
left; yet a correction much larger than the disagreement about it is kept, as rare contacts want it. On the data too a
share of the disagreement, chosen out of bag, is taken from the length of a correction: where there is nothing to
correct, as in free flight, what is left of it is noise. The correction: Johannink et al. 2019, "Residual reinforcement
learning for robot control"; disagreement as a sign of thin data: Lakshminarayanan et al. 2017, "Deep ensembles",
section 3.5; taking from a length: Yuan and Lin 2006, "Model selection and estimation in regression with grouped
variables", section 2; the gate is ours.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...planning.interface import Expansion, Valued
from ..dynamics import KNOWN, Dynamics
from ..transitions import Transitions
from .analytic import ValueFn, value_of
from .ensemble import nodes_each
from .fit import USUAL, Fit, fit_end, targets_of
from .fit_ensemble import Bootstraps, EnsembleReport, fit_stacked
from .network import Rules, inputs_of
from .stacked import EnsembleConfig, StackedNet
from .storage import filled, read, save

DOUBTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""How many times the disagreement may be taken from the length of a correction."""

ON_DATA, REACH = 0.95, 3.0
"""The gate is open up to this quantile of the disagreement on the data, and shut at REACH times as much."""

SURE, UNSURE = 0.5, 0.9
"""Disagreement as a share of the correction: up to the first the gate is open too, from the second on it is not."""


class ResidualModel:
    """Physics plus gate times correction, as a `Model`. States are observations [K, O], float32; deterministic.

    physics: the equations, with whatever is wrong about them. net: trained on what they leave; see `fit_residual`.
    gate: (open, shut), disagreements up to which any correction counts, and from which none counts at all. Between
        them a correction counts by how sure it is, and up to REACH times `open` for its own sake.
    doubt: how many times the disagreement is taken from the length of a correction, everywhere.
    value, gamma: as in `MLPModel`. A step is charged all members and the physics.
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
        self.actions, self.ended, self.cost = self.rules.actions, self.rules.ended, config.members + 1

    def start(self, problems: Any) -> tuple[Tensor, Expansion]:
        """A problem is an observation."""
        return self.rules.start(problems, self.value)

    def expand(
        self, states: Tensor, actions: Any, *, follow: bool = False, valued: Valued = "all"
    ) -> tuple[Tensor, Expansion]:
        reached, reward, discount = self.step(states, actions)
        value = value_of(self.value, reached, discount, valued)
        return reached, Expansion(reward, discount, value, usage=nodes_each(len(reward), self.cost))

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
        gate = {"gate": list(self.gate), "doubt": self.doubt}
        save(folder, "residual", self.config, self.net, gamma=self.gamma, physics=numbers, **gate)

    @classmethod
    def load(cls, folder: str | Path, value: ValueFn | None = None) -> ResidualModel:
        """A saved model. Errors: ValueError when the folder holds none, or one of another kind or format."""
        settings = read(folder, "residual")
        config = EnsembleConfig(**settings["config"])
        physics = replace(KNOWN[config.env_id], **settings["physics"])  # type: ignore[type-var]
        low, high = settings["gate"]
        net, doubt = filled(StackedNet(config), folder), settings.get("doubt", 0.0)
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


def fit_residual(
    data: Transitions, physics: Dynamics, config: EnsembleConfig, fit: Fit = USUAL
) -> tuple[ResidualModel, EnsembleReport]:
    """Train members on what `physics` leaves of `data`, and set the gate by their disagreement on it.

    No step is held out to stop at: a contact is rare, and a tenth of a little data would decide by the one it has or
    has not; what the members make too much of is left to the gate. The report speaks of the residual alone, on the
    steps that were learned from: its shares of variance are of that, not of the whole change.
    """
    inputs = inputs_of(config, data.seen, data.actions)
    pair = inputs, targets_of(data) - predicted(physics, data.seen, data.actions)
    net = StackedNet(config, fit.seed)
    report = fit_stacked(net, pair, pair, fit)
    if net.end is not None:
        fit_end(net, *data.split(fit.held_out, fit.seed), fit)
    with torch.no_grad():
        apart = net.disagreement(net.every(inputs)[0])
        doubt = doubt_of(net, pair, Bootstraps(len(data), config.members, fit.seed).own)
    gate = float(apart.quantile(ON_DATA)), REACH * float(apart.max())
    return ResidualModel(config, net.eval(), physics, gate, doubt=doubt), report


def doubt_of(net: StackedNet, pair: tuple[Tensor, Tensor], own: Tensor) -> float:
    """The largest of `DOUBTS` whose error out of bag is within a standard error of the least error (Breiman et al.
    1984, "Classification and regression trees", section 3.4.3). pair: raw inputs [N, I] and corrections [N, O + 1].
    own: int64 [E, N], the steps that each member learned from; a step is judged by the others, where they are two."""
    inputs, targets = pair
    out = torch.ones(own.shape).scatter(1, own, 0.0)
    judged = out.sum(0) >= 2
    if int(judged.sum()) < 2:
        return DOUBTS[-1]
    out, means = out[:, judged, None], net.every(inputs[judged])[0]
    mean = (means * out).sum(0) / out.sum(0)
    apart = net.size_of((((means - mean).square() * out).sum(0) / out.sum(0)).sqrt())
    trusts = [left(apart, net.size_of(mean), doubt) for doubt in DOUBTS]
    errors = torch.stack([net.size_of(trust[:, None] * mean - targets[judged]).square() for trust in trusts])
    worse = errors - errors[errors.mean(1).argmin()]
    near = worse.mean(1) <= worse.std(1) / worse.shape[1] ** 0.5
    return max(doubt for doubt, fits in zip(DOUBTS, near.tolist()) if fits)
