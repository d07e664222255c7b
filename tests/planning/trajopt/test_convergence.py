"""When gradient shooting says that it has converged."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from forethought.planning import BoxActions, Expansion, GradientShooting, Size, keys_of
from forethought.planning.vectors.queries import ReturnGradients


@pytest.mark.parametrize(("gradient", "converged"), [(0.89, True), (0.91, False)])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_certificate_is_compared_with_a_fraction_of_the_return(gradient: float, converged: bool, sign: int) -> None:
    one, zero = torch.ones(1), np.zeros(1, np.float32)
    planner = GradientShooting(horizon=1, starts=1, tolerance=0.1)
    search = planner.begin(Expansion(zero, zero + 1, zero), BoxActions(-one, one), Size(90), keys=keys_of(0, 1))
    query = search.ask(np.array([90]))
    told = ReturnGradients(torch.full((1, 1, 1), 9.0 * sign), gradients=torch.full((1, 1, 1, 1, 1), gradient))
    search.tell(query, told)
    assert bool(search.done[0]) == converged
    assert search.plan().stop_reason == ["converged" if converged else "budget"] or not converged
