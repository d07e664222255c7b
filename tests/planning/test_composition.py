"""One planner's findings in another's hands: policies in CEM's, any plan in iLQR's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from regulator import HORIZON, STARTS, best, linear, policy, walked

from forethought.planning import (
    CEM,
    DDP,
    ICEM,
    ILQR,
    MPPI,
    BestOfN,
    BoxActions,
    Budget,
    DiscreteActions,
    Expansion,
    GaussianSettings,
    GradientShooting,
    ModelError,
    PolicyPrior,
    SequenceQuery,
    WarmStarted,
    fixed_plan,
    keys_of,
    plan,
)
from forethought.planning.interface import Stochastic
from forethought.planning.rollout import rollout
from forethought.planning.testing.check_model import check_search
from forethought.planning.usage import NODES

# --- a policy before a search ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [8.0, 0.4])
def test_the_policy_s_plan_is_what_a_loop_walks(bound: float) -> None:
    outcome = plan(PolicyPrior(policy=policy, horizon=HORIZON), linear(bound), STARTS, Budget(nodes=100))
    total, actions = walked(linear(bound), policy)
    torch.testing.assert_close(outcome.plan.actions, actions)
    np.testing.assert_allclose(outcome.plan.value, total, rtol=1e-6)
    assert outcome.charged[:, NODES].tolist() == [HORIZON] * 3 and outcome.plan.stop_reason == ["exhausted"] * 3


def test_of_several_walks_the_first_is_the_policy_s_own_and_the_best_is_the_plan() -> None:
    prior = PolicyPrior(policy=policy, horizon=HORIZON, samples=6, std=0.3)
    outcome = plan(prior, linear(), STARTS, Budget(nodes=100))
    kept, told = outcome.search.elites()
    assert (told.diff(dim=1) <= 0).all() and (outcome.plan.value >= walked(linear(), policy)[0] - 1e-6).all()
    query = SequenceQuery(np.arange(3, dtype=np.int32), kept)
    torch.testing.assert_close(rollout(linear(), STARTS, query).returns[..., 0], told)
    assert outcome.charged[:, NODES].tolist() == [6 * HORIZON] * 3


def test_cem_begins_with_the_policy_s_best_plan_and_tries_all_of_them() -> None:
    prior = PolicyPrior(policy=policy, horizon=HORIZON, samples=4)
    planner = WarmStarted(prior, CEM(horizon=HORIZON, vectors=GaussianSettings(reuse_elites=4)))
    model, keys = linear(), keys_of(0, 3)
    search = planner.begin(model.start(STARTS)[1], model.actions, Budget(nodes=800).size(), keys=keys)
    query = search.ask(np.full(3, 800))
    search.tell(query, query.answer(model, STARTS))
    asked = search.ask(np.full(3, 800 - query.nodes))
    torch.testing.assert_close(search.second.proposal.mean, search.first.plan().actions)
    torch.testing.assert_close(asked.sequences[:, 0], search.first.plan().actions)
    torch.testing.assert_close(asked.sequences[:, -4:], search.first.sequences)
    assert asked.nodes == search.second.schedule.populations[0] * HORIZON


def test_what_the_policy_does_not_use_is_cem_s() -> None:
    planner = WarmStarted(PolicyPrior(policy=policy, horizon=HORIZON), CEM(horizon=HORIZON))
    outcome = plan(planner, linear(), STARTS, Budget(nodes=800))
    assert (outcome.charged[:, NODES] > 800 - HORIZON).all() and (outcome.charged[:, NODES] <= 800).all()


def test_a_good_policy_helps_cem_where_candidates_are_few() -> None:
    """Over ten seeds, at 240 nodes of 8 steps; the paired difference is clear of two standard errors."""
    plain, led = CEM(horizon=HORIZON), WarmStarted(PolicyPrior(policy=policy, horizon=HORIZON), CEM(horizon=HORIZON))
    gain = [
        (plan(led, linear(), STARTS, Budget(nodes=240), seed=s).plan.value
         - plan(plain, linear(), STARTS, Budget(nodes=240), seed=s).plan.value).mean()
        for s in range(10)
    ]  # fmt: skip
    assert np.mean(gain) > 2 * np.std(gain, ddof=1) / len(gain) ** 0.5


def test_the_plan_of_the_decision_before_is_one_more_candidate() -> None:
    prior = PolicyPrior(policy=lambda states, logits: torch.full((len(states), 1), 7.0), horizon=HORIZON)
    first = plan(ILQR(horizon=HORIZON), linear(), STARTS, Budget(nodes=1000))
    first.search.advance(first.plan.actions[:, 0])
    reached = linear().step(STARTS, first.plan.actions[:, 0])[0]
    found = plan(prior, linear(), reached, Budget(nodes=100), after=first).plan
    torch.testing.assert_close(found.actions[:, :-1], first.plan.actions[:, 1:])


@pytest.mark.parametrize("planner", [0, 1])
def test_priors_keep_the_contract_of_a_search(planner: int) -> None:
    prior = PolicyPrior(policy=lambda states, logits: torch.full((len(states), 1), 0.2), horizon=4, samples=3)
    check_search(
        [prior, WarmStarted(prior, CEM(horizon=4, vectors=GaussianSettings(reuse_elites=3)))][planner],
        linear(),
        STARTS,
        nodes=60,
    )


def test_policies_over_particles_act_by_their_mean() -> None:
    @dataclass
    class Two(Stochastic):
        cost: int = 2
        particles: int = 2
        actions = BoxActions(torch.tensor([-1.0]), torch.tensor([1.0]))

        def start(self, problems: Any) -> Any:
            zero = torch.zeros(len(problems))
            return zero, Expansion(zero, zero + 1, zero)

        def repeat(self, states: Any, keys: Any) -> Any:
            return torch.tensor([0.2, 0.6]).repeat(len(states))

        def expand(self, states: Any, actions: Any, **more: Any) -> Any:
            return states, Expansion(actions[:, 0], torch.ones(len(states)), torch.zeros(len(states)))

    prior = PolicyPrior(policy=lambda states, logits: states[:, None], horizon=2)
    outcome = plan(prior, Two(), [0, 0], Budget(nodes=20))
    torch.testing.assert_close(outcome.plan.actions, torch.full((2, 2, 1), 0.4))
    assert outcome.charged[:, NODES].tolist() == [4, 4]


def test_what_a_prior_cannot_be_is_named() -> None:
    with pytest.raises(ModelError, match="policy's actions"):
        plan(PolicyPrior(policy=lambda states, logits: states), linear(), STARTS, Budget(nodes=99))
    with pytest.raises(ValueError, match="samples"):
        PolicyPrior(policy=policy, samples=0)
    zero = Expansion(np.zeros(1), np.ones(1), np.zeros(1))
    with pytest.raises(ValueError, match="logits"):
        PolicyPrior(policy=policy).begin(zero, DiscreteActions(2), Budget(nodes=9).size(), keys=keys_of(0, 1))


# --- any plan polished ----------------------------------------------------------------------------------------------

FIRSTS = [
    BestOfN(horizon=HORIZON),
    CEM(horizon=HORIZON),
    ICEM(horizon=HORIZON),
    MPPI(horizon=HORIZON),
    GradientShooting(horizon=HORIZON, iterations=3),
    GradientShooting(horizon=HORIZON, iterations=3, optimiser="lbfgs"),
    PolicyPrior(policy=policy, horizon=HORIZON, samples=3),
    ILQR(horizon=HORIZON, iterations=1),
    WarmStarted(PolicyPrior(policy=policy, horizon=HORIZON), CEM(horizon=HORIZON)),
]


@pytest.mark.parametrize("then", [ILQR(horizon=HORIZON), DDP(horizon=HORIZON), NotImplemented], ids=str)
@pytest.mark.parametrize("first", FIRSTS, ids=lambda p: type(p).__name__)
def test_every_planner_s_plan_can_be_polished_to_the_optimum(first: Any, then: Any) -> None:
    if then is NotImplemented:
        then = GradientShooting(horizon=HORIZON, starts=1, optimiser="lbfgs", tolerance=1e-6)
    outcome = plan(WarmStarted(first, then), linear(), STARTS, Budget(nodes=4000))
    np.testing.assert_allclose(outcome.plan.value, best(), rtol=1e-5)
    assert (outcome.charged[:, NODES] <= 4000).all()


def test_given_plans_of_any_length_are_filled_up_and_kept_within_the_box() -> None:
    box = BoxActions(torch.tensor([-1.0]), torch.tensor([3.0]))
    given = fixed_plan([torch.tensor([[2.0], [9.0]]), torch.zeros(0, 1)], box).search.plan().actions
    assert given.flatten(1).tolist() == [[2.0, 3.0], [1.0, 1.0]]
    with pytest.raises(ValueError, match="BoxActions"):
        fixed_plan([torch.zeros(1, 1)], DiscreteActions(3))
