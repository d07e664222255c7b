"""The best candidates that CEM keeps while there are fewer than it may keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from forethought.planning import CEM, Budget, plan


def test_fewer_candidates_than_may_be_kept_are_all_kept(table: Callable[..., Any]) -> None:
    model = table(3, ends=0.0)
    search = plan(CEM(keep=3, population=1, iterations=2, horizon=3), model, [0, 4], Budget(nodes=6)).search
    for row in range(2):
        ended = {int(n) for n in search.tree.evaluated(row) if len(search.tree.path(row, n)) == 4}
        kept = search.kept[row].tolist()
        assert {n for n in kept if n >= 0} == ended
        assert kept == sorted(kept, key=lambda n: -search.tree.path_value(row, n) if n >= 0 else float("inf"))
