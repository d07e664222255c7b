"""Labels of solution lines: exact ones from a checker, or the share of completions that end right.

The second is Math-Shepherd's soft estimation (Wang et al. 2024, section 3.3): several completions are sampled from
every line, and the label is the share of them that reach the right answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Protocol

from .problems import PolicyProblem
from .samplers import PolicySampler, Solution


class Labels(Protocol):
    """A way to label lines. name: as on the card. times: completions of each line, None where none are sampled."""

    name: str

    @property
    def times(self) -> int | None: ...

    def label(self, problems: Sequence[PolicyProblem], solutions: Sequence[Solution], seed: int) -> list[list[float]]:
        """For each solution, whose problem has the same index, a label in [0, 1] for each line."""
        ...


class ExactLabels:
    """1 where the checker finds all lines so far right, else 0. ValueError for a problem without a checker."""

    name = "exact"
    times: int | None = None

    def label(self, problems: Sequence[PolicyProblem], solutions: Sequence[Solution], seed: int) -> list[list[float]]:
        """See `Labels.label`."""
        return [self._verdicts(*pair) for pair in zip(problems, solutions, strict=True)]

    def _verdicts(self, problem: PolicyProblem, solution: Solution) -> list[float]:
        if problem.check_lines is None:
            raise ValueError("exact labels need a checker of steps, which this task lacks; use the labels rollouts")
        verdicts = problem.check_lines(solution.lines) if solution.lines else []
        return [float(right) for right in accumulate(verdicts, min)]


class RolloutLabels:
    """The share of `times` completions by the policy that end right; a stated answer is 1 or 0 without sampling."""

    name = "rollouts"

    def __init__(self, sampler: PolicySampler, times: int = 8) -> None:
        if times < 1:
            raise ValueError(f"rollouts need at least 1 completion of each step, got {times}")
        self.sampler, self.times = sampler, times

    def label(self, problems: Sequence[PolicyProblem], solutions: Sequence[Solution], seed: int) -> list[list[float]]:
        """See `Labels.label`; equal beginnings of one question are completed once."""
        starts: dict[tuple[str, ...], tuple[PolicyProblem, Solution, int]] = {}
        for problem, solution in zip(problems, solutions, strict=True):
            for count in range(1, len(solution.lines) + 1 - solution.ended):
                starts.setdefault(_beginning(solution, count), (problem, solution, count))
        found = self.sampler.complete([(solution, count) for _, solution, count in starts.values()], self.times, seed)
        shares = {
            key: sum(map(problem.is_right, texts)) / self.times
            for (key, (problem, _, _)), texts in zip(starts.items(), found)
        }
        return [self._shares(*pair, shares) for pair in zip(problems, solutions)]

    @staticmethod
    def _shares(problem: PolicyProblem, solution: Solution, shares: dict[tuple[str, ...], float]) -> list[float]:
        counts = range(1, len(solution.lines) + 1)
        last = float(problem.is_right(solution.text)) if solution.ended else 0.0
        return [shares.get(_beginning(solution, count), last) for count in counts]


def _beginning(solution: Solution, count: int) -> tuple[str, ...]:
    """The question and the first `count` lines."""
    return (solution.question, *solution.lines[:count])
