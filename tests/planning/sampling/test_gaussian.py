"""Shooting over vectors against truths from elsewhere: Riccati's recursion, scipy's distributions, a slow loop."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from forethought.planning.interface import (
    BoxActions,
    Expansion,
    ModelError,
    Returns,
    SequenceQuery,
    Size,
)
from forethought.planning.noise import coloured, fold, keys_of, normals, uniforms
from forethought.planning.rollout import rollout
from forethought.planning.sampling.gaussian import Gaussian, GaussianSearch
from forethought.planning.shooting import CEM, ICEM, MPPI, BestOfN, Shooting
from forethought.planning.shooting_settings import GaussianSettings
from forethought.planning.usage import NODES

PLANNERS = [BestOfN(), CEM(), MPPI()]
NAMES = ["best_of_n", "cem", "mppi"]


# --- a problem with a known optimum -------------------------------------------------------------------------------

A = np.array([[1.0, 0.1], [0.0, 1.0]])
B = np.array([[0.0], [0.1]])
Q, R, FINAL = np.diag([1.0, 0.1]), np.array([[0.05]]), np.diag([5.0, 1.0])


@dataclass
class LinearQuadratic:
    """x' = A x + B u, reward -(x'Q x + u'R u) of the step, value -x'F x of what is reached."""

    actions: BoxActions = field(default_factory=lambda: BoxActions(torch.tensor([-4.0]), torch.tensor([4.0])))
    cost: int = 1

    def start(self, problems: Any) -> tuple[torch.Tensor, Expansion]:
        states = torch.as_tensor(problems, dtype=torch.float32)
        return states, Expansion(torch.zeros(len(states)), torch.ones(len(states)), torch.zeros(len(states)))

    def expand(self, states: Any, actions: Any, *, to_end: bool = False, evaluate: str = "all") -> Any:
        reward = -(quadratic(states, Q) + quadratic(actions, R))
        reached = (states[:, None] * torch.tensor(A, dtype=torch.float32)).sum(-1)
        reached = reached + actions * torch.tensor(B[:, 0], dtype=torch.float32)
        return reached, Expansion(reward, torch.ones_like(reward), -quadratic(reached, FINAL))


def quadratic(x: torch.Tensor, weight: np.ndarray) -> torch.Tensor:
    return (x[:, :, None] * x[:, None, :] * torch.tensor(weight, dtype=torch.float32)).sum((1, 2))


def riccati(horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Cost matrix and gain of the first of `horizon` steps (Bertsekas, Dynamic Programming 4.1)."""
    cost, gain = FINAL, np.zeros((1, 2))
    for _ in range(horizon):
        gain = np.linalg.solve(R + B.T @ cost @ B, B.T @ cost @ A)
        cost = Q + A.T @ cost @ (A - B @ gain)
    return cost, gain


STARTS = np.array([[1.0, 0.0], [-0.5, 0.5], [0.3, -0.8], [0.0, 1.0]])


def solve(planner: Shooting, nodes: int, seed: int = 0, starts: Any = STARTS, after: Any = None) -> Any:
    model = LinearQuadratic()
    states, root = model.start(starts)
    search = planner.begin(root, model.actions, Size(nodes), keys=keys_of(seed, len(starts)), after=after)
    remaining = np.full(len(starts), nodes)
    while not search.done.all():
        query = search.ask(remaining)
        answer = rollout(model, states[query.row], query)
        remaining[query.row] -= answer.usage[:, NODES].astype(int)
        search.tell(query, answer)
    assert (remaining >= 0).all()
    return search


def gaps(planner: Shooting, nodes: int, horizon: int = 10) -> float:
    """Mean share of the optimal cost lost, over starts and seeds, the plan scored anew from outside the search."""
    model, cost = LinearQuadratic(), riccati(horizon)[0]
    best = np.einsum("bi,ij,bj->b", STARTS, cost, STARTS)
    lost = []
    for seed in range(4):
        actions = solve(planner, nodes, seed).plan().actions
        scored = rollout(model, model.start(STARTS)[0], SequenceQuery(np.arange(4, dtype=np.int32), actions[:, None]))
        lost.append((-scored.returns[:, 0, 0].numpy() - best) / best)
    assert np.min(lost) > -1e-4
    return float(np.mean(lost))


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


# --- weights ------------------------------------------------------------------------------------------------------


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


# --- the search's contract ----------------------------------------------------------------------------------------


def begin(planner: Shooting, nodes: int, rows: Any = 4, box: BoxActions | None = None, **more: Any) -> GaussianSearch:
    keys = keys_of(0, rows)
    root = Expansion(np.zeros(len(keys)), np.ones(len(keys)), np.zeros(len(keys)))
    search = planner.begin(root, box or LinearQuadratic().actions, Size(nodes), keys=keys, **more)
    assert isinstance(search, GaussianSearch)
    return search


def ask_once(planner: Shooting, nodes: int) -> SequenceQuery:
    return begin(planner, nodes).ask(np.full(4, nodes))


def score(query: SequenceQuery) -> Returns:
    """Any smooth return will do: the sequences' distance from 1, row by row."""
    return Returns(-(query.sequences - 1).square().sum((-1, -2))[..., None])


def part(query: SequenceQuery, index: Any) -> SequenceQuery:
    return SequenceQuery(query.row[index], query.sequences[index], None if query.keys is None else query.keys[index])


def finish(search: GaussianSearch, nodes: int) -> GaussianSearch:
    remaining = np.full(len(search.keys), nodes)
    while not search.done.all():
        query = search.ask(remaining)
        remaining[query.row] -= query.sequences.shape[1] * query.sequences.shape[2]
        search.tell(query, score(query))
    return search


@pytest.mark.parametrize(
    "planner", [*PLANNERS, CEM(keep=3, vectors=GaussianSettings(noise_beta=2.0))], ids=[*NAMES, "icem"]
)
def test_a_row_of_a_batch_is_the_same_row_alone(planner: Shooting) -> None:
    together = finish(begin(planner, 1500, 5), 1500).plan()
    for row in range(5):
        alone = finish(begin(planner, 1500, [row]), 1500).plan()
        assert torch.equal(alone.actions[0], together.actions[row])
        assert alone.value[0] == together.value[row]


@pytest.mark.parametrize("planner", PLANNERS, ids=NAMES)
def test_rows_may_be_told_in_parts_and_in_any_order(planner: Shooting) -> None:
    search = begin(planner, 1500)
    remaining = np.full(4, 1500)
    waiting: list[SequenceQuery] = []
    generator = np.random.default_rng(3)
    while not search.done.all():
        query = search.ask(remaining)
        for row in generator.permutation(len(query)):
            waiting.append(part(query, [row]))
        one = waiting.pop(int(generator.integers(len(waiting))))
        remaining[one.row] -= one.sequences.shape[1] * one.sequences.shape[2]
        search.tell(one, score(one))
    assert torch.equal(search.plan().actions, finish(begin(planner, 1500), 1500).plan().actions)


def test_a_dropped_query_is_asked_again_unchanged() -> None:
    search, remaining = begin(CEM(), 1500), np.full(4, 1500)
    query = search.ask(remaining)
    assert len(search.ask(remaining)) == 0
    search.drop(part(query, [1, 2]))
    with pytest.raises(ValueError, match="await no answer"):
        search.drop(part(query, [1, 2]))
    again = search.ask(remaining)
    assert again.row.tolist() == [1, 2]
    assert torch.equal(again.sequences, query.sequences[[1, 2]])


def test_telling_twice_or_late_is_a_value_error() -> None:
    search, remaining = begin(CEM(), 1500), np.full(4, 1500)
    query = search.ask(remaining)
    search.tell(query, score(query))
    with pytest.raises(ValueError, match=r"tell.*told twice"):
        search.tell(query, score(query))
    search.ask(remaining)
    with pytest.raises(ValueError, match="told twice"):
        search.tell(query, score(query))
    with pytest.raises(ValueError, match="different rows"):
        search.tell(part(query, [0, 0]), score(part(query, [0, 0])))


def test_a_wrong_shape_is_a_model_error_that_names_it() -> None:
    search = begin(CEM(), 1500)
    query = search.ask(np.full(4, 1500))
    with pytest.raises(
        ModelError, match=rf"returns must have shape \[4, {query.sequences.shape[1]}, P\], got \[4, 3\]"
    ):
        search.tell(query, Returns(torch.zeros(4, 3)))
    search.tell(query, score(query))


def test_nan_ranks_below_every_finite_return() -> None:
    search, remaining = begin(CEM(horizon=4, iterations=1), 400), np.full(4, 400)
    query = search.ask(remaining)
    returns = torch.full((4, 100, 1), torch.nan)
    returns[:, 7] = -1e30
    search.tell(query, Returns(returns))
    assert torch.equal(search.plan().actions, query.sequences[:, 7])


def test_nothing_finite_is_a_model_error_and_tells_nothing() -> None:
    search = begin(MPPI(), 1500)
    query = search.ask(np.full(4, 1500))
    answer = score(query)
    answer.returns[2] = torch.nan
    with pytest.raises(ModelError, match=r"row\(s\) \[2\]"):
        search.tell(query, answer)
    search.tell(query, score(query))


def test_plan_may_be_called_before_anything_was_told() -> None:
    root = Expansion(np.zeros(2), np.ones(2), np.array([3.0, 4.0]))
    search = CEM().begin(root, LinearQuadratic().actions, Size(100), keys=keys_of(0, 2))
    assert search.plan().actions.abs().max() == 0
    assert search.plan().value.tolist() == [3.0, 4.0]


def test_a_problem_that_is_over_is_never_asked_about() -> None:
    root = Expansion(np.zeros(3), np.array([1.0, 0.0, 1.0]), np.zeros(3))
    search = CEM().begin(root, LinearQuadratic().actions, Size(1000), keys=keys_of(0, 3))
    assert search.stop_reason == ["", "exhausted", ""]
    assert search.ask(np.full(3, 1000)).row.tolist() == [0, 2]


@pytest.mark.parametrize("planner", PLANNERS, ids=NAMES)
@settings(max_examples=30, deadline=None)
@given(
    nodes=st.integers(1, 3000),
    horizon=st.integers(1, 40),
    iterations=st.integers(1, 9),
    min_population=st.integers(1, 30),
)
def test_budget_is_never_exceeded_and_used_up(
    planner: Shooting, nodes: int, horizon: int, iterations: int, min_population: int
) -> None:
    planner = replace(planner, horizon=horizon, iterations=iterations, min_population=min_population)
    search, remaining = begin(planner, nodes, 2), np.full(2, nodes)
    while not search.done.all():
        query = search.ask(remaining)
        assert len(query) == 2
        remaining[query.row] -= query.sequences.shape[1] * query.sequences.shape[2]
        search.tell(query, score(query))
        assert (remaining >= 0).all()
    assert (remaining < min(horizon, nodes)).all()
    assert search.stop_reason == ["budget", "budget"]


@settings(max_examples=30, deadline=None)
@given(rooms=st.lists(st.integers(0, 300), min_size=3, max_size=3))
def test_less_room_than_hoped_for_cuts_candidates(rooms: list[int]) -> None:
    search, remaining = begin(CEM(horizon=10), 2000, 3), np.array(rooms)
    while not search.done.all():
        query = search.ask(remaining)
        if not len(query):
            continue
        remaining[query.row] -= query.sequences.shape[1] * 10
        search.tell(query, score(query))
        assert (remaining >= 0).all()
    assert (remaining < 10).all()


def test_settled_population_ends_by_itself() -> None:
    search = finish(begin(CEM(horizon=5, population=10, iterations=3), 10_000), 10_000)
    assert search.stop_reason == ["exhausted"] * 4


def test_without_an_exact_size_the_search_goes_on_until_room_ends() -> None:
    root = Expansion(np.zeros(1), np.ones(1), np.zeros(1))
    search = CEM(horizon=5).begin(root, LinearQuadratic().actions, Size(1000, exact=False), keys=keys_of(0, 1))
    assert finish(search, 4000).iteration[0] == 13


def test_kept_elites_are_not_asked_again_and_are_not_forgotten() -> None:
    planner = CEM(horizon=4, iterations=2, keep=2, elites=0.02, vectors=GaussianSettings(include_mean=False))
    search, remaining = begin(planner, 400), np.full(4, 400)
    first = search.ask(remaining)
    search.tell(first, score(first))
    second = search.ask(remaining)
    search.tell(second, Returns(torch.full((4, 50, 1), -1e9)))
    best = score(first).returns[..., 0].topk(2).indices
    pair = first.sequences[torch.arange(4)[:, None], best]
    np.testing.assert_array_equal(search.plan().actions, pair[:, 0])
    np.testing.assert_allclose(search.proposal.mean, pair.mean(1), atol=1e-6)


# --- bounds, noise, warm start ------------------------------------------------------------------------------------


@pytest.mark.parametrize("planner", PLANNERS, ids=NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bounds_hold_for_samples_and_plans(planner: Shooting, dtype: torch.dtype) -> None:
    box = BoxActions(torch.tensor([-2.0, 0.1], dtype=dtype), torch.tensor([0.3, 0.7], dtype=dtype))
    planner = replace(planner, vectors=replace(planner.vectors, std=3.0), horizon=6, answer="mean")
    search, remaining = begin(planner, 3000, box=box), np.full(4, 3000)
    while not search.done.all():
        query = search.ask(remaining)
        assert ((query.sequences >= box.low) & (query.sequences <= box.high)).all()
        assert query.sequences.dtype == dtype
        search.tell(query, score(query))
    plan = search.plan().actions
    assert ((plan >= box.low) & (plan <= box.high)).all()
    assert (plan[..., 1] == box.high[1]).any() or plan[..., 1].max() > 0.5


@pytest.mark.parametrize("planner", PLANNERS, ids=NAMES)
def test_the_scale_of_the_noise_has_an_effect(planner: Shooting) -> None:
    narrow, wide = (
        ask_once(replace(planner, vectors=replace(planner.vectors, std=std)), 4000).sequences for std in (0.1, 0.3)
    )
    assert 2.5 < float(wide.std() / narrow.std()) < 3.1
    assert abs(float(narrow[:, 1:].std()) - 0.4) < 0.02


def test_candidate_zero_is_the_mean() -> None:
    assert ask_once(CEM(), 1000).sequences[:, 0].abs().max() == 0
    assert ask_once(CEM(vectors=GaussianSettings(include_mean=False)), 1000).sequences[:, 0].abs().max() > 0


def test_warm_start_moves_the_plan_on_and_helps() -> None:
    planner, model = CEM(horizon=10, answer="mean"), LinearQuadratic()
    first = solve(planner, 4000)
    taken = first.plan().actions[:, 0]
    first.advance(taken)
    states, _ = model.expand(model.start(STARTS)[0], taken)
    warm = begin(planner, 200, after=first)
    assert torch.equal(warm.proposal.mean[:, :-1], first.plan().actions[:, 1:])
    assert torch.equal(warm.proposal.mean[:, -1], first.plan().actions[:, -1])
    better = solve(planner, 200, starts=states, after=first).plan().value
    assert better.mean() > solve(planner, 200, starts=states).plan().value.mean()


def test_steps_taken_beyond_the_plan_start_afresh() -> None:
    first = finish(begin(CEM(horizon=5), 500), 500)
    first.advance(torch.zeros(4, 7, 1))
    assert begin(CEM(horizon=5), 500, after=first).proposal.mean.abs().max() == 0


def test_warm_start_from_another_problem_is_a_value_error() -> None:
    first = finish(begin(CEM(horizon=5), 500), 500)
    with pytest.raises(ValueError, match="4 rows"):
        begin(CEM(horizon=5), 500, rows=3, after=first)
    with pytest.raises(ValueError, match="list"):
        begin(CEM(horizon=5), 500, after=[])


def test_refit_is_the_weighted_mean_and_deviation() -> None:
    generator = np.random.default_rng(4)
    samples, weights = generator.uniform(-1, 1, (2, 9, 3, 2)), generator.dirichlet(np.ones(9), 2)
    one = torch.ones(2, dtype=torch.double)
    proposal = Gaussian.around(torch.zeros(2, 3, 2, dtype=torch.double), BoxActions(-one, one), 0.5)
    proposal.refit(
        slice(None), torch.tensor(samples), torch.tensor(weights), smoothing=0.25, min_std=0.0, adapt_std=True
    )
    mean = np.einsum("bk,bkhd->bhd", weights, samples)
    std = np.sqrt(np.einsum("bk,bkhd->bhd", weights, (samples - mean[:, None]) ** 2))
    np.testing.assert_allclose(proposal.mean.numpy(), 0.75 * mean, atol=1e-12)
    np.testing.assert_allclose(proposal.std.numpy(), 0.75 * std + 0.25 * 0.5, atol=1e-12)


WRONG: list[dict[str, Any]] = [{"horizon": 0}, {"smoothing": 1.0}, {"risk": "best"}, {"decay": 0.5}, {"answer": "a"}]
WRONG += [{"control_cost": 2.0}, {"keep": -1}]
WRONG_VECTORS: list[dict[str, Any]] = [{"std": -1}, {"reuse_elites": -1}, {"include_mean": "first"}, {"min_std": -0.1}]


@pytest.mark.parametrize("wrong", WRONG)
def test_settings_that_make_no_sense_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MPPI(**wrong)


@pytest.mark.parametrize("wrong", WRONG_VECTORS)
def test_settings_for_vectors_that_make_no_sense_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        GaussianSettings(**wrong)


# --- iCEM, and the control cost of MPPI ---------------------------------------------------------------------------


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


# --- noise --------------------------------------------------------------------------------------------------------


def test_normals_are_normal_and_independent_across_rows_and_iterations() -> None:
    keys = keys_of(5, 200)
    first, second = normals(keys, 0, (50, 8, 2)), normals(keys, 1, (50, 8, 2))
    assert stats.kstest(first.flatten().numpy(), "norm").pvalue > 1e-3
    assert abs(float(first.mean())) < 0.01 and abs(float(first.std()) - 1) < 0.01
    assert abs(stats.skew(first.flatten())) < 0.03 and abs(stats.kurtosis(first.flatten())) < 0.06
    flat = first.flatten(1).double()
    between_rows = torch.corrcoef(flat)[~torch.eye(200, dtype=torch.bool)] * flat.shape[1] ** 0.5
    assert stats.kstest(between_rows[::7].numpy(), "norm").pvalue > 1e-3
    for other in (second, first.roll(1, 1), first.roll(1, 2), first.flip(3)):
        pair = np.corrcoef(first.flatten(), other.flatten())[0, 1]
        assert abs(pair) * first.numel() ** 0.5 < 4


def test_noise_belongs_to_the_row_and_the_candidate() -> None:
    keys = keys_of(5, 6)
    whole = normals(keys, 3, (9, 5, 1))
    assert torch.equal(normals(keys[[4, 1]], 3, (9, 5, 1)), whole[[4, 1]])
    assert torch.equal(normals(keys, 3, (4, 5, 1)), whole[:, :4])
    iterations = torch.tensor([3, 0, 3, 1, 3, 2])
    assert torch.equal(normals(keys, iterations, (9, 5, 1))[[0, 2, 4]], whole[[0, 2, 4]])
    np.testing.assert_allclose(normals(keys, 3, (9, 5, 1), dtype=torch.float64).float(), whole, rtol=1e-5, atol=1e-6)


def test_hash_is_splitmix64() -> None:
    """The first outputs of SplitMix64 from seed 0, as its authors' C program prints them."""
    wanted = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    got = [int(fold(np.zeros(1, np.uint64), i)) % 2**64 for i in range(3)]
    assert got == wanted


def test_uniforms_are_uniform_and_keyed_by_every_counter() -> None:
    keys = keys_of(1, 300)
    draws = uniforms(keys[:, None].view(np.uint64), torch.arange(300))
    assert draws.shape == (300, 300) and float(draws.min()) >= 0 and float(draws.max()) < 1
    assert stats.kstest(draws.flatten().numpy(), "uniform").pvalue > 1e-3
    assert float(uniforms(keys[:1], 1, 2)) != float(uniforms(keys[:1], 2, 1))
    assert float(uniforms(keys[:1], 4)) == float(uniforms(keys[:3], 4)[0])


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0])
def test_coloured_noise_has_unit_variance_and_its_spectrum(beta: float) -> None:
    noise = coloured(normals(keys_of(2, 64), 0, (64, 32, 2)), beta)
    assert abs(float(noise.var()) - 1) < 0.02
    power = torch.fft.rfft(noise, dim=-2).abs().square().mean((0, 1, 3))[1:16].log()
    slope = np.polyfit(np.log(np.arange(1, 16)), power.numpy(), 1)[0]
    assert abs(slope + beta) < 0.05
