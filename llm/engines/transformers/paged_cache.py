"""The key-value cache given to the model: keys and values of all blocks, in the form that transformers expects."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from .block_manager import ROOT


class PagedLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """One layer's keys and values of all blocks: [blocks, heads, head size], allocated at the first update."""

    is_sliding = False

    def __init__(self, cache: PagedCache) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.cache = cache

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate for keys and values of these shapes [1, heads, T, head size]."""
        self.keys, self.values = (
            torch.empty((self.cache.num_blocks, x.shape[1], x.shape[3]), dtype=x.dtype, device=x.device)
            for x in (key_states, value_states)
        )
        # padding reads this block with weight 0, and 0 * NaN would be NaN
        self.keys[ROOT], self.values[ROOT] = 0, 0
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Write [1, heads, T, head size] to the T blocks of this forward pass; returns those of all blocks."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        self.keys.index_copy_(0, self.cache.write_blocks, key_states[0].transpose(0, 1))
        self.values.index_copy_(0, self.cache.write_blocks, value_states[0].transpose(0, 1))
        return self.keys, self.values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Required by transformers; the paged attention uses no mask."""
        return query_length, 0

    def get_seq_length(self) -> int:
        """Required by transformers; positions are always given explicitly."""
        return 0

    def get_max_length(self) -> int:
        """Required by transformers; the cache has no maximum length."""
        return -1


class PagedCache(Cache):
    """A forward pass is one packed row [1, T], whose keys and values are written to the blocks `write_blocks` [T]."""

    def __init__(self, layers: int, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self.write_blocks = torch.zeros(0, dtype=torch.int64)
        super().__init__(layers=[PagedLayer(self) for _ in range(layers)])
