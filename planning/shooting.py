"""Best-of-N, CEM and MPPI: sample candidates, weigh their returns, refit.

The three are one loop over a distribution of action sequences and differ in the weights alone; each is here with its
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

from .gaussian import GaussianSearch
from .interface import ActionSpace, Box, Expansion, Keys, Size, Valued

Array = TypeVar("Array", Tensor, NDArray[Any])
Risk = Literal["mean", "worst"] | tuple[Literal["cvar"], float]


@dataclass(frozen=True)
class Schedule:
    """Candidates per iteration. endless: the last number goes on until the driver ends it. why: reason at the end."""

    horizon: int
    populations: NDArray[np.int64]
    endless: bool
    why: str

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
    smoothing: share of the old distribution that survives a refit.
    answer: the plan is the final mean, or the best sequence seen (for noisy models best is too hopeful).
    risk: what a candidate's returns over particles or members count for, after the sum over time: their mean, the
        worst, or ("cvar", alpha), the mean of the worst share alpha.
    For vectors only: std, initial deviation as a fraction of the half-range; warm_std, the same after a warm start,
        None like std; least_std, its floor; adapt, whether refits change it; center, whether candidate 0 is the mean
        itself; repeat_last, whether a warm start fills its open end with the last action or the middle of the box;
        beta, colour of the noise: 0 white, 1 pink, 2 red (smooth motions are found sooner, the last digits of
        jagged ones later).
    For slots only: width, slots of an unbounded offer considered at every node, None leaves it to the search;
        prior, weight of the prior against counts in a refit; parallel, candidates of a problem under way at once, None:
        one for `Slots(None)`, as many as the budget holds whole for `Slots(n)`; valued, which states the model is to
        judge, None: finished ones of an unbounded offer, all of `Slots(n)`.
    """

    horizon: int = 20
    iterations: int = 4
    population: int | None = None
    fewest: int = 16
    keep: int = 0
    smoothing: float = 0.0
    answer: Literal["mean", "best"] = "best"
    risk: Risk = "mean"
    std: float = 0.5
    warm_std: float | None = None
    least_std: float = 0.05
    adapt: bool = True
    center: bool = True
    repeat_last: bool = True
    beta: float = 1.0
    width: int | None = None
    prior: float = 1.0
    parallel: int | None = None
    valued: Valued | None = None

    def __post_init__(self) -> None:
        for name in ("horizon", "iterations", "fewest"):
            _want(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        _want(self.population is None or self.population >= 1, "population", "at least 1 or None", self.population)
        _want(self.width is None or self.width >= 1, "width", "at least 1 or None", self.width)
        _want(self.parallel is None or self.parallel >= 1, "parallel", "at least 1 or None", self.parallel)
        _want(self.keep >= 0, "keep", "at least 0", self.keep)
        _want(0 <= self.smoothing < 1, "smoothing", "in [0, 1)", self.smoothing)
        for name in ("std", "least_std", "prior"):
            _want(getattr(self, name) >= 0, name, "at least 0", getattr(self, name))
        _want(self.warm_std is None or self.warm_std >= 0, "warm_std", "at least 0 or None", self.warm_std)
        _want(self.answer in ("mean", "best"), "answer", "mean or best", self.answer)
        cvar = isinstance(self.risk, tuple) and self.risk[0] == "cvar" and 0 < self.risk[1] <= 1
        _want(cvar or self.risk in ("mean", "worst"), "risk", "mean, worst or ('cvar', 0 < alpha <= 1)", self.risk)

    def begin(self, root: Expansion, actions: ActionSpace, size: Size, *, keys: Keys, after: Any | None = None) -> Any:
        """A `GaussianSearch` over vectors, a `PathsSearch` over slots; see `Planner.begin`."""
        if isinstance(actions, Box):
            return GaussianSearch(self, root, actions, size, keys, after)
        from .paths import PathsSearch

        return PathsSearch(self, root, actions, size, keys, after)

    def schedule(self, size: Size) -> Schedule:
        """How a budget of `size.nodes` becomes iterations of candidates of H nodes each; never more than the budget."""
        horizon = max(1, min(self.horizon, size.nodes))
        if self.population is not None:
            return Schedule(horizon, np.full(self.iterations, self.population), False, "exhausted")
        if not size.exact:
            return Schedule(horizon, np.array([max(64, self.fewest)]), True, "budget")
        total = size.nodes // horizon
        iterations = max(1, min(self.iterations, total // self.fewest))
        populations = np.full(iterations, total // iterations)
        populations[: total % iterations] += 1
        return Schedule(horizon, populations, False, "budget")

    def reduce(self, returns: Tensor) -> Tensor:
        """[M, K, P] to [M, K] by `risk`; minus infinity where a return is not finite."""
        returns = torch.where(torch.isfinite(returns), returns, -torch.inf)
        if self.risk == "mean":
            return returns.mean(-1)
        if self.risk == "worst":
            return returns.amin(-1)
        worst = max(1, round(float(self.risk[1]) * returns.shape[-1]))
        return returns.sort(-1).values[..., :worst].mean(-1)

    def weigh(self, returns: Array) -> Array:
        """Weights that sum to 1 over the last axis, of returns [K] or [B, K], tensor or array.

        A return that is not finite (NaN, either infinity) has weight 0; where none is finite, all have.
        """
        if isinstance(returns, Tensor):
            return self._weights(torch.where(torch.isfinite(returns), returns, -torch.inf))
        given = np.asarray(returns)
        number = torch.from_numpy(np.array(given, dtype=np.result_type(given, np.float32)))
        return self.weigh(number).numpy()

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
        return equal_weights(returns, torch.ones_like(returns[..., 0]))


@dataclass(frozen=True, kw_only=True)
class CEM(Shooting):
    """Equal weights on the elites: the cross-entropy method (Rubinstein 1999; de Boer et al. 2005, algorithm 4.1).

    elites: their share of the finite candidates, at least one. With keep, beta and center it is iCEM (Pinneri et al.
    2020).
    """

    elites: float = 0.15

    def __post_init__(self) -> None:
        super().__post_init__()
        _want(0 < self.elites <= 1, "elites", "in (0, 1]", self.elites)

    def _weights(self, returns: Tensor) -> Tensor:
        finite = torch.isfinite(returns).sum(-1)
        return equal_weights(returns, (self.elites * finite).ceil().clamp(min=1))


@dataclass(frozen=True, kw_only=True)
class MPPI(Shooting):
    """Weights exp(return / temperature): model predictive path integral control (Williams et al. 2017, ICRA,
    "Information theoretic MPC for model-based reinforcement learning", equation 22 and algorithm 2).

    temperature: in units of the return, or (scale "spread") of the standard deviation of the candidates' returns,
    which makes one setting serve tasks of any reward scale. The paper's fixed deviation is adapt=False. Over text
    this is particle resampling: solutions survive in proportion to their weight.
    """

    temperature: float = 0.2
    scale: Literal["absolute", "spread"] = "spread"
    answer: Literal["mean", "best"] = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        _want(0 < self.temperature < math.inf, "temperature", "above 0 and finite", self.temperature)
        _want(self.scale in ("absolute", "spread"), "scale", "absolute or spread", self.scale)

    def _weights(self, returns: Tensor) -> Tensor:
        unit = spread(returns) if self.scale == "spread" else torch.ones_like(returns[..., :1])
        return soft_weights(returns, self.temperature * unit)


def equal_weights(returns: Tensor, count: Tensor) -> Tensor:
    """1 / count on the `count` [...] best finite of returns [..., K], ties to the lower index."""
    order = returns.argsort(dim=-1, descending=True, stable=True)
    places = torch.arange(order.shape[-1], device=order.device).expand_as(order)
    rank = torch.empty_like(order).scatter_(-1, order, places)
    chosen = (rank < count[..., None]) & torch.isfinite(returns)
    return chosen / chosen.sum(-1, keepdim=True).clamp(min=1).to(returns.dtype)


def soft_weights(returns: Tensor, temperature: Tensor) -> Tensor:
    """exp((R - max R) / temperature), normalised, of returns [..., K]: no exponent is above 0, so none overflows."""
    finite = torch.isfinite(returns)
    gap = torch.where(finite, returns - returns.amax(-1, keepdim=True), 0)
    weights = torch.exp(gap / temperature.clamp(min=torch.finfo(returns.dtype).tiny)) * finite
    return weights / weights.sum(-1, keepdim=True).clamp(min=1)


def spread(returns: Tensor) -> Tensor:
    """[..., 1] standard deviation of the finite of returns [..., K]; squares of huge returns do not overflow."""
    finite = torch.isfinite(returns)
    scale = torch.where(finite, returns.abs(), 0).amax(-1, keepdim=True).clamp(min=torch.finfo(returns.dtype).tiny)
    unit = torch.where(finite, returns / scale, 0)
    count = finite.sum(-1, keepdim=True).clamp(min=1)
    off = torch.where(finite, unit - unit.sum(-1, keepdim=True) / count, 0)
    return scale * (off.square().sum(-1, keepdim=True) / count).sqrt()


def _want(holds: bool, name: str, allowed: str, given: object) -> None:
    if not holds:
        raise ValueError(f"{name} is {allowed}, got {given!r}")
