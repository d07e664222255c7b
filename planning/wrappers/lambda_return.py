"""Returns that trust the value at every step of a plan and not at its last state alone: the lambda-return.

With G_n = r_0 + d r_1 + ... + d^n V(x_n), the n-step return of a plan of H steps, its truncated lambda-return is

    G^lambda = (1 - lambda) sum over n = 1 .. H - 1 of lambda^(n - 1) G_n  +  lambda^(H - 1) G_H

(Sutton and Barto 2018, "Reinforcement learning", equation 12.9; Hafner et al. 2020, Dreamer, equation 6). It is also
r_0 + d [(1 - lambda) V(x_1) + lambda G^lambda of the rest], so it is the plain return of another decision process: the
reward of a step grows by d (1 - lambda) V of what it reaches, and the discount is lambda d. A model so changed mixes
for every planner alike: shooting, derivatives (values are differentiated too), beams, MCTS (whose backup is then that
of MCTS(lambda), Khandelwal et al. 2016) and, where it stands under `rollout_value`, the rollouts at the leaves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ..interface import Evaluate, Expansion
from .base import ModelWrapper


class LambdaReturn(ModelWrapper):
    """A model whose returns are lambda-returns of `model`'s rewards and values.

    lambda_: lambda, above 0 and at most 1: 1 is the return over H steps and the value of the last state, as without
        this; the nearer to 0, the more the values of early states count. n-step returns alone are horizon=n.

    Every step asks the model for a value, whatever the planner wants; `Plan.value` is the lambda-return.
    """

    def __init__(self, model: Any, lambda_: float) -> None:
        super().__init__(model)
        if not 0 < lambda_ <= 1:
            raise ValueError(f"mixing is above 0 and at most 1, got {lambda_}; for one step alone plan with horizon=1")
        self.lambda_ = lambda_

    def expand(
        self, states: Any, actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[Any, Expansion]:
        reached, said = self.model.expand(states, actions, to_end=to_end, evaluate="all")
        discount, value = torch.as_tensor(said.discount), torch.as_tensor(said.value)
        after = torch.where(discount != 0, discount * value, 0)  # of an end a model may say NaN
        reward = torch.as_tensor(said.reward) + (1 - self.lambda_) * after
        return reached, replace(said, reward=reward, discount=self.lambda_ * discount)
