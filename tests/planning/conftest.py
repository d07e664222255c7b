"""Small worlds that the planning tests share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from forethought.planning.testing.problems import Table


def make_table(
    seed: int, states: int = 9, slots: int = 3, *, ends: float = 0.2, gamma: float = 0.9, sampled: bool = False
) -> Table:
    """Random rewards, values and logits; a share of the edges ends the episode, a share of the slots does not exist."""
    draw = np.random.default_rng(seed)
    shape = (states, slots)
    logits = draw.normal(size=shape).astype(np.float32)
    missing = draw.random(shape) < 0.1
    missing[:, 0] = False
    return Table(
        next=draw.integers(0, states, shape),
        reward=draw.normal(size=shape).astype(np.float32),
        discount=np.where(draw.random(shape) < ends, 0, np.float32(gamma)).astype(np.float32),
        value=draw.normal(size=states).astype(np.float32),
        logits=np.where(missing, -np.inf, logits).astype(np.float32),
        sampled=sampled,
    )


@pytest.fixture
def table() -> Callable[..., Table]:
    return make_table
