"""Every planner's gap to Riccati's optimum, to value iteration and to iLQR on the pendulum has a bound.

Bounds that follow from mathematics are asked of every seed. For planners by chance there is the rule of the house
(`test_matrix.py`), of means over seeds: a planner closes at least half of the gap that chance has.
"""

import json

import numpy as np
import pytest
import torch

from forethought.evals.bench.answers import TORQUES, WORLDS, linear
from forethought.evals.bench.certificates import HORIZON, PLANNERS, gap_of, main, measure
from forethought.planning import BestOfN, Budget, GaussianSettings, keys_of, plan

SEEDS, NODES = (11, 12, 13), 1024
EXACT = ("ilqr", "ddp", "polished")


@pytest.fixture(scope="module")
def gaps():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield measure(list(PLANNERS), NODES, SEEDS)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def chance():
    """What one random sequence loses in each world: decision and plan, means over the seeds."""
    lost, vectors = {}, GaussianSettings(std=1.0, include_mean=False, adapt_std=False)
    for make in WORLDS:
        each = [gap_of(BestOfN(horizon=HORIZON, population=1, vectors=vectors), make(s), NODES, s) for s in SEEDS]
        lost[make(0).name] = {kind: np.mean([gap[kind] for gap in each]) for kind in ("decision", "plan")}
    return lost


@pytest.mark.parametrize("world", ["LQ", "table", "pendulum"])
@pytest.mark.parametrize("name", PLANNERS)
def test_a_planner_closes_half_of_the_gap_of_chance(gaps, chance, name, world):
    each = gaps[name][world]
    if each is None:
        assert world == "table" and name in (*EXACT, "gradient")
        return
    # Gumbel's sequential halving is made for the root's action; the line below it is walked by hardly any simulation
    for kind in ("decision",) if name == "gumbel" else ("decision", "plan"):
        assert np.mean([gap[kind] for gap in each]) <= 0.5 * chance[world][kind], kind


@pytest.mark.parametrize("name", EXACT)
def test_newton_s_method_is_exact_up_to_rounding_and_its_tolerance(gaps, name):
    """One step solves a linear-quadratic problem; on the pendulum 1e-4 of 1 + |return| is where they stop."""
    for lq, swing in zip(gaps[name]["LQ"], gaps[name]["pendulum"]):
        assert abs(lq["decision"]) < 1e-12 and abs(lq["plan"]) < 1e-12
        assert abs(swing["decision"]) < 1e-4 and abs(swing["plan"]) < 1e-2


@pytest.mark.parametrize("name", [*EXACT, "gradient"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_certificate_bounds_the_gap_where_returns_are_concave(name, seed):
    """f(u*) - f(u) <= f'(u) (u* - u), each of H components at most two half-ranges away."""
    world = linear(seed)
    found = plan(PLANNERS[name], world.model, world.starts, Budget(nodes=NODES), keys=keys_of(seed, 16)).plan
    lost = world.optimum(world.starts) - world.worth(world.model, list(found.actions))
    assert (lost.numpy() <= 2 * HORIZON * found.gradient + 1e-9).all()


def test_bfs_loses_at_most_the_grid_s_resolution_at_every_step(gaps):
    """With exact values at the leaves a beam holds the line of nearest torques, or better ones."""
    for seed, gap in zip(SEEDS, gaps["bfs"]["LQ"]):
        world = linear(seed)
        model, best = world.model, world.optimum(world.starts).abs().mean()
        at = -world.optimum(model.b.T)
        nearest = float(model.actions.high - model.actions.low) / (TORQUES - 1) / 2
        bound = float((model.r + at) * nearest**2 / best)
        assert 0 <= gap["decision"] <= gap["plan"] <= HORIZON * bound


@pytest.mark.parametrize("world", ["LQ", "table", "pendulum"])
@pytest.mark.parametrize("name", ["cem", "icem", "mppi"])
def test_refitting_gains_on_drawing_from_one_distribution_at_equal_cost(gaps, name, world):
    lost = {n: np.mean([gap["plan"] for gap in gaps[n][world]]) for n in (name, "best_of_n")}
    assert lost[name] < lost["best_of_n"]


def test_no_gap_is_negative_beyond_what_the_reference_can_tell(gaps):
    """Riccati and value iteration are exact; iLQR's reference is in float32 with a tolerance of 1e-6."""
    for name in PLANNERS:
        for world, remaining in (("LQ", 1e-12), ("table", 1e-9), ("pendulum", 1e-5)):
            assert all(min(g["decision"], g["plan"]) >= -remaining for g in gaps[name][world] or ())


def test_a_plan_of_no_action_has_no_gap():
    world = linear(0)
    with pytest.raises(ValueError, match="decides nothing"):
        world.gaps(world.model, [torch.zeros(0, 1)] * 16)


def test_the_command_writes_one_table(tmp_path, monkeypatch):
    kept = {name: PLANNERS[name] for name in ("bfs", "ilqr")}
    monkeypatch.setattr("forethought.evals.bench.certificates.PLANNERS", kept)
    main(tmp_path / "gaps.json", nodes=200, seeds=1)
    found = json.loads((tmp_path / "gaps.json").read_text())
    assert set(found["gaps"]) == set(kept) and found["gaps"]["ilqr"]["table"] is None
    assert found["gaps"]["ilqr"]["LQ"][0].keys() == {"decision", "plan", "certificate"}
