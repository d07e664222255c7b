"""Plans do not depend on the unit of the reward: rewards times a power of two give the same actions and stop reasons.

A power of two changes no digit of a floating-point number, so that the comparison needs no tolerance.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from forethought.control import TASKS, AnalyticModel, Pendulum, view
from forethought.evals.planners import PLANNERS, planner_for, planners_for
from forethought.planning import MPPI, BoxActions, Budget, Expansion, plan
from forethought.planning.interface import Steppable

BY_DEFINITION = {"rebase": "its temperature is in units of the value, as in the paper"}
"""Planners with a setting in units of the return."""


class Scaled(Steppable[Tensor]):
    """A float64 pendulum whose rewards are in another unit."""

    cost = 1

    def __init__(self, unit: float) -> None:
        self.model, self.unit = AnalyticModel(Pendulum(), dtype=torch.float64), unit
        box = self.model.actions
        assert isinstance(box, BoxActions)
        self.actions = BoxActions(box.low.double(), box.high.double())

    def start(self, problems: object) -> tuple[Tensor, Expansion]:
        return self.model.start(problems)

    def expand(self, states: Any, actions: Any, **how: Any) -> tuple[Tensor, Expansion]:
        states, found = self.model.expand(states, actions, **how)
        return states, replace(found, reward=found.reward * self.unit)

    def step(self, states: Any, actions: Any) -> tuple[Tensor, Tensor, Tensor]:
        states, reward, discount = self.model.step(states, actions)
        return states, reward * self.unit, discount


PROBLEMS = torch.tensor([[torch.pi, 0.0], [0.4, -0.3], [-2.0, 1.0], [1e-3, 1e-3], [0.0, 0.0]], dtype=torch.float64)


def planned(name: str, unit: float, planner: Any = None) -> tuple[list[Any], list[str], list[float]]:
    task = TASKS["pendulum"]
    if planner is None:
        planner = planner_for(task, name)
        planner = replace(planner, scale="spread") if isinstance(planner, MPPI) else planner
    kind: Any = PLANNERS[name].needs
    model: Any = Scaled(unit)
    model = view(task, model, kind, terminal_value=False) if kind == "trees" else model
    found = plan(planner, model, PROBLEMS, Budget(nodes=4000), seed=3).plan
    actions = [np.asarray(each).tolist() for each in found.actions]
    return actions, found.stop_reason, (found.value.astype(np.float64) / unit).tolist()


@pytest.mark.parametrize("unit", [2.0**-40, 2.0**-20, 2.0**20])
@pytest.mark.parametrize("name", [each for each in planners_for(TASKS["pendulum"]) if each not in BY_DEFINITION])
def test_the_unit_of_the_reward_changes_neither_actions_nor_stop_reasons(name: str, unit: float) -> None:
    actions, reasons, value = planned(name, 1.0)
    scaled_actions, scaled_reasons, scaled_value = planned(name, unit)
    assert scaled_actions == actions
    assert scaled_reasons == reasons
    assert scaled_value == value


@pytest.mark.parametrize("unit", [2.0**-20, 2.0**20])
@pytest.mark.parametrize("name", ["rebase", "mppi"])
def test_a_temperature_in_units_of_the_return_scales_with_it(name: str, unit: float) -> None:
    one: Any = planner_for(TASKS["pendulum"], name)
    one = replace(one, scale="absolute") if isinstance(one, MPPI) else one
    assert planned(name, unit, replace(one, temperature=one.temperature * unit)) == planned(name, 1.0, one)
