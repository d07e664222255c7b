"""What differentiable models are asked beyond returns, against torch's own Jacobians and finite differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch.func import hessian, jacrev

from forethought.planning import UNITS, BoxActions, Expansion, ModelError, SequenceQuery
from forethought.planning.interface import Stochastic
from forethought.planning.rollout import rollout
from forethought.planning.usage import NODES
from forethought.planning.vectors.jacobians import flat_of, states_of
from forethought.planning.vectors.queries import Gradients, Linearization, Rollouts, linearization_nodes


@dataclass
class Warped:
    """Three nonlinear numbers under two actions; the state is a dict; it ends where the first passes `end`."""

    end: float = 1e9
    how: str = ""
    cost: int = 1
    actions = BoxActions(torch.tensor([-1.0, -2.0], dtype=torch.double), torch.tensor([1.0, 0.5], dtype=torch.double))

    def start(self, problems: Any) -> Any:
        x = torch.as_tensor(problems, dtype=torch.float64)
        one = torch.ones_like(x[:, 0])
        return {"a": x[:, :1], "b": x[:, 1:]}, Expansion(0 * one, one, 0 * one)

    def expand(self, states: Any, actions: Any, *, to_end: bool = False, evaluate: Any = "all") -> Any:
        x = flat_of(states)
        if self.how == "numpy":
            x = torch.from_numpy(x.numpy().copy())
        y, reward = self.moved(x, actions), self.reward(x, actions)
        if self.how == "detached":
            y, reward = y.detach(), reward.detach()
        discount = 0.9 * (y[:, 0] < self.end).to(y)
        value = torch.where(discount > 0, self.value(y), 0) if evaluate == "all" else torch.zeros_like(reward)
        usage = np.full((len(y), len(UNITS)), float(self.cost)) if self.cost > 1 else None
        return {"a": y[:, :1], "b": y[:, 1:]}, Expansion(reward, discount, value, usage=usage)

    def moved(self, x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        a, b, c = x.unbind(-1)
        return torch.stack(
            [a + 0.3 * torch.sin(b) * u[..., 0], b - 0.2 * a * c + u[..., 1], 0.9 * c + u[..., 0] ** 2], -1
        )

    def reward(self, x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        return -(x[..., 0] ** 2) - torch.cosh(u[..., 0] * x[..., 1]) - u[..., 1] ** 2

    def value(self, x: torch.Tensor) -> torch.Tensor:
        return torch.exp(-(x**2).sum(-1)) + x[..., 0] * x[..., 2]


STEPS, ROWS = 4, 3


def asked(model: Warped, number: int = 1) -> tuple[Any, torch.Tensor, Any]:
    draw = np.random.default_rng(0)
    states, _ = model.start(draw.normal(size=(ROWS, 3)))
    sequences = torch.from_numpy(draw.uniform(-0.9, 0.4, (ROWS, number, STEPS, 2)))
    return states, sequences, np.arange(ROWS, dtype=np.int32)


def test_a_rollout_without_feedback_has_the_returns_of_a_sequence_query_and_its_states() -> None:
    model = Warped()
    states, sequences, row = asked(model, 2)
    walked = rollout(model, states, Rollouts(row, sequences))
    plain = rollout(model, states, SequenceQuery(row, sequences))
    assert torch.equal(walked.returns, plain.returns) and (walked.usage == plain.usage).all()
    assert walked.states.shape == (ROWS, 2, STEPS + 1, 3) and torch.equal(walked.actions, sequences)
    at = walked.states[:, :, 0]
    assert torch.equal(at[:, 1], flat_of(states))
    for t in range(STEPS):
        torch.testing.assert_close(walked.states[:, :, t + 1], model.moved(walked.states[:, :, t], sequences[:, :, t]))


def test_feedback_acts_on_the_distance_from_the_trajectory_within_the_bounds() -> None:
    model = Warped()
    states, sequences, row = asked(model)
    gains = torch.ones(ROWS, STEPS, 2, 3, dtype=torch.float64)
    first = rollout(model, states, Rollouts(row, sequences))
    again = rollout(model, states, Rollouts(row, sequences, None, first.states[:, 0, :-1], gains))
    assert torch.equal(again.actions, first.actions)
    off = rollout(model, states, Rollouts(row, sequences, None, first.states[:, 0, :-1] - 0.1, gains))
    wanted = (sequences[:, 0, 0] + 0.3).clamp(model.actions.low, model.actions.high)
    torch.testing.assert_close(off.actions[:, 0, 0], wanted)
    far = rollout(model, states, Rollouts(row, sequences, None, first.states[:, 0, :-1] - 9, gains)).actions
    assert ((far >= model.actions.low) & (far <= model.actions.high)).all() and (far == model.actions.high).any()


@pytest.mark.parametrize("second", [False, True])
def test_linearizations_are_torchs_own_derivatives_of_each_step(second: bool) -> None:
    model = Warped()
    states, sequences, row = asked(model)
    walked = rollout(model, states, Rollouts(row, sequences))
    told = rollout(model, states, Linearization(row, sequences, None, walked.states[:, 0, :-1], second))
    z = torch.cat([walked.states[:, 0, :-1], sequences[:, 0]], -1)
    for b, t in np.ndindex(ROWS, STEPS):
        last = 0.9 if t == STEPS - 1 else 0.0

        def total(z: torch.Tensor, last: float = last) -> torch.Tensor:
            return model.reward(z[:3], z[3:]) + last * model.value(model.moved(z[None, :3], z[None, 3:])[0])

        def moved(z: torch.Tensor) -> torch.Tensor:
            return model.moved(z[:3], z[3:])

        torch.testing.assert_close(told.f_z[b, t], jacrev(moved)(z[b, t]))
        torch.testing.assert_close(told.r_z[b, t], jacrev(total)(z[b, t]))
        torch.testing.assert_close(told.r_zz[b, t], hessian(total)(z[b, t]))
        if second:
            torch.testing.assert_close(told.f_zz[b, t], hessian(moved)(z[b, t]))
    assert second or told.f_zz is None
    torch.testing.assert_close(told.returns, walked.returns)


@pytest.mark.parametrize("end", [1e9, 0.0])
def test_gradients_are_central_differences_of_the_return(end: float) -> None:
    model = Warped(end)
    states, sequences, row = asked(model, 2)
    told = rollout(model, states, Gradients(row, sequences))
    for place in [(0, 0, 0, 0), (1, 1, 2, 1), (2, 0, 3, 0)]:
        step = torch.zeros_like(sequences)
        step[place] = 1e-6
        up, down = (rollout(model, states, SequenceQuery(row, sequences + s * step)).returns for s in (1, -1))
        assert float(told.gradients[place[0], place[1], 0, place[2], place[3]]) == pytest.approx(
            float((up - down)[place[:2]]) / 2e-6, rel=1e-5, abs=1e-7
        )


@pytest.mark.parametrize("cost", [1, 3])
def test_the_ledger_counts_jacobians_hessians_and_backward_passes(cost: int) -> None:
    model = Warped(cost=cost)
    states, sequences, row = asked(model, 2)
    n, size = 5, 3
    walked = rollout(model, states, Rollouts(row, sequences[:, :1]))
    for second, each in ((False, n + 2 * n), (True, n + 2 * n + size * 2 * n)):
        query = Linearization(row, sequences[:, :1], None, walked.states[:, 0, :-1], second)
        assert query.nodes == linearization_nodes(STEPS, n, size * second) == each * STEPS
        assert (rollout(model, states, query).usage[:, NODES] == cost * query.nodes).all()
    query = Gradients(row, sequences)
    assert query.nodes == 3 * 2 * STEPS
    assert (rollout(model, states, query).usage[:, NODES] == cost * query.nodes).all()


def test_a_part_of_a_query_is_a_query_about_those_rows() -> None:
    model = Warped()
    states, sequences, row = asked(model)
    around = rollout(model, states, Rollouts(row, sequences)).states[:, 0, :-1]
    part = Linearization(row, sequences, None, around, True).take(slice(1, 2))
    assert part.row.tolist() == [1] and part.second and torch.equal(part.states, around[1:2])


@pytest.mark.parametrize("how", ["numpy", "detached"])
@pytest.mark.parametrize("kind", ["gradients", "linearization", "second"])
def test_a_model_without_derivatives_is_a_model_error_with_the_remedy(how: str, kind: str) -> None:
    model = Warped(how=how)
    states, sequences, row = asked(model)
    around = torch.zeros(ROWS, STEPS, 3, dtype=torch.float64)
    query = (
        Gradients(row, sequences)
        if kind == "gradients"
        else Linearization(row, sequences, None, around, kind == "second")
    )
    with pytest.raises(ModelError, match=r"no numpy, no torch\.no_grad"):
        rollout(model, states, query)


def test_states_that_are_no_floating_tensors_are_refused() -> None:
    for states in ([1, 2], torch.zeros(2, 3, dtype=torch.int64), (torch.zeros(2), torch.zeros(2, dtype=torch.int64))):
        with pytest.raises(ModelError, match="floating tensors"):
            flat_of(states)


def test_flat_states_become_what_they_were() -> None:
    states = (torch.randn(4), torch.randn(4, 2, 3), torch.randn(4, 1))
    back = states_of(flat_of(states), states)
    assert all(torch.equal(x, y) for x, y in zip(states, back, strict=True))


def test_a_model_of_particles_has_no_one_trajectory() -> None:
    class Swarm(Warped, Stochastic):
        particles = 3

        def repeat(self, states: Any, keys: Any) -> Any:
            return states.repeat_interleave(3, 0)

    model = Swarm()
    states, sequences, row = asked(model)
    with pytest.raises(ModelError, match="one member"):
        rollout(model, states, Rollouts(row, sequences))
