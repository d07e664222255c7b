"""Random numbers depend on keys and counters alone, whatever shapes these are given in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from forethought.planning import keys_of, noise
from forethought.planning.noise import fold, normals, uniforms

KEYS = keys_of(3, 4)


def one_by_one(shape: tuple[int, ...], counters: list[torch.Tensor]) -> torch.Tensor:
    """`fold` for one key and plain integers at a time."""
    keys = torch.from_numpy(KEYS.view(np.int64)).expand(shape)
    broad = [counter.expand(shape) for counter in counters]
    found = torch.empty(shape, dtype=torch.int64)
    for place in np.ndindex(*shape):
        key = np.array([int(keys[place])], np.int64).view(np.uint64)
        found[place] = fold(key, *(int(counter[place]) for counter in broad))[0]
    return found


@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1), (3, 4), (2, 3, 4)], ids=str)
def test_counters_of_any_shape_are_broadcast_against_the_keys(shape: tuple[int, ...]) -> None:
    first = torch.arange(int(np.prod(shape)), dtype=torch.int64).view(shape)
    second = torch.tensor(5)
    found = fold(KEYS, first, second)
    wanted = torch.broadcast_shapes((4,), shape)
    assert tuple(found.shape) == tuple(wanted)
    assert torch.equal(found, one_by_one(tuple(wanted), [first, second]))
    assert uniforms(KEYS, first, second).shape == found.shape


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_numbers_are_the_same_with_and_without_compiled_kernels(dtype: torch.dtype, monkeypatch: Any) -> None:
    def drawn() -> list[torch.Tensor]:
        return [normals(KEYS, 5, (3,), dtype=dtype), uniforms(KEYS, 7, dtype=dtype), fold(KEYS, 7)]

    compiled = drawn()
    monkeypatch.setattr(noise, "HAVE_NUMBA", False)
    for one, other in zip(drawn(), compiled):
        assert torch.equal(one, other)
