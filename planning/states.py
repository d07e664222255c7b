"""Where states are stored while a search knows only their node ids: as one tensor per field, or as objects.

A store looks into states only to find siblings that are equal.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar, cast

import numpy as np
import torch

from .interface import Int, ModelError, States

State = TypeVar("State")


class StateStore(ABC, Generic[States]):
    """The states of (row, node) pairs."""

    @abstractmethod
    def get(self, row: Int, node: Int) -> States:
        """The states of K pairs."""

    @abstractmethod
    def put(self, row: Int, node: Int, states: States, parent: Int | None = None) -> Int | None:
        """Store K states. Errors: ModelError for states that are not K, or of another shape than the first ones.

        With `parent`, a store of objects returns the node id of each one's earlier equal sibling, -1 where there is
        none, or None where none of the K has one. A store of tensors returns None.
        """


class TensorStates(StateStore[States]):
    """States that are a tensor [K, ...], or a (named) tuple or dict of such, in one block [B * N, ...] per field."""

    def __init__(self, states: States, nodes: int) -> None:
        fields = fields_of(states)
        self.rows, self.nodes, self.like = len(fields[0]), nodes, states
        self.blocks = [f.new_empty((self.rows * nodes, *f.shape[1:])) for f in fields]
        self.device = fields[0].device

    def get(self, row: Int, node: Int) -> States:
        index = self._index(row, node)
        return like(self.like, [b[index] for b in self.blocks])

    def put(self, row: Int, node: Int, states: States, parent: Int | None = None) -> None:
        index = self._index(row, node)
        for block, field in zip(self.blocks, fields_of(states), strict=True):
            if field.shape[1:] != block.shape[1:] or len(field) != len(row):
                raise ModelError(
                    f"reached states have shape {tuple(field.shape)}, expected {(len(row), *block.shape[1:])}"
                )
            block[index] = field

    def _index(self, row: Int, node: Int) -> torch.Tensor:
        return torch.from_numpy(row.astype(np.int64) * self.nodes + node).to(self.device)


class ListStates(StateStore[list[State]]):
    """States of any kind, one object each; equal siblings (`==` and hash) are found when they are stored.

    states: by (row, node). first_equal: by (row, parent), the first node of each different state among its children.
    """

    def __init__(self, states: Sequence[State], nodes: int) -> None:
        self.states: dict[tuple[int, int], State] = {}
        self.first_equal: dict[tuple[int, int], dict[State, int]] = {}

    def get(self, row: Int, node: Int) -> list[State]:
        return [self.states[pair] for pair in zip(row.tolist(), node.tolist())]

    def put(self, row: Int, node: Int, states: Sequence[State], parent: Int | None = None) -> Int | None:
        if len(states) != len(row):
            raise ModelError(f"the model's states are {len(states)}, expected {len(row)}")
        rows, nodes = row.tolist(), node.tolist()
        for b, n, state in zip(rows, nodes, states):
            self.states[b, n] = state
            self.first_equal.pop((b, n), None)  # a reused tree gives the same id to a node with other children
        if parent is None:
            return None
        parents = zip(rows, parent.tolist())
        first = [self.first_equal.setdefault(p, {}).setdefault(state, n) for p, n, state in zip(parents, nodes, states)]
        if first == nodes:
            return None
        return np.array([-1 if f == n else f for f, n in zip(first, nodes)], np.int32)


def fields_of(states: object) -> list[torch.Tensor]:
    """The tensors of states in a fixed order."""
    if isinstance(states, torch.Tensor):
        return [states]
    return list(states.values()) if isinstance(states, dict) else list(cast("Sequence[torch.Tensor]", states))


def like(pattern: States, fields: list[torch.Tensor]) -> States:
    """`fields` in a container of the type of `pattern`."""
    if isinstance(pattern, torch.Tensor):
        return cast(States, fields[0])
    if isinstance(pattern, dict):
        return cast(States, dict(zip(pattern, fields)))
    make = cast("type[tuple[torch.Tensor, ...]]", type(pattern))
    return cast(States, make(*fields) if hasattr(pattern, "_fields") else make(fields))


def store_for(states: States, nodes: int) -> StateStore[States]:
    """The store that fits the states a model starts with; ids below `nodes`."""
    tensors = isinstance(states, torch.Tensor | dict) or (
        isinstance(states, tuple) and len(states) > 0 and all(isinstance(s, torch.Tensor) for s in states)
    )
    if tensors:
        return TensorStates(states, nodes)
    return cast("StateStore[States]", ListStates(cast("Sequence[object]", states), nodes))
