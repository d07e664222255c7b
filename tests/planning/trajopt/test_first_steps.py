"""The first step of L-BFGS, before it has seen any curvature."""

import pytest
import torch

from forethought.planning.trajopt.lbfgs import LBFGS


@pytest.mark.parametrize(("settings", "largest"), [({}, 0.2), ({"first_step": 0.5}, 0.5)])
def test_the_first_step_goes_along_the_gradient_and_moves_no_component_further_than_it_may(
    settings: dict[str, float], largest: float
) -> None:
    search = LBFGS(torch.zeros(2, 3, dtype=torch.float64), **settings)
    gradient = torch.tensor([[4.0, -2.0, 0.0], [0.001, 0.0005, 0.0]], dtype=torch.float64)
    search.tell(torch.tensor([0, 1]), torch.zeros(2, dtype=torch.float64), gradient)
    expected = largest * torch.tensor([[1.0, -0.5, 0.0], [1.0, 0.5, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(search.trial, expected)
