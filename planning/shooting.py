"""Best-of-N, CEM, iCEM and MPPI: sample candidates, weigh their returns, refit.

All are one loop over a distribution of action sequences and differ in the weights alone; each is here with its
settings and one short function. The loop over vectors is in `gaussian.py`, that over slots (text included) in
`paths.py`. No model, no tree and no noise in this file.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .interface import ActionSpace, BoxActions, Evaluate, Expansion, Keys, Size
from .sampling.gaussian import GaussianSearch
from .sampling.weights import equal_weights, soft_weights, spread
from .vectors.risk import Risk, at_risk, check_risk, finite_or_lost, want

Array = TypeVar("Array", Tensor, NDArray[Any])


@dataclass(frozen=True)
class Schedule:
    """Candidates per iteration. endless: the last number goes on until the driver ends it. why: reason at the end."""

    horizon: int
    populations: NDArray[np.int64]
    endless: bool
    stop_reason: str

    def at(self, iteration: NDArray[np.int64]) -> NDArray[np.int64]:
        """[B] candidates of each row's iteration, 0 after the last."""
        last = len(self.populations) - 1
        number = self.populations[np.minimum(iteration, last)]
        return number if self.endless else np.where(iteration > last, 0, number)


@dataclass(frozen=True, kw_only=True)
class Shooting(ABC):
    """Settings that the three planners share.

    horizon: H, actions in a sequence; shortened to a smaller budget. For slots: the most steps of a path; an unbounded
        offer (text) is walked to its ends.
    iterations: the most refits. population: candidates of each; None shares the budget out, so that all of it is
        used, over as many iterations as have at least `fewest` candidates each (the first get the odd ones).
    keep: best sequences carried into the next iteration with the returns they had, not evaluated again.
    decay: each iteration has this many times fewer candidates than the one before (but `fewest`, where shared out).
    smoothing: share of the old distribution that survives a refit.
    answer: the plan is the final mean, or the best sequence seen (for noisy models best is too hopeful).
    risk: what a candidate's returns over particles or members count for, after the sum over time: their mean, the
        worst, or ("cvar", alpha), the mean of the worst share alpha.
    For vectors only: std, initial deviation as a fraction of the half-range; warm_std, the same after a warm start,
        None like std; least_std, its floor; adapt, whether refits change it; center, whether candidate 0 is the mean
        itself, always or in the last iteration only; carry, how many of the sequences kept by the decision before are
        among the first candidates of the next; repeat_last, whether a warm start fills its open end with the last
        action or the middle of the box; beta, colour of the noise: 0 white, 1 pink, 2 red (smooth motions are found
        sooner, the last digits of jagged ones later).
    For slots only: width, slots of an unbounded offer considered at every node, None leaves it to the search;
        prior, weight of the prior against counts in a refit; parallel, candidates of a problem under way at once, None:
        one for `SampledActions()`, as many as the budget holds whole for `DiscreteActions(n)`; valued, which states the model is to
        judge, None: finished ones of an unbounded offer, all of `DiscreteActions(n)`.
    """

    horizon: int = 20
    iterations: int = 4
    population: int | None = None
    fewest: int = 16
    keep: int = 0
    decay: float = 1.0
    smoothing: float = 0.0
    answer: Literal["mean", "best"] = "best"
    risk: Risk = "mean"
    std: float = 0.5
    warm_std: float | None = None
    least_std: float = 0.05
    adapt: bool = True
    center: bool | Literal["last"] = True
    carry: int = 0
    repeat_last: bool = True
    beta: float = 1.0
    width: int | None = None
    prior: float = 1.0
    parallel: int | None = None
    evaluate: Evaluate | None = None

    def __post_init__(self) -> None:
        for name in ("horizon", "iterations", "fewest"):
            want(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        want(self.population is None or self.population >= 1, "population", "at least 1 or None", self.population)
        want(self.width is None or self.width >= 1, "width", "at least 1 or None", self.width)
        want(self.parallel is None or self.parallel >= 1, "parallel", "at least 1 or None", self.parallel)
        for name in ("keep", "carry"):
            want(getattr(self, name) >= 0, name, "at least 0", getattr(self, name))
        want(1 <= self.decay < math.inf, "decay", "at least 1 and finite", self.decay)
        want(self.center in (True, False, "last"), "center", "True, False or 'last'", self.center)
        want(0 <= self.smoothing < 1, "smoothing", "in [0, 1)", self.smoothing)
        for name in ("std", "least_std", "prior"):
            want(getattr(self, name) >= 0, name, "at least 0", getattr(self, name))
        want(self.warm_std is None or self.warm_std >= 0, "warm_std", "at least 0 or None", self.warm_std)
        want(self.answer in ("mean", "best"), "answer", "mean or best", self.answer)
        check_risk(self.risk)

    def begin(self, root: Expansion, actions: ActionSpace, size: Size, *, keys: Keys, after: Any | None = None) -> Any:
        """A `GaussianSearch` over vectors, a `PathsSearch` over slots; see `Planner.begin`."""
        if isinstance(actions, BoxActions):
            return GaussianSearch(self, root, actions, size, keys, after)
        from .paths import PathsSearch

        return PathsSearch(self, root, actions, size, keys, after)

    def schedule(self, size: Size) -> Schedule:
        """How a budget of `size.nodes` becomes iterations of candidates of H nodes each; never more than the budget."""
        horizon = max(1, min(self.horizon, size.nodes))
        if self.population is not None:
            fading = self.population / self.decay ** np.arange(self.iterations)
            numbers = np.maximum(fading.round(), min(self.population, self.fewest))
            return Schedule(horizon, numbers.astype(np.int64), False, "exhausted")
        if not size.exact:
            return Schedule(horizon, np.array([max(64, self.fewest)]), True, "budget")
        return Schedule(horizon, self._shared(size.nodes // horizon), False, "budget")

    def _shared(self, total: int) -> NDArray[np.int64]:
        """`total` candidates over the iterations, the last of which has `fewest` or there are fewer iterations."""
        iterations = self.iterations
        while True:
            shares = self.decay ** -np.arange(float(iterations))
            edges = (total * np.cumsum(shares) / shares.sum()).round().astype(np.int64)
            numbers = np.sort(np.diff(edges, prepend=0))[::-1]
            if iterations == 1 or numbers[-1] >= self.fewest:
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
            return self._weights(finite_or_lost(returns))
        given = np.asarray(returns)
        number = torch.from_numpy(np.array(given, dtype=np.result_type(given, np.float32)))
        return self.weigh(number).numpy()

    def weigh_samples(self, returns: Tensor, samples: Tensor, mean: Tensor, std: Tensor, middle: Tensor) -> Tensor:
        """`weigh` of returns [M, K] of samples [M, K, H, D] drawn around mean and with std [M, H, D] in a box with this
        middle [D]; for weights that depend on where a sample was drawn."""
        return self.weigh(returns)

    @abstractmethod
    def _weights(self, returns: Tensor) -> Tensor:
        """`weigh` of a tensor [..., K] whose entries are finite or minus infinity."""


@dataclass(frozen=True, kw_only=True)
class BestOfN(Shooting):
    """All weight on the single best: random shooting, and with text best-of-N sampling.

    One iteration: the whole budget is drawn from the initial distribution.
    """

    iterations: int = 1
    adapt: bool = False

    def _weights(self, returns: Tensor) -> Tensor:
        return equal_weights(returns, 0.0)


@dataclass(frozen=True, kw_only=True)
class CEM(Shooting):
    """Equal weights on the elites: the cross-entropy method (Rubinstein 1999; de Boer et al. 2005, algorithm 4.1).

    elites: their share of the finite candidates, at least one.
    """

    elites: float = 0.15

    def __post_init__(self) -> None:
        super().__post_init__()
        want(0 < self.elites <= 1, "elites", "in (0, 1]", self.elites)

    def _weights(self, returns: Tensor) -> Tensor:
        return equal_weights(returns, self.elites)


@dataclass(frozen=True, kw_only=True)
class ICEM(CEM):
    """CEM for few candidates: Pinneri et al. 2020, "Sample-efficient cross-entropy method for real-time planning",
    algorithm 1 (C_clip, C_keep, C_shift, C_decay, C_mean and coloured noise of section 3.1).

    Defaults are its table S2's where that has one value for all tasks; beta there runs from 0.25 to 4.
    """

    elites: float = 0.1
    keep: int = 3
    carry: int = 3
    decay: float = 1.25
    smoothing: float = 0.1
    beta: float = 2.0
    center: bool | Literal["last"] = "last"


@dataclass(frozen=True, kw_only=True)
class MPPI(Shooting):
    """Weights exp(return / temperature): model predictive path integral control (Williams et al. 2017, ICRA,
    "Information theoretic MPC for model-based reinforcement learning", equation 22 and algorithm 2).

    temperature: in units of the return, or (scale "spread") of the standard deviation of the candidates' returns,
    which makes one setting serve tasks of any reward scale. The paper's fixed deviation is adapt=False. Over text
    this is particle resampling: solutions survive in proportion to their weight.
    control_cost: its gamma / lambda, from 0 to 1, for vectors only: how far a mean that has left the middle of the box
        is held back, by weights exp(return / temperature - control_cost sum_t (mean_t - middle)' Sigma^-1 noise_t)
        (algorithm 2). With 1 the weights are those of samples drawn around the middle, and where all returns are
        alike the mean goes back there; with 0 it stays.
    """

    temperature: float = 0.2
    control_cost: float = 0.0
    scale: Literal["absolute", "spread"] = "spread"
    answer: Literal["mean", "best"] = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        want(0 < self.temperature < math.inf, "temperature", "above 0 and finite", self.temperature)
        want(self.scale in ("absolute", "spread"), "scale", "absolute or spread", self.scale)
        want(0 <= self.control_cost <= 1, "control_cost", "in [0, 1]", self.control_cost)

    def _weights(self, returns: Tensor) -> Tensor:
        return soft_weights(returns, self._warmth(returns))

    def _warmth(self, returns: Tensor) -> Tensor:
        """[..., 1] the temperature in units of the return, above 0."""
        unit = spread(returns) if self.scale == "spread" else torch.ones_like(returns[..., :1])
        return (self.temperature * unit).clamp(min=torch.finfo(returns.dtype).tiny)

    def weigh_samples(self, returns: Tensor, samples: Tensor, mean: Tensor, std: Tensor, middle: Tensor) -> Tensor:
        if self.control_cost == 0:
            return self.weigh(returns)
        noise = (samples - mean[:, None]) / std.clamp(min=torch.finfo(std.dtype).tiny)[:, None]
        pull = ((mean - middle) / std.clamp(min=torch.finfo(std.dtype).tiny))[:, None] * noise
        returns = finite_or_lost(returns)
        gap = returns - returns.amax(-1, keepdim=True)
        tilted = gap / self._warmth(returns) - self.control_cost * pull.sum((-1, -2))
        return soft_weights(finite_or_lost(tilted), torch.ones_like(tilted[..., :1]))
