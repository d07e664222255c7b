"""Attention of packed queries over a paged key-value cache, registered with transformers as `NAME`.

The T queries of a forward pass belong to different sequences: query t attends to positions 0..positions[t] of the
sequence whose blocks are listed in block_tables[row_ids[t]]. Two kernels compute the same: numba reads the blocks in
place (CPU, float32), torch gathers them first (any device and type).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from ....planning.compiled import HAVE_NUMBA, vectorised
from .exponentials import exponentials

NAME = "forethought_paged"


@dataclass(slots=True)
class AttentionMetadata:
    """Which sequence and position each query of one forward pass has.

    block_tables: int32 [rows, context] blocks of each sequence. row_ids, positions: [T] of each query.
    groups: batches for the gathering kernel, made once per forward pass and shared by all layers.
    """

    block_tables: np.ndarray
    row_ids: np.ndarray
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
    attention_metadata: AttentionMetadata | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """query [1, H, T, D], key and value [blocks, heads, D] -> [1, T, H, D]; the signature is transformers' own.

    Errors: NotImplementedError for variants of attention that the kernels do not compute.
    """
    if attention_metadata is None or softcap is not None or s_aux is not None:
        raise NotImplementedError(f"{type(module).__name__} needs attention that the paged kernels do not have")
    scale = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
    if HAVE_NUMBA and query.device.type == "cpu" and query.dtype == torch.float32:
        return _attend_in_place(query, key, value, scale, attention_metadata), None
    return _attend_gathered(query, key, value, scale, attention_metadata), None


AttentionInterface.register(NAME, attend)


def _attend_in_place(query: Tensor, key: Tensor, value: Tensor, scale: float, metadata: AttentionMetadata) -> Tensor:
    q = (query[0].transpose(0, 1) * scale).contiguous()
    out = torch.empty((q.shape[0], q.shape[1], value.shape[2]))
    where = metadata.block_tables, metadata.row_ids, metadata.positions
    _kernel(q.numpy(), key.numpy(), value.numpy(), *where, out.numpy())
    return out[None]


@vectorised
def _kernel(query: Any, keys: Any, values: Any, block_tables: Any, row_ids: Any, positions: Any, out: Any) -> None:
    """query [T, H, D], keys and values [blocks, heads, D]; the loops are split so that LLVM vectorises each."""
    weights = np.empty(positions.max() + 1, dtype=np.float32)
    per_key = query.shape[1] // keys.shape[1]
    for t in range(query.shape[0]):
        count = positions[t] + 1
        blocks = block_tables[row_ids[t], :count]
        for h in range(query.shape[1]):
            _dot_products(query[t, h], keys, h // per_key, blocks, weights)
            mass = exponentials(weights[:count])
            _weighted_sum(weights, values, h // per_key, blocks, out[t, h])
            for d in range(out.shape[2]):
                out[t, h, d] /= mass


@vectorised
def _dot_products(query: Any, keys: Any, head: int, blocks: Any, dots: Any) -> None:
    for j in range(blocks.shape[0]):
        key = keys[blocks[j], head]
        dot = np.float32(0)
        for d in range(key.shape[0]):
            dot += query[d] * key[d]
        dots[j] = dot


@vectorised
def _weighted_sum(weights: Any, values: Any, head: int, blocks: Any, out: Any) -> None:
    out[:] = 0
    for j in range(blocks.shape[0]):
        value, weight = values[blocks[j], head], weights[j]
        for d in range(out.shape[0]):
            out[d] += weight * value[d]


def _attend_gathered(query: Tensor, key: Tensor, value: Tensor, scale: float, metadata: AttentionMetadata) -> Tensor:
    if not metadata.groups:
        metadata.groups = _group(metadata, query.device)
    q = query[0].transpose(0, 1)
    out = torch.zeros((q.shape[0], q.shape[1], value.shape[2]), dtype=q.dtype, device=q.device)
    for index, blocks, mask in metadata.groups:
        k, v = key[blocks].transpose(1, 2), value[blocks].transpose(1, 2)
        gathered = q[index.clamp(min=0)].transpose(1, 2)
        attended = scaled_dot_product_attention(gathered, k, v, mask, scale=scale, enable_gqa=k.shape[1] != q.shape[1])
        out[index[index >= 0]] = attended.transpose(1, 2)[index >= 0]
    return out[None]


def _group(metadata: AttentionMetadata, device: torch.device) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Queries of one sequence together, and sequences with a similar number of queries in one batch.

    Each group is (index [R, Q] into the packed queries, -1 for padding; blocks [R, L]; mask [R, 1, Q, L]).
    """
    queries: dict[int, list[int]] = {}
    for t, row_id in enumerate(metadata.row_ids.tolist()):
        queries.setdefault(row_id, []).append(t)
    buckets: dict[int, list[list[int]]] = {}
    for members in queries.values():
        buckets.setdefault((len(members) - 1).bit_length(), []).append(members)
    groups = []
    for bucket in buckets.values():
        width = max(map(len, bucket))
        index = np.array([members + [-1] * (width - len(members)) for members in bucket])
        positions = np.where(index >= 0, metadata.positions[index], 0)
        length = int(positions.max()) + 1
        blocks = metadata.block_tables[metadata.row_ids[index[:, 0]], :length].astype(np.int64)
        mask = np.arange(length) <= positions[:, None, :, None]
        blocks[~mask.any(axis=(1, 2))] = 0  # beyond its end a row of the table still holds an earlier sequence's blocks
        groups.append((_on(index, device), _on(blocks, device), _on(mask, device)))
    return groups


def _on(array: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(array).to(device)
