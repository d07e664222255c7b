"""Bounds on every planner's optimality gap by Riccati's equation, value iteration and iLQR.

Bounds that follow from theory must hold for every seed. Sampling planners must, as in `test_matrix.py`, close at least
half of the gap of a random plan in the mean over seeds.
"""

import json

import numpy as np
import pytest
import torch

from forethought.evals.bench.certificates import HORIZON, PLANNERS, gap_of, main, measure
from forethought.evals.bench.known_optima import BINS, PROBLEMS, linear_quadratic
from forethought.planning import BestOfN, Budget, GaussianSettings, keys_of, plan

SEEDS, NODES = (11, 12, 13), 1024
EXACT = ("ilqr", "ddp", "polished")


@pytest.fixture(scope="module")
def gaps():
    return measure(list(PLANNERS), NODES, SEEDS)


@pytest.fixture(scope="module")
def chance():
    """The gaps of one random sequence on each problem: decision and plan, means over the seeds."""
    lost = {}
    for make in PROBLEMS:
        each = [
            gap_of(
                BestOfN(
                    horizon=HORIZON,
                    population=1,
                    vectors=GaussianSettings(std=1.0, include_mean=False, adapt_std=False),
                ),
                make(s),
                NODES,
                s,
            )
            for s in SEEDS
        ]
        lost[make(0).name] = {kind: np.mean([gap[kind] for gap in each]) for kind in ("decision", "plan")}
    return lost


@pytest.mark.parametrize("problem", ["LQ", "table", "pendulum"])
@pytest.mark.parametrize("name", PLANNERS)
def test_a_planner_closes_half_of_the_gap_of_a_random_plan(gaps, chance, name, problem):
    each = gaps[name][problem]
    if each is None:
        assert problem == "table" and name in (*EXACT, "gradient")
        return
    # Gumbel's sequential halving optimises the root's action, and few simulations go far below it
    for kind in ("decision",) if name == "gumbel" else ("decision", "plan"):
        assert np.mean([gap[kind] for gap in each]) <= 0.5 * chance[problem][kind], kind


@pytest.mark.parametrize("name", EXACT)
def test_second_order_planners_are_exact_up_to_rounding_and_tolerance(gaps, name):
    """One step solves a linear-quadratic problem; on the pendulum the tolerance is 1e-4 of 1 + |return|."""
    for lq, swing in zip(gaps[name]["LQ"], gaps[name]["pendulum"]):
        assert abs(lq["decision"]) < 1e-12 and abs(lq["plan"]) < 1e-12
        assert abs(swing["decision"]) < 1e-4 and abs(swing["plan"]) < 1e-2


@pytest.mark.parametrize("name", [*EXACT, "gradient"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_certificate_bounds_the_gap_where_returns_are_concave(name, seed):
    """f(u*) - f(u) <= f'(u) (u* - u), each of H components at most two half-ranges away."""
    problem = linear_quadratic(seed)
    found = plan(PLANNERS[name], problem.model, problem.starts, Budget(nodes=NODES), keys=keys_of(seed, 16)).plan
    lost = problem.optimum(problem.starts) - problem.plan_returns(problem.model, list(found.actions))
    assert (lost.numpy() <= 2 * HORIZON * found.gradient + 1e-9).all()


def test_the_gap_of_bfs_is_at_most_the_resolution_of_the_bins_per_step(gaps):
    """With exact terminal values a beam keeps the sequence of nearest actions, or better ones."""
    for seed, gap in zip(SEEDS, gaps["bfs"]["LQ"]):
        problem = linear_quadratic(seed)
        model, best = problem.model, problem.optimum(problem.starts).abs().mean()
        at = -problem.optimum(model.b.T)
        nearest = float(model.actions.high - model.actions.low) / (BINS - 1) / 2
        bound = float((model.r + at) * nearest**2 / best)
        assert 0 <= gap["decision"] <= gap["plan"] <= HORIZON * bound


@pytest.mark.parametrize("problem", ["LQ", "table", "pendulum"])
@pytest.mark.parametrize("name", ["cem", "icem", "mppi"])
def test_refitting_is_better_than_a_fixed_proposal_at_equal_cost(gaps, name, problem):
    lost = {n: np.mean([gap["plan"] for gap in gaps[n][problem]]) for n in (name, "best_of_n")}
    assert lost[name] < lost["best_of_n"]


def test_no_gap_is_negative_beyond_the_accuracy_of_the_optimum(gaps):
    """Riccati and value iteration are exact; iLQR's reference is in float32 with a tolerance of 1e-6."""
    for name in PLANNERS:
        for problem, remaining in (("LQ", 1e-12), ("table", 1e-9), ("pendulum", 1e-5)):
            assert all(min(g["decision"], g["plan"]) >= -remaining for g in gaps[name][problem] or ())


def test_a_plan_without_actions_is_refused():
    problem = linear_quadratic(0)
    with pytest.raises(ValueError, match="has no gap"):
        problem.gaps(problem.model, [torch.zeros(0, 1)] * 16)


def test_the_command_writes_one_table(tmp_path, monkeypatch):
    kept = {name: PLANNERS[name] for name in ("bfs", "ilqr")}
    monkeypatch.setattr("forethought.evals.bench.certificates.PLANNERS", kept)
    main(tmp_path / "gaps.json", nodes=200, seeds=1)
    found = json.loads((tmp_path / "gaps.json").read_text())
    assert set(found["gaps"]) == set(kept) and found["gaps"]["ilqr"]["table"] is None
    assert found["gaps"]["ilqr"]["LQ"][0].keys() == {"decision", "plan", "certificate"}
