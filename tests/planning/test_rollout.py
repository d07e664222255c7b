"""Rollouts against loops written out by hand, and the value wrapper against sums in closed form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from scipy import stats

from forethought.planning.interface import (
    UNITS,
    BoxActions,
    DiscreteActions,
    Expansion,
    IndexedActions,
    ModelError,
    SequenceQuery,
    Steppable,
    Stochastic,
)
from forethought.planning.rollout import rollout, take
from forethought.planning.usage import MODEL_CALLS, NODES
from forethought.planning.wrappers.rollout_value import RolloutValue, state_hash


@dataclass
class Line:
    """x' = x + u, reward x', over beyond |x'| >= wall (reward counts), value 10 x'; NaN after the end."""

    wall: float = 1e9
    cost: int = 1
    actions: Any = field(default_factory=lambda: BoxActions(torch.tensor([-1.0]), torch.tensor([1.0])))

    def start(self, problems: Any) -> tuple[torch.Tensor, Expansion]:
        x = torch.as_tensor(problems, dtype=torch.float64)
        return x, Expansion(torch.zeros_like(x), torch.ones_like(x), torch.zeros_like(x))

    def expand(self, states: Any, actions: Any, *, to_end: bool = False, evaluate: str = "all") -> Any:
        ended = states.abs() >= self.wall
        reached = states + torch.as_tensor(actions).reshape(-1)
        discount = (reached.abs() < self.wall).double()
        reward = torch.where(ended, torch.nan, reached)
        return reached, Expansion(reward, discount, torch.where(ended, torch.nan, 10 * reached))


def by_hand(x: float, actions: list[float], gamma: float, wall: float) -> float:
    total, weight = 0.0, 1.0
    for action in actions:
        x += action
        total += weight * x
        weight *= gamma
        if abs(x) >= wall:
            return total
    return total + weight * 10 * x


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


# --- values by rollout --------------------------------------------------------------------------------------------


def test_value_is_the_return_of_the_policy_and_its_steps_are_charged() -> None:
    model = RolloutValue(Line(), 3, lambda states, logits: torch.full_like(states, 0.5))
    assert model.cost == 4
    _, root = model.start([0.0, 1.0])
    wanted = [by_hand(x, [0.5] * 3, 1.0, 1e9) for x in (0.0, 1.0)]
    assert root.value.tolist() == pytest.approx(wanted)
    assert root.usage is not None and root.usage[:, [NODES, MODEL_CALLS]].tolist() == [[4, 4], [4, 4]]
    _, plain = model.expand(torch.zeros(1, dtype=torch.float64), torch.zeros(1), evaluate="none")
    assert plain.usage is None


def test_finished_states_are_worth_nothing_and_cost_no_rollout() -> None:
    model = RolloutValue(Line(1.0), 5, lambda states, logits: torch.zeros_like(states))
    _, said = model.expand(torch.tensor([0.0, 0.9], dtype=torch.float64), torch.tensor([0.5, 0.5]))
    assert said.value.tolist() == pytest.approx([0.5 * 5 + 5, 0.0])
    assert said.usage is not None and said.usage[:, NODES].tolist() == [6, 1]


@dataclass
class Coin:
    """IndexedActions with fixed logits; reward is the slot. States count steps and carry a number of their own."""

    logits: tuple[float, ...] | None
    cost: int = 1

    @property
    def actions(self) -> IndexedActions:
        return DiscreteActions(3)

    def start(self, problems: Any) -> Any:
        states = torch.as_tensor(problems, dtype=torch.float32)
        return states, self._said(torch.zeros(len(states)))

    def expand(self, states: Any, actions: Any, *, to_end: bool = False, evaluate: str = "all") -> Any:
        return states + 1, self._said(torch.as_tensor(actions).float())

    def _said(self, reward: torch.Tensor) -> Expansion:
        logits = None if self.logits is None else torch.tensor(self.logits).expand(len(reward), 3)
        return Expansion(reward, torch.ones_like(reward), torch.zeros_like(reward), logits)


@pytest.mark.parametrize(
    ("logits", "policy", "mean"),
    [
        (None, "logits", 1.0),
        ((0.0, -np.inf, 0.0), "uniform", 1.0),
        ((-np.inf, 0.0, 0.0), "uniform", 1.5),
        ((np.log(0.7), np.log(0.2), np.log(0.1)), "logits", 0.4),
        ((-np.inf, 3.0, -np.inf), "logits", 1.0),
    ],
)
def test_random_policies_draw_as_their_logits_say(logits: Any, policy: Any, mean: float) -> None:
    starts = torch.randn(4000, 2, generator=torch.Generator().manual_seed(1))
    _, root = RolloutValue(Coin(logits), 10, policy).start(starts)
    assert float(root.value.mean()) / 10 == pytest.approx(mean, abs=0.02)


def test_uniform_over_a_box_fills_the_box() -> None:
    model = Line(actions=BoxActions(torch.tensor([-3.0]), torch.tensor([1.0])))
    starts = torch.randn(4000, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    _, root = RolloutValue(model, 1, "uniform").start(starts)
    drawn = (root.value / 11 - starts).numpy()
    assert stats.kstest(drawn, stats.uniform(-3, 4).cdf).pvalue > 1e-3


def test_value_belongs_to_the_state_and_the_seed_and_not_to_the_batch() -> None:
    starts = torch.randn(50, 2, generator=torch.Generator().manual_seed(2))
    model = RolloutValue(Coin(None), 8, "uniform")
    whole = model.start(starts)[1].value
    assert torch.equal(model.start(starts[[7, 3]])[1].value, whole[[7, 3]])
    assert not torch.equal(RolloutValue(Coin(None), 8, "uniform", seed=1).start(starts)[1].value, whole)
    assert len(set(state_hash(starts).tolist())) == 50


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="horizon"):
        RolloutValue(Line(), 0)
    with pytest.raises(ValueError, match="policy"):
        RolloutValue(Line(), 3, "greedy")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="callable"):
        state_hash(["text"])
