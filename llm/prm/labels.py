"""Labels of steps: what a checker says exactly, or the share of completions that end right.

The second is Math-Shepherd's soft estimation (Wang et al. 2024, section 3.3): for every step, `times` ways on are
sampled, and the label is the share of them that reach the right answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Protocol

from .problems import Problem
from .samplers import Solution, Writer


class Labels(Protocol):
    """A way to label steps; `name` stands on the card."""

    name: str

    def label(self, problems: Sequence[Problem], solutions: Sequence[Solution], seed: int) -> list[list[float]]:
        """For each solution, of the problem beside it, a label in [0, 1] for each line."""
        ...


class Exact:
    """1 where the checker finds all lines so far right, else 0. ValueError for a problem without a checker."""

    name = "exact"

    def label(self, problems: Sequence[Problem], solutions: Sequence[Solution], seed: int) -> list[list[float]]:
        return [self._verdicts(*pair) for pair in zip(problems, solutions, strict=True)]

    def _verdicts(self, problem: Problem, solution: Solution) -> list[float]:
        if problem.check is None:
            raise ValueError("exact labels want a checker of steps, which this task lacks; use the labels rollouts")
        verdicts = problem.check(solution.lines) if solution.lines else []
        return [float(right) for right in accumulate(verdicts, min)]


class Rollouts:
    """The share of `times` completions by the writer that end right; a stated answer is right or not, for certain."""

    name = "rollouts"

    def __init__(self, writer: Writer, times: int = 8) -> None:
        if times < 1:
            raise ValueError(f"rollouts want at least 1 completion of each step, got {times}")
        self.writer, self.times = writer, times

    def label(self, problems: Sequence[Problem], solutions: Sequence[Solution], seed: int) -> list[list[float]]:
        starts: dict[tuple[str, ...], tuple[Problem, Solution, int]] = {}
        for problem, solution in zip(problems, solutions, strict=True):
            for count in range(1, len(solution.lines) + 1 - solution.ended):
                starts.setdefault(_key(solution, count), (problem, solution, count))
        found = self.writer.finish([(solution, count) for _, solution, count in starts.values()], self.times, seed)
        shares = {
            key: sum(map(problem.right, texts)) / self.times
            for (key, (problem, _, _)), texts in zip(starts.items(), found)
        }
        return [self._shares(*pair, shares) for pair in zip(problems, solutions)]

    @staticmethod
    def _shares(problem: Problem, solution: Solution, shares: dict[tuple[str, ...], float]) -> list[float]:
        counts = range(1, len(solution.lines) + 1)
        last = float(problem.right(solution.text)) if solution.ended else 0.0
        return [shares.get(_key(solution, count), last) for count in counts]


def _key(solution: Solution, count: int) -> tuple[str, ...]:
    """Equal beginnings of one question are labelled once."""
    return (solution.question, *solution.lines[:count])
