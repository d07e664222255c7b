"""One 64-bit key per problem, from which all of a row's random choices come, wherever in the batch it stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .interface import Keys
from .jit import njit

GOLDEN = 0x9E3779B97F4A7C15


@njit
def mixed(x: Any) -> Any:
    """SplitMix64's output function (Steele, Lea, Flood 2014, figure 17), on uint64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit
def split(numbers: Any, seed: Any) -> Any:
    """SplitMix64's outputs for these numbers in the stream of `seed`, uint64 [B]."""
    golden = np.uint64(GOLDEN)
    keys = np.empty_like(numbers)
    for i in range(len(numbers)):
        keys[i] = mixed(numbers[i] + seed * golden + golden)
    return keys


def keys_of(seed: int, problems: int | Sequence[int]) -> Keys:
    """One key per problem, from a seed and the problem's own number (a count stands for 0, 1, 2 and so on)."""
    if isinstance(problems, int):
        numbers = np.arange(problems, dtype=np.uint64)
    else:
        numbers = np.asarray(problems).astype(np.uint64)
    with np.errstate(over="ignore"):  # hashes wrap around; numpy warns of it where numba is absent
        keys: Keys = split(numbers, np.uint64(seed % 2**64))
    return keys
