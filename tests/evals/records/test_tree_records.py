"""A tree in the files of a run holds what the search's tree holds."""

import numpy as np

from forethought.evals.records.tree_records import COLUMNS, tree_record
from forethought.planning import CEM, MCTS, BoxActions, Budget, plan
from forethought.planning.testing.problems import Table, TargetProblem


def small_tree():
    draw = np.random.default_rng(3)
    shape = (6, 3)
    return Table(draw.integers(0, 6, shape), draw.normal(size=shape), np.full(shape, 0.9), draw.normal(size=6))


def test_a_record_has_every_node_with_its_numbers():
    outcome = plan(MCTS(), small_tree(), [0], Budget(nodes=12))
    record, tree = tree_record(outcome, str), outcome.search.tree
    rows = {row[0]: dict(zip(record["columns"], row)) for row in record["nodes"]}
    assert record["columns"] == list(COLUMNS) and len(rows) == 13 == len(record["nodes"])
    assert set(rows) == {int(tree.root[0]), *tree.evaluated(0)}
    for node, row in rows.items():
        here = tree.nodes[0, node]
        assert (row["parent"], row["slot"], row["visits"]) == (here.parent, here.action, here.visits)
        assert np.isclose(row["reward"], here.reward, rtol=1e-3) and np.isclose(row["value"], here.value, rtol=1e-3)
        assert row["duplicate_of"] == -1
    assert all(rows[row["parent"]]["visits"] >= row["visits"] for row in rows.values() if row["parent"] >= 0)
    assert [rows[n]["slot"] for n in record["path"][1:]] == outcome.plan.actions[0].tolist()


def test_a_search_without_a_tree_has_no_record():
    import torch

    outcome = plan(CEM(horizon=2), TargetProblem(torch.zeros(1)), [0.0], Budget(nodes=40))
    assert isinstance(outcome.search.box, BoxActions) and tree_record(outcome, str) is None
