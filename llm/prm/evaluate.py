"""How good a process reward model is: figures on held-out problems, for its card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from ..critics.reward_formats import RewardFormat
from .examples import Lesson, packs, read, sizes
from .labels import Exact, Labels
from .problems import Problem
from .samplers import Solution, Writer, seed_of

SAMPLES = 14
BATCH = 16  # questions read at once by a network that packs them


@dataclass(frozen=True)
class Judge:
    """A reward model and how it reads: scores of lines, as the value `prm` has them."""

    model: Any
    reads: RewardFormat
    pad: int = 0

    @torch.no_grad()
    def scores(self, solutions: Sequence[Sequence[Solution]]) -> list[list[list[float]]]:
        """Per question, per solution, per line, P(right) / (P(right) + P(wrong)); a line beyond the context has none.

        solutions: those of one question together.
        """
        step, most = BATCH if packs(self.model) else 1, int(self.model.config.max_position_embeddings)
        found: list[list[list[float]]] = []
        for begin in range(0, len(solutions), step):
            lessons = [Lesson() for _ in solutions[begin : begin + step]]
            nodes = [
                [lesson.add(self.reads, one, [0.0] * len(one.lines), most) for one in alike]
                for lesson, alike in zip(lessons, solutions[begin:])
            ]
            found += self._read(lessons, nodes)
        return found

    def _read(self, lessons: list[Lesson], nodes: list[list[list[int]]]) -> list[list[list[float]]]:
        if not any(lesson.marks for lesson in lessons):
            return [[[] for _ in alike] for alike in nodes]
        right = read(self.model, lessons, self.pad, self.reads.labels).logits.softmax(-1)[:, 0].tolist()
        found = []
        for lesson, alike, (start, end) in zip(lessons, nodes, pairwise(sizes(lessons))):
            score = dict(zip(lesson.marks, right[start:end]))
            found.append([[score[node] for node in one] for one in alike])
        return found


def soft_auc(scores: Sequence[float], shares: Sequence[float]) -> float:
    """The chance that a right one scores above a wrong one, ties counting half; nan where one kind is missing.

    shares: how far each is right, in [0, 1]; it counts so much as a right one and the rest as a wrong one. Where all
    are 0 or 1 this is the usual area under the curve.
    """
    values, right = np.asarray(scores, float), np.asarray(shares, float)
    _, places = np.unique(values, return_inverse=True)
    ones, zeros = np.bincount(places, right), np.bincount(places, 1 - right)
    pairs = ones.sum() * zeros.sum()
    below = np.cumsum(zeros) - zeros
    return float((ones * (below + zeros / 2)).sum() / pairs) if pairs > 0 else float("nan")


@dataclass(frozen=True)
class Sampled:
    """What the policy wrote for held-out problems. solutions: `SAMPLES` of each; greedy: one of each."""

    problems: list[Problem]
    solutions: list[list[Solution]]
    greedy: list[Solution]


def sample(writer: Writer, problems: Sequence[Problem], samples: int = SAMPLES, seed: int = 0) -> Sampled:
    """The policy's own solutions, to be judged by any number of judges."""
    repeated = [problem.question for problem in problems for _ in range(samples)]
    flat = writer.write(repeated, seed_of(seed, "held out"))
    greedy = writer.write([problem.question for problem in problems], 0, greedy=True)
    return Sampled(list(problems), [flat[i : i + samples] for i in range(0, len(flat), samples)], greedy)


def measure(sampled: Sampled, scores: Sequence[Sequence[Sequence[float]]]) -> dict[str, dict[str, float | None]]:
    """The figures of each group of problems and of `all`: accuracy of samples, of greedy, and of the finished sample
    whose last line scores highest; `auc_exact` over all lines, where the task has a checker."""
    groups = sorted({problem.group for problem in sampled.problems} - {""})
    table = {}
    for name in (*groups, "all"):
        rows = [i for i, problem in enumerate(sampled.problems) if name in ("all", problem.group)]
        table[name] = _figures(sampled, scores, rows)
    return table


def _figures(sampled: Sampled, scores: Sequence[Sequence[Sequence[float]]], rows: list[int]) -> dict[str, float | None]:
    right = {i: [_right(sampled.problems[i], one) for one in sampled.solutions[i]] for i in rows}
    greedy = [_right(sampled.problems[i], sampled.greedy[i]) for i in rows]
    best = [right[i][chosen(sampled.solutions[i], scores[i])] for i in rows]
    samples = len(sampled.solutions[0])
    figures = {
        "problems": float(len(rows)), "pass@1": _mean([x for i in rows for x in right[i]]), "greedy": _mean(greedy),
        f"pass@{samples}": _mean([any(right[i]) for i in rows]), f"best_of_{samples}": _mean(best),
    }  # fmt: skip
    if all(sampled.problems[i].check for i in rows):
        figures["auc_exact"] = agreement(sampled, scores, Exact(), rows)
    return {name: None if value != value else round(value, 4) for name, value in figures.items()}


def agreement(
    sampled: Sampled, scores: Sequence[Sequence[Sequence[float]]], labels: Labels, rows: Sequence[int]
) -> float:
    """The AUC of the scores for these labels, over every line of the samples of these problems."""
    return soft_auc(*_pairs([scores[i] for i in rows], shares_of(sampled, labels, rows)))


def shares_of(sampled: Sampled, labels: Labels, rows: Sequence[int], first: int = SAMPLES) -> list[list[list[float]]]:
    """The labels of the lines of the first so many samples of these problems."""
    problems = [sampled.problems[i] for i in rows for _ in sampled.solutions[i][:first]]
    solutions = [one for i in rows for one in sampled.solutions[i][:first]]
    found = iter(labels.label(problems, solutions, seed_of("held out", "label")))
    return [[next(found) for _ in sampled.solutions[i][:first]] for i in rows]


def _pairs(
    scores: Sequence[Sequence[Sequence[float]]], shares: Sequence[Sequence[Sequence[float]]]
) -> tuple[list[float], list[float]]:
    """Scores and labels line by line, where both are."""
    found = [
        pair
        for judged, labelled in zip(scores, shares)
        for one, label in zip(judged, labelled)
        for pair in zip(one, label)
    ]
    return [score for score, _ in found], [share for _, share in found]


def rolled_auc(
    scores: Sequence[Sequence[Sequence[float]]], rows: Sequence[int], shares: Sequence[Sequence[Sequence[float]]]
) -> float | None:
    """The AUC of the scores of these problems for shares of completions, None where it is undefined."""
    found = soft_auc(*_pairs([scores[i] for i in rows], shares))
    return None if found != found else round(found, 4)


def chosen(solutions: Sequence[Solution], scores: Sequence[Sequence[float]]) -> int:
    """The finished solution whose last line scores highest, the first of equals; unfinished ones come last."""
    last = [judged[-1] if one.ended and judged else -1.0 for one, judged in zip(solutions, scores)]
    return int(np.argmax(last))


def _right(problem: Problem, solution: Solution) -> bool:
    return solution.ended and problem.right(solution.text)


def _mean(values: Sequence[bool]) -> float:
    return float(np.mean(values)) if values else float("nan")
