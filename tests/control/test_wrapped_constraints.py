"""Constraints through every wrapper, compared with simple loops."""

import math

import numpy as np
import pytest
import torch

from forethought.control import AnalyticModel, CartPole, Pendulum
from forethought.planning import (
    CEM,
    MCTS,
    ActionRepeat,
    Budget,
    DiscretizedActions,
    Masked,
    Penalised,
    SequenceQuery,
    TerminalValue,
    plan,
)
from forethought.planning.interface import Constrained, offered
from forethought.planning.rollout import rollout


class Slow(AnalyticModel, Constrained):
    """A pendulum that may not turn faster than 2 rad/s, nor push more than 1.5 N m that way."""

    def constraint(self, states, actions):
        return torch.stack([states[:, 1].abs() - 2, actions[:, 0] - 1.5], 1)


class Narrow(AnalyticModel, Constrained):
    """A cart that may not leave its middle; one number a state."""

    def constraint(self, states, actions):
        return states[:, 0].abs() - 0.5


STARTS = torch.tensor([[2.0, 1.0], [3.0, -2.5], [0.1, 0.0], [-1.0, 1.9]])


def turned(start, bins, repeat):
    """Violation of torques that are repeated for `repeat` steps each, by a simple loop."""
    angle, speed = (float(x) for x in start)
    total = 0.0
    for torque in np.repeat(np.asarray(bins, dtype=float), repeat):
        total += max(0.0, abs(speed) - 2) + max(0.0, torque - 1.5)
        speed = np.clip(speed + (15 * math.sin(angle) + 3 * torque) * 0.05, -8, 8)
        angle += speed * 0.05
    return total


@pytest.mark.parametrize("repeat", [1, 3])
def test_a_repeated_torque_violates_at_every_step(repeat):
    bins = torch.linspace(-2, 2, 4 * 5 * 2).view(4, 5, 2, 1)
    asked = SequenceQuery(np.arange(4, dtype=np.int32), bins)
    over = rollout(ActionRepeat(Slow(Pendulum()), repeat), STARTS, asked).violation
    truth = [[turned(STARTS[b], bins[b, k].flatten(), repeat) for k in range(5)] for b in range(4)]
    np.testing.assert_allclose(over[..., 0].numpy(), truth, rtol=1e-4, atol=1e-4)
    assert over.max() > 1 and over.min() == 0


def test_discretized_actions_violate_as_their_torques_do():
    model = DiscretizedActions(TerminalValue(Slow(Pendulum()), lambda s: s[:, 0]), 5)
    slots = np.array([0, 4, 2, 3])
    torch.testing.assert_close(
        offered(model, Constrained).constraint(STARTS, slots),
        Slow(Pendulum()).constraint(STARTS, torch.tensor([[-2.0], [2.0], [0.0], [1.0]])),
    )


def test_nothing_is_violated_after_termination_under_action_repeat():
    start = torch.tensor([[2.35, 3.0, 0.0, 0.0]])  # beyond 2.4 after one step
    model, slot = Narrow(CartPole()), np.array([1])
    assert (model.expand(start, slot)[1].discount == 0).all()
    assert ActionRepeat(model, 3).constraint(start, slot).tolist() == [[pytest.approx(1.85), 0.0, 0.0]]
    inside = torch.zeros(1, 4)
    assert (ActionRepeat(model, 3).constraint(inside, slot) < 0).all()


def test_a_model_without_a_constraint_has_none_when_wrapped():
    for model in (DiscretizedActions(AnalyticModel(Pendulum()), 3), ActionRepeat(AnalyticModel(Pendulum()), 2)):
        assert offered(model, Constrained) is None


def test_a_planner_over_a_wrapped_model_keeps_to_the_constraint():
    free = plan(CEM(horizon=6), ActionRepeat(AnalyticModel(Pendulum()), 2), STARTS[2:], Budget(nodes=4000)).plan
    kept = plan(CEM(horizon=6), ActionRepeat(Slow(Pendulum()), 2), STARTS[2:], Budget(nodes=4000)).plan
    assert turned(STARTS[3], free.actions[1].flatten(), 2) > 0
    assert turned(STARTS[2], kept.actions[0].flatten(), 2) == 0 and kept.violation[0] == 0


def test_a_tree_needs_the_constraint_masked_or_penalised():
    model = DiscretizedActions(ActionRepeat(Slow(Pendulum()), 2), 5)
    with pytest.raises(ValueError, match="Masked"):
        plan(MCTS(), model, STARTS[2:3], Budget(nodes=40))
    found = plan(MCTS(), Masked(model), STARTS[2:3], Budget(nodes=200)).plan
    assert 4 not in found.actions[0]  # 2 N m
    plain = Penalised(ActionRepeat(Slow(Pendulum()), 2), 10.0)
    _, said = plain.expand(STARTS, torch.full((4, 1), 2.0))
    _, bare = plain.model.expand(STARTS, torch.full((4, 1), 2.0))
    lost = [10 * turned(start, [2.0], 2) for start in STARTS]
    np.testing.assert_allclose((bare.reward - said.reward).numpy(), lost, rtol=1e-4, atol=1e-3)
