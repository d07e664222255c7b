"""The learning rate of gradient shooting, read off its steps: under a constant gradient Adam steps by the rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from forethought.planning import BoxActions, Budget, Expansion, GradientShooting, keys_of
from forethought.planning.vectors.queries import ReturnGradients


def test_the_rate_falls_to_a_hundredth_by_a_cosine() -> None:
    count, rate, half_range = 10, 0.05, 4.0
    planner = GradientShooting(horizon=1, starts=1, iterations=count, rate=rate)
    top, zero = torch.tensor([half_range]), np.zeros(1, np.float32)
    size = Budget(nodes=3 * count).size()
    search = planner.begin(Expansion(zero, zero + 1, zero), BoxActions(-top, top), size, keys=keys_of(0, 1))
    points = []
    for step in range(count):
        query = search.ask(np.array([3 * (count - step)]))
        points.append(float(query.sequences))
        search.tell(query, ReturnGradients(torch.zeros(1, 1, 1), gradients=torch.ones(1, 1, 1, 1, 1)))
    points.append(float(search.x[0].detach()) * half_range)
    expected = [rate * (0.01 + 0.99 * (1 + math.cos(math.pi * t / count)) / 2) for t in range(1, count + 1)]
    assert np.diff(points) / half_range == pytest.approx(expected, rel=1e-3)
    assert search.plan().stop_reason == ["exhausted"]
