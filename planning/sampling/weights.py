"""What a search over vectors reckons between two rollouts: candidates, their weights, mean and deviation.

Of a few hundred candidates the numbers take microseconds, and so does every operation of torch that is asked for them,
after a rollout, which leaves none of torch's code in the caches, ten or more; a decision makes a hundred. On a CPU with
numba each function here is one compiled call, elsewhere torch; `sample`, `refit` and `note` are the compiled way alone,
`moments` torch's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..jit import HAVE_NUMBA, njit

KINDS = torch.float32, torch.float64


def compiled(*given: Tensor) -> bool:
    """Whether kernels may take these tensors."""
    for each in given:
        if each.dtype not in KINDS or each.requires_grad or each.device.type != "cpu":
            return False
    return HAVE_NUMBA


def equal_weights(returns: Tensor, share: float) -> Tensor:
    """Equal weights on the best of returns [..., K], finite or minus infinity, which counts for nothing: this share of
    the finite ones, at least one. Ties go to the lower index."""
    if compiled(returns):
        weights = np.empty_like(lines := _lines(returns))
        _equal(lines, share, weights)
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
    """exp((R - max R) / temperature [..., 1]), normalised, of returns [..., K], finite or minus infinity: no exponent
    is above 0, so none overflows."""
    if compiled(returns, temperature):
        weights = torch.empty(returns.shape, dtype=returns.dtype)
        _soft(_lines(returns), temperature.reshape(-1).numpy(), _lines(weights))
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


def spread(returns: Tensor) -> Tensor:
    """[..., 1] standard deviation of those of returns [..., K] that are not minus infinity, finite all; squares of huge
    returns do not overflow."""
    if compiled(returns):
        found = torch.empty((*returns.shape[:-1], 1), dtype=returns.dtype)
        _spread(_lines(returns), found.view(-1).numpy())
        return found
    finite = returns > -torch.inf
    scale = torch.where(finite, returns.abs(), 0).amax(-1, keepdim=True).clamp(min=torch.finfo(returns.dtype).tiny)
    unit = torch.where(finite, returns / scale, 0)
    count = finite.sum(-1, keepdim=True).clamp(min=1)
    off = torch.where(finite, unit - unit.sum(-1, keepdim=True) / count, 0)
    return scale * (off.square().sum(-1, keepdim=True) / count).sqrt()


@njit
def _spread(returns: Any, found: Any) -> None:
    for b in range(len(returns)):
        number = returns[b][returns[b] > -np.inf].astype(np.float64)
        scale = np.max(np.abs(number)) if len(number) else 0.0
        found[b] = scale * np.std(number / scale) if scale > 0 else 0.0


def sample(rows: Any, noise: Tensor, law: Any) -> None:
    """Make standard noise [M, K, H, D] samples of these rows of a law, where kernels may take all of this.

    law: arrays of its mean and deviation [B, H, D] and of the bounds [D].
    """
    _sample(rows, noise.numpy(), *law)


@njit
def _sample(rows: Any, x: Any, mean: Any, std: Any, low: Any, high: Any) -> None:
    for m, b in enumerate(rows):
        for k in range(x.shape[1]):
            for t in range(x.shape[2]):
                for d in range(x.shape[3]):
                    x[m, k, t, d] = min(max(mean[b, t, d] + std[b, t, d] * x[m, k, t, d], low[d]), high[d])


def refit(rows: Any, samples: Tensor, weights: Tensor, law: Any, settings: Any) -> None:
    """Move these rows of a law, as in `sample`, in place; see `Gaussian.refit` for the settings."""
    _refit(rows, samples.numpy(), weights.numpy(), *law, *settings)


@njit
def _refit(
    rows: Any, samples: Any, weights: Any, mean: Any, std: Any, low: Any, high: Any, stay: Any, least: Any, adapt: Any
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
                if adapt:
                    new = (1 - stay) * np.sqrt(square) + stay * std[b, t, d]
                    std[b, t, d] = max(new, least * (high[d] - low[d]) / 2)
                new = (1 - stay) * centre + stay * mean[b, t, d]
                mean[b, t, d] = min(max(new, low[d]), high[d])


def moments(samples: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation [M, H, D] of samples [M, K, H, D] under weights [M, K] that sum to 1."""
    flat, shape = samples.flatten(2), samples[:, 0].shape
    share = weights[:, None]
    centre = torch.bmm(share, flat)
    return centre.view(shape), torch.bmm(share, (flat - centre).square_()).sqrt_().view(shape)


def note(rows: Any, samples: Tensor, returns: Tensor, weights: Tensor, kept: tuple[Tensor, Tensor, Tensor]) -> None:
    """Remember of samples [M, K, H, D] in rows [M] the best and the mean return, where kernels may take all of them.

    kept: sequences [B, H, D] and returns [B] of the best so far, mean returns [B]; changed in place.
    """
    best, *numbers = kept
    found = (returns.numpy(), weights.numpy(), best.view(len(best), -1).numpy())
    _note(rows, samples.flatten(2).numpy(), *found, *(each.numpy() for each in numbers))


@njit
def _note(rows: Any, samples: Any, returns: Any, weights: Any, best: Any, best_return: Any, value: Any) -> None:
    for m, b in enumerate(rows):
        first = np.argmax(returns[m])
        if returns[m, first] > best_return[b]:
            best[b], best_return[b] = samples[m, first], returns[m, first]
        total = 0.0
        for k in range(returns.shape[1]):
            if weights[m, k] > 0:
                total += weights[m, k] * returns[m, k]
        value[b] = total


def _lines(x: Tensor) -> Any:
    """[N, K] of a tensor [..., K] on a CPU, in its own memory where that is contiguous."""
    return x.reshape(-1, x.shape[-1]).numpy() if x.ndim != 2 else x.contiguous().numpy()
