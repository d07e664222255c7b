"""The ends of the ranges that the docstrings of settings state: what is just allowed and what is just refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from forethought.planning import (
    CEM,
    ICEM,
    ILQR,
    MCTS,
    MPPI,
    Beam,
    BestOfN,
    DiscretizedActions,
    GaussianSettings,
    GradientShooting,
    LambdaReturn,
    PathSettings,
    Penalised,
    PolicyPrior,
    WarmStarted,
    WideningSettings,
)
from forethought.planning.interface import Constrained
from forethought.planning.testing.problems import TargetProblem


class Fenced(TargetProblem, Constrained[Any]):
    """A model over a box whose constraint always holds."""

    def constraint(self, states: Any, actions: Any) -> Any:
        return -torch.ones(len(actions))


def prior(**settings: Any) -> PolicyPrior:
    return PolicyPrior(policy=lambda states, logits: torch.zeros(len(states), 1), **settings)


def penalised(**settings: Any) -> Penalised[Any]:
    return Penalised(Fenced(torch.zeros(1)), **({"weight": 1.0} | settings))


def shares(**settings: Any) -> WarmStarted:
    return WarmStarted(CEM(), ILQR(), **settings)


def lambda_return(**settings: Any) -> LambdaReturn[Any]:
    return LambdaReturn(TargetProblem(torch.zeros(1)), **settings)


def bins(n: int) -> DiscretizedActions[Any]:
    return DiscretizedActions(TargetProblem(torch.zeros(1)), n)


RANGES = [
    (ILQR, "tolerance", [0.0], [-1e-9]),
    (ILQR, "horizon", [1], [0]),
    (ILQR, "iterations", [1], [0]),
    (GradientShooting, "memory", [1], [0]),
    (GradientShooting, "tolerance", [0.0], [-1e-9, float("inf")]),
    (MPPI, "control_cost", [0.0, 1.0], [-0.01, 1.01]),
    (MPPI, "temperature", [1e-9], [0.0, float("inf")]),
    (ICEM, "decay", [1.0], [0.99, float("inf")]),
    (CEM, "min_population", [1], [0]),
    (CEM, "population", [1, None], [0]),
    (CEM, "iterations", [1], [0]),
    (CEM, "keep", [0], [-1]),
    (CEM, "smoothing", [0.0, 0.99], [1.0, -0.01]),
    (CEM, "elites", [1.0], [0.0, 1.01]),
    (BestOfN, "horizon", [1], [0]),
    (GaussianSettings, "std", [0.0], [-0.1]),
    (GaussianSettings, "warm_std", [0.0, None], [-0.1]),
    (GaussianSettings, "min_std", [0.0], [-0.1]),
    (GaussianSettings, "reuse_elites", [0], [-1]),
    (PathSettings, "width", [1, None], [0]),
    (PathSettings, "prior", [0.0], [-0.1]),
    (PathSettings, "parallel", [1, None], [0]),
    (MCTS, "leaves", [1], [0]),
    (MCTS, "simulations", [1, None], [0]),
    (WideningSettings, "width", [1], [0]),
    (Beam, "beam", [1, None], [0]),
    (Beam, "children", [1, None], [0]),
    (Beam, "horizon", [1, None], [0]),
    (Beam, "trees", [1], [0]),
    (prior, "horizon", [1], [0]),
    (prior, "samples", [1], [0]),
    (prior, "std", [0.0], [-0.1, float("inf")]),
    (shares, "share", [0.01, 0.99], [0.0, 1.0]),
    (shares, "nodes", [1], [0]),
    (penalised, "weight", [0.0], [-0.1, float("nan")]),
    (penalised, "power", [1, 2], [0, 3]),
    (lambda_return, "lambda_", [1e-9, 1.0], [0.0, 1.01]),
    (bins, "n", [2], [1]),
]


@pytest.mark.parametrize(("make", "name", "allowed", "refused"), RANGES, ids=lambda x: getattr(x, "__name__", None))
def test_a_range_ends_where_the_docstring_says(make: Any, name: str, allowed: list[Any], refused: list[Any]) -> None:
    for number in allowed:
        make(**{name: number})
    for number in refused:
        with pytest.raises(ValueError):
            make(**{name: number})


@pytest.mark.parametrize("settings", [MCTS(), Beam(), BestOfN(), CEM(), ICEM(), MPPI(), ILQR(), GradientShooting()])
def test_settings_cannot_be_changed_after_they_were_checked(settings: Any) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.horizon = 0
