"""Keys and values of token sequences, kept so that whatever begins like something computed is not computed again.

`TokenTree` is a prefix tree with one slot per token position and knows no tensors; `PagedCache` is the transformers
cache whose layers hold the keys and values of those slots. Neither knows requests, batches or sampling.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

ROOT = 0
"""The slot of the empty sequence; as no position belongs to it, padding is written there."""

IDS = 1 << 32
"""More than there are token ids in any vocabulary: what is none is found nowhere, and never taken for another."""


class TokenTree:
    """A prefix tree of token sequences, each id below `IDS`. A slot is a token at a position after a certain prefix.

    Oldest slots are evicted first. A slot is never older than what follows it, provided that `touch` is called with
    whole paths and that paths in use are touched before `evict`: so an eviction never leaves an orphan.
    """

    def __init__(self, slots: int) -> None:
        self.size = slots
        self.clock = 0
        self._key = np.zeros(slots, dtype=np.int64)
        self._used = np.full(slots, -1, dtype=np.int64)
        self._child: dict[int, int] = {}
        self._free = list(range(slots - 1, ROOT, -1))

    def __len__(self) -> int:
        return len(self._child)

    @property
    def room(self) -> int:
        return len(self._free)

    def find(self, parent: int, token: int) -> int | None:
        """The slot of `token` right after the sequence of `parent`."""
        return self._child.get(parent * IDS + token)

    def match(self, tokens: Sequence[int]) -> list[int]:
        """The slots of the longest prefix of `tokens` that is held."""
        path, slot = [], ROOT
        child = self._child
        for token in tokens:
            following = child.get(slot * IDS + token)
            if following is None:
                break
            path.append(following)
            slot = following
        return path

    def add(self, parent: int, token: int) -> int:
        """A new slot for `token` after `parent`. Raises IndexError without room: `evict` first."""
        slot = self._free.pop()
        key = parent * IDS + token
        self._child[key] = slot
        self._key[slot] = key
        self._used[slot] = self.clock
        return slot

    def touch(self, path: np.ndarray) -> None:
        self._used[path] = self.clock

    def evict(self, count: int) -> None:
        """Free the `count` slots (or a few more) touched longest ago, but none touched at this clock."""
        old = np.flatnonzero((self._used >= 0) & (self._used < self.clock))
        if count < len(old):
            used = self._used[old]
            old = old[used <= np.partition(used, count - 1)[count - 1]]
        self.forget(old.tolist())

    def forget(self, slots: list[int]) -> None:
        """Free these slots. What follows them must be among them."""
        for slot in slots:
            del self._child[int(self._key[slot])]
        self._used[slots] = -1
        self._free.extend(slots)


class PagedLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """One layer's keys and values of all slots: [slots, heads, head size], allocated when the first come."""

    is_sliding = False

    def __init__(self, cache: PagedCache) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.cache = cache

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.keys, self.values = (
            torch.empty((self.cache.slots, x.shape[1], x.shape[3]), dtype=x.dtype, device=x.device)
            for x in (key_states, value_states)
        )
        # stands for padding, which is weighted by 0: NaN would survive that
        self.keys[ROOT], self.values[ROOT] = 0, 0
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Write [1, heads, T, head size] to the T slots of this forward; gives everything held."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        self.keys.index_copy_(0, self.cache.targets, key_states[0].transpose(0, 1))
        self.values.index_copy_(0, self.cache.targets, value_states[0].transpose(0, 1))
        return self.keys, self.values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return query_length, 0

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return -1


class PagedCache(Cache):
    """The cache given to the model: a forward is one packed row [1, T] whose positions go to the slots `targets`."""

    def __init__(self, layers: int, slots: int) -> None:
        self.slots = slots
        self.targets = torch.zeros(0, dtype=torch.int64)
        super().__init__(layers=[PagedLayer(self) for _ in range(layers)])
