"""The conformance kit also catches searches whose plans go wrong only after a while."""

from __future__ import annotations

from typing import Any

import pytest

from forethought.planning import MCTS, Expansion, IndexedActions, Size
from forethought.planning.interface import Keys
from forethought.planning.testing.check_model import SearchError, check_search


class Late:
    """MCTS whose plans have a path that is too short once `answers` answers are in."""

    def __init__(self, answers: int) -> None:
        self.answers, self.leaves = answers, 1

    def begin(self, root: Expansion, actions: Any, size: Size, *, keys: Keys, after: Any | None = None) -> Any:
        if not isinstance(actions, IndexedActions):
            raise ValueError("IndexedActions only")
        search = MCTS().begin(root, actions, size, keys=keys)
        tell, plan, calls = search.tell, search.plan, []

        def counted(query: Any, answer: Any) -> None:
            tell(query, answer)
            calls.append(query)

        def shortened() -> Any:
            found = plan()
            if len(calls) >= self.answers:
                found.path = [path[:1] for path in found.path]
            return found

        search.tell, search.plan = counted, shortened  # type: ignore[method-assign]
        return search


@pytest.mark.parametrize("answers", [1, 5, 12, 40])
def test_a_plan_whose_path_is_too_short_after_some_answers_is_caught(answers: int) -> None:
    with pytest.raises(SearchError, match="does not lead to best"):
        check_search(Late(answers))


def test_the_same_search_without_the_fault_passes() -> None:
    check_search(Late(10**6))
