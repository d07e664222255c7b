"""Numbers and ranks of candidates under a constraint, against Deb's rules written out by hand."""

from __future__ import annotations

import torch

from forethought.planning.scoring import order_of, scores_of

INF, NAN = torch.inf, torch.nan


def test_a_feasible_candidate_counts_by_its_return_and_no_other_counts() -> None:
    returns = torch.tensor([[3.0, 9.0, -1.0, NAN, -INF]])
    violation = torch.tensor([[0.0, 0.1, 0.0, 0.0, 0.0]])
    assert scores_of(returns, violation).tolist() == [[3.0, -INF, -1.0, -INF, -INF]]
    assert order_of(returns, violation).tolist()[0][:3] == [0, 2, 1]


def test_where_none_is_feasible_the_least_violation_counts_and_what_is_not_finite_still_counts_for_nothing() -> None:
    returns = torch.tensor([[NAN, 9.0, -1.0, INF, 7.0]])
    violation = torch.tensor([[0.5, 5.0, 4.0, 1.0, INF]])
    assert scores_of(returns, violation).tolist() == [[-INF, -5.0, -4.0, -INF, -INF]]
    assert order_of(returns, violation).tolist()[0][:2] == [2, 1]


def test_equal_candidates_are_ranked_by_their_index() -> None:
    returns, violation = torch.ones(1, 40), torch.zeros(1, 40)
    assert order_of(returns, violation).tolist() == [list(range(40))]
    assert order_of(returns, None).tolist() == [list(range(40))]
