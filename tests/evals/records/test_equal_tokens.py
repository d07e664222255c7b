"""Comparisons of two planners at equal tokens, with costs and scores that decide them by hand."""

import pytest

from forethought.evals.records.summary import MIN_TOKEN_RATIO, comparisons
from forethought.planning.interface import UNITS

PROBLEMS = 40


def compared(**runs):
    """The comparison at equal tokens of planners given as name=[(budget, tokens, number of correct answers), ...]."""
    table, by_cell = [], {}
    for planner, cells in runs.items():
        for budget, tokens, correct in cells:
            charged = dict.fromkeys(UNITS, 0.0) | {"generated_tokens": float(tokens)}
            completion = dict.fromkeys(UNITS, 0.0)
            table.append({"planner": planner, "budget": budget, "charged": charged, "completion": completion})
            by_cell[planner, budget] = [
                {"problem": i, "score": float(i < correct), "failed": None} for i in range(PROBLEMS)
            ]
    found = [c for c in comparisons(table, by_cell) if c["unit"] == "equal charged tokens"]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize("order", [("good", "bad"), ("bad", "good")])
def test_who_does_better_with_no_more_tokens_has_won(order):
    runs = {"good": [(8, 100, 30)], "bad": [(8, 300, 5)]}
    found = compared(**{name: runs[name] for name in order})
    assert found["clear"] and found["comparable"]
    assert found["text"].startswith("good beats bad at equal charged tokens (good 8, bad 8): +0.625 [")
    assert found["token_ratio"] == pytest.approx(100 / 300)


def test_the_winner_is_taken_at_its_dearest_row_within_the_loser_s_cost():
    found = compared(good=[(4, 50, 20), (8, 90, 30), (16, 200, 40)], bad=[(4, 20, 5), (8, 100, 5)])
    assert (found["first"], found["second"]) == (["good", 8], ["bad", 8])
    assert found["difference"] == pytest.approx(25 / 40) and found["token_ratio"] == pytest.approx(0.9)


def test_equal_scores_at_like_costs_show_no_difference_and_at_unlike_costs_nothing():
    like = compared(one=[(8, 100, 20)], two=[(8, 100 * MIN_TOKEN_RATIO + 1, 20)])
    assert not like["clear"] and like["comparable"] and like["text"].endswith("no difference shown")
    unlike = compared(one=[(8, 1000, 20)], two=[(8, 1000 * MIN_TOKEN_RATIO / 2, 20)])
    assert not unlike["clear"] and not unlike["comparable"]
    assert unlike["text"] == "one and two were not run at equal charged tokens"


def test_without_tokens_nothing_is_compared_at_equal_tokens():
    assert compared(one=[(8, 0, 20)], two=[(8, 0, 30)]) is None
