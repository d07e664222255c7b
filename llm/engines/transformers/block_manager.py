"""Allocates the blocks of the key-value cache and finds those that hold a prefix, as in nano-vllm's block manager.

A block holds one token position. The block manager knows no tensors; `paged_cache.py` holds the keys and values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ROOT = 0
"""The block of the empty sequence. No position belongs to it, so padding is written there."""

ID_RANGE = 1 << 32
"""Larger than any token id, so that (parent block, token id) maps to one integer without collisions."""


class BlockManager:
    """A prefix tree of token sequences with one block per token after a given prefix; each id is below `ID_RANGE`.

    Eviction is least recently used. A block is never older than its descendants, provided that `touch` is called with
    whole paths and that the paths of running sequences are touched before `evict`; thus no block loses its parent.
    """

    def __init__(self, num_blocks: int) -> None:
        """num_blocks: all blocks, with the one of the empty sequence."""
        self.num_blocks = num_blocks
        self.clock = 0
        self._key = np.zeros(num_blocks, dtype=np.int64)
        self._last_used = np.full(num_blocks, -1, dtype=np.int64)
        self._child: dict[int, int] = {}
        self._free = list(range(num_blocks - 1, ROOT, -1))

    def __len__(self) -> int:
        return len(self._child)

    @property
    def num_free(self) -> int:
        """Number of free blocks."""
        return len(self._free)

    def find(self, parent: int, token: int) -> int | None:
        """The block of `token` right after the sequence of block `parent`, None if it is not cached."""
        return self._child.get(parent * ID_RANGE + token)

    def match_prefix(self, tokens: Sequence[int]) -> list[int]:
        """The blocks of the longest cached prefix of `tokens`."""
        path, block = [], ROOT
        child = self._child
        for token in tokens:
            following = child.get(block * ID_RANGE + token)
            if following is None:
                break
            path.append(following)
            block = following
        return path

    def allocate(self, parent: int, token: int) -> int:
        """A free block for `token` after `parent`. Raises IndexError if there is none: call `evict` first."""
        block = self._free.pop()
        key = parent * ID_RANGE + token
        self._child[key] = block
        self._key[block] = key
        self._last_used[block] = self.clock
        return block

    def touch(self, path: np.ndarray) -> None:
        """Mark the blocks `path` as used at the current clock."""
        self._last_used[path] = self.clock

    def evict(self, count: int) -> None:
        """Free the `count` least recently used blocks (or a few more), but none that was used at the current clock."""
        old = np.flatnonzero((self._last_used >= 0) & (self._last_used < self.clock))
        if count < len(old):
            used = self._last_used[old]
            old = old[used <= np.partition(used, count - 1)[count - 1]]
        self.free(old.tolist())

    def free(self, blocks: list[int]) -> None:
        """Free these blocks. Their descendants must be among them."""
        for block in blocks:
            del self._child[int(self._key[block])]
        self._last_used[blocks] = -1
        self._free.extend(blocks)
