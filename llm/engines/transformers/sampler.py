"""Samples tokens with noise keyed by (stream, absolute position), so that a text does not depend on the batch.

Each token takes one uniform number from a counter-based hash and inverts the cumulative distribution in vocabulary
order: the same stream at the same position samples the same token from the same distribution, whatever else is in the
batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....planning.compiled import HAVE_NUMBA, njit
from ....planning.noise import GOLDEN, mixed
from .exponentials import exponentials

_GOLDEN = np.uint64(GOLDEN)
_MASK = (1 << 64) - 1
_LOWEST = np.float32(-1e30)


@njit
def _hash(stream: Any, position: Any) -> Any:
    return mixed(mixed(stream + _GOLDEN) + (position + np.uint64(1)) * _GOLDEN) >> np.uint64(11)


def uniforms(streams: list[int], positions: list[int]) -> np.ndarray:
    """One float64 in [0, 1) per pair (stream, absolute position); streams are taken modulo 2**64."""
    stream = np.array([s & _MASK for s in streams], dtype=np.uint64)
    position = np.array(positions, dtype=np.uint64)
    u: np.ndarray = _hash(stream, position).astype(np.float64) * 2.0**-53
    return u


def sample_tokens(
    logits: Tensor, temperature: list[float], top_p: list[float], u: np.ndarray
) -> tuple[list[int], list[float]]:
    """A token and its log-probability for each row of `logits` [R, V] (float32), by uniform numbers u [R].

    The log-probability is that of the distribution after temperature and before top-p. At temperature 0 the token is
    the most likely one, and its log-probability is the one at temperature 1.

    Errors: FloatingPointError where logits are NaN.
    """
    if HAVE_NUMBA and logits.device.type == "cpu" and min(top_p) >= 1.0:
        return _sample_by_kernel(logits, temperature, u)
    greedy = [t <= 0 for t in temperature]
    if any(t != 1.0 for t in temperature):
        scale = [1.0 if zero else t for t, zero in zip(temperature, greedy)]
        logits = logits / torch.tensor(scale, device=logits.device, dtype=logits.dtype)[:, None]
    logp = torch.log_softmax(logits, dim=-1)
    tokens = logp.argmax(-1) if all(greedy) else _inverse_cdf(logp, top_p, u)
    if any(greedy) and not all(greedy):
        tokens = torch.where(torch.tensor(greedy, device=tokens.device), logp.argmax(-1), tokens)
    logprobs = logp.gather(-1, tokens[:, None])[:, 0].tolist()
    if any(x != x for x in logprobs):
        raise FloatingPointError("the model gave NaN logits")
    return tokens.tolist(), logprobs


def _sample_by_kernel(logits: Tensor, temperature: list[float], u: np.ndarray) -> tuple[list[int], list[float]]:
    tokens, logprobs = np.empty(len(u), np.int64), np.empty(len(u))
    if not _sample_rows(logits.numpy(), np.array(temperature, np.float32), u, tokens, logprobs):
        raise FloatingPointError("the model gave NaN logits")
    return tokens.tolist(), logprobs.tolist()


@njit
def _sample_rows(logits: Any, temperature: Any, u: Any, tokens: Any, logprobs: Any) -> bool:
    """Fill in tokens and logprobs [R] for logits [R, V] and uniform numbers u [R]; False where logits are unusable."""
    weights = np.empty(logits.shape[1], np.float32)
    for r in range(len(u)):
        random = temperature[r] > 0
        scale = np.float32(1) / temperature[r] if random else np.float32(1)
        best = _unnormalised(logits[r], scale, weights)
        if best < 0:
            return False
        total, below, token = 0.0, 0.0, best
        for weight in weights:
            total += weight
        # rounding may lift the target to the total, beyond the last token that has mass
        target = min(u[r] * total, np.nextafter(total, 0.0))
        if random:
            token = -1
            while below <= target:
                token += 1
                below += weights[token]
        tokens[r], logprobs[r] = token, (logits[r, token] - logits[r, best]) * scale - np.log(total)
    return True


@njit
def _unnormalised(logits: Any, scale: Any, weights: Any) -> int:
    """Fill in weights [V], exp(scaled logits - their maximum), 0 for masked tokens, whose logit is -inf.

    Returns the most likely token, or -1 where a logit is NaN or +inf, or all tokens are masked.
    """
    best = 0
    for v in range(len(weights)):
        x = logits[v] * scale
        if x != x or x == np.inf:
            return -1
        weights[v] = max(x, _LOWEST)  # the kernel needs finite numbers
        if weights[v] > weights[best]:
            best = v
    if weights[best] == _LOWEST:
        return -1
    exponentials(weights)
    for v in range(len(weights)):
        if logits[v] == -np.inf:
            weights[v] = 0
    return best


def _inverse_cdf(logp: Tensor, top_p: list[float], u: np.ndarray) -> Tensor:
    p = logp.exp()
    if any(q < 1.0 for q in top_p):
        p = _nucleus(p, torch.tensor(top_p, device=p.device, dtype=p.dtype))
    cdf = p.double().cumsum(-1)
    total = cdf[:, -1:]
    target = torch.from_numpy(u).to(p.device)[:, None] * total
    # rounding may lift the target to the total, beyond the last token that has mass
    target = torch.minimum(target, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cdf, target, right=True)[:, 0].clamp_(max=p.shape[-1] - 1)


def _nucleus(p: Tensor, top_p: Tensor) -> Tensor:
    """Zero outside the smallest set of most likely tokens whose mass reaches `top_p`, which has at least one token."""
    ranked, order = p.sort(dim=-1, descending=True, stable=True)
    before = ranked.cumsum(-1) - ranked
    inside = (before < top_p[:, None]) | (top_p[:, None] >= 1.0)
    inside[:, 0] = True
    return torch.zeros_like(p).scatter_(-1, order, ranked * inside)
