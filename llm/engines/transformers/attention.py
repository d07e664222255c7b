"""Attention of packed queries over paged keys and values, registered with transformers under `NAME`.

The T queries of a forward belong to different sequences; query t attends to positions 0..positions[t] of the sequence
whose slots stand in tables[places[t]]. Two kernels compute the same: numba reads slots in place (CPU, float32), torch
gathers them first (any device and type).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from ....planning.jit import HAVE_NUMBA, vectorised
from .exponentials import exponentials

NAME = "forethought_paged"


@dataclass(slots=True)
class Layout:
    """Where the queries of one forward belong. tables: [places, context] slots; places, positions: [T]."""

    tables: np.ndarray
    places: np.ndarray
    positions: np.ndarray
    groups: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    *,
    scaling: float | None = None,
    layout: Layout | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """query [1, H, T, D], key and value [slots, heads, D] -> [1, T, H, D]; the signature is transformers' own."""
    if layout is None or softcap is not None or s_aux is not None:
        raise NotImplementedError(f"{type(module).__name__} wants attention that the paged kernels do not have")
    scale = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
    if HAVE_NUMBA and query.device.type == "cpu" and query.dtype == torch.float32:
        return _attend_in_place(query, key, value, scale, layout), None
    return _attend_gathered(query, key, value, scale, layout), None


AttentionInterface.register(NAME, attend)


def _attend_in_place(query: Tensor, key: Tensor, value: Tensor, scale: float, layout: Layout) -> Tensor:
    q = (query[0].transpose(0, 1) * scale).contiguous()
    out = torch.empty((q.shape[0], q.shape[1], value.shape[2]))
    _kernel(q.numpy(), key.numpy(), value.numpy(), layout.tables, layout.places, layout.positions, out.numpy())
    return out[None]


@vectorised
def _kernel(query: Any, keys: Any, values: Any, tables: Any, places: Any, positions: Any, out: Any) -> None:
    """query [T, H, D], keys and values [slots, heads, D]; the loops are split so that LLVM vectorises each."""
    weights = np.empty(positions.max() + 1, dtype=np.float32)
    bits = weights.view(np.int32)
    per_key = query.shape[1] // keys.shape[1]
    for t in range(query.shape[0]):
        count = positions[t] + 1
        slots = tables[places[t], :count]
        for h in range(query.shape[1]):
            _dots(query[t, h], keys, h // per_key, slots, weights)
            mass = exponentials(weights[:count], bits[:count])
            _mix(weights, values, h // per_key, slots, out[t, h])
            for d in range(out.shape[2]):
                out[t, h, d] /= mass


@vectorised
def _dots(query: Any, keys: Any, head: int, slots: Any, dots: Any) -> None:
    for j in range(slots.shape[0]):
        key = keys[slots[j], head]
        dot = np.float32(0)
        for d in range(key.shape[0]):
            dot += query[d] * key[d]
        dots[j] = dot


@vectorised
def _mix(weights: Any, values: Any, head: int, slots: Any, out: Any) -> None:
    out[:] = 0
    for j in range(slots.shape[0]):
        value, weight = values[slots[j], head], weights[j]
        for d in range(out.shape[0]):
            out[d] += weight * value[d]


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
        index = np.array([m + [-1] * (wide - len(m)) for m in members])
        positions = np.where(index >= 0, layout.positions[index], 0)
        length = int(positions.max()) + 1
        slots = layout.tables[layout.places[index[:, 0]], :length].astype(np.int64)
        mask = np.arange(length) <= positions[:, None, :, None]
        slots[~mask.any(axis=(1, 2))] = 0  # beyond a row's end the table holds what an earlier row left
        first, second, third = (torch.from_numpy(x).to(device) for x in (index, slots, mask))
        groups.append((first, second, third))
    return groups
