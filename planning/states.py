"""Where states live while a search holds only their node ids: tensors in one block per field, or lists of anything.

A store knows rows, nodes and states. It never looks into a state but to tell whether two siblings are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .interface import Int, ModelError


class TensorStates:
    """States that are a tensor [K, ...], or a (named) tuple or dict of such, in one block [B * N, ...] per field."""

    def __init__(self, states: Any, nodes: int) -> None:
        fields = fields_of(states)
        self.rows, self.nodes, self.like = len(fields[0]), nodes, states
        self.blocks = [f.new_empty((self.rows * nodes, *f.shape[1:])) for f in fields]
        self.device = fields[0].device

    def get(self, row: Int, node: Int) -> Any:
        """The states of K (row, node) pairs."""
        place = self._place(row, node)
        return like(self.like, [b[place] for b in self.blocks])

    def put(self, row: Int, node: Int, states: Any, parent: Int | None = None) -> None:
        """Keep K states; ModelError if a field has another shape than at the start."""
        place = self._place(row, node)
        for block, field in zip(self.blocks, fields_of(states), strict=True):
            if field.shape[1:] != block.shape[1:] or len(field) != len(row):
                raise ModelError(
                    f"reached states have shape {tuple(field.shape)}, expected {(len(row), *block.shape[1:])}"
                )
            block[place] = field

    def _place(self, row: Int, node: Int) -> torch.Tensor:
        place = row.astype(np.int64) * self.nodes + node
        return torch.from_numpy(place).to(self.device)


class ListStates:
    """States of any kind, one object each; equal siblings (`==` and hash) are found when they are put."""

    def __init__(self, states: Sequence[Any], nodes: int) -> None:
        self.states: dict[tuple[int, int], Any] = {}
        self.twins: dict[tuple[int, int], dict[Any, int]] = {}

    def get(self, row: Int, node: Int) -> list[Any]:
        return [self.states[pair] for pair in zip(row.tolist(), node.tolist())]

    def put(self, row: Int, node: Int, states: Sequence[Any], parent: Int | None = None) -> Int | None:
        """Keep K states; with `parent`, the id of each one's earlier equal sibling (-1: none), None without twins."""
        if len(states) != len(row):
            raise ModelError(f"the model's states are {len(states)}, expected {len(row)}")
        rows, nodes = row.tolist(), node.tolist()
        for b, n, state in zip(rows, nodes, states):
            self.states[b, n] = state
            self.twins.pop((b, n), None)  # ids of a reused tree come back with other children
        if parent is None:
            return None
        above = zip(rows, parent.tolist())
        first = [self.twins.setdefault(a, {}).setdefault(state, n) for a, n, state in zip(above, nodes, states)]
        if first == nodes:
            return None
        return np.array([-1 if f == n else f for f, n in zip(first, nodes)], np.int32)


def fields_of(states: Any) -> list[torch.Tensor]:
    """The tensors of a state in a fixed order."""
    if isinstance(states, torch.Tensor):
        return [states]
    return list(states.values()) if isinstance(states, dict) else list(states)


def like(pattern: Any, fields: list[torch.Tensor]) -> Any:
    """`fields` in the container that `pattern` is."""
    if isinstance(pattern, torch.Tensor):
        return fields[0]
    if isinstance(pattern, dict):
        return dict(zip(pattern, fields))
    return type(pattern)(*fields) if hasattr(pattern, "_fields") else type(pattern)(fields)


def store_for(states: Any, nodes: int) -> TensorStates | ListStates:
    """The store that fits the states a model starts with; ids below `nodes`."""
    tensors = isinstance(states, torch.Tensor | dict) or (
        isinstance(states, tuple) and len(states) > 0 and all(isinstance(s, torch.Tensor) for s in states)
    )
    return TensorStates(states, nodes) if tensors else ListStates(states, nodes)
