"""Quadratic programs in a box against every set of held components tried in turn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from forethought.planning.trajopt.boxqp import objective, solve_box


def tried(h: np.ndarray, g: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The best over all 3^D ways of holding components at a bound or leaving them free."""
    best, found = np.inf, low
    for held in itertools.product((-1, 0, 1), repeat=len(g)):
        state = np.array(held)
        x = np.where(state < 0, low, np.where(state > 0, high, 0.0))
        free = state == 0
        if free.any():
            x[free] = np.linalg.solve(h[np.ix_(free, free)], -(g + h @ x)[free])
        value = x @ h @ x / 2 + g @ x
        if (x >= low - 1e-12).all() and (x <= high + 1e-12).all() and value < best:
            best, found = value, x
    return found


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("stiff", [0.0, 6.0])
def test_solutions_are_those_of_every_set_tried(size: int, stiff: float) -> None:
    draw = np.random.default_rng(size)
    root = draw.normal(size=(60, size, size)) * 10 ** (stiff * draw.random((60, 1, size)) / 2)
    h = root.mT @ root + 1e-3 * np.eye(size)
    g, low, high = 3 * draw.normal(size=(60, size)), -draw.random((60, size)), draw.random((60, size))
    parts = [torch.from_numpy(x) for x in (h, g, low, high)]
    x, free = solve_box(*parts)
    wanted = torch.from_numpy(np.array([tried(*row) for row in zip(h, g, low, high)]))
    torch.testing.assert_close(objective(*parts[:2], x), objective(*parts[:2], wanted), rtol=1e-7, atol=1e-9)
    inside = (wanted > parts[2] + 1e-6) & (wanted < parts[3] - 1e-6)
    assert free[inside].all() and ((x >= parts[2]) & (x <= parts[3])).all()


def test_a_box_that_holds_the_minimum_changes_nothing_and_one_without_room_everything() -> None:
    h, g = torch.tensor([[[2.0, 0.5], [0.5, 1.0]]]), torch.tensor([[1.0, -1.0]])
    wide = torch.full((1, 2), 100.0)
    torch.testing.assert_close(solve_box(h, g, -wide, wide)[0], -torch.linalg.solve(h, g[..., None])[..., 0])
    point = torch.tensor([[0.3, -0.2]])
    assert torch.equal(solve_box(h, g, point, point)[0], point)
