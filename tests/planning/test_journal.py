"""The journal: repeated on a fresh search it gives the identical tree, from memory and from a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forethought.planning import MCTS, BestOfN, Budget, Returns, SequenceQuery, Size, keys_of, plan
from forethought.planning.event_log import EventLog
from forethought.planning.journal import JournalError, load, rerun, save
from forethought.planning.trees.beam import Beam

PLANNERS = [MCTS(), MCTS(selection="uct", leaves=4), MCTS(selection="gumbel"), Beam(), BestOfN()]


@pytest.mark.parametrize("planner", PLANNERS, ids=["puct", "uct, four leaves", "gumbel", "beam", "best of n"])
@pytest.mark.parametrize("sampled", [False, True])
def test_replaying_a_journal_gives_the_identical_tree(
    planner: Any, sampled: bool, table: Callable[..., Any], tmp_path: Path
) -> None:
    model = table(1, sampled=sampled)
    search = plan(planner, model, [0, 1, 2], Budget(nodes=30), seed=1).search
    _, root = model.start([0, 1, 2])
    save(search.journal, tmp_path / "journal.npz")
    for journal in (search.journal, load(tmp_path / "journal.npz")):
        again = rerun(planner, root, model.actions, Size(30), keys_of(1, 3), journal)
        np.testing.assert_array_equal(again.tree.block, search.tree.block)
        np.testing.assert_array_equal(again.tree.priors, search.tree.priors)
        assert again.stop_reason == search.stop_reason


def test_drops_and_partial_answers_are_replayed_too(table: Callable[..., Any]) -> None:
    model, planner = table(2), MCTS(leaves=4)
    states, root = model.start([0, 1])
    search = planner.begin(root, model.actions, Size(20), keys=keys_of(0, 2))
    remaining = np.full(2, 20, np.int32)
    query = search.ask(remaining)
    search.drop(query.take(query.row == 1))
    part = query.take(query.row == 0)
    search.tell(part, model.expand(states[part.row], part.action)[1])
    search.ask(remaining)
    again = rerun(planner, root, model.actions, Size(20), keys_of(0, 2), search.journal)
    np.testing.assert_array_equal(again.tree.block, search.tree.block)


def test_what_is_asked_beyond_the_first_buffer_is_in_the_journal_too(table: Callable[..., Any]) -> None:
    model, planner = table(2), MCTS(leaves=2)
    states, root = model.start([0, 1])
    search = planner.begin(root, model.actions, Size(20), keys=keys_of(0, 2))
    search.log = EventLog(rows=2, most=4, asks=2)
    remaining, seen = np.full(2, 20, np.int32), []
    known = {(b, 0): states[b] for b in range(2)}
    while len(query := search.ask(remaining)):
        seen.append((remaining.copy(), query))
        np.subtract.at(remaining, query.row, 1)
        reached, told = model.expand(torch.stack([known[k] for k in zip(query.row, query.parent)]), query.action)
        known.update(zip(zip(query.row, query.node), reached))
        search.tell(query, told)
    asks = [(held, asked) for what, held, asked in search.journal if what == "ask"]
    assert len(search.log.buffers) > 2 and len(asks) == len(seen) + 1
    for (held, asked), (before, query) in zip(asks, seen):
        np.testing.assert_array_equal(held, before)
        for name in ("row", "parent", "action", "node"):
            np.testing.assert_array_equal(getattr(asked, name), getattr(query, name))
    again = rerun(planner, root, model.actions, Size(20), keys_of(0, 2), search.journal)
    np.testing.assert_array_equal(again.tree.block, search.tree.block)


def test_a_journal_of_other_settings_is_refused_with_the_event(table: Callable[..., Any]) -> None:
    model = table(1)
    search = plan(MCTS(), model, [0, 1], Budget(nodes=30)).search
    _, root = model.start([0, 1])
    with pytest.raises(JournalError, match=r"event \d+: the search asks another (row|parent|action)"):
        rerun(MCTS(selection="uct"), root, model.actions, Size(30), keys_of(0, 2), search.journal)
    with pytest.raises(JournalError, match="there are ask, tell, drop"):
        rerun(MCTS(), root, model.actions, Size(30), keys_of(0, 2), [("poll", None, None)])


def test_vectors_keys_and_plain_fields_come_back_from_a_file(tmp_path: Path) -> None:
    query = SequenceQuery(np.zeros(1, np.int32), torch.randn(1, 2, 3, 1), keys_of(0, 1))
    save([("tell", query, Returns(torch.ones(1, 2, 1)))], tmp_path / "journal.npz")
    [(kind, asked, told)] = load(tmp_path / "journal.npz")
    assert kind == "tell" and torch.equal(asked.sequences, query.sequences) and told.usage is None
    assert asked.keys.dtype == np.uint64 and asked.keys == query.keys and torch.equal(told.returns, torch.ones(1, 2, 1))


def test_a_file_that_is_no_journal_says_so(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("hello")
    np.savez(tmp_path / "b.npz", head=np.array('{"format": "other"}'))
    for name in ("a", "b.npz"):
        with pytest.raises(JournalError, match=name):
            load(tmp_path / name)
