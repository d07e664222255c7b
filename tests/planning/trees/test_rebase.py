"""REBASE: widths by the softmax of values, checked against a plain recursion; the kit; anytime sweeps on one tree."""

import math

import numpy as np
import pytest
from spaces import indexed

from forethought.planning import Budget, plan
from forethought.planning.interface import Expansion
from forethought.planning.testing.check_model import check_search
from forethought.planning.trees.rebase import Rebase, shared_out
from forethought.planning.usage import NODES


class Letters:
    """Slot k of a state appends digit k; a state of `depth` digits ends; its worth is a fraction made of its digits."""

    def __init__(self, depth=4, n=None):
        self.depth, self.actions, self.cost, self.opened = depth, indexed(n), 1, []

    def worth(self, state):
        return (sum((i + 1) * (ord(c) - 47) * 37 for i, c in enumerate(state)) % 101) / 100

    def _said(self, states):
        over = np.array([len(s) == self.depth for s in states])
        worth = np.array([self.worth(s) for s in states], np.float32)
        return Expansion(
            np.where(over, worth, 0).astype(np.float32), (~over).astype(np.float32), np.where(over, 0, worth)
        )

    def start(self, problems):
        return list(problems), self._said(problems)

    def expand(self, states, slots, *, to_end=False, evaluate="all"):
        reached = [s + chr(48 + int(k)) for s, k in zip(states, slots)]
        self.opened += reached
        return reached, self._said(reached)


def by_hand(model, width, temperature):
    """Algorithm 1 of the paper, state by state."""
    opened, frontier, ended = [], [("", width)], 0
    while frontier:
        children = [state + chr(48 + k) for state, share in frontier for k in range(share)]
        opened += children
        going = [c for c in children if len(c) < model.depth]
        ended += len(children) - len(going)
        total = sum(math.exp(model.worth(c) / temperature) for c in going)
        left, frontier, mass = width - ended, [], total
        for c in sorted(going, key=lambda c: -model.worth(c)):
            weight = math.exp(model.worth(c) / temperature)
            share = min(left, max(math.floor(left * weight / mass + 0.5), mass == total))
            left, mass = left - share, mass - weight
            frontier += [(c, share)] if share else []
    return opened


@pytest.mark.parametrize("width", [1, 2, 5, 16])
@pytest.mark.parametrize("temperature", [0.05, 0.2, 5.0])
def test_a_sweep_opens_what_the_paper_s_algorithm_opens(width, temperature):
    model = Letters()
    plan(Rebase(width=width, temperature=temperature), model, [""], Budget(nodes=500))
    assert sorted(model.opened) == sorted(by_hand(model, width, temperature))
    assert len([s for s in model.opened if len(s) == model.depth]) == width


def test_shares_sum_to_the_width_and_follow_the_softmax():
    draw = np.random.default_rng(0)
    for width in (1, 3, 16, 64):
        for worth in draw.random((20, 7)):
            split = shared_out(width, worth.tolist(), 0.2)
            exact = width * np.exp(worth / 0.2) / np.exp(worth / 0.2).sum()
            assert sum(split) == width and np.abs(np.array(split) - exact).max() <= 1.5
    assert shared_out(4, [0.5, 0.5], 0.2) == [2, 2] and shared_out(1, [0.1, 0.9, 0.9], 0.2) == [0, 1, 0]
    assert shared_out(8, [0.0, 1.0], 1e-3) == [0, 8] and shared_out(0, [0.3], 0.2) == [0] and shared_out(3, [], 1) == []


def test_a_cold_temperature_follows_the_best_and_a_hot_one_shares_alike():
    cold, hot = Letters(), Letters()
    plan(Rebase(width=8, temperature=1e-3), cold, [""], Budget(nodes=500))
    plan(Rebase(width=8, temperature=1e3), hot, [""], Budget(nodes=500))
    assert len({s[0] for s in cold.opened if len(s) == 4}) == 1
    assert len({s[0] for s in hot.opened if len(s) == 4}) == 8


def test_wider_sweeps_pay_only_for_what_is_new_and_the_budget_is_exact():
    model = Letters()
    outcome = plan(Rebase(), model, [""], Budget(nodes=60))
    assert len(model.opened) == len(set(model.opened)) == 60 == outcome.charged[0, NODES]
    best = max((s for s in model.opened if len(s) == 4), key=model.worth)
    assert outcome.plan.value[0] == pytest.approx(model.worth(best))


def test_all_of_a_finite_tree_is_opened_in_the_end():
    model = Letters(depth=3, n=2)
    outcome = plan(Rebase(), model, [""], Budget(nodes=100))
    assert sorted(model.opened) == sorted(f"{i:0{d}b}" for d in (1, 2, 3) for i in range(2**d))
    assert outcome.plan.stop_reason == ["exhausted"]


@pytest.mark.parametrize("planner", [Rebase(), Rebase(temperature=1.0)])
def test_it_keeps_the_contract_of_a_search(planner):
    check_search(planner)


def test_a_given_width_keeps_the_contract_too():
    check_search(Rebase(width=5), Letters(), ["", "0", "13"])


@pytest.mark.parametrize("bad", [{"width": 0}, {"horizon": 0}, {"temperature": 0.0}, {"temperature": math.nan}])
def test_settings_out_of_range_are_named(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Rebase(**bad)
