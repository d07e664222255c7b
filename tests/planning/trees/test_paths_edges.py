"""Paths over slots where there is nothing yet to weigh, and how candidates of text are grouped into iterations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from forethought.planning import CEM, BestOfN, Budget, Expansion, SampledActions, Size, keys_of, plan


@pytest.mark.parametrize("planner", [BestOfN(), CEM()])
def test_before_the_first_answer_there_are_no_weights(planner: Any) -> None:
    zero = np.zeros(2, np.float32)
    search = planner.begin(Expansion(zero, zero + 1, zero), SampledActions(), Size(10), keys=keys_of(0, 2))
    assert search.weights().tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("iterations", [2, 5])
def test_refits_over_text_come_after_every_four_candidates(iterations: int, table: Callable[..., Any]) -> None:
    model = table(3, ends=0.4, sampled=True)
    search = plan(CEM(iterations=iterations), model, [0, 1], Budget(nodes=60)).search
    assert (search.iterations["iteration"] > 1).all() and (search.iterations["goal"] == 4).all()
