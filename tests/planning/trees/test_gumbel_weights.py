"""The policy that Gumbel search recommends."""

import numpy as np

from forethought.planning import MCTS, Budget, plan
from forethought.planning.testing.problems import Table


def test_an_action_that_does_not_exist_has_no_weight_at_all():
    logits = np.array([[0.0, -np.inf, 0.0], [-np.inf, 0.0, -np.inf]])
    model = Table(np.array([[1, 1, 1], [0, 0, 0]]), np.zeros((2, 3)), np.full((2, 3), 0.9), np.zeros(2), logits)
    weights = plan(MCTS(selection="gumbel"), model, [0, 1], Budget(nodes=16)).search.weights()
    np.testing.assert_allclose(weights, [[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]], rtol=1e-6, atol=0)
