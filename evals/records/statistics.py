"""Intervals and tests for scores of the same problems under several planners.

Scores of 0 or 1 get Wilson's interval, and pairs of them the exact McNemar test and Tango's interval. Other scores
such as returns get the bootstrap interval over problems, and pairs of them the sign-flip test. Functions that use
random numbers are seeded and return the same result every time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

LEVEL = 0.95
RESAMPLES = 4000
EXACT_FLIPS = 14
LEAST_PAIRS = 6
"""Pairs from which on the exact two-sided tests can give p below 0.05."""

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """An estimate with its 95 % confidence interval from `low` to `high`, in the units of the scores."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Paired:
    """Mean difference of two planners over the same problems, its interval and the p of no difference.

    clear: whether the interval excludes zero; for returns also whether p is below 0.05, since the bootstrap interval is
        too narrow for a handful of episodes. Fewer than `LEAST_PAIRS` pairs can never show a difference.
    """

    difference: float
    low: float
    high: float
    p: float
    clear: bool


def is_binary(scores: Sequence[float] | Scores) -> bool:
    """Whether every score is 0 or 1."""
    return bool(np.isin(np.asarray(scores), (0.0, 1.0)).all())


def wilson(successes: int, n: int, level: float = LEVEL) -> Estimate:
    """A proportion with Wilson's score interval (1927)."""
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"wilson expects 0 <= successes <= n and n > 0, got {successes} of {n}")
    z = stats.norm.ppf(0.5 + level / 2)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Estimate(p, max(0.0, centre - half), min(1.0, centre + half))


def bootstrap(values: Sequence[float] | Scores, level: float = LEVEL, seed: int = 0) -> Estimate:
    """A mean with the bias-corrected and accelerated bootstrap interval (Efron 1987) over problems."""
    data = np.asarray(values, float)
    mean = float(data.mean())
    if len(data) < 2 or np.ptp(data) == 0:
        return Estimate(mean, mean, mean)
    found = stats.bootstrap(
        (data,), np.mean, confidence_level=level, n_resamples=RESAMPLES, rng=np.random.default_rng(seed)
    ).confidence_interval
    low, high = (edge if np.isfinite(edge) else mean for edge in (found.low, found.high))
    return Estimate(mean, float(low), float(high))


def student(values: Sequence[float] | Scores, level: float = LEVEL) -> Estimate:
    """A mean with Student's t interval (1908), for a few independent training seeds; NaN bounds for a single value."""
    data = np.asarray(values, float)
    half = stats.t.ppf(0.5 + level / 2, len(data) - 1) * data.std(ddof=1) / sqrt(len(data)) if len(data) > 1 else np.nan
    return Estimate(float(data.mean()), float(data.mean() - half), float(data.mean() + half))


def clopper_pearson(successes: int, n: int, level: float = LEVEL) -> Estimate:
    """A proportion with the exact binomial interval (Clopper and Pearson 1934), which covers at least `level`."""
    found = stats.binomtest(successes, n).proportion_ci(level, method="exact")
    return Estimate(successes / n, float(found.low), float(found.high))


def estimate(scores: Sequence[float] | Scores) -> Estimate:
    """The mean with Wilson's interval for scores of 0 or 1 and the bootstrap interval for others; NaN for no scores."""
    data = np.asarray(scores, float)
    if not len(data):
        return Estimate(float("nan"), float("nan"), float("nan"))
    return wilson(int(data.sum()), len(data)) if is_binary(data) else bootstrap(data)


def mcnemar(wins: int, losses: int) -> float:
    """The exact two-sided p of McNemar's test, from the pairs in which only one of the two is correct."""
    if wins + losses == 0:
        return 1.0
    return float(stats.binomtest(wins, wins + losses, 0.5).pvalue)


def least_p(pairs: int) -> float:
    """The least p of McNemar's test and the sign-flip test: of all 2^n sign patterns at least two reach the extreme."""
    return min(1.0, 2.0 ** (1 - pairs))


def least_difference(pairs: int) -> float:
    """The least difference of two accuracies over so many problems that is clear; infinity where none can be."""
    if pairs < LEAST_PAIRS:
        return float("inf")
    return next((wins / pairs for wins in range(1, pairs + 1) if tango(wins, 0, pairs).low > 0), float("inf"))


def _tango_score(delta: float, wins: int, losses: int, n: int) -> float:
    """Tango's statistic for a true difference of `delta` (Statistics in Medicine 17:891, equations 4 to 6)."""
    a = 2 * n
    b = -wins - losses + (2 * n - wins + losses) * delta
    c = -losses * delta * (1 - delta)
    q = (sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = n * max(0.0, 2 * q + delta * (1 - delta))
    gap = wins - losses - n * delta
    if variance == 0.0:
        return 0.0 if gap == 0 else float(np.copysign(np.inf, gap))
    return float(gap / sqrt(variance))


def tango(wins: int, losses: int, n: int, level: float = LEVEL) -> Estimate:
    """The difference of two paired proportions with Tango's score interval (1998).

    wins, losses: pairs in which only the first, only the second is correct; n: all pairs.
    """
    if min(wins, losses) < 0 or wins + losses > n or n == 0:
        raise ValueError(f"tango expects wins + losses <= n and n > 0, got {wins} + {losses} of {n}")
    z = float(stats.norm.ppf(0.5 + level / 2))
    middle = (wins - losses) / n

    def edge(side: float) -> float:
        end = side * (1 - 1e-12)
        if side * _tango_score(end, wins, losses, n) > -z:
            return side
        return float(optimize.brentq(lambda d: side * _tango_score(d, wins, losses, n) + z, middle, end, xtol=1e-12))

    return Estimate(middle, edge(-1.0), edge(1.0))


def sign_flips(differences: Sequence[float] | Scores, seed: int = 0, draws: int = 20_000) -> float:
    """Two-sided p of the hypothesis that paired differences are symmetric about zero.

    All sign patterns are enumerated for up to `EXACT_FLIPS` non-zero differences, otherwise `draws` are sampled.
    """
    data = np.asarray(differences, float)
    data = data[data != 0]
    if not len(data):
        return 1.0
    exact = len(data) <= EXACT_FLIPS
    if exact:
        bits = (np.arange(2 ** len(data))[:, None] >> np.arange(len(data))) & 1
        signs = 2.0 * bits - 1.0
    else:
        signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(draws, len(data)))
    reached = np.abs(signs @ data) >= abs(data.sum()) * (1 - 1e-12)
    return float(reached.mean()) if exact else float((reached.sum() + 1) / (draws + 1))


def paired(first: Sequence[float] | Scores, second: Sequence[float] | Scores) -> Paired:
    """The mean difference of two planners' scores on the same problems in the same order."""
    one, two = np.asarray(first, float), np.asarray(second, float)
    if one.shape != two.shape or one.ndim != 1 or not len(one):
        raise ValueError(f"paired expects two equal, non-empty rows of scores, got {one.shape} and {two.shape}")
    if is_binary(one) and is_binary(two):
        wins, losses = int(((one == 1) & (two == 0)).sum()), int(((one == 0) & (two == 1)).sum())
        found = tango(wins, losses, len(one))
        clear = (found.low > 0 or found.high < 0) and len(one) >= LEAST_PAIRS
        return Paired(found.value, found.low, found.high, mcnemar(wins, losses), clear)
    found, p = bootstrap(one - two), sign_flips(one - two)
    return Paired(found.value, found.low, found.high, p, (found.low > 0 or found.high < 0) and p < 1 - LEVEL)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): each p times the number of p not smaller than it, made monotone."""
    order = np.argsort(ps, kind="stable")
    corrected, running = [0.0] * len(ps), 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(ps) - rank) * ps[index]))
        corrected[index] = running
    return corrected
