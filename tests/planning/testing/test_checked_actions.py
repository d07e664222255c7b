"""Which actions `check_model` takes: of those that a model has, all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from forethought.planning import BoxActions, DiscreteActions, Expansion, SampledActions
from forethought.planning.interface import ActionSpace
from forethought.planning.testing.check_model import check_model


class Recorder:
    """A model that stands still and notes the actions it was given; with `missing` the first slot does not exist."""

    cost = 1

    def __init__(self, actions: ActionSpace, missing: bool = False) -> None:
        self.actions, self.missing, self.taken = actions, missing, []

    def said(self, rows: int) -> Expansion:
        logits = None
        if self.missing:
            logits = torch.zeros(rows, self.actions.n)
            logits[:, 0] = -torch.inf
        return Expansion(torch.zeros(rows), torch.ones(rows), torch.zeros(rows), logits)

    def start(self, problems: Any) -> Any:
        return torch.as_tensor(problems), self.said(len(problems))

    def expand(self, states: Any, actions: Any, *, to_end: bool = False, evaluate: Any = "all") -> Any:
        self.taken.append(torch.as_tensor(actions))
        return states.clone(), self.said(len(states))


def test_actions_come_from_everywhere_in_the_box_and_never_from_outside() -> None:
    low, high = torch.tensor([-3.0, 10.0]), torch.tensor([5.0, 10.5])
    model = Recorder(BoxActions(low, high))
    check_model(model, torch.zeros(60), steps=3)
    taken = torch.cat(model.taken)
    assert (taken >= low).all() and (taken <= high).all()
    eighth = (high - low) / 8
    assert (taken.amin(0) < low + eighth).all() and (taken.amax(0) > high - eighth).all()


@pytest.mark.parametrize(
    ("actions", "missing", "tried"),
    [
        (DiscreteActions(3), False, {0, 1, 2}),
        (DiscreteActions(3), True, {1, 2}),
        (SampledActions(), False, {0, 1, 2, 3}),
    ],
)
def test_every_slot_that_exists_is_tried(actions: Any, missing: bool, tried: set[int]) -> None:
    model = Recorder(actions, missing)
    check_model(model, np.zeros(60, np.float32), steps=2)
    assert set(torch.cat(model.taken).tolist()) == tried
