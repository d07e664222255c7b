"""A regular grid over states with multilinear interpolation; the interpolated table belongs to the caller."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor


class RegularGrid:
    """Evenly spaced points over a box of states with n coordinates.

    low, high: [n] the box. points: [n] numbers of points along each coordinate, at least 2. periodic: [n] whether high
    is the same state as low (then high itself is no point). Beyond a coordinate that is not periodic, values are those
    of the nearest border.

    Every coordinate is padded by one cell that repeats its begin or end, so that all states are treated alike: a padded
    table has prod(points + 2) entries, and `source` [prod(points + 2)] is the point that each of them repeats.

    Errors: ValueError for sequences of unequal length, or fewer than 2 points.
    """

    def __init__(
        self, low: Sequence[float], high: Sequence[float], points: Sequence[int], periodic: Sequence[bool]
    ) -> None:
        if not len(low) == len(high) == len(points) == len(periodic) or min(points) < 2:
            raise ValueError(f"a grid needs one low, high, points >= 2 and periodic each, got {low} {high} {points}")
        wraps, counts = torch.tensor(periodic), torch.tensor(points)
        self.low = torch.tensor(low, dtype=torch.float64)
        self.scale = torch.where(wraps, counts, counts - 1) / (torch.tensor(high, dtype=torch.float64) - self.low)
        self.floor = torch.where(wraps, -math.inf, 0.0).double()
        self.ceiling = torch.where(wraps, math.inf, counts - 1.0).double()
        self.period = torch.where(wraps, counts, 2 * counts).double()
        padded = [n + 2 for n in points]
        self.strides = torch.tensor([math.prod(padded[i + 1 :]) for i in range(len(padded))]).double()
        bits = torch.tensor(list(itertools.product((0, 1), repeat=len(padded)))).double()
        self.offsets = (bits @ self.strides).long()
        self.base, self.sign = 1 - bits, 2 * bits - 1
        axes = [[(i % n if wrap else min(i, n - 1)) for i in range(n + 2)] for n, wrap in zip(points, periodic)]
        unpadded = torch.tensor([math.prod(points[i + 1 :]) for i in range(len(points))])
        self.source = (torch.tensor(list(itertools.product(*axes))) * unpadded).sum(1)
        self.counts = tuple(points)

    def points(self) -> Tensor:
        """All points, float64 [prod(points), n]; the last coordinate varies fastest."""
        index = torch.tensor(list(itertools.product(*(range(n) for n in self.counts))), dtype=torch.float64)
        return self.low + index / self.scale

    def to(self, like: Tensor) -> RegularGrid:
        """A copy with the type and device of `like`."""
        other = object.__new__(RegularGrid)
        for name, part in vars(self).items():
            if isinstance(part, Tensor):
                part = part.to(like) if part.is_floating_point() else part.to(like.device)
            setattr(other, name, part)
        return other

    def corners(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """The 2^n entries of a padded table around each of K states [K, n], and their weights, [K, 2^n] each.

        A state with NaN has weights NaN.
        """
        position = torch.remainder(((states - self.low) * self.scale).clamp(self.floor, self.ceiling), self.period)
        lower = position.floor()
        fraction = (position - lower)[:, None]
        weights = torch.addcmul(self.base, self.sign, fraction).prod(-1)
        first = (torch.nan_to_num(lower) * self.strides).sum(-1).long()
        return first[:, None] + self.offsets, weights
