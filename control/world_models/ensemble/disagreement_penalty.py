"""An ensemble whose rewards are lowered where its members disagree, so that planners do not exploit model error.

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
    """The deterministic mean of all members, every reward lowered by `weight` times `EnsembleModel.disagreement`.

    weight: at least 0, in reward per step and unit of disagreement. The return that a plan is predicted to have is
    therefore lower than under the ensemble alone, which is `model`.

    Errors: ValueError for a negative or NaN weight.
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
        next_obs, reward, discount = self.ensemble.apply_prediction(states, actions, means.mean(0))
        disagreement = self.ensemble.net.disagreement(means)
        reward = reward - self.weight * disagreement * (~self.ensemble.terminated(states)).to(reward)
        value = value_of(self.ensemble.value, next_obs, discount, evaluate)
        return next_obs, Expansion(reward, discount, value, usage=nodes_and_calls(len(reward), self.cost))
