"""Lambda-returns: returns that use the value of every state of a plan and not of the last one alone.

With G_n = r_0 + d r_1 + ... + d^n V(x_n), the n-step return of a plan of H steps, its truncated lambda-return is

    G^lambda = (1 - lambda) sum over n = 1 .. H - 1 of lambda^(n - 1) G_n  +  lambda^(H - 1) G_H

(Sutton and Barto 2018, "Reinforcement learning", equation 12.9; Hafner et al. 2020, Dreamer, equation 6). It is also
r_0 + d [(1 - lambda) V(x_1) + lambda G^lambda of the rest], so it is the plain return of another decision process: the
reward of a step grows by d (1 - lambda) V of the reached state, and the discount is lambda d. Every planner over the
changed model therefore plans by lambda-returns: shooting, planners that use derivatives (values are differentiated
too), beams, MCTS (whose backup is then that of MCTS(lambda), Khandelwal et al. 2016), and the rollouts of a
`RolloutValue` around this wrapper.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from ..interface import Actions, Evaluate, Expansion, Model, States
from ..settings_checks import check_setting, is_number
from .base import ModelWrapper


class LambdaReturn(ModelWrapper[States]):
    """A model whose returns are lambda-returns of `model`'s rewards and values.

    lambda_: lambda, above 0 and at most 1: 1 is the return over H steps plus the value of the last state, as without
        this wrapper; the nearer to 0, the more the values of early states count. For n-step returns use horizon=n.

    The inner model is asked for a value at every step; `Plan.value` is the lambda-return.
    """

    def __init__(self, model: Model[States], lambda_: float) -> None:
        super().__init__(model)
        allowed = "above 0 and at most 1 (for one step alone plan with horizon=1)"
        check_setting(is_number(lambda_) and 0 < lambda_ <= 1, "lambda_", allowed, lambda_)
        self.lambda_ = lambda_

    def expand(
        self, states: States, actions: Actions, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[States, Expansion]:
        reached, said = self.model.expand(states, actions, to_end=to_end, evaluate="all")
        discount, value = torch.as_tensor(said.discount), torch.as_tensor(said.value)
        after = torch.where(discount != 0, discount * value, 0)  # after an end a model's value may be NaN
        reward = torch.as_tensor(said.reward) + (1 - self.lambda_) * after
        return reached, replace(said, reward=reward, discount=self.lambda_ * discount)
