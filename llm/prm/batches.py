"""What is learned at each optimiser step: fresh solutions of fresh problems, a function of the plan and the step."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ..builtin.data import Words
from .arithmetic_drills import hang_sums, slips_of, teach_result
from .examples import Lesson
from .labels import Labels
from .problems import Problem, Source
from .samplers import Solution, Writer, seed_of


@dataclass(frozen=True)
class Plan:
    """The schedule of a run, counted in optimiser steps and never in time.

    problems: fresh ones for each step; samples: solutions of each. group: steps whose solutions are drawn at once.
    rate: the peak learning rate, reached after `warmup` steps and falling in a line to nothing. sound: the weight of
    the verdicts token by token, sums: plain sums beside each question, and slips: the chance of a line with another
    result beside each right line, all three for exact labels of stories only. A run that was stopped goes on exactly.
    """

    steps: int = 2000
    seed: int = 0
    problems: int = 8
    samples: int = 4
    group: int = 8
    rate: float = 1e-3
    warmup: int = 50
    sound: float = 1.0
    sums: int = 8
    slips: float = 0.5
    reward_format: str = "builtin"
    checkpoint_every: int = 80

    def rate_at(self, step: int) -> float:
        """The learning rate of a step."""
        return self.rate * min(1.0, (step + 1) / self.warmup, (self.steps - step) / max(1, self.steps - self.warmup))


class Feed:
    """The batches of a run. reads: where in a solution scores stand. most: the longest sequence in tokens.

    words: the tokenizer of a network that is to judge stories token by token as well, else None.
    """

    def __init__(
        self, plan: Plan, source: Source, writer: Writer, labels: Labels, reads: Any, most: int, words: Words | None
    ) -> None:
        self.plan, self.source, self.writer, self.labels = plan, source, writer, labels
        self.reads, self.most, self.words = reads, most, words
        self._group: tuple[int, list[list[Lesson]]] = (-1, [])

    def batch(self, step: int) -> list[Lesson]:
        """The lessons of a step, of about one size."""
        group, place = divmod(step, self.plan.group)
        if self._group[0] != group:
            self._group = (group, self._batches(group))
        return self._group[1][place]

    def _batches(self, group: int) -> list[list[Lesson]]:
        lessons = [lesson for lesson in self.lessons(group) if lesson.marks]
        count = self.plan.group
        if len(lessons) < count:
            raise ValueError("the policy writes hardly a whole line of a solution, so there is nothing to judge")
        lessons.sort(key=lambda lesson: len(lesson.tree.tokens))
        cuts = [len(lessons) * k // count for k in range(count + 1)]
        batches = [lessons[start:end] for start, end in pairwise(cuts)]
        random.Random(seed_of(self.plan.seed, "order", group)).shuffle(batches)
        return batches

    def lessons(self, group: int) -> list[Lesson]:
        """A lesson for each problem of a group: its solutions, labelled."""
        plan, count = self.plan, self.plan.group * self.plan.problems
        problems = [self.source(group * count + i) for i in range(count)]
        each = [problem for problem in problems for _ in range(plan.samples)]
        solutions = self.writer.write([problem.question for problem in each], seed_of(plan.seed, "write", group))
        labels = self.labels.label(each, solutions, seed_of(plan.seed, "label", group))
        lessons = [Lesson() for _ in problems]
        rng = random.Random(seed_of(plan.seed, "sums", group))
        for i, (problem, solution, label) in enumerate(zip(each, solutions, labels)):
            lessons[i // plan.samples].add(self.reads, solution, label, self.most)
            if self.words is not None and problem.story is not None:
                self._explain(lessons[i // plan.samples], problem, solution, self.words, rng)
        if self.words is not None:
            for lesson in lessons:
                hang_sums(lesson.tree, plan.sums, self.words, rng)
        return lessons

    def _explain(
        self, lesson: Lesson, problem: Problem, solution: Solution, words: Words, rng: random.Random
    ) -> None:  # fmt: skip
        """What only a story's checker can tell: where lines go wrong, and what a slip would be."""
        if self.plan.sound > 0:
            lesson.judge_tokens(problem, solution, words)
        for slip, right in slips_of(problem, solution, self.plan.slips, rng):
            lesson.add(self.reads, slip, [0.0], self.most, first=len(slip.lines) - 1)
            lesson.judge_tokens(problem, slip, words)
            teach_result(lesson.tree, slip, right, words)
