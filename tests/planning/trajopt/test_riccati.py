"""Riccati's recursion against scipy's own examples, published closed forms, and a least-squares solution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from forethought.planning import CEM, BoxActions, GaussianSettings
from forethought.planning.testing import check_model as check
from forethought.planning.testing.linear_quadratic import LinearQuadratic
from forethought.planning.trajopt.lqr import dare, lqr, unreachable

A = np.array([[1.0, 0.1], [0.0, 1.0]])
B = np.array([[0.0], [0.1]])
Q, R, FINAL = np.diag([1.0, 0.1]), np.array([[0.05]]), np.diag([5.0, 1.0])


def scipy_cases() -> list[Any]:
    """The real, well-posed systems of scipy's `TestSolveDiscreteAre` (Benner, Laub and Mehrmann 1995, darex)."""
    solvers = pytest.importorskip("scipy.linalg.tests.test_solvers", reason="this scipy comes without its tests")
    cases = [c[:4] for c in solvers.TestSolveDiscreteAre.cases if c[4] is None]
    return [c for c in cases if not any(np.iscomplexobj(x) for x in c)]


def test_dare_solves_scipys_examples_and_its_law_is_stable() -> None:
    solved = 0
    for a, b, q, r in scipy_cases():
        if np.linalg.eigvalsh(r).min() < 0 or np.linalg.eigvalsh(q).min() < -1e-12 or np.abs(a).max() > 1e3:
            continue
        found = dare(a, b, q, r)
        p, gain = found.cost.numpy(), found.gain.numpy()
        residual = q + a.T @ p @ a - a.T @ p @ b @ gain - p
        assert np.abs(residual).max() <= 1e-6 * max(1, np.abs(p).max()), (a, residual)
        assert np.abs(np.linalg.eigvals(a - b @ gain)).max() < 1
        solved += 1
    assert solved >= 8


@pytest.mark.parametrize(
    ("a", "b", "q", "r", "wanted"),
    [
        ([[4, 3], [-4.5, -3.5]], [[1], [-1]], [[9, 6], [6, 4]], [[1]], (1 + 5**0.5) / 2 * np.array([[9, 6], [6, 4]])),
        ([[2, -1], [1, 0]], [[1], [0]], [[0, 0], [0, 1]], [[0]], np.eye(2)),
        ([[0, 1], [0, 0]], [[0], [1]], [[1, 2], [2, 4]], [[1]], np.array([[1, 2], [2, 2 + 5**0.5]])),
    ],
    ids=["darex 1", "darex 3", "darex 5"],
)
def test_dare_gives_the_published_closed_forms(a: Any, b: Any, q: Any, r: Any, wanted: Any) -> None:
    np.testing.assert_allclose(dare(*map(np.array, (a, b, q, r))).cost, wanted, atol=1e-9)


@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_a_long_horizon_comes_to_the_infinite_one(discount: float) -> None:
    cross = np.array([[0.02], [0.01]])
    endless = dare(A, B, Q, R, cross=cross, discount=discount)
    finite = lqr(A, B, Q, R, FINAL, horizon=600, cross=cross, discount=discount)
    np.testing.assert_allclose(finite.cost[0], endless.cost, rtol=1e-8)
    np.testing.assert_allclose(finite.gain[0], endless.gain, rtol=1e-8)


def time_varying(seed: int, steps: int = 6) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    root, other = draw.normal(size=(steps, 3, 3)), draw.normal(size=(steps, 2, 2))
    return {
        "a": draw.normal(size=(steps, 3, 3)), "b": draw.normal(size=(steps, 3, 2)), "q": root @ root.mT,
        "r": other @ other.mT + np.eye(2), "final": np.eye(3), "cross": 0.1 * draw.normal(size=(steps, 3, 2)),
    }  # fmt: skip


def dense_optimum(p: dict[str, Any], x0: Any, gamma: float) -> tuple[float, Any]:
    """The same problem as one quadratic in all actions at once: its minimum and its first action."""
    steps, size, width = len(p["a"]), p["a"].shape[1], p["b"].shape[2]
    now, push = x0, np.zeros((size, steps * width))
    h, g, constant = np.zeros((steps * width,) * 2), np.zeros(steps * width), 0.0
    for t in range(steps + 1):
        w = gamma**t
        q = p["q"][t] if t < steps else p["final"]
        h, g, constant = h + w * push.T @ q @ push, g + w * push.T @ q @ now, constant + w * now @ q @ now
        if t == steps:
            break
        pick = np.zeros((width, steps * width))
        pick[:, t * width : (t + 1) * width] = np.eye(width)
        n = p["cross"][t]
        h = h + w * (pick.T @ p["r"][t] @ pick + push.T @ n @ pick + pick.T @ n.T @ push)
        g = g + w * pick.T @ n.T @ now
        now, push = p["a"][t] @ now, p["a"][t] @ push + p["b"][t] @ pick
    best = -np.linalg.solve(h, g)
    return float(constant + g @ best), best[:width]


@pytest.mark.parametrize("gamma", [1.0, 0.8])
def test_a_time_varying_regulator_is_the_least_squares_optimum(gamma: float) -> None:
    p, x0 = time_varying(0), np.array([1.0, -2.0, 0.5])
    found = lqr(**p, discount=gamma)
    cost, first = dense_optimum(p, x0, gamma)
    assert float(x0 @ found.cost[0].numpy() @ x0) == pytest.approx(cost, rel=1e-9)
    np.testing.assert_allclose(-found.gain[0].numpy() @ x0, first, rtol=1e-8)


def test_a_batch_is_its_rows_one_by_one() -> None:
    rows = [time_varying(seed) for seed in range(3)]
    batch = lqr(**{name: np.stack([row[name] for row in rows]) for name in rows[0]})
    for i, row in enumerate(rows):
        np.testing.assert_allclose(batch.gain[i], lqr(**row).gain, rtol=1e-9)
    many = dare(A, B, np.stack([Q, 2 * Q]), R)
    np.testing.assert_allclose(many.cost[1], dare(A, B, 2 * Q, R).cost, rtol=1e-9)


def test_the_regulator_does_not_care_whether_matrices_are_repeated() -> None:
    stacked = lqr(np.stack([A] * 5), B, np.stack([Q] * 5), R, FINAL)
    torch.testing.assert_close(stacked.gain, lqr(A, B, Q, R, FINAL, horizon=5).gain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": np.eye(3)}, r"a must have shape \[..., 2, 2\] beside b \[..., 2, 1\], got \[3, 3\]"),
        ({"r": np.eye(2)}, r"r must have shape \[..., 1, 1\]"),
        ({"q": np.array([[1.0, 1.0], [0.0, 1.0]])}, "q is not symmetric"),
        ({"b": np.array([[np.nan], [1.0]])}, "b holds NaN"),
        ({"r": np.array([[-1.0]])}, r"R \+ B'PB of step 4 has the eigenvalue"),
        ({"horizon": None}, "needs a horizon"),
        ({"horizon": 0}, "horizon is an integer, at least 1"),
        ({"discount": 1.5}, r"discount is in \(0, 1\]"),
        ({"horizon": None, "a": np.stack([A] * 4), "b": np.stack([B] * 3)}, "4 steps of every matrix"),
    ],
)
def test_what_makes_no_sense_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lqr(**{"a": A, "b": B, "q": Q, "r": R, "final": FINAL, "horizon": 5} | change)


def test_a_system_that_no_action_can_hold_is_refused_by_its_mode() -> None:
    a, b = np.diag([1.5, 0.5]), np.array([[0.0], [1.0]])
    assert unreachable(a, b) == pytest.approx(1.5)
    with pytest.raises(ValueError, match=r"not stabilisable: the mode with eigenvalue 1\.5"):
        dare(a, b, np.eye(2), np.eye(1))
    assert float(dare(a, b, np.eye(2), np.eye(1), discount=0.4).cost[0, 0]) == pytest.approx(1 / (1 - 0.4 * 1.5**2))


def test_a_lasting_mode_that_costs_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="q must penalise"):
        dare(np.eye(1), np.eye(1), np.zeros((1, 1)), np.eye(1))


# --- the same as a model ------------------------------------------------------------------------------------------


def model(gamma: float = 1.0, bound: float = 100.0) -> LinearQuadratic:
    a, b, q, r, final = (torch.from_numpy(x) for x in (A, B, Q, R, FINAL))
    top = torch.tensor([bound], dtype=torch.float64)
    return LinearQuadratic(a, b, q, r, final, BoxActions(-top, top), gamma)


def test_the_model_keeps_its_contract_and_refuses_other_states() -> None:
    check.check_model(model(0.9), [[1.0, 0.0], [0.0, 2.0]], gradients=True)
    with pytest.raises(ValueError, match=r"\[B, 2\]"):
        model().start([[1.0, 2.0, 3.0]])


def test_walking_the_regulators_law_earns_its_cost() -> None:
    world = model(0.9)
    states, _ = world.start([[1.0, -1.0], [0.3, 2.0]])
    law, total, weight = world.optimum(12), 0.0, 1.0
    wanted = -((states @ law.cost[0]) * states).sum(-1)
    for t in range(12):
        states, said = world.expand(states, -states @ law.gain[t].T)
        total, weight = total + weight * said.reward, weight * 0.9
    torch.testing.assert_close(total + weight * said.value, wanted)


def test_a_sampling_planner_comes_near_the_optimum() -> None:
    from forethought.planning import Budget, plan

    world, starts = model(bound=4.0), [[1.0, 0.0], [-0.5, 0.5]]
    planner = CEM(horizon=10, iterations=8, vectors=GaussianSettings(min_std=0.005))
    found = plan(planner, world, starts, Budget(nodes=10_000)).plan
    states = world.start(starts)[0]
    best = -((states @ world.optimum(10).cost[0]) * states).sum(-1).numpy()
    assert ((found.value <= best + 1e-6) & (found.value > 1.01 * best)).all()


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor, np.ndarray.tolist])
def test_complex_matrices_are_refused_and_never_cut_to_their_real_parts(place: int, convert: Any) -> None:
    """scipy solves such systems; float64 would drop the imaginary parts and answer another question."""
    matrices = [A, B, Q, R, FINAL]
    matrices[place] = matrices[place] + 1j * np.ones_like(matrices[place])
    given = [convert(x) for x in matrices]
    name = ("a", "b", "q", "r", "final")[place]
    with pytest.raises(ValueError, match=f"^{name} is complex"):
        lqr(*given, horizon=3)
    if name != "final":
        with pytest.raises(ValueError, match=f"^{name} is complex"):
            dare(*given[:4])
    with pytest.raises(ValueError, match=r"^cross is complex"):
        dare(A, B, Q, R, cross=1j * B)


@pytest.mark.parametrize("unit", [2.0**-60, 2.0**60])
def test_neither_the_unit_of_costs_nor_that_of_actions_changes_what_is_solved(unit: float) -> None:
    wanted = dare(A, B, Q, R)
    scaled = dare(A, B, unit * Q, unit * R)
    np.testing.assert_allclose(scaled.gain, wanted.gain, rtol=1e-9)
    assert unreachable(A, unit * B) is None
    asymmetric = unit * np.array([[1.0, 0.1], [0.0, 1.0]])
    with pytest.raises(ValueError, match="q is not symmetric"):
        dare(A, B, asymmetric, R)
