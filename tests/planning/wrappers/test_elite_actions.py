"""Elites of a search as the actions of a tree: against Riccati's equation and the elites themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from regulator import HORIZON, STARTS, best, law, linear
from torch import Tensor

from forethought.planning import (
    CEM,
    ILQR,
    MCTS,
    Beam,
    Budget,
    EliteActions,
    SequenceQuery,
    elites,
    fixed_plan,
    keys_of,
    plan,
)
from forethought.planning.rollout import rollout


def elite_tree(number: int = 5) -> tuple[EliteActions, Tensor]:
    found = plan(CEM(horizon=HORIZON, keep=number), linear(), STARTS, Budget(nodes=640))
    sequences = elites(found.search, number)
    return EliteActions(linear(), sequences), sequences


def test_the_slots_of_the_root_are_the_elites_first_actions_and_those_below_the_next() -> None:
    model, sequences = elite_tree()
    states, _ = model.start(STARTS)
    world, x = linear(), STARTS
    for t, slot in enumerate([3, 0, 4]):
        states, said = model.expand(states, np.full(3, slot))
        torch.testing.assert_close(said.reward, world.step(x, sequences[:, slot, t])[1])
        x = world.step(x, sequences[:, slot, t])[0]
        torch.testing.assert_close(states[0], x)


def by_riccati(first: Tensor, start: Tensor) -> np.ndarray:
    """Q(x, u) = -(x'Qx + u'Ru + (Ax + Bu)'P(Ax + Bu)) of actions [n, 1] in one state; P is also the leaves'."""
    reached, reward, _ = linear().step(start.expand(len(first), -1), first)
    q: np.ndarray = (reward - ((reached @ law().cost) * reached).sum(1)).numpy()
    return q


def test_one_step_over_cem_s_elites_takes_the_first_action_that_is_best_by_riccati() -> None:
    model, sequences = elite_tree()
    found = plan(Beam(horizon=1), model, STARTS, Budget(nodes=600)).plan
    for b in range(3):
        q = by_riccati(sequences[b, :, 0], STARTS[b])
        assert q[int(found.actions[b][0])] == pytest.approx(q.max(), abs=1e-9)


@pytest.mark.parametrize("planner", [MCTS(), MCTS(selection="uct"), MCTS(selection="gumbel")])
def test_a_tree_takes_one_of_the_best_of_first_actions_that_differ(planner: Any) -> None:
    """Five constant sequences: whatever is best below, the first action that is chosen is as good as can be within a
    tenth of what the choice is about."""
    sequences = torch.tensor([-6.0, -3.0, 0.0, 3.0, 6.0]).double()[None, :, None, None].expand(3, 5, HORIZON, 1)
    found = plan(planner, EliteActions(linear(), sequences), STARTS, Budget(nodes=600)).plan
    for b in range(3):
        q = by_riccati(sequences[b, :, 0], STARTS[b])
        assert q[int(found.actions[b][0])] >= q.max() - 0.1 * (q.max() - q.min())


def test_a_tree_over_elites_finds_a_better_plan_than_any_of_them() -> None:
    """It may go from one to another: a beam as wide as the elites is never worse, and somewhere better."""
    model, sequences = elite_tree()
    found = plan(Beam(beam=60, horizon=HORIZON), model, STARTS, Budget(nodes=3000)).plan
    vectors = torch.stack(model.vectors(found))
    query = SequenceQuery(np.arange(3, dtype=np.int32), torch.cat([sequences, vectors[:, None]], 1))
    returns = rollout(linear(), STARTS, query).returns[..., 0]
    assert (returns[:, -1] >= returns[:, :-1].max(1).values - 1e-9).all()
    assert (returns[:, -1] > returns[:, :-1].max(1).values + 1e-6).any()
    np.testing.assert_allclose(found.value, returns[:, -1].numpy(), rtol=1e-5)


def test_behind_their_end_elites_repeat_their_last_action() -> None:
    _, sequences = elite_tree(2)
    short = EliteActions(linear(), sequences[:, :, :1])
    found = plan(MCTS(), short, STARTS, Budget(nodes=40))
    assert (found.search.tree.nodes["depth"][:, :40] > 1).any()
    for line, vectors, of in zip(found.plan.actions, short.vectors(found.plan), sequences[:, :, 0]):
        torch.testing.assert_close(vectors, of[torch.from_numpy(line.astype(np.int64))])


def test_elites_that_are_not_there_are_named() -> None:
    found = plan(CEM(horizon=4), linear(), STARTS, Budget(nodes=100))
    with pytest.raises(ValueError, match=r"CEM\(keep=3\)"):
        elites(found.search, 3)
    with pytest.raises(ValueError, match="EliteActions needs"):
        EliteActions(linear(), torch.zeros(3, 4, 1))
    with pytest.raises(ValueError, match="problems"):
        EliteActions(linear(), torch.zeros(2, 3, 4, 1)).start(STARTS)


@pytest.mark.parametrize("planner", [MCTS(), MCTS(selection="gumbel"), Beam(horizon=4)])
def test_a_tree_s_plan_is_polished_as_a_given_one(planner: Any) -> None:
    model, _ = elite_tree()
    vectors = model.vectors(plan(planner, model, STARTS, Budget(nodes=200)).plan)
    given = fixed_plan(vectors, linear().actions)
    search = ILQR(horizon=HORIZON).begin(
        linear().start(STARTS)[1], linear().actions, Budget(nodes=999).size(), keys=keys_of(0, 3), after=given.search
    )
    for b, line in enumerate(vectors):
        torch.testing.assert_close(search.plan().actions[b, : len(line)], line[:HORIZON])
    found = plan(ILQR(horizon=HORIZON), linear(), STARTS, Budget(nodes=999), after=given).plan
    np.testing.assert_allclose(found.value, best(), rtol=1e-5)
