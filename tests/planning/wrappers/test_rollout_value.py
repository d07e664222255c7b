"""Values by rollout: the return of a policy, its cost and its random numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from line_world import Line, by_hand
from scipy import stats

from forethought.planning import BoxActions, DiscreteActions, Expansion, RolloutValue
from forethought.planning.interface import IndexedActions
from forethought.planning.usage import MODEL_CALLS, NODES
from forethought.planning.wrappers.rollout_value import state_hash


class Step:
    """Action a pays a + 1 and adds 1 to the state; each state's own value is 100 times it. `asked` notes the wishes."""

    actions, cost = DiscreteActions(3), 1

    def __init__(self) -> None:
        self.asked: list[tuple[bool, str]] = []

    def start(self, problems: Any) -> Any:
        x = torch.as_tensor(problems, dtype=torch.float32)
        return x, Expansion(0 * x, 0 * x + 1, 100 * x)

    def expand(self, x: Any, actions: Any, *, to_end: bool = False, evaluate: Any = "all") -> Any:
        self.asked.append((to_end, evaluate))
        y = x + 1
        return y, Expansion(torch.as_tensor(actions).float() + 1, 0 * y + 0.5, 100 * y)


def test_a_value_is_the_return_of_the_policy_and_the_model_s_value_after_it() -> None:
    model = RolloutValue(Step(), 2, lambda states, logits: torch.full((len(states),), 2))
    said = model.expand(torch.tensor([0.0, 5.0]), np.array([0, 1]))[1]
    assert said.reward.tolist() == [1.0, 2.0]
    assert said.value.tolist() == [3 + 0.5 * 3 + 0.25 * 300, 3 + 0.5 * 3 + 0.25 * 800]
    assert model.cost == 3 and said.usage[:, 0].tolist() == [3.0, 3.0]


@pytest.mark.parametrize("evaluate", ["none", "finished"])
def test_without_a_wish_for_values_nothing_is_rolled_out_and_the_wishes_are_passed_on(evaluate: Any) -> None:
    inner = Step()
    said = RolloutValue(inner, 2).expand(torch.tensor([0.0]), np.array([1]), to_end=True, evaluate=evaluate)[1]
    assert inner.asked == [(True, evaluate)] and said.usage is None


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
