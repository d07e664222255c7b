"""Attention of packed queries over paged keys and values, registered with transformers under `NAME`.

The T queries of a forward belong to different sequences; query t attends to positions 0..positions[t] of the sequence
whose slots stand in tables[places[t]]. Two kernels compute the same: numba reads slots in place (CPU, float32), torch
gathers them first (any device and type).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

try:
    import numba
except ImportError:  # the torch kernel serves
    numba = None

NAME = "forethought_paged"


@dataclass(slots=True)
class Layout:
    """Where the queries of one forward belong. tables: [places, context] slots; places, positions: [T]."""

    tables: np.ndarray
    places: np.ndarray
    positions: np.ndarray
    groups: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)


def attend(module, query, key, value, attention_mask=None, *, scaling=None, layout=None, softcap=None, s_aux=None, **_):
    """query [1, H, T, D], key and value [slots, heads, D] -> [1, T, H, D]; the signature is transformers' own."""
    if layout is None or softcap is not None or s_aux is not None:
        raise NotImplementedError(f"{type(module).__name__} wants attention that the paged kernels do not have")
    scale = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
    if numba is not None and query.device.type == "cpu" and query.dtype == torch.float32:
        return _attend_in_place(query, key, value, scale, layout), None
    return _attend_gathered(query, key, value, scale, layout), None


AttentionInterface.register(NAME, attend)


def _attend_in_place(query: Tensor, key: Tensor, value: Tensor, scale: float, layout: Layout) -> Tensor:
    q = query[0].transpose(0, 1).contiguous()
    out = torch.empty((q.shape[0], q.shape[1], value.shape[2]))
    kernel = _kernel(q.shape[2], value.shape[2], q.shape[1] // key.shape[1])
    kernel(
        q.numpy(), key.numpy(), value.numpy(), layout.tables, layout.places, layout.positions,
        np.float32(scale), out.numpy(),
    )  # fmt: skip
    return out[None]


@lru_cache
def _kernel(width: int, value_width: int, per_key: int):
    """The numba kernel for these head sizes and this many query heads per key head: constants, so that loops unroll."""

    @numba.njit(cache=True, nogil=True, fastmath=True)
    def kernel(query, keys, values, tables, places, positions, scale, out):
        weights = np.empty(positions.max() + 1, dtype=np.float32)
        total = np.empty(value_width, dtype=np.float32)
        for t in range(query.shape[0]):
            slots = tables[places[t]]
            count = positions[t] + 1
            for h in range(query.shape[1]):
                kv = h // per_key
                top = np.float32(-np.inf)
                for j in range(count):
                    dot = np.float32(0)
                    for d in range(width):
                        dot += query[t, h, d] * keys[slots[j], kv, d]
                    weights[j] = dot * scale
                    top = max(top, weights[j])
                mass = np.float32(0)
                for d in range(value_width):
                    total[d] = 0
                for j in range(count):
                    weight = np.exp(weights[j] - top)
                    mass += weight
                    for d in range(value_width):
                        total[d] += weight * values[slots[j], kv, d]
                for d in range(value_width):
                    out[t, h, d] = total[d] / mass

    return kernel


def _attend_gathered(query: Tensor, key: Tensor, value: Tensor, scale: float, layout: Layout) -> Tensor:
    if not layout.groups:
        layout.groups = _group(layout, query.device)
    q = query[0].transpose(0, 1)
    out = torch.zeros((q.shape[0], q.shape[1], value.shape[2]), dtype=q.dtype, device=q.device)
    for rows, slots, mask in layout.groups:
        k, v = key[slots].transpose(1, 2), value[slots].transpose(1, 2)
        gathered = q[rows.clamp(min=0)].transpose(1, 2)
        found = scaled_dot_product_attention(gathered, k, v, mask, scale=scale, enable_gqa=k.shape[1] != q.shape[1])
        out[rows[rows >= 0]] = found.transpose(1, 2)[rows >= 0]
    return out[None]


def _group(layout: Layout, device: torch.device) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Queries of one sequence together, sequences with about as many queries in one batch.

    Each group is (rows [R, Q] of the packed queries, -1 for padding; slots [R, L]; mask [R, 1, Q, L]).
    """
    queries: dict[int, list[int]] = {}
    for row, place in enumerate(layout.places.tolist()):
        queries.setdefault(place, []).append(row)
    buckets: dict[int, list[list[int]]] = {}
    for rows in queries.values():
        buckets.setdefault((len(rows) - 1).bit_length(), []).append(rows)
    groups = []
    for members in buckets.values():
        wide = max(map(len, members))
        rows = np.array([m + [-1] * (wide - len(m)) for m in members])
        positions = np.where(rows >= 0, layout.positions[rows], 0)
        length = int(positions.max()) + 1
        slots = layout.tables[layout.places[rows[:, 0]], :length].astype(np.int64)
        mask = np.arange(length) <= positions[:, None, :, None]
        slots[~mask.any(axis=(1, 2))] = 0  # beyond a row's end the table holds what an earlier row left
        groups.append(tuple(torch.from_numpy(x).to(device) for x in (rows, slots, mask)))
    return groups
