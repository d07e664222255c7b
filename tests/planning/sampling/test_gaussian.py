"""Shooting over vectors against truths from elsewhere: Riccati's recursion, the definition of weights, iCEM's rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gaussian_searches import (
    NAMES,
    PLANNERS,
    STARTS,
    LinearQuadratic,
    ask_once,
    begin,
    finish,
    gaps,
    riccati,
    score,
    solve,
)

from forethought.planning.interface import (
    SequenceQuery,
    Size,
)
from forethought.planning.noise import keys_of, normals
from forethought.planning.rollout import rollout
from forethought.planning.shooting import CEM, ICEM, MPPI, BestOfN, Shooting
from forethought.planning.shooting_settings import GaussianSettings


@pytest.mark.parametrize(("planner", "bound"), zip(PLANNERS, (0.35, 0.01, 0.01)), ids=NAMES)
def test_gap_to_riccati_is_small_and_shrinks_with_budget(planner: Shooting, bound: float) -> None:
    planner = replace(planner, horizon=10, vectors=replace(planner.vectors, min_std=0.005))
    many = replace(planner, iterations=planner.iterations * 2)
    small, large = gaps(planner, 400), gaps(many, 10_000)
    assert large < bound
    assert large < small / 2


@pytest.mark.parametrize("planner", PLANNERS[1:], ids=NAMES[1:])
def test_first_action_is_near_the_lqr_gain(planner: Shooting) -> None:
    vectors = replace(planner.vectors, min_std=0.0, noise_beta=0.0)
    plan = solve(replace(planner, horizon=10, iterations=10, vectors=vectors), 30_000).plan()
    wanted = -STARTS @ riccati(10)[1].T
    np.testing.assert_allclose(plan.actions[:, 0].numpy(), wanted, atol=0.15)


def test_value_of_the_best_plan_is_its_return() -> None:
    search = solve(CEM(horizon=10, answer="best"), 2000)
    plan, model = search.plan(), LinearQuadratic()
    scored = rollout(model, model.start(STARTS)[0], SequenceQuery(np.arange(4, dtype=np.int32), plan.actions[:, None]))
    np.testing.assert_allclose(plan.value, scored.returns[:, 0, 0].numpy(), rtol=1e-5)


@pytest.mark.parametrize("planner", PLANNERS, ids=NAMES)
@pytest.mark.parametrize("shape", [(7,), (3, 7)])
def test_weights_sum_to_one_alike_on_arrays_and_tensors(planner: Shooting, shape: tuple[int, ...]) -> None:
    returns = np.random.default_rng(0).normal(size=shape)
    weights = planner.weigh(returns)
    assert isinstance(weights, np.ndarray)
    np.testing.assert_allclose(weights.sum(-1), 1)
    np.testing.assert_array_equal(weights, planner.weigh(torch.from_numpy(returns)).numpy())
    assert np.all((weights == weights.max(-1, keepdims=True))[returns == returns.max(-1, keepdims=True)])


@pytest.mark.parametrize("planner", PLANNERS, ids=NAMES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_return_that_is_not_finite_has_no_weight(planner: Shooting, bad: float) -> None:
    weights = planner.weigh(np.array([bad, -5.0, bad, -4.0, bad]))
    assert weights[[0, 2, 4]].tolist() == [0, 0, 0]
    assert weights[3] > weights[1]
    np.testing.assert_allclose(weights.sum(), 1)
    assert planner.weigh(np.array([bad, bad])).tolist() == [0, 0]


@pytest.mark.parametrize("scale", ["absolute", "spread"])
@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30, 3e38])
def test_softmax_never_overflows(scale: Any, size: float) -> None:
    returns = torch.tensor([-size, size, 0.0, -size])
    weights = MPPI(temperature=1e-3, scale=scale).weigh(returns)
    assert torch.isfinite(weights).all()
    assert abs(float(weights.sum()) - 1) < 1e-6


def test_mppi_weights_are_the_softmax() -> None:
    returns = np.random.default_rng(1).normal(size=20)
    weights = MPPI(temperature=0.7, scale="absolute").weigh(returns)
    np.testing.assert_allclose(weights, np.exp(returns / 0.7) / np.exp(returns / 0.7).sum(), rtol=1e-9)


def test_spread_makes_temperature_free_of_the_reward_scale() -> None:
    returns = np.random.default_rng(1).normal(size=20)
    np.testing.assert_allclose(MPPI().weigh(returns), MPPI().weigh(1000 * returns - 7), rtol=1e-6)


def test_cem_weighs_the_elites_alike_ties_to_the_lower_index() -> None:
    weights = CEM(elites=0.5).weigh(np.array([1.0, 3.0, 3.0, 3.0]))
    assert weights.tolist() == [0, 0.5, 0.5, 0]


def test_mppi_is_best_of_n_when_cold_and_the_plain_mean_when_hot() -> None:
    returns = np.random.default_rng(2).normal(size=(3, 9))
    np.testing.assert_allclose(MPPI(temperature=1e-12).weigh(returns), BestOfN().weigh(returns), atol=1e-12)
    np.testing.assert_allclose(MPPI(temperature=1e12).weigh(returns), 1 / 9, rtol=1e-6)
    settings: dict[str, Any] = {"horizon": 8, "iterations": 1, "answer": "mean"}
    settings["vectors"] = GaussianSettings(adapt_std=False)
    cold, one = solve(MPPI(temperature=1e-12, **settings), 800), solve(BestOfN(**settings), 800)
    np.testing.assert_allclose(cold.plan().actions, one.plan().actions, rtol=1e-6)
    query = ask_once(MPPI(temperature=1e12, **settings), 800)
    hot = solve(MPPI(temperature=1e12, **settings), 800)
    np.testing.assert_allclose(hot.plan().actions, query.sequences.mean(1), atol=1e-5)


def test_risk_reduces_particles_after_the_sum() -> None:
    returns = torch.tensor([[[1.0, 2.0, 3.0, 6.0], [4.0, 4.0, 4.0, torch.nan]]])
    assert CEM().reduce(returns).tolist() == [[3.0, -torch.inf]]
    assert CEM(risk="worst").reduce(returns).tolist() == [[1.0, -torch.inf]]
    assert CEM(risk=("cvar", 0.5)).reduce(returns).tolist() == [[1.5, -torch.inf]]


def test_populations_fade_and_use_the_budget_up() -> None:
    numbers = ICEM(horizon=10, iterations=4, decay=2.0, min_population=4).schedule(Size(3000)).populations
    assert numbers.tolist() == [160, 80, 40, 20]
    numbers = ICEM(horizon=10, iterations=4, decay=2.0, min_population=30).schedule(Size(1003)).populations
    assert numbers.sum() == 100 and numbers.min() >= 30
    given_one = ICEM(horizon=10, iterations=4, decay=2.0, population=50, min_population=10).schedule(Size(3000))
    assert given_one.populations.tolist() == [50, 25, 12, 10]
    even = CEM(horizon=10, iterations=4).schedule(Size(1030)).populations
    assert even.tolist() == [26, 26, 26, 25]


def test_the_mean_is_a_candidate_in_the_last_iteration_only() -> None:
    search, remaining, seen = begin(ICEM(horizon=6, iterations=3), 2000), np.full(4, 2000), []
    while not search.done.all():
        query = search.ask(remaining)
        seen.append(torch.equal(query.sequences[:, 0], search.proposal.mean))
        remaining[query.row] -= query.nodes
        search.tell(query, score(query))
    assert seen == [False, False, True]


def test_elites_of_the_decision_before_are_tried_again_moved_on() -> None:
    planner = ICEM(horizon=6, keep=3, vectors=replace(ICEM.vectors, reuse_elites=2))
    first = finish(begin(planner, 1200), 1200)
    elites = first.kept[:, :2]
    first.advance(torch.zeros(4, 1))
    second = begin(planner, 1200, after=first)
    asked = second.ask(np.full(4, 1200)).sequences[:, -2:]
    assert torch.equal(asked[:, :, :-1], elites[:, :, 1:]) and torch.equal(asked[:, :, -1], elites[:, :, -1])
    untold = begin(planner, 1200)
    assert torch.isfinite(begin(planner, 1200, after=untold).ask(np.full(4, 1200)).sequences).all()


def test_icem_is_nearer_to_riccati_than_cem_where_candidates_are_few() -> None:
    few = {"horizon": 10, "iterations": 5, "min_population": 8}
    icem, cem = (kind(**few, vectors=replace(kind.vectors, min_std=0.005)) for kind in (ICEM, CEM))
    assert gaps(icem, 600) < gaps(cem, 600)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_the_control_cost_draws_the_mean_back_by_its_share(share: float) -> None:
    """Where all returns are alike, samples of N(m, s^2) weighed by exp(-c m e / s^2) have the mean (1 - c) m."""
    planner = MPPI(control_cost=share, temperature=0.7, scale="absolute")
    noise = normals(keys_of(1, 1), 0, (200_000, 1, 2), dtype=torch.float64)
    std, middle = torch.full((1, 1, 2), 0.5, dtype=torch.float64), torch.tensor([1.0, -2.0], dtype=torch.float64)
    mean = middle + torch.tensor([0.3, -0.2], dtype=torch.float64).view(1, 1, 2)
    samples = mean[:, None] + std[:, None] * noise
    weights = planner.weigh_samples(torch.full((1, 200_000), -3.0, dtype=torch.float64), samples, mean, std, middle)
    moved = (weights[..., None, None] * samples).sum(1) - middle
    np.testing.assert_allclose(moved, (1 - share) * (mean - middle), atol=0.01)


def test_without_a_control_cost_weights_are_of_returns_alone_and_with_it_nan_counts_for_nothing() -> None:
    draw = np.random.default_rng(0)
    returns, samples = torch.tensor(draw.normal(size=(2, 7))), torch.tensor(draw.normal(size=(2, 7, 3, 1)))
    around = (torch.ones(2, 3, 1).double(), torch.zeros(2, 3, 1).double(), torch.zeros(1).double())
    torch.testing.assert_close(MPPI().weigh_samples(returns, samples, *around), MPPI().weigh(returns))
    returns[0, 2] = torch.nan
    samples = around[0][:, None] + 0 * samples
    weights = MPPI(control_cost=1.0).weigh_samples(returns, samples, *around)
    assert weights[0, 2] == 0 and torch.isfinite(weights).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(2).double())
