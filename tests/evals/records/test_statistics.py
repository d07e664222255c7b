"""Intervals and tests against published figures and against independent computations."""

import itertools
from math import comb

import numpy as np
import pytest

from forethought.evals.records.statistics import bootstrap, estimate, holm, mcnemar, paired, sign_flips, tango, wilson


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_figures_of_newcombe_1998(successes, n, low, high):
    found = wilson(successes, n)
    assert found.low == pytest.approx(low, abs=5e-5)
    assert found.high == pytest.approx(high, abs=5e-5)


def test_tango_gives_the_figures_of_fagerland_2014():
    found = tango(1, 7, 21)  # airway hyper-responsiveness, Bentur et al. 2009
    assert (found.value, found.low, found.high) == pytest.approx((-0.286, -0.517, -0.026), abs=5e-4)


def slow_score(delta, wins, losses, n):
    """Tango's statistic with the nuisance parameter maximised over a fine grid of the likelihood."""
    q = np.linspace(max(0, -delta), (1 - delta) / 2, 200_001)
    p = q + delta
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [k * np.log(x) if k else 0 * x for k, x in ((wins, p), (losses, q), (n - wins - losses, 1 - p - q))]
    best = q[np.nanargmax(sum(parts))]
    return (wins - losses - n * delta) / np.sqrt(n * (2 * best + delta - delta**2))


@pytest.mark.parametrize(("wins", "losses", "n"), [(12, 2, 50), (40, 20, 160), (3, 9, 40), (5, 1, 12)])
def test_tango_s_edges_solve_the_score_equation(wins, losses, n):
    found = tango(wins, losses, n)
    for edge, sign in ((found.low, 1), (found.high, -1)):
        assert slow_score(edge, wins, losses, n) == pytest.approx(sign * 1.959964, abs=2e-3)


def test_tango_holds_zero_exactly_where_mcnemar_s_z_is_small():
    for wins, losses in itertools.product(range(0, 15), repeat=2):
        found = tango(wins, losses, 40)
        z = abs(wins - losses) / max(1, wins + losses) ** 0.5
        assert (found.low <= 0 <= found.high) == (z <= 1.959964)


def test_tango_is_finite_at_every_corner():
    for wins, losses, n in [(0, 0, 30), (5, 0, 5), (0, 5, 5), (0, 1, 44)]:
        found = tango(wins, losses, n)
        assert -1 <= found.low <= found.value <= found.high <= 1
    assert tango(5, 0, 5).high == 1


def test_mcnemar_is_the_two_sided_binomial_tail():
    for wins, losses in [(7, 1), (3, 3), (10, 2), (0, 6)]:
        n, small = wins + losses, min(wins, losses)
        tail = sum(comb(n, k) for k in range(small + 1)) / 2**n
        assert mcnemar(wins, losses) == pytest.approx(min(1, 2 * tail))
    assert mcnemar(7, 1) == pytest.approx(0.0703, abs=5e-5)
    assert mcnemar(0, 0) == 1


def test_few_sign_flips_are_counted_in_full():
    differences = np.array([3.0, -1.0, 2.5, 4.0, 0.5])
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((-1, 1), repeat=5)]
    assert sign_flips(differences) == np.mean(np.array(sums) >= 9.0)


def test_many_sign_flips_are_sampled_and_repeatable():
    differences = np.random.default_rng(0).normal(0.0, 1.0, 40)
    assert sign_flips(differences) == sign_flips(differences)
    assert sign_flips(differences + 2) < 0.001
    assert sign_flips(np.zeros(9)) == 1


def test_bootstrap_covers_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    held = [(e := bootstrap(rng.normal(5, 2, 25))).low <= 5 <= e.high for _ in range(60)]
    assert sum(held) >= 51
    assert bootstrap([2.0, 2.0, 2.0]).low == 2


def test_holm_steps_down():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_estimate_picks_the_interval_by_kind():
    assert estimate([1, 0, 1, 1]) == wilson(3, 4)
    assert estimate([-120.0, -150.5, -98.0]).low < -120
    assert np.isnan(estimate([]).value)


def test_paired_uses_tango_for_right_and_wrong_and_the_bootstrap_for_returns():
    found = paired([1, 1, 1, 0, 1], [0, 1, 0, 0, 1])
    assert (found.difference, found.p) == (pytest.approx(0.4), pytest.approx(0.5))
    returns = paired([-100.0, -120, -130, -90, -95, -110], [-200.0, -215, -260, -180, -190, -240])
    assert returns.low > 80
    assert returns.p == pytest.approx(2 / 2**6)
    assert returns.clear and not found.clear
    few = paired([-100.0, -120, -130, -90], [-200.0, -215, -260, -180])
    assert few.low > 80 and not few.clear
    with pytest.raises(ValueError, match="equal"):
        paired([1, 0], [1])
