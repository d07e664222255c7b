"""A rectangular grid over states, read with multilinear interpolation. What stands in its table is others' affair."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor


class Grid:
    """Points evenly spaced over a box of states of `size` coordinates.

    low, high: [size] the box. points: [size] how many along each. periodic: [size] whether high means low again (then
    high itself is no point). Beyond an axis that is not periodic, the nearest border counts.

    Every axis has one cell more than it needs, a repetition of its begin or end, so that no state needs a case of its
    own: a table has prod(points + 1) entries, `home` says which point each of them repeats.
    """

    def __init__(
        self, low: Sequence[float], high: Sequence[float], points: Sequence[int], periodic: Sequence[bool]
    ) -> None:
        if not len(low) == len(high) == len(points) == len(periodic) or min(points) < 2:
            raise ValueError(f"a grid wants one low, high, points >= 2 and periodic each, got {low} {high} {points}")
        turns, counts = torch.tensor(periodic), torch.tensor(points)
        self.low = torch.tensor(low, dtype=torch.float64)
        self.scale = torch.where(turns, counts, counts - 1) / (torch.tensor(high, dtype=torch.float64) - self.low)
        self.floor = torch.where(turns, -math.inf, 0.0).double()
        self.ceiling = torch.where(turns, math.inf, counts - 1.0).double()
        self.period = torch.where(turns, counts, 2 * counts).double()
        padded = [n + 2 for n in points]
        self.strides = torch.tensor([math.prod(padded[i + 1 :]) for i in range(len(padded))]).double()
        bits = torch.tensor(list(itertools.product((0, 1), repeat=len(padded)))).double()
        self.offsets = (bits @ self.strides).long()
        self.base, self.sign = 1 - bits, 2 * bits - 1
        axes = [[(i % n if turn else min(i, n - 1)) for i in range(n + 2)] for n, turn in zip(points, periodic)]
        plain = torch.tensor([math.prod(points[i + 1 :]) for i in range(len(points))])
        self.home = (torch.tensor(list(itertools.product(*axes))) * plain).sum(1)
        self.counts = tuple(points)

    def states(self) -> Tensor:
        """All points, float64 [prod(points), size], the last coordinate turning fastest."""
        index = torch.tensor(list(itertools.product(*(range(n) for n in self.counts))), dtype=torch.float64)
        return self.low + index / self.scale

    def to(self, like: Tensor) -> Grid:
        """The same grid in another precision or place."""
        other = object.__new__(Grid)
        for name, part in vars(self).items():
            moves = isinstance(part, Tensor)
            floats = moves and part.is_floating_point()
            setattr(other, name, part.to(like) if floats else part.to(like.device) if moves else part)
        return other

    def corners(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Entries of a table and their weights, [K, 2^size] each, around states [K, size]; NaN has weights NaN."""
        place = torch.remainder(((states - self.low) * self.scale).clamp(self.floor, self.ceiling), self.period)
        lower = place.floor()
        share = (place - lower)[:, None]
        weights = torch.addcmul(self.base, self.sign, share).prod(-1)
        first = (torch.nan_to_num(lower) * self.strides).sum(-1).long()
        return first[:, None] + self.offsets, weights
