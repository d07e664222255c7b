"""How Python calls the kernels of Monte Carlo tree search: by a table of addresses, for speed.

To pass a dozen arrays and four tensors to a compiled function takes longer than a simulation (`compiled.py`). So a
search stores the addresses and shapes of its own arrays once, in a pointer table, and of the model's answers it passes
addresses too. The search keeps the arrays of its table alive and in place.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compiled import array_at, inlined, njit, record_type
from .mcts_kernels import Batch, expand_and_backpropagate, select_leaves
from .nodes import HEADER, NODE
from .selection import EDGE, MCTS_SETTINGS, completed_q_values

POINTERS = record_type(
    [
        ("rows", "i8"),  # B
        ("records", "i8"),  # N + 1, the records of a row
        ("actions", "i8"),  # A, 0 for `SampledActions()`
        ("edges_size", "i8"),  # actions for which Gumbel has scratch memory
        ("bonus_size", "i8"),  # length of `bonus`
        ("simulations", "i8"),  # length of each row of `halving`
        ("block", "i8"),  # address of the tree's block, int32 [B, N + 1, WORDS]
        ("priors", "i8"),  # address of the tree's priors, float32 [B, N, A]
        ("settings", "i8"),  # address of the `MCTS_SETTINGS`
        ("bonus", "i8"),  # address of the exploration bonus, float64
        ("noise", "i8"),  # address of Gumbel's noise, float64 [B, edges_size]
        ("halving", "i8"),  # address of Gumbel's visits, int32 [B, simulations]
        ("edges", "i8"),  # address of Gumbel's scratch memory, `EDGE` [edges_size]
        ("stop_codes", "i8"),  # address of the stop codes, int32 [B]
    ]
)
"""The pointer table, which Python passes as int64 [TABLE_SIZE]."""

TABLE_SIZE = len(POINTERS.names)


@njit
def store_pointers(
    table: Any, block: Any, priors: Any, settings: Any, bonus: Any, noise: Any, halving: Any, edges: Any,
    stop_codes: Any,
) -> None:  # fmt: skip
    """Fill the pointer table int64 [TABLE_SIZE]; settings and edges are passed as float64 arrays of their words."""
    to = table.view(POINTERS)[0]
    to.rows, to.records, to.actions = block.shape[0], block.shape[1], priors.shape[2]
    to.edges_size, to.bonus_size, to.simulations = noise.shape[1], len(bonus), halving.shape[1]
    to.block, to.priors, to.settings = block.ctypes.data, priors.ctypes.data, settings.ctypes.data
    to.bonus, to.noise, to.halving = bonus.ctypes.data, noise.ctypes.data, halving.ctypes.data
    to.edges, to.stop_codes = edges.ctypes.data, stop_codes.ctypes.data


@inlined
def batch_at(table: Any) -> Batch:
    """The arrays whose addresses are in the pointer table."""
    at = table.view(POINTERS)[0]
    return Batch(
        array_at(at.block, (at.rows, at.records), NODE),
        array_at(at.block, (at.rows, at.records), HEADER)[:, at.records - 1],
        array_at(at.priors, (at.rows, at.records - 1, at.actions), np.float32),
        array_at(at.settings, (1,), MCTS_SETTINGS),
        array_at(at.bonus, (at.bonus_size,), np.float64),
        array_at(at.noise, (at.rows, at.edges_size), np.float64),
        array_at(at.halving, (at.rows, at.simulations), np.int32),
        array_at(at.edges, (at.edges_size,), EDGE),
        array_at(at.stop_codes, (at.rows,), np.int32),
    )


@njit
def call_select_leaves(table: Any, remaining: Any, entry: Any) -> int:
    """`select_leaves` with the arrays of the pointer table."""
    return select_leaves(batch_at(table), remaining, entry)


@njit
def call_expand(table: Any, row: Any, node: Any, *numbers: Any) -> int:
    """`expand_and_backpropagate` with the arrays of the pointer table and the answers as arrays (`Tree.arrays_of`)."""
    return expand_and_backpropagate(batch_at(table), row, node, *numbers)


@njit
def call_expand_at(table: Any, row: Any, node: Any, reward: int, discount: int, value: int, logits: int) -> int:
    """`call_expand` with the addresses of the answers' float32 numbers (`Tree.addresses_of`); logits 0: none."""
    count, actions = len(node), table.view(POINTERS)[0].actions if logits > 0 else 0
    return expand_and_backpropagate(
        batch_at(table),
        row,
        node,
        array_at(reward, (count,), np.float32),
        array_at(discount, (count,), np.float32),
        array_at(value, (count,), np.float32),
        array_at(logits, (count, actions), np.float32),
        array_at(0, (0,), np.int32),
        array_at(0, (0,), np.bool_),
    )


@njit
def call_completed_q_values(table: Any, b: int) -> None:
    """`completed_q_values` at the root of row b; they are left in the scratch memory of the table."""
    batch = batch_at(table)
    root = batch.headers[b].root
    completed_q_values(batch.nodes[b], batch.priors[b], batch.settings[0], root, batch.edges)
