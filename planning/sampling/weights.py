"""The arithmetic of a sampling iteration between two rollouts: samples, weights, weighted mean and deviation.

With few candidates torch's per-call overhead dominates, so on a CPU each function is one numba kernel; elsewhere it is
torch. `sample`, `refit` and `update_best` are kernels only, and `moments` is torch only: `gaussian.py` chooses.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..compiled import HAVE_NUMBA, njit

DTYPES = torch.float32, torch.float64


def kernels_take(*given: Tensor) -> bool:
    """Whether the kernels accept these tensors: floats on a CPU, without gradients, and numba is installed."""
    for each in given:
        if each.dtype not in DTYPES or each.requires_grad or each.device.type != "cpu":
            return False
    return HAVE_NUMBA


def equal_weights(returns: Tensor, share: float) -> Tensor:
    """Equal weights [..., K] on the best `share` of the finite returns [..., K], at least one; the others get 0.

    returns: finite or minus infinity. Ties go to the lower index.
    """
    if kernels_take(returns):
        weights = np.empty_like(matrix := _as_matrix(returns))
        _equal(matrix, share, weights)
        return torch.from_numpy(weights).view(returns.shape)
    finite = returns > -torch.inf
    count = (share * finite.sum(-1, keepdim=True)).ceil().clamp(min=1)
    order = returns.argsort(dim=-1, descending=True, stable=True)
    first = torch.arange(order.shape[-1], device=order.device) < count
    chosen = finite & torch.empty_like(finite).scatter_(-1, order, first)
    return chosen / chosen.sum(-1, keepdim=True).clamp(min=1).to(returns.dtype)


@njit
def _equal(returns: Any, share: Any, weights: Any) -> None:
    last = returns.shape[1]
    for b in range(len(returns)):
        finite = np.sum(returns[b] > -np.inf)
        count = min(max(int(np.ceil(np.float32(share) * np.float32(finite))), 1), finite)
        least = np.partition(returns[b], last - count)[last - count] if count else np.inf
        equal = count - np.sum(returns[b] > least)
        for k in range(last):
            chosen = returns[b, k] > least or (returns[b, k] == least and equal > 0)
            equal -= returns[b, k] == least
            weights[b, k] = 1 / count if chosen else 0


def soft_weights(returns: Tensor, temperature: Tensor) -> Tensor:
    """Weights exp((R - max R) / temperature) of returns R [..., K], normalised; 0 where a return is minus infinity.

    temperature: [..., 1]. Subtracting the maximum keeps every exponent at or below 0, so that none overflows.
    """
    if kernels_take(returns, temperature):
        weights = torch.empty(returns.shape, dtype=returns.dtype)
        _soft(_as_matrix(returns), temperature.reshape(-1).numpy(), _as_matrix(weights))
        return weights
    finite = returns > -torch.inf
    gap = torch.where(finite, returns - returns.amax(-1, keepdim=True), 0)
    weights = torch.exp(gap / temperature) * finite
    return weights / weights.sum(-1, keepdim=True).clamp(min=1)


@njit
def _soft(returns: Any, temperature: Any, weights: Any) -> None:
    weights[:] = 0
    for b in range(len(returns)):
        highest, total = np.max(returns[b]), 0.0
        for k in range(returns.shape[1]):
            if returns[b, k] > -np.inf:
                weights[b, k] = np.exp((returns[b, k] - highest) / temperature[b])
                total += weights[b, k]
        weights[b] /= max(total, 1.0)


def finite_std(returns: Tensor) -> Tensor:
    """[..., 1] standard deviation of the finite returns among [..., K], which are finite or minus infinity.

    Returns are scaled before they are squared, so that squares of huge returns do not overflow.
    """
    if kernels_take(returns):
        found = torch.empty((*returns.shape[:-1], 1), dtype=returns.dtype)
        _finite_std(_as_matrix(returns), found.view(-1).numpy())
        return found
    finite = returns > -torch.inf
    scale = torch.where(finite, returns.abs(), 0).amax(-1, keepdim=True).clamp(min=torch.finfo(returns.dtype).tiny)
    unit = torch.where(finite, returns / scale, 0)
    count = finite.sum(-1, keepdim=True).clamp(min=1)
    off = torch.where(finite, unit - unit.sum(-1, keepdim=True) / count, 0)
    return scale * (off.square().sum(-1, keepdim=True) / count).sqrt()


@njit
def _finite_std(returns: Any, found: Any) -> None:
    for b in range(len(returns)):
        number = returns[b][returns[b] > -np.inf].astype(np.float64)
        scale = np.max(np.abs(number)) if len(number) else 0.0
        found[b] = scale * np.std(number / scale) if scale > 0 else 0.0


def sample(rows: Any, noise: Tensor, proposal: Any) -> None:
    """Turn standard normal noise [M, K, H, D] into samples of these rows of a Gaussian proposal, in place.

    proposal: arrays of its mean and deviation [B, H, D] and of the bounds [D]. The kernels must accept all tensors.
    """
    _sample(rows, noise.numpy(), *proposal)


@njit
def _sample(rows: Any, x: Any, mean: Any, std: Any, low: Any, high: Any) -> None:
    for m, b in enumerate(rows):
        for k in range(x.shape[1]):
            for t in range(x.shape[2]):
                for d in range(x.shape[3]):
                    x[m, k, t, d] = min(max(mean[b, t, d] + std[b, t, d] * x[m, k, t, d], low[d]), high[d])


def refit(rows: Any, samples: Tensor, weights: Tensor, proposal: Any, settings: Any) -> None:
    """Refit these rows of a proposal, as in `sample`, in place; settings: smoothing, min_std, adapt_std of
    `Gaussian.refit`."""
    _refit(rows, samples.numpy(), weights.numpy(), *proposal, *settings)


@njit
def _refit(
    rows: Any,
    samples: Any,
    weights: Any,
    mean: Any,
    std: Any,
    low: Any,
    high: Any,
    smoothing: Any,
    min_std: Any,
    adapt_std: Any,
) -> None:
    for m, b in enumerate(rows):
        chosen = np.flatnonzero(weights[m])
        for t in range(mean.shape[1]):
            for d in range(mean.shape[2]):
                centre, square = 0.0, 0.0
                for k in chosen:
                    centre += weights[m, k] * samples[m, k, t, d]
                for k in chosen:
                    square += weights[m, k] * (samples[m, k, t, d] - centre) ** 2
                if adapt_std:
                    new = (1 - smoothing) * np.sqrt(square) + smoothing * std[b, t, d]
                    std[b, t, d] = max(new, min_std * (high[d] - low[d]) / 2)
                new = (1 - smoothing) * centre + smoothing * mean[b, t, d]
                mean[b, t, d] = min(max(new, low[d]), high[d])


def moments(samples: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and deviation [M, H, D] of samples [M, K, H, D] under weights [M, K] that sum to 1."""
    flat, shape = samples.flatten(2), samples[:, 0].shape
    share = weights[:, None]
    centre = torch.bmm(share, flat)
    return centre.view(shape), torch.bmm(share, (flat - centre).square_()).sqrt_().view(shape)


def update_best(
    rows: Any, samples: Tensor, returns: Tensor, weights: Tensor, best_so_far: tuple[Tensor, Tensor, Tensor]
) -> None:
    """Update the best sequence and the weighted mean return of rows [M] from samples [M, K, H, D], in place.

    best_so_far: sequences [B, H, D], their returns [B], and weighted mean returns [B]. Kernels must accept all tensors.
    """
    best, *numbers = best_so_far
    found = (returns.numpy(), weights.numpy(), best.view(len(best), -1).numpy())
    _update_best(rows, samples.flatten(2).numpy(), *found, *(each.numpy() for each in numbers))


@njit
def _update_best(rows: Any, samples: Any, returns: Any, weights: Any, best: Any, best_return: Any, value: Any) -> None:
    for m, b in enumerate(rows):
        first = np.argmax(returns[m])
        if returns[m, first] > best_return[b]:
            best[b], best_return[b] = samples[m, first], returns[m, first]
        total = 0.0
        for k in range(returns.shape[1]):
            if weights[m, k] > 0:
                total += weights[m, k] * returns[m, k]
        value[b] = total


def _as_matrix(x: Tensor) -> Any:
    """A CPU tensor [..., K] as an array [N, K], which shares its memory where that is contiguous."""
    return x.reshape(-1, x.shape[-1]).numpy() if x.ndim != 2 else x.contiguous().numpy()
