"""A row whose answers cannot be planned with says so, and the rows beside it are planned as if it were not there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from forethought.planning import (
    CEM,
    DDP,
    ICEM,
    ILQR,
    MCTS,
    MPPI,
    Beam,
    BestOfN,
    BoxActions,
    Budget,
    DiscreteActions,
    Expansion,
    GradientShooting,
    ModelError,
    PolicyPrior,
    WarmStarted,
    keys_of,
    plan,
)
from forethought.planning.testing.linear_quadratic import LinearQuadratic
from forethought.planning.trees.rebase import Rebase


def linear() -> LinearQuadratic:
    """A double integrator with quadratic costs and bounded force."""
    a, b = torch.tensor([[1.0, 0.1], [0.0, 1.0]]), torch.tensor([[0.0], [0.1]])
    q, r, final = torch.diag(torch.tensor([1.0, 0.1])), torch.tensor([[0.05]]), torch.diag(torch.tensor([5.0, 1.0]))
    return LinearQuadratic(a, b, q, r, final, BoxActions(torch.tensor([-4.0]), torch.tensor([4.0])))


def middle(states: Any, logits: Any) -> Any:
    return torch.zeros(len(states), 1)


PLANNERS = {
    "best-of-n": BestOfN(horizon=5),
    "cem": CEM(horizon=5),
    "icem": ICEM(horizon=5),
    "mppi": MPPI(horizon=5),
    "adam": GradientShooting(horizon=5, iterations=6),
    "lbfgs": GradientShooting(horizon=5, iterations=6, optimiser="lbfgs"),
    "ilqr": ILQR(horizon=5),
    "ddp": DDP(horizon=5),
    "policy": PolicyPrior(policy=middle, horizon=5, samples=4),
    "cem then ilqr": WarmStarted(CEM(horizon=5), ILQR(horizon=5)),
}
STARTS = torch.tensor([[1.0, 0.0], [torch.nan, 0.5], [0.3, -0.8], [-0.5, 0.5]])


@pytest.mark.parametrize("name", PLANNERS)
def test_a_row_without_a_finite_return_leaves_the_others_as_they_are(name: str) -> None:
    model: LinearQuadratic = linear()
    keys, good = keys_of(3, 4), [0, 2, 3]
    found = plan(PLANNERS[name], model, STARTS, Budget(nodes=900), keys=keys).plan
    # matrix products of another batch size may round differently, so another row stands in the place of the bad one
    beside = plan(PLANNERS[name], model, STARTS.nan_to_num(0.1), Budget(nodes=900), keys=keys).plan
    assert found.stop_reason[1] == "invalid" and "finite" in found.faults[1] and list(found.faults) == [1]
    assert [found.stop_reason[b] for b in good] == [beside.stop_reason[b] for b in good]
    np.testing.assert_allclose(found.vectors[good], beside.vectors[good], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.value[good], beside.value[good], rtol=1e-5)
    assert torch.isfinite(found.vectors).all()


@pytest.mark.parametrize("name", PLANNERS)
def test_where_no_row_has_a_finite_return_it_is_a_model_error(name: str) -> None:
    with pytest.raises(ModelError, match="finite"):
        plan(PLANNERS[name], linear(), STARTS[1:2], Budget(nodes=900))


class Roots:
    """A problem is the logits of its root; every action ends the episode and earns its index."""

    actions, cost = DiscreteActions(3), 1

    def start(self, problems: Any) -> Any:
        one = np.ones(len(problems), np.float32)
        return torch.zeros(len(problems)), Expansion(0 * one, one, 0 * one, np.array(problems, np.float32))

    def expand(self, states: Any, actions: Any, **wishes: Any) -> Any:
        zero = np.zeros(len(actions), np.float32)
        return states, Expansion(np.asarray(actions, np.float32), zero, zero, np.zeros((len(actions), 3), np.float32))


TREES = {
    "puct": MCTS(),
    "gumbel": MCTS(selection="gumbel"),
    "dirichlet": MCTS(dirichlet=(0.3, 0.25)),
    "beam": Beam(),
    "rebase": Rebase(),
    "cem": CEM(),
    "mppi": MPPI(),
}
NONE, NAN = [-np.inf] * 3, [0.0, np.nan, 0.0]


@pytest.mark.parametrize("name", TREES)
def test_a_root_without_actions_or_with_nan_logits_is_an_error_of_its_row(name: str) -> None:
    keys = keys_of(1, 3)
    found = plan(TREES[name], Roots(), [NONE, [0.0, 0.0, 0.0], NAN], Budget(nodes=12), keys=keys).plan
    alone = plan(TREES[name], Roots(), [[0.0, 0.0, 0.0]], Budget(nodes=12), keys=keys[1:2]).plan
    assert [found.stop_reason[b] for b in (0, 2)] == ["invalid"] * 2 and found.stop_reason[1] == alone.stop_reason[0]
    assert found.faults == {0: "the root has no action", 2: "the root's logits are NaN"}
    assert not len(found.indices[0]) and not len(found.indices[2])
    assert found.indices[1].tolist() == alone.indices[0].tolist() == [2]


@pytest.mark.parametrize("root", [NONE, NAN])
@pytest.mark.parametrize("name", TREES)
def test_a_problem_that_cannot_be_planned_for_is_a_model_error(name: str, root: Any) -> None:
    with pytest.raises(ModelError, match="the root"):
        plan(TREES[name], Roots(), [root], Budget(nodes=12))


class RootDiscounts(Roots):
    """A problem is the discount of its root."""

    def start(self, problems: Any) -> Any:
        zero = np.zeros(len(problems), np.float32)
        return torch.zeros(len(problems)), Expansion(
            zero, np.array(problems, np.float32), zero, np.zeros((len(problems), 3), np.float32)
        )


@pytest.mark.parametrize("discount", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", TREES)
def test_a_root_whose_discount_is_not_finite_is_an_error_of_its_row(name: str, discount: float) -> None:
    keys = keys_of(1, 3)
    found = plan(TREES[name], RootDiscounts(), [1.0, discount, 1.0], Budget(nodes=12), keys=keys).plan
    beside = plan(TREES[name], RootDiscounts(), [1.0, 1.0, 1.0], Budget(nodes=12), keys=keys).plan
    assert found.faults == {1: "the root's discount is not finite"} and not len(found.indices[1])
    for b in (0, 2):
        assert found.stop_reason[b] == beside.stop_reason[b] != "invalid"
        assert found.indices[b].tolist() == beside.indices[b].tolist() and found.value[b] == beside.value[b]
    with pytest.raises(ModelError, match="discount"):
        plan(TREES[name], RootDiscounts(), [discount], Budget(nodes=12))
