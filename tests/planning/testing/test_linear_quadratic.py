"""The linear model with quadratic costs refuses problems that are no states of it."""

from __future__ import annotations

import pytest
import torch

from forethought.planning import BoxActions
from forethought.planning.testing.linear_quadratic import LinearQuadratic

EYE = torch.eye(2)
MODEL = LinearQuadratic(EYE, EYE, EYE, EYE, EYE, BoxActions(-torch.ones(2), torch.ones(2)))


@pytest.mark.parametrize("problems", [[1.0, 2.0], [[1.0, 2.0, 3.0]], [[[1.0, 2.0]]]])
def test_problems_of_another_shape_are_refused(problems: object) -> None:
    with pytest.raises(ValueError, match="problems are states"):
        MODEL.start(problems)


def test_a_state_s_value_is_its_final_cost() -> None:
    assert MODEL.start([[1.0, 2.0]])[1].value.tolist() == [-5.0]
