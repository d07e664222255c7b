"""Random numbers that are functions of a key and of counters: no generator, no state, no order of calls.

Every problem of a batch has one 64-bit key (`keys_of`), from which all random choices about it are made, so that a row
of a batch has the same noise as the same row alone, and a query that was dropped is asked again unchanged. The integers
behind every number are the same on each device; floating-point functions may differ in the last bit.

The hash is the output function of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
OOPSLA 2014, figure 17), once per counter, in int64 arithmetic that wraps around.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .compiled import HAVE_NUMBA, njit
from .interface import Keys

Words = NDArray[np.uint64]
Bits = NDArray[np.int64]
Floats = NDArray[np.floating]

GOLDEN = 0x9E3779B97F4A7C15
"""SplitMix64's increment, 2**64 divided by the golden ratio."""


def _signed(x: int) -> int:
    """The signed 64-bit integer of the same bits."""
    return x - 2**64 if x >= 2**63 else x


_SIGNED_GOLDEN = _signed(GOLDEN)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)
TURN = 2 * math.pi / 2**32
SCALES = {kind: torch.tensor((0.5, 2.0**-31, TURN), dtype=kind).numpy() for kind in (torch.float32, torch.float64)}
"""For each type of floating-point numbers: one half, the unit of the uniforms, and the unit of the angles."""


@njit
def mixed(x: np.uint64) -> np.uint64:
    """SplitMix64's output function on one uint64, or on an array of them."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit
def split(numbers: Words, seed: np.uint64) -> Words:
    """SplitMix64's outputs for these numbers in the stream of `seed`, uint64 [B]."""
    golden = np.uint64(GOLDEN)
    keys = np.empty_like(numbers)
    for i in range(len(numbers)):
        keys[i] = mixed(numbers[i] + seed * golden + golden)
    return keys


def keys_of(seed: int, problems: int | Sequence[int]) -> Keys:
    """Keys uint64 [B], one per problem, from a seed and the problem's own number.

    problems: B numbers, or a count that stands for 0, 1, 2 and so on. The same pair always has the same key, so a
    problem's random numbers do not depend on its batch.
    """
    if isinstance(problems, int):
        numbers = np.arange(problems, dtype=np.uint64)
    else:
        numbers = np.asarray(problems).astype(np.uint64)
    with np.errstate(over="ignore"):  # hashes wrap around; numpy warns of it where numba is absent
        return split(numbers, np.uint64(seed % 2**64))


def signed(keys: Keys | Tensor) -> Tensor:
    """Keys, uint64, as the int64 tensor of the same bits (copied); a tensor is returned as it is."""
    return keys if isinstance(keys, Tensor) else torch.from_numpy(np.array(keys, dtype=np.uint64).view(np.int64))


def mix(x: Tensor) -> Tensor:
    """SplitMix64's output function on int64 of any shape, which is overwritten."""
    if HAVE_NUMBA and x.device.type == "cpu":
        x = x.contiguous()
        _mix(x.view(-1).numpy())
        return x
    # torch shifts copy the sign bit, which the masks remove
    x = (x >> 30).bitwise_and_(2**34 - 1).bitwise_xor_(x).mul_(_FIRST)
    x = (x >> 27).bitwise_and_(2**37 - 1).bitwise_xor_(x).mul_(_SECOND)
    return (x >> 31).bitwise_and_(2**33 - 1).bitwise_xor_(x)


@njit
def _mix(x: Bits) -> None:
    """`mix` in one call: with few numbers the overhead of nine torch calls dominates."""
    for i in range(x.size):
        x[i] = np.int64(mixed(np.uint64(x[i])))


def fold(keys: Keys | Tensor, *counters: int | Tensor, device: torch.device | str | None = None) -> Tensor:
    """64 random bits (int64) per key and counters, of the shape that keys and counters broadcast to.

    keys: uint64 array or int64 tensor; counters: integers or int64 tensors; their order matters.
    """
    x = signed(keys).to(device) if device is not None else signed(keys)
    for counter in counters:
        given = counter if isinstance(counter, Tensor) else torch.tensor(_wrapped(counter), device=x.device)
        vector = x.ndim == 1 and given.shape in ((), x.shape)
        if HAVE_NUMBA and vector and x.device.type == given.device.type == "cpu":
            x = torch.from_numpy(_fold(x.numpy(), given.view(-1).numpy()))
        else:
            x = mix(torch.add(x, given + 1, alpha=_SIGNED_GOLDEN))
    return x


@njit
def _fold(x: Bits, counter: Bits) -> Bits:
    """One counter of `fold`, for keys [B] and counters [B] or [1]."""
    bits = np.empty_like(x)
    for i in range(x.size):
        step = np.uint64(counter[i % counter.size] + 1) * np.uint64(GOLDEN)
        bits[i] = np.int64(mixed(np.uint64(x[i]) + step))
    return bits


def uniforms(
    keys: Keys | Tensor,
    *counters: int | Tensor,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Numbers in [0, 1), one per key and counters as in `fold`; 24 bits each, 53 where dtype is float64."""
    bits = 53 if dtype == torch.float64 else 24
    top = (fold(keys, *counters, device=device) >> (64 - bits)).bitwise_and_(2**bits - 1)
    return top.to(dtype).mul_(2.0**-bits)


@lru_cache(maxsize=64)
def _steps(count: int, device: torch.device) -> Tensor:
    """int64 [count], SplitMix64's increments of the counters from 1 on."""
    return torch.arange(1, count + 1, device=device) * _SIGNED_GOLDEN


def normals(
    keys: Keys | Tensor,
    iteration: int | Tensor,
    shape: tuple[int, ...],
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Standard normals [B, *shape] for keys [B], by Box and Muller (1958) from two halves of one hash.

    iteration: one number, or an int64 tensor [B]. A smaller first dimension of `shape` gives a prefix of a larger
    one, so that candidate k is the same whatever the population. No number exceeds 6.7.
    """
    count = math.prod(shape)
    stream = fold(keys, iteration, device=device)
    pairs = _pairs if stream.device.type != "cpu" else _pairs_on_cpu
    return pairs(stream, (count + 1) // 2, dtype).view(len(stream), -1)[:, :count].reshape(-1, *shape)


def _pairs(stream: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """[B, count, 2] normals from as many hashes in each stream [B]."""
    share, angle = _halves(stream, count, dtype)
    radius = share.log_().mul_(-2).sqrt_()
    return torch.stack((radius * angle.cos(), radius * angle.sin()), -1)


def _pairs_on_cpu(stream: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """`_pairs` by numpy, whose functions are as fast and have a third of the overhead per call."""
    if HAVE_NUMBA and dtype in SCALES:
        share, angle = halves = np.empty((2, len(stream), count), SCALES[dtype].dtype)
        _halve(stream.numpy(), halves, SCALES[dtype])
    else:
        share, angle = (cast(Floats, each.numpy()) for each in _halves(stream, count, dtype))
    radius = np.sqrt(np.multiply(np.log(share, out=share), -2, out=share), out=share)
    out = np.empty((*radius.shape, 2), radius.dtype)
    np.multiply(radius, np.cos(angle), out=out[..., 0])
    np.multiply(radius, np.sin(angle, out=angle), out=out[..., 1])
    return torch.from_numpy(out)


def _halves(stream: Tensor, count: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """[B, count] numbers in (0, 1) and angles from the two halves of as many hashes in each stream [B]."""
    bits = mix(stream[:, None] + _steps(count, stream.device))
    share = (bits & (2**31 - 1)).to(dtype).add_(0.5).mul_(2.0**-31)
    return share, (bits >> 32).to(dtype).mul_(TURN)


@njit
def _halve(stream: Bits, halves: Floats, scales: Floats) -> None:
    """`_halves` in one call, equal to the last bit."""
    half, unit, turn = scales[0], scales[1], scales[2]
    share, angle = halves[0], halves[1]
    for b in range(len(stream)):
        for i in range(share.shape[1]):
            bits = np.int64(mixed(np.uint64(stream[b]) + np.uint64(i + 1) * np.uint64(GOLDEN)))
            share[b, i] = bits & (2**31 - 1)  # rounded to the type of the array before the product
            share[b, i] = (share[b, i] + half) * unit
            angle[b, i] = bits >> 32
            angle[b, i] *= turn


def coloured(white: Tensor, beta: float) -> Tensor:
    """Unit-variance noise along the time axis of `white` [..., H, D] with power falling as 1 / frequency ** beta.

    0 is white, 1 pink, 2 red. Pinneri et al. 2020 (iCEM), section 3.1, after Timmer and Koenig 1995; frequency 0 gets
    the power of 1 / H. Filtering the white noise instead of drawing a spectrum keeps one draw per number.
    """
    steps = white.shape[-2]
    if beta == 0 or steps < 2:
        return white
    lines = white.mT.reshape(math.prod(white.shape[:-3]), -1, steps)
    # one product per problem, so that its noise does not depend on the size of the batch
    filtered = torch.bmm(lines, _filter(steps, beta, white.dtype, white.device).expand(len(lines), -1, -1))
    return filtered.view(white.mT.shape).mT


@lru_cache(maxsize=64)
def _filter(steps: int, beta: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[H, H]: white noise [..., H] times this is coloured; for some hundred steps it is faster than two FFTs."""
    frequency = torch.fft.fftfreq(steps, dtype=torch.float64).abs().clamp(min=1 / steps)
    scale = frequency ** (-beta / 2)
    scale = (scale / scale.square().mean().sqrt())[: steps // 2 + 1, None]
    spectrum = torch.fft.rfft(torch.eye(steps, dtype=torch.float64), dim=-2)
    return torch.fft.irfft(spectrum * scale, n=steps, dim=-2).mT.to(device, dtype)


def _wrapped(x: int) -> int:
    """The signed 64-bit integer that any integer wraps around to."""
    return _signed(x % 2**64)
