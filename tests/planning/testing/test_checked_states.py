"""`check_model` counts states whatever holds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from forethought.planning import DiscreteActions, Expansion, ModelError
from forethought.planning.testing.check_model import check_model, count_of


class Held:
    """A walk whose positions are kept in a dict; with `lost` the last one gets lost on the way."""

    actions, cost = DiscreteActions(2), 1

    def __init__(self, lost: bool = False) -> None:
        self.lost = lost

    def start(self, problems: Any) -> Any:
        x = torch.as_tensor(problems)
        return {"x": x, "step": 0 * x, "sum": 0 * x}, Expansion(0 * x, 0 * x + 1, 0 * x)

    def expand(self, states: Any, actions: Any, *, to_end: bool = False, evaluate: Any = "all") -> Any:
        x = states["x"] + 2 * torch.as_tensor(actions) - 1
        reached = {"x": x, "step": states["step"] + 1, "sum": states["sum"] + x}
        if self.lost and len(x) > 1:
            reached = {name: part[:-1] for name, part in reached.items()}
        return reached, Expansion(x, 0 * x + 1, 0 * x)


def test_states_in_a_dict_are_counted_by_their_rows() -> None:
    check_model(Held(), torch.tensor([1.0, 2.0, 5.0, 7.0]))
    with pytest.raises(ModelError, match="states are 3, expected 4"):
        check_model(Held(lost=True), torch.tensor([1.0, 2.0, 5.0, 7.0]))


def test_every_container_of_states_is_counted() -> None:
    four = torch.zeros(4, 2)
    for states in (four, four.numpy(), {"a": four, "b": four}, (four, np.zeros(4)), ["a", "b", "c", "d"]):
        assert count_of(states) == 4
