"""Rollouts against loops written out by hand."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from line_world import Line, by_hand

from forethought.planning.interface import UNITS, ModelError, SequenceQuery, Steppable, Stochastic
from forethought.planning.rollout import rollout, take
from forethought.planning.usage import NODES


@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize("wall", [1e9, 1.2])
def test_returns_are_those_of_a_loop_and_an_end_ends_only_its_own(gamma: float, wall: float) -> None:
    actions = torch.rand(2, 6, 5, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    model = Line(wall)
    states = model.start([0.9, 0.0, -0.3])[0]
    answer = rollout(model, states[[2, 0]], SequenceQuery(np.array([2, 0], dtype=np.int32), actions), gamma)
    for m, x in enumerate((-0.3, 0.9)):
        for k in range(6):
            wanted = by_hand(x, actions[m, k, :, 0].tolist(), gamma, wall)
            assert float(answer.returns[m, k, 0]) == pytest.approx(wanted, abs=1e-9)


def test_usage_is_one_node_and_one_call_a_step() -> None:
    answer = rollout(Line(), torch.zeros(1), SequenceQuery(np.array([1], dtype=np.int32), torch.zeros(1, 4, 7, 1)))
    assert answer.usage is not None and answer.usage.shape == (1, len(UNITS))
    charged = dict(zip(UNITS, answer.usage[0]))
    assert {unit: amount for unit, amount in charged.items() if amount} == {"nodes": 28, "model_calls": 28}
    assert answer.spent is None


def test_usage_and_spent_that_a_model_says_are_summed() -> None:
    class Costly(Line):
        def expand(self, states: Any, actions: Any, **more: Any) -> Any:
            states, said = super().expand(states, actions, **more)
            said.usage = np.full((len(states), len(UNITS)), 3.0)
            said.spent = np.full((len(states), len(UNITS)), 1.0)
            return states, said

    answer = rollout(Costly(), torch.zeros(2), SequenceQuery(np.arange(2, dtype=np.int32), torch.zeros(2, 4, 5, 1)))
    assert answer.usage is not None and (answer.usage == 60).all()
    assert answer.spent is not None and (answer.spent == 20).all()


def test_step_is_taken_for_inner_steps_and_gives_the_same() -> None:
    class Fast(Line, Steppable):
        steps = 0

        def step(self, states: Any, actions: Any) -> Any:
            self.steps += 1
            reached, said = self.expand(states, actions)
            return reached, said.reward, said.discount

    fast = Fast(1.2)
    query = SequenceQuery(np.arange(2, dtype=np.int32), torch.linspace(-1, 1, 40).reshape(2, 4, 5, 1).double())
    states = torch.tensor([0.0, 0.5], dtype=torch.float64)
    wanted = rollout(Line(1.2), states, query)
    got = rollout(fast, states, query)
    assert fast.steps == 4
    assert torch.equal(wanted.returns, got.returns)
    assert np.array_equal(wanted.usage, got.usage)


def test_particles_lie_side_by_side_and_are_charged() -> None:
    class Swarm(Line, Stochastic):
        cost = 3
        particles = 3

        def repeat(self, states: Any, keys: Any) -> Any:
            assert len(keys) == len(states) and keys[0] == keys[1] != keys[-1]
            return states.repeat_interleave(3) + torch.arange(3).repeat(len(states))

    query = SequenceQuery(np.arange(2, dtype=np.int32), torch.zeros(2, 2, 1, 1), np.array([5, 6], dtype=np.uint64))
    answer = rollout(Swarm(), torch.tensor([0.0, 100.0]), query)
    assert answer.returns.tolist() == [[[0, 11, 22]] * 2, [[1100, 1111, 1122]] * 2]
    assert answer.usage is not None and answer.usage[:, NODES].tolist() == [6, 6]


def test_states_may_be_nested() -> None:
    class Pair(NamedTuple):
        x: torch.Tensor
        rest: dict[str, Any]

    states = Pair(torch.arange(3), {"a": np.arange(3), "b": ["p", "q", "r"], "c": (torch.eye(3),)})
    got = take(states, torch.tensor([2, 0, 0]))
    assert isinstance(got, Pair) and got.x.tolist() == [2, 0, 0]
    assert got.rest["a"].tolist() == [2, 0, 0] and got.rest["b"] == ["r", "p", "p"]
    assert got.rest["c"][0].shape == (3, 3)


def test_a_wrong_shape_is_a_model_error_that_names_the_field() -> None:
    class Wrong(Line):
        def expand(self, states: Any, actions: Any, **more: Any) -> Any:
            states, said = super().expand(states, actions, **more)
            said.discount = said.discount[:, None]
            return states, said

    with pytest.raises(ModelError, match=r"discount must have shape \[8\], got \[8, 1\]"):
        rollout(Wrong(), torch.zeros(2), SequenceQuery(np.arange(2, dtype=np.int32), torch.zeros(2, 4, 5, 1)))
