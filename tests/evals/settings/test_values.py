"""Lists of names and of budgets, as texts of the command line and as Python's sequences."""

import pytest

from forethought.evals.errors import BadInput
from forethought.evals.settings.values import as_budgets, as_names


@pytest.mark.parametrize(
    ("given", "right"), [("bfs, mcts", ("bfs", "mcts")), (["a", 1], ("a", 1)), (" a ,,b,", ("a", "b"))]
)
def test_names(given, right):
    assert as_names(given) == right


@pytest.mark.parametrize("given", ["", " , ", []])
def test_no_names_are_refused(given):
    with pytest.raises(BadInput, match="separated by commas"):
        as_names(given)


@pytest.mark.parametrize(
    ("given", "right"), [(8, (8,)), ("64, 8,8", (8, 64)), ("1_000", (1000,)), ([4, "2"], (2, 4)), ((16,), (16,))]
)
def test_budgets_are_sorted_and_distinct(given, right):
    assert as_budgets(given) == right


@pytest.mark.parametrize("given", ["0", "-4", "eight", "1.5", [True], [2.0], "nan", True])
def test_what_is_no_budget_is_refused(given):
    with pytest.raises(BadInput, match="a budget is a positive integer, got"):
        as_budgets(given)
