"""An ensemble that is worth less where its members disagree, so that a planner does not seek out its mistakes.

The penalty of Yu et al. 2020, "MOPO: model-based offline policy optimization", equation 3, r - weight u(s, a), with the
members' disagreement as u (Lakshminarayanan et al. 2017).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ....planning.interface import Evaluate, Expansion
from ....planning.usage import nodes_and_calls
from ....planning.wrappers.base import ModelWrapper
from ....planning.wrappers.terminal_value import value_of
from .model import EnsembleModel


class DisagreementPenalty(ModelWrapper[Tensor]):
    """The mean of all members, deterministic, every reward lowered by `weight` times `EnsembleModel.disagreement`.

    weight: at least 0, reward a step per deviation of the training targets by which the members are apart. Its own
    prediction of a plan's return is therefore lower than the ensemble's; `model` is the ensemble without penalty.
    """

    def __init__(self, model: EnsembleModel, weight: float) -> None:
        if not weight >= 0:
            raise ValueError(f"the weight of disagreement is at least 0, got {weight}")
        self.ensemble, self.weight = model.propagated("mean"), weight
        super().__init__(self.ensemble)

    def expand(
        self, states: Tensor, actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[Tensor, Expansion]:
        means = self.ensemble.means(states, actions)
        reached, reward, discount = self.ensemble.landed(states, actions, means.mean(0))
        apart = self.ensemble.net.disagreement(means)
        reward = reward - self.weight * apart * (~self.ensemble.ended(states)).to(reward)
        value = value_of(self.ensemble.value, reached, discount, evaluate)
        return reached, Expansion(reward, discount, value, usage=nodes_and_calls(len(reward), self.cost))
