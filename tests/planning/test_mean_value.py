"""The value of a plan that is the final mean is the weighted mean of the candidates' returns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from forethought.planning import CEM, MPPI, Budget, keys_of
from forethought.planning.rollout import rollout
from forethought.planning.testing.problems import TargetProblem


@pytest.mark.parametrize("keep", [0, 3])
@pytest.mark.parametrize("kind", [CEM, MPPI])
def test_the_value_of_a_mean_is_the_weighted_return(kind: Any, keep: int) -> None:
    """One iteration: none of the sequences kept has been evaluated yet, so that they weigh nothing."""
    model, planner = TargetProblem(torch.tensor([0.6, -0.2])), kind(horizon=3, iterations=1, answer="mean", keep=keep)
    states, root = model.start([0.0, 0.0])
    search = planner.begin(root, model.actions, Budget(nodes=60).size(), keys=keys_of(1, 2))
    query = search.ask(np.full(2, 60, np.int32))
    answer = rollout(model, states, query)
    search.tell(query, answer)
    returns = answer.returns[..., 0]
    wanted = (planner.weigh(returns) * returns).sum(1)
    np.testing.assert_allclose(search.plan().value, wanted.numpy(), rtol=1e-5)
