"""Best-of-N, CEM, iCEM and MPPI: sample candidates, weigh their returns, refit the distribution they came from.

All are one loop and differ only in the weights, so each planner here is its settings and one short function. The loop
over action vectors is in `sampling/gaussian.py`, the loop over indexed actions (text included) in `paths.py`. This file
contains no model, no tree and no noise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .interface import ActionSpace, BoxActions, Expansion, Keys, Size, WarmStartable
from .sampling.gaussian import GaussianSearch
from .sampling.weights import equal_weights, finite_std, soft_weights
from .settings_checks import check_choices, check_integers, check_numbers, check_setting
from .shooting_settings import Array, GaussianSettings, PathSettings, Schedule
from .trees.paths import PathsSearch
from .vectors.risk import Risk, at_risk, check_risk, nan_to_neg_inf

SMALLEST_ENDLESS_POPULATION = 64
"""Candidates per iteration where the budget is not in nodes, so that it cannot be divided into iterations."""


@dataclass(frozen=True, kw_only=True)
class Shooting(ABC):
    """Settings that all these planners share.

    horizon: H, actions in a sequence; shortened to a smaller budget. For indexed actions the most steps of a path; with
        `SampledActions` (text) paths go to their ends.
    iterations: the most refits. population: candidates of each iteration; None divides the budget, so that all of it is
        used, into as many iterations as have at least `min_population` candidates each.
    keep: best sequences carried into the next iteration with the returns they had, not evaluated again.
    decay: each iteration has this many times fewer candidates than the one before, but at least `min_population`.
    smoothing: fraction of the old distribution that survives a refit.
    answer: the plan is the final mean, or the best sequence seen (whose return is biased upwards in noisy models).
    risk: how returns over particles or ensemble members become one score, after the sum over time: their mean, the
        worst, or ("cvar", alpha), the mean of the worst fraction alpha.
    vectors: settings for action vectors only. paths: settings for indexed actions only. To change one of a planner's
        defaults and keep the others: `ICEM(vectors=replace(ICEM.vectors, std=0.3))`, by `dataclasses.replace`.
    """

    horizon: int = 20
    iterations: int = 4
    population: int | None = None
    min_population: int = 16
    keep: int = 0
    decay: float = 1.0
    smoothing: float = 0.0
    answer: Literal["mean", "best"] = "best"
    risk: Risk = "mean"
    vectors: GaussianSettings = field(default=GaussianSettings())
    paths: PathSettings = field(default=PathSettings())

    def __post_init__(self) -> None:
        check_integers(self, 1, "horizon", "iterations", "min_population")
        check_integers(self, 1, "population", optional=True)
        check_integers(self, 0, "keep")
        check_numbers(self, "decay", least=1)
        check_numbers(self, "smoothing", least=0, below=1)
        check_choices(self, answer=("mean", "best"))
        check_setting(isinstance(self.vectors, GaussianSettings), "vectors", "GaussianSettings", self.vectors)
        check_setting(isinstance(self.paths, PathSettings), "paths", "PathSettings", self.paths)
        check_risk(self.risk)

    def begin(
        self, root: Expansion, actions: ActionSpace, size: Size, *, keys: Keys, after: WarmStartable | None = None
    ) -> GaussianSearch | PathsSearch:
        """A `GaussianSearch` over vectors, a `PathsSearch` over indexed actions; see `Planner.begin`."""
        if isinstance(actions, BoxActions):
            return GaussianSearch(self, root, actions, size, keys, after)
        return PathsSearch(self, root, actions, size, keys, after)

    def schedule(self, size: Size) -> Schedule:
        """How a budget of `size.nodes` becomes iterations of candidates of H nodes each; never more than the budget."""
        horizon = max(1, min(self.horizon, size.nodes))
        if self.population is not None:
            decayed = self.population / self.decay ** np.arange(self.iterations)
            numbers = np.maximum(decayed.round(), min(self.population, self.min_population))
            return Schedule(horizon, numbers.astype(np.int64), False, "exhausted")
        if not size.exact:
            population = max(SMALLEST_ENDLESS_POPULATION, self.min_population)
            return Schedule(horizon, np.array([population]), True, "budget")
        return Schedule(horizon, self._divided(size.nodes // horizon), False, "budget")

    def _divided(self, total: int) -> NDArray[np.int64]:
        """`total` candidates divided into the most iterations of which the last has at least `min_population`."""
        iterations = self.iterations
        while True:
            ratios = self.decay ** -np.arange(float(iterations))
            edges = (total * np.cumsum(ratios) / ratios.sum()).round().astype(np.int64)
            numbers: NDArray[np.int64] = np.sort(np.diff(edges, prepend=0))[::-1]
            if iterations == 1 or numbers[-1] >= self.min_population:
                return numbers
            iterations -= 1

    def reduce(self, returns: Tensor) -> Tensor:
        """[M, K, P] to [M, K] by `risk`; minus infinity where a return is not finite."""
        return at_risk(returns, self.risk)

    def weigh(self, returns: Array) -> Array:
        """Weights that sum to 1 over the last axis, of returns [K] or [B, K], tensor or array.

        A return that is not finite (NaN, either infinity) has weight 0; where none is finite, all have.
        """
        if isinstance(returns, Tensor):
            return self._weights(nan_to_neg_inf(returns))
        given = np.asarray(returns)
        tensor = torch.from_numpy(np.array(given, dtype=np.result_type(given, np.float32)))
        return self.weigh(tensor).numpy()

    def weigh_samples(self, returns: Tensor, samples: Tensor, mean: Tensor, std: Tensor, middle: Tensor) -> Tensor:
        """`weigh`, for planners whose weights also depend on where a candidate was sampled.

        returns [M, K] of samples [M, K, H, D]; mean, std [M, H, D] of the proposal; middle [D] of the box.
        """
        return self.weigh(returns)

    @abstractmethod
    def _weights(self, returns: Tensor) -> Tensor:
        """`weigh` of a tensor [..., K] whose entries are finite or minus infinity."""


@dataclass(frozen=True, kw_only=True)
class BestOfN(Shooting):
    """All weight on the single best candidate: random shooting; with text, best-of-N sampling.

    There is one iteration: all candidates are sampled from the initial distribution.
    """

    iterations: int = 1
    vectors: GaussianSettings = field(default=GaussianSettings(adapt_std=False))

    def _weights(self, returns: Tensor) -> Tensor:
        return equal_weights(returns, 0.0)


@dataclass(frozen=True, kw_only=True)
class CEM(Shooting):
    """The cross-entropy method (Rubinstein 1999; de Boer et al. 2005, algorithm 4.1).

    Each iteration, over action vectors a_1 .. a_K:

        sample           a_k ~ N(mean, std^2), clipped to the box                   GaussianSearch.ask, Gaussian.sample
        evaluate         R_k = return of a_k under the model                        rollout, called by the driver
        select elites    w_k = 1 / E for the E best R_k, 0 for the others           CEM._weights
        refit            mean = sum w_k a_k,  std^2 = sum w_k (a_k - mean)^2        Gaussian.refit

    elites: E as a fraction of the finite candidates, at least one.
    """

    elites: float = 0.15

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, "elites", above=0, most=1)

    def _weights(self, returns: Tensor) -> Tensor:
        return equal_weights(returns, self.elites)


@dataclass(frozen=True, kw_only=True)
class ICEM(CEM):
    """CEM for few candidates: Pinneri et al. 2020, "Sample-efficient cross-entropy method for real-time planning".

    It is algorithm 1 with the additions of section 3.1, each of which is a setting:

        coloured noise   power of the noise ~ 1 / frequency^beta             vectors.noise_beta
        C_clip           samples are clipped to the box                      always
        C_decay          K_i = K_1 / decay^i candidates in iteration i       decay
        C_keep           the best `keep` candidates stay candidates          keep
        C_shift          elites of the last decision, shifted by a step      vectors.reuse_elites
        C_mean           the mean is a candidate in the last iteration       vectors.include_mean = "last"

    Defaults are those of the paper's table S2 where it has one value for all tasks; its beta runs from 0.25 to 4.
    """

    elites: float = 0.1
    keep: int = 3
    decay: float = 1.25
    smoothing: float = 0.1
    vectors: GaussianSettings = field(default=GaussianSettings(reuse_elites=3, noise_beta=2.0, include_mean="last"))


@dataclass(frozen=True, kw_only=True)
class MPPI(Shooting):
    """Model predictive path integral control: Williams et al. 2017, ICRA, "Information theoretic MPC for model-based
    reinforcement learning", equation 22 and algorithm 2.

        w_k  =  exp(R_k / temperature  -  control_cost sum_t (mean_t - middle)' Sigma^-1 noise_kt)  /  normaliser
        mean =  sum_k w_k a_k,     where  a_k = mean + noise_k

    temperature: the paper's lambda, in units of the return, or (scale "spread") of the standard deviation of the
        candidates' returns, which makes one setting fit tasks of any reward scale. The paper's constant deviation is
        `vectors.adapt_std=False`. Over text MPPI is particle resampling: solutions survive in proportion to their
        weight.
    control_cost: the paper's gamma / lambda, in [0, 1], for vectors only. It pulls the mean back to the middle of the
        box. With 1 the weights are those of samples drawn around the middle, so that the mean goes there where all
        returns are equal; with 0 it stays.
    """

    temperature: float = 0.2
    control_cost: float = 0.0
    scale: Literal["absolute", "spread"] = "spread"
    answer: Literal["mean", "best"] = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, "temperature", above=0)
        check_choices(self, scale=("absolute", "spread"))
        check_numbers(self, "control_cost", least=0, most=1)

    def _weights(self, returns: Tensor) -> Tensor:
        return soft_weights(returns, self._temperature_of(returns))

    def _temperature_of(self, returns: Tensor) -> Tensor:
        """[..., 1] the temperature in units of the return, above 0."""
        unit = finite_std(returns) if self.scale == "spread" else torch.ones_like(returns[..., :1])
        return (self.temperature * unit).clamp(min=torch.finfo(returns.dtype).tiny)

    def weigh_samples(self, returns: Tensor, samples: Tensor, mean: Tensor, std: Tensor, middle: Tensor) -> Tensor:
        if self.control_cost == 0:
            return self.weigh(returns)
        noise = (samples - mean[:, None]) / std.clamp(min=torch.finfo(std.dtype).tiny)[:, None]
        cost = ((mean - middle) / std.clamp(min=torch.finfo(std.dtype).tiny))[:, None] * noise
        returns = nan_to_neg_inf(returns)
        gap = returns - returns.amax(-1, keepdim=True)
        exponent = gap / self._temperature_of(returns) - self.control_cost * cost.sum((-1, -2))
        return soft_weights(nan_to_neg_inf(exponent), torch.ones_like(exponent[..., :1]))
