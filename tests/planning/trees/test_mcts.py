"""MCTS against a slow reference (`slow_mcts.py`), against mctx, and on problems with known answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from slow_mcts import ENDLESS, PLANNERS, MakeTable, compared

from forethought.planning import (
    MCTS,
    Budget,
    Size,
    keys_of,
    plan,
)
from forethought.planning.testing.problems import Table, bandit, chain
from forethought.planning.trees.mcts import GumbelSettings
from forethought.planning.trees.nodes import DUPLICATE
from forethought.planning.trees.selection import halving_visits
from forethought.planning.usage import NODES


@pytest.mark.parametrize("name", PLANNERS)
@pytest.mark.parametrize("seed", range(3))
def test_trees_are_those_of_the_slow_reference(name: str, seed: int, table: MakeTable) -> None:
    compared(PLANNERS[name], table(seed, slots=2 + seed % 4))


@pytest.mark.parametrize("name", ENDLESS)
@pytest.mark.parametrize("seed", range(3))
def test_trees_over_unbounded_offers_are_those_of_the_slow_reference(name: str, seed: int, table: MakeTable) -> None:
    outcome = compared(ENDLESS[name], table(seed, slots=3, sampled=True, ends=0.3))
    if ENDLESS[name].widening.width > 4:
        assert (outcome.search.tree.nodes["status"] == DUPLICATE).any()


@pytest.mark.parametrize("name", PLANNERS)
def test_a_row_of_a_batch_is_the_same_row_alone(name: str, table: MakeTable) -> None:
    model, planner, keys = table(1, slots=4), PLANNERS[name], keys_of(5, 6)
    together = plan(planner, model, list(range(6)), Budget(nodes=40), keys=keys)
    for row in range(6):
        alone = plan(planner, model, [row], Budget(nodes=40), keys=keys[row : row + 1])
        np.testing.assert_array_equal(alone.search.tree.block[0], together.search.tree.block[row])
        np.testing.assert_array_equal(alone.plan.weights[0], together.plan.weights[row])
        assert alone.plan.path[0] == together.plan.path[row]


GOLDEN = json.loads((Path(__file__).parent / "data" / "mctx.json").read_text())


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda c: f"{c['kind']}-{c['simulations']}")
def test_visits_and_choices_are_those_of_mctx(case: dict[str, Any]) -> None:
    """Stored from mctx's muzero_policy (no noise, qtransform_by_parent_and_siblings) and gumbel_muzero_policy."""
    arrays = {k: np.array(case[k]) for k in ("next", "reward", "value", "logits", "discount")}
    model, starts = Table(**arrays), case["starts"]
    _, root = model.start(starts)
    root.logits = np.where(np.array(case["invalid"]) == 1, -np.inf, root.logits).astype(np.float32)
    gumbel = GumbelSettings(considered=case.get("considered", 16))
    planner = MCTS(selection=case["kind"], normalise="siblings", first_play="lowest", gumbel=gumbel)
    search = planner.begin(root, model.actions, Size(case["simulations"]), keys=keys_of(0, len(starts)))
    if case["kind"] == "gumbel":
        search.noise[:] = case["gumbel"]
    drive(search, model, starts, case["simulations"])
    assert len({str(v) for v in case["visits"]}) > 3
    for row, visits in enumerate(case["visits"]):
        nodes = search.tree.nodes[row]
        children = {int(nodes["action"][c]): c for c in search.tree.children(row, 0)}
        assert [int(nodes["visits"][children[a]]) if a in children else 0 for a in range(4)] == visits
        for a, c in children.items():
            assert nodes["q"][c] == pytest.approx(case["qvalues"][row][a], abs=1e-3)
    assert [int(a[0]) for a in search.plan().actions] == case["action"]
    if "action_weights" in case:
        np.testing.assert_allclose(search.plan().weights, case["action_weights"], atol=2e-3)


def drive(search: Any, model: Table, starts: list[int], nodes: int) -> None:
    """The lock-step loop, written out: what a reader would write."""
    states = dict(zip(((b, 0) for b in range(len(starts))), model.start(starts)[0]))
    remaining = np.full(len(starts), nodes, np.int32)
    while len(query := search.ask(remaining)):
        parents = torch.stack([states[b, p] for b, p in zip(query.row.tolist(), query.parent.tolist())])
        reached, answer = model.expand(parents, query.action)
        states.update({(b, n): s for b, n, s in zip(query.row.tolist(), query.node.tolist(), reached)})
        np.subtract.at(remaining, query.row, 1)
        search.tell(query, answer)


# problems with known answers


@pytest.mark.compiled
@pytest.mark.parametrize("selection", ["puct", "uct"])
@pytest.mark.parametrize("n", [64, 512])
def test_regret_on_a_bandit_is_within_the_bound_of_ucb1(selection: Any, n: int) -> None:
    """At most c^2 log n / gap^2 + 1 visits of a worse arm where pay is certain (Auer et al. 2002, theorem 1)."""
    arms = np.array([0.3, 0.9, 0.5, 0.1])
    found = plan(MCTS(selection=selection), bandit(list(arms)), [0], Budget(nodes=n)).plan
    assert found.actions[0].tolist() == [1]
    gaps = (0.9 - arms)[[0, 2, 3]] / 0.8
    assert (found.weights[0, [0, 2, 3]] * n <= 2 * np.log(n) / gaps**2 + 1).all()


def test_one_edge_far_worse_than_all_others_does_not_blind_puct_to_what_it_has_not_tried() -> None:
    """Behind slot 0 everything costs 1000. With unvisited edges at the low end of that range the first edge elsewhere
    that is no such disaster looks as good as can be, and is walked again and again."""
    next_ = np.array([[1, 2, 2, 2, 2], [2] * 5, [2] * 5])
    reward = np.array([[0, 0.1, 0.2, 0.3, 1.0], [-1000.0] * 5, [0.0] * 5])
    model = Table(next_, reward, np.array([[1.0, 0, 0, 0, 0], [0.0] * 5, [0.0] * 5]))
    found = {f: plan(MCTS(first_play=f), model, [0], Budget(nodes=12)).plan for f in ("parent", "lowest")}
    assert found["parent"].actions[0][0] == 4 and found["lowest"].actions[0][0] == 1


def test_gumbel_halves_a_bandit_down_to_the_best_arms() -> None:
    planner = MCTS(selection="gumbel", gumbel=GumbelSettings(value_scale=1.0))
    outcome = plan(planner, bandit([0.3, 0.9, 0.5, 0.1]), [0] * 5, Budget(nodes=32))
    assert [a.tolist() for a in outcome.plan.actions] == [[1]] * 5
    assert (outcome.plan.weights.argmax(1) == 1).all() and (outcome.plan.weights[:, 1] > 0.9).all()


@pytest.mark.parametrize("selection", ["puct", "uct"])
def test_a_closing_search_walks_a_chain_to_its_end_and_stops_when_all_is_known(selection: Any) -> None:
    found = plan(MCTS(selection=selection, terminal="close", choose="value"), chain(6), [0], Budget(nodes=100))
    assert found.plan.actions[0].tolist() == [1] * 6
    assert found.plan.stop_reason == ["exhausted"] and found.charged[0, NODES] == 12
    assert max(f.value for f in found.plan.finished[0]) == pytest.approx(1.0)


@pytest.mark.compiled
@pytest.mark.parametrize("seed", range(4))
def test_max_backup_converges_to_value_iteration(seed: int, table: MakeTable) -> None:
    model = table(seed, states=5, slots=2, gamma=0.5)
    model.logits[:] = 0.0
    best = model.optimum()
    planner = MCTS(selection="uct", backup="max", c_uct=4.0, choose="value")
    found = plan(planner, model, list(range(5)), Budget(nodes=1500)).plan
    np.testing.assert_allclose(found.value, best, atol=0.03)


@pytest.mark.compiled
@pytest.mark.parametrize("selection", ["puct", "uct", "gumbel"])
def test_mean_backup_takes_an_optimal_first_action(selection: Any, table: MakeTable) -> None:
    model = table(11, states=6, slots=3, gamma=0.6)
    model.logits[:] = 0.0
    q = model.reward + model.discount * model.optimum()[model.next]
    if selection == "gumbel":  # below the root it opens nothing that the values speak against, so these must be right
        model.value = model.optimum().astype(np.float32)
    planner = MCTS(selection=selection, gumbel=GumbelSettings(value_scale=1.0))
    found = plan(planner, model, list(range(6)), Budget(nodes=800)).plan
    for row, actions in enumerate(found.actions):
        assert q[row, int(actions[0])] > q[row].max() - 0.05


def test_halving_gives_equal_visits_to_the_survivors_of_each_round() -> None:
    assert halving_visits(4, 16) == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert halving_visits(1, 3) == [0, 1, 2]


# answers that break the contract, and those that come late, twice or never
