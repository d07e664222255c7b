"""Settings of best-of-N, CEM, iCEM and MPPI, and what their two searches need of a planner.

`GaussianSettings` concern action vectors (`sampling/gaussian.py`), `PathSettings` indexed actions, text included (the
search over paths of a tree). Both searches take any `ShootingPlanner`, so that neither imports the planners.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .interface import Evaluate, Size
from .messages import EVALUATIONS
from .settings_checks import check_choices, check_flags, check_integers, check_numbers

Array = TypeVar("Array", Tensor, NDArray[np.float32], NDArray[np.float64])


@dataclass(frozen=True, kw_only=True)
class GaussianSettings:
    """Settings of the Gaussian over sequences of action vectors.

    std: initial deviation as a fraction of the half-range of the box. warm_std: the same after a warm start, None for
        `std`. min_std: lower bound of the deviation after a refit, as a fraction of the half-range.
    adapt_std: whether refits change the deviation.
    include_mean: whether candidate 0 is the mean itself: always, never, or ("last") in the last iteration only.
    reuse_elites: how many sequences kept by the previous decision are candidates of the first iteration of the next.
    repeat_last: a warm start fills the steps beyond the earlier plan with its last action; False: with the middle of
        the box.
    noise_beta: exponent of coloured noise along time, power ~ 1 / frequency^beta: 0 white, 1 pink, 2 red (smooth
        motions are found sooner, the last digits of jagged ones later).
    """

    std: float = 0.5
    warm_std: float | None = None
    min_std: float = 0.05
    adapt_std: bool = True
    include_mean: bool | Literal["last"] = True
    reuse_elites: int = 0
    repeat_last: bool = True
    noise_beta: float = 1.0

    def __post_init__(self) -> None:
        check_numbers(self, "std", "min_std", least=0)
        check_numbers(self, "warm_std", least=0, optional=True)
        check_numbers(self, "noise_beta")
        check_integers(self, 0, "reuse_elites")
        check_choices(self, include_mean=(True, False, "last"))
        check_flags(self, "adapt_std", "repeat_last")


@dataclass(frozen=True, kw_only=True)
class PathSettings:
    """Settings of the search over paths of indexed actions.

    width: actions considered at every node of `SampledActions`; None leaves it to the search.
    prior: weight of the prior against counts in a refit.
    parallel: candidates of a problem under way at once; None: one for `SampledActions`, as many as the budget holds
        whole for `DiscreteActions`.
    evaluate: which states the model evaluates; None: finished ones of `SampledActions`, all of `DiscreteActions`.
    """

    width: int | None = None
    prior: float = 1.0
    parallel: int | None = None
    evaluate: Evaluate | None = None

    def __post_init__(self) -> None:
        check_integers(self, 1, "width", "parallel", optional=True)
        check_numbers(self, "prior", least=0)
        check_choices(self, evaluate=(None, *EVALUATIONS))


@dataclass(frozen=True)
class Schedule:
    """How many candidates each iteration has.

    horizon: H, actions in a sequence. populations: candidates of each iteration. endless: after the last of them its
    number is repeated until the driver stops. stop_reason: the reason given after the last iteration.
    """

    horizon: int
    populations: NDArray[np.int64]
    endless: bool
    stop_reason: str

    def at(self, iteration: NDArray[np.int64]) -> NDArray[np.int64]:
        """[B] candidates of each row's iteration, 0 after the last."""
        last = len(self.populations) - 1
        number = self.populations[np.minimum(iteration, last)]
        return number if self.endless else np.where(iteration > last, 0, number)


class ShootingPlanner(Protocol):
    """What the searches over vectors and over paths need of a planner; see `shooting.Shooting` for every member."""

    @property
    def iterations(self) -> int: ...

    @property
    def population(self) -> int | None: ...

    @property
    def keep(self) -> int: ...

    @property
    def smoothing(self) -> float: ...

    @property
    def answer(self) -> Literal["mean", "best"]: ...

    @property
    def vectors(self) -> GaussianSettings: ...

    @property
    def paths(self) -> PathSettings: ...

    def schedule(self, size: Size) -> Schedule: ...

    def reduce(self, returns: Tensor) -> Tensor: ...

    def weigh(self, returns: Array) -> Array: ...

    def weigh_samples(self, returns: Tensor, samples: Tensor, mean: Tensor, std: Tensor, middle: Tensor) -> Tensor: ...
