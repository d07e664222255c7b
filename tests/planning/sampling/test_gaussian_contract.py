"""How searches over vectors ask, are told and keep to budgets, bounds and earlier plans."""

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
    part,
    score,
    solve,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from forethought.planning.interface import (
    BoxActions,
    Expansion,
    ModelError,
    Returns,
    SequenceQuery,
    Size,
)
from forethought.planning.noise import keys_of
from forethought.planning.sampling.gaussian import Gaussian
from forethought.planning.shooting import CEM, MPPI, Shooting
from forethought.planning.shooting_settings import GaussianSettings


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


def test_a_row_with_nothing_finite_ends_as_invalid_and_the_others_go_on() -> None:
    search = begin(MPPI(), 1500)
    query = search.ask(np.full(4, 1500))
    answer = score(query)
    answer.returns[2] = torch.nan
    search.tell(query, answer)
    assert search.stop_reason == ["", "", "invalid", ""] and list(search.plan().faults) == [2]
    assert search.ask(np.full(4, 1500)).row.tolist() == [0, 1, 3]


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
