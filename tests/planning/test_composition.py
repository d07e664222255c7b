"""One planner's findings in another's hands: policies in CEM's, elites in trees', any plan in iLQR's; disturbances."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

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
    EliteActions,
    Expansion,
    GaussianSettings,
    GradientShooting,
    ModelError,
    NoisyActions,
    PolicyPrior,
    SequenceQuery,
    WarmStarted,
    elites,
    fixed_plan,
    keys_of,
    plan,
)
from forethought.planning.interface import Stochastic
from forethought.planning.rollout import rollout
from forethought.planning.testing.check_model import check_search
from forethought.planning.testing.linear_quadratic import LinearQuadratic
from forethought.planning.trajopt.lqr import dare
from forethought.planning.usage import NODES

HORIZON = 8
STARTS = torch.tensor([[1.0, 0.0], [-0.5, 0.5], [0.3, -0.8]]).double()


def linear(bound: float = 8.0) -> LinearQuadratic:
    """Its final cost is the Riccati equation's: the best law is one gain, the best return -x'Px."""
    a, b = torch.tensor([[1.0, 0.1], [0.0, 1.0]]).double(), torch.tensor([[0.005], [0.1]]).double()
    q, r, top = torch.diag(torch.tensor([1.0, 0.1])).double(), torch.tensor([[0.05]]).double(), torch.tensor([bound])
    return LinearQuadratic(a, b, q, r, dare(a, b, q, r).cost, BoxActions(-top.double(), top.double()))


def law() -> Any:
    world = linear()
    return dare(world.a, world.b, world.q, world.r)


def best() -> np.ndarray:
    found: np.ndarray = -((STARTS @ law().cost) * STARTS).sum(1).numpy()
    return found


def policy(states: Tensor, logits: Any) -> Tensor:
    """Half of the best law: right in sign, not in size."""
    found: Tensor = -0.5 * states @ law().gain.T
    return found


def walked(world: LinearQuadratic, act: Any) -> tuple[np.ndarray, Tensor]:
    """Returns [3] and actions [3, H, 1] of a law, by a loop."""
    x, total, taken = STARTS, torch.zeros(3).double(), []
    for _ in range(HORIZON):
        u = act(x, None).clamp(world.actions.low, world.actions.high)
        total = total - ((x @ world.q) * x).sum(1) - ((u @ world.r) * u).sum(1)
        x = x @ world.a.T + u @ world.b.T
        taken.append(u)
    return (total - ((x @ world.final) * x).sum(1)).numpy(), torch.stack(taken, 1)


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


# --- elites as the actions of a tree --------------------------------------------------------------------------------


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


def test_given_plans_of_any_length_are_filled_up_and_kept_within_the_box() -> None:
    box = BoxActions(torch.tensor([-1.0]), torch.tensor([3.0]))
    given = fixed_plan([torch.tensor([[2.0], [9.0]]), torch.zeros(0, 1)], box).search.plan().actions
    assert given.flatten(1).tolist() == [[2.0, 3.0], [1.0, 1.0]]
    with pytest.raises(ValueError, match="BoxActions"):
        fixed_plan([torch.zeros(1, 1)], DiscreteActions(3))


# --- disturbances ---------------------------------------------------------------------------------------------------


@dataclass
class Cliff:
    """An action pays itself, and costs 20 above 0.6."""

    cost: int = 1
    actions = BoxActions(torch.tensor([-1.0]), torch.tensor([1.0]))

    def start(self, problems: Any) -> Any:
        zero = torch.zeros(len(problems))
        return zero, Expansion(zero, zero + 1, zero)

    def expand(self, states: Any, actions: Any, **more: Any) -> Any:
        u = actions[:, 0]
        return states, Expansion(u - 20 * (u > 0.6), torch.ones_like(u), 0 * u)


def test_all_candidates_of_a_row_meet_the_same_disturbances_and_rows_others() -> None:
    query = SequenceQuery(np.arange(2, dtype=np.int32), torch.zeros(2, 3, 4, 1), keys_of(3, 2))
    returns = rollout(NoisyActions(Cliff(), 0.1, 5), torch.zeros(2), query).returns
    torch.testing.assert_close(returns, returns[:, :1].expand_as(returns))
    assert len(returns[:, 0].unique()) == 10


def test_disturbances_have_the_deviation_they_are_said_to_have() -> None:
    query = SequenceQuery(np.zeros(1, np.int32), torch.full((1, 1, 1, 1), -0.1), keys_of(3, 1))
    returns = rollout(NoisyActions(Cliff(), 0.1, 20_000), torch.zeros(1), query).returns.flatten()
    assert float(returns.mean()) == pytest.approx(-0.1, abs=0.003) and float(returns.std()) == pytest.approx(
        0.1, abs=0.003
    )


@pytest.mark.parametrize("risk", ["mean", "worst", ("cvar", 0.2)])
def test_plans_keep_the_distance_from_a_cliff_that_their_risk_wants(risk: Any) -> None:
    """Against a fine grid of actions under the very same disturbances, reduced by sorting."""
    model = NoisyActions(Cliff(), 0.1, 10)
    vectors = GaussianSettings(noise_beta=0.0, std=1.0)
    planner = CEM(horizon=1, iterations=1, risk=risk, vectors=vectors)
    search = planner.begin(model.start([0])[1], model.actions, Budget(nodes=20_000).size(10), keys=keys_of(1, 1))
    query = search.ask(np.array([2000]))
    search.tell(query, rollout(model, torch.zeros(1), query))
    grid = replace(query, sequences=torch.linspace(-1, 1, 2001)[None, :, None, None])
    returns = np.sort(rollout(model, torch.zeros(1), grid).returns[0].numpy(), 1)
    part = {"mean": 10, "worst": 1}.get(risk if isinstance(risk, str) else "", 2)
    worth = returns[:, :part].mean(1)
    assert float(search.plan().value[0]) == pytest.approx(worth.max(), abs=0.01)
    assert float(search.plan().actions[0]) < (0.6 if part == 10 else 0.5)


def test_every_particle_is_a_node() -> None:
    outcome = plan(CEM(horizon=3, risk="worst"), NoisyActions(Cliff(), 0.1, 4), [0, 0], Budget(nodes=960))
    assert (outcome.charged[:, NODES] == 960).all()


def test_undisturbed_is_the_model_itself() -> None:
    query = SequenceQuery(np.zeros(1, np.int32), torch.rand(1, 3, 4, 1), keys_of(0, 1))
    plain = rollout(Cliff(), torch.zeros(1), query).returns
    torch.testing.assert_close(
        rollout(NoisyActions(Cliff(), 0.0, 3), torch.zeros(1), query).returns, plain.expand(1, 3, 3)
    )


def test_disturbances_that_make_no_sense_are_named() -> None:
    for std, particles in ((-1.0, 3), (0.1, 1)):
        with pytest.raises(ValueError, match="particles at least 2"):
            NoisyActions(Cliff(), std, particles)
    with pytest.raises(ValueError, match="no particles of its own"):
        NoisyActions(NoisyActions(Cliff(), 0.1, 2), 0.1, 2)


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_gradients_climb_the_risk_over_disturbances(optimiser: Any) -> None:
    """One step of -(u + e)^2 - u: the mean is best at -1/2 less the mean of the disturbances it was told under."""

    class Bowl(Cliff):
        def expand(self, states: Any, actions: Any, **more: Any) -> Any:
            u = actions[:, 0]
            return states, Expansion(-u.square() - u, torch.ones_like(u), 0 * u)

    planner = GradientShooting(horizon=1, optimiser=optimiser, risk=("cvar", 0.35))
    outcome = plan(planner, NoisyActions(Bowl(), 0.05, 400), [0, 0], Budget(nodes=400 * 300))
    assert (outcome.plan.actions + 0.5).abs().max() < 0.05 and (outcome.charged[:, NODES] <= 400 * 300).all()
