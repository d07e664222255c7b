"""The ledger's remaining nodes are those of the caps at any time, whatever the answers report."""

from __future__ import annotations

import numpy as np

from forethought.planning import Budget, EdgeQuery, Ledger
from forethought.planning.usage import GENERATED_TOKENS, MODEL_CALLS, NODES, no_usage


def edges(*rows: int) -> EdgeQuery:
    row = np.array(rows, np.int32)
    return EdgeQuery(row, row, row, row)


def used(**amounts: float) -> np.ndarray:
    usage = no_usage(1)
    for unit, amount in amounts.items():
        usage[0, {"nodes": NODES, "calls": MODEL_CALLS, "tokens": GENERATED_TOKENS}[unit]] = amount
    return usage


def test_an_answer_without_usage_gives_its_reserved_tokens_back() -> None:
    ledger = Ledger(Budget(generated_tokens=40), 1, most_tokens=10)
    for _ in range(3):
        ledger.reserve(edges(0))
        assert ledger.remaining().tolist() == [3]
        ledger.charge(edges(0), None)
        assert ledger.remaining().tolist() == [4]


def test_what_the_start_costs_is_no_longer_remaining() -> None:
    ledger = Ledger(Budget(nodes=10, generated_tokens=100), 2, most_tokens=10)
    ledger.book(np.array([1], np.int32), used(nodes=2, tokens=45))
    assert ledger.remaining().tolist() == [10, 5]
    ledger = Ledger(Budget(nodes=10), 1)
    ledger.book(np.array([0], np.int32), used(nodes=3))
    assert ledger.remaining().tolist() == [7]


def test_a_released_call_leaves_what_the_caps_allow() -> None:
    ledger = Ledger(Budget(generated_tokens=40), 1, most_tokens=10)
    ledger.reserve(edges(0))
    ledger.book(np.array([0], np.int32), used(tokens=39))
    assert ledger.remaining().tolist() == [0]
    ledger.release(edges(0))
    assert ledger.remaining().tolist() == [0]
