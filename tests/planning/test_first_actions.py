"""What is done now of a plan over indices and of one over vectors, and which indices a space has."""

import numpy as np
import pytest
import torch

from forethought.planning import CEM, MCTS, Budget, first_actions, plan
from forethought.planning.spaces import action_indices
from forethought.planning.testing.problems import TargetProblem, bandit, chain


def test_of_vectors_the_first_of_each_row_is_done_as_it_is():
    found = plan(CEM(horizon=3), TargetProblem(torch.tensor([0.3, -0.2])), [0.0, 1.0], Budget(nodes=60)).plan
    actions = first_actions(found)
    assert actions.shape == (2, 2) and torch.equal(actions, found.actions[:, 0])


def test_of_indices_the_first_of_each_row_is_done_and_0_where_a_problem_is_over():
    found = plan(MCTS(), bandit([0.1, 0.2, 0.9]), [0, 0], Budget(nodes=30)).plan
    assert first_actions(found).tolist() == [2, 2]
    found.actions = [np.array([1, 0], np.int32), np.array([], np.int32)]
    assert first_actions(found).tolist() == [1, 0]
    assert first_actions(plan(MCTS(), chain(2), [0], Budget(nodes=30)).plan).dtype == np.int32


def test_indices_lie_below_the_number_of_actions():
    assert action_indices(np.array([0, 2], np.int32), 3, "cpu").tolist() == [0, 2]
    assert action_indices(np.array([], np.int32), 3, "cpu").tolist() == []
    for wrong in ([3], [0, -1]):
        with pytest.raises(ValueError, match=r"actions are indices 0\.\.2"):
            action_indices(np.array(wrong, np.int32), 3, "cpu")
