"""Figures of a process reward model on held-out problems, for its card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from ..critics.reward_formats import RewardFormat
from .examples import LabelledTree, can_pack, label_logits, label_offsets
from .labels import ExactLabels, Labels
from .problems import PolicyProblem
from .samplers import PolicySampler, Solution, derive_seed

SAMPLES = 14
BATCH = 16  # questions read at once by a network that packs them

LineScores = Sequence[Sequence[Sequence[float]]]
"""Per problem, per solution, per line, a score or a label."""


@dataclass(frozen=True)
class RewardScorer:
    """A reward model and its format; it scores lines as the critic `prm` does. pad: the id of padding tokens."""

    model: Any
    reward_format: RewardFormat
    pad: int = 0

    @torch.no_grad()
    def scores(self, solutions: Sequence[Sequence[Solution]]) -> list[list[list[float]]]:
        """Per question, per solution, per line, P(right) / (P(right) + P(wrong)); none for lines beyond the context.

        solutions: the solutions of each question.
        """
        size, most = BATCH if can_pack(self.model) else 1, int(self.model.config.max_position_embeddings)
        found: list[list[list[float]]] = []
        for begin in range(0, len(solutions), size):
            chunk = solutions[begin : begin + size]
            trees = [LabelledTree() for _ in chunk]
            nodes = [
                [tree.add_solution(self.reward_format, one, [0.0] * len(one.lines), most) for one in of_question]
                for tree, of_question in zip(trees, chunk)
            ]
            found += self._read(trees, nodes)
        return found

    def _read(self, trees: list[LabelledTree], nodes: list[list[list[int]]]) -> list[list[list[float]]]:
        if not any(tree.labels for tree in trees):
            return [[[] for _ in of_question] for of_question in nodes]
        logits = label_logits(self.model, trees, self.pad, self.reward_format.labels).logits
        right = logits.softmax(-1)[:, 0].tolist()
        found = []
        for tree, of_question, (start, end) in zip(trees, nodes, pairwise(label_offsets(trees))):
            score = dict(zip(tree.labels, right[start:end]))
            found.append([[score[node] for node in one] for one in of_question])
        return found


def soft_auc(scores: Sequence[float], labels: Sequence[float]) -> float:
    """The area under the ROC curve for soft labels; ties count half; NaN where one class is missing.

    labels: in [0, 1]; each counts as a positive with this weight and as a negative with the rest. Where all are 0 or 1
    this is the usual area.
    """
    values, right = np.asarray(scores, float), np.asarray(labels, float)
    _, ranks = np.unique(values, return_inverse=True)
    positives, negatives = np.bincount(ranks, right), np.bincount(ranks, 1 - right)
    pairs = positives.sum() * negatives.sum()
    below = np.cumsum(negatives) - negatives
    return float((positives * (below + negatives / 2)).sum() / pairs) if pairs > 0 else float("nan")


@dataclass(frozen=True)
class SampledSolutions:
    """What the policy wrote for held-out problems. solutions: `SAMPLES` of each; greedy: one of each."""

    problems: list[PolicyProblem]
    solutions: list[list[Solution]]
    greedy: list[Solution]


def sample_held_out(
    sampler: PolicySampler, problems: Sequence[PolicyProblem], samples: int = SAMPLES, seed: int = 0
) -> SampledSolutions:
    """The policy's own solutions, which several reward models can then score."""
    repeated = [problem.question for problem in problems for _ in range(samples)]
    flat = sampler.sample(repeated, derive_seed(seed, "held out"))
    greedy = sampler.sample([problem.question for problem in problems], 0, greedy=True)
    return SampledSolutions(list(problems), [flat[i : i + samples] for i in range(0, len(flat), samples)], greedy)


def measure(sampled: SampledSolutions, scores: LineScores) -> dict[str, dict[str, float | None]]:
    """The figures of each group of problems and of `all`.

    pass@1, greedy, pass@k: accuracies of the policy. best_of_k: that of the finished sample whose last line has the
    highest score. auc_exact: over all lines, where the task has a checker.
    """
    groups = sorted({problem.group for problem in sampled.problems} - {""})
    table = {}
    for name in (*groups, "all"):
        rows = [i for i, problem in enumerate(sampled.problems) if name in ("all", problem.group)]
        table[name] = _figures(sampled, scores, rows)
    return table


def _figures(sampled: SampledSolutions, scores: LineScores, rows: list[int]) -> dict[str, float | None]:
    right = {i: [_is_right(sampled.problems[i], one) for one in sampled.solutions[i]] for i in rows}
    greedy = [_is_right(sampled.problems[i], sampled.greedy[i]) for i in rows]
    best = [right[i][best_solution(sampled.solutions[i], scores[i])] for i in rows]
    samples = len(sampled.solutions[0])
    figures = {
        "problems": float(len(rows)), "pass@1": _mean([x for i in rows for x in right[i]]), "greedy": _mean(greedy),
        f"pass@{samples}": _mean([any(right[i]) for i in rows]), f"best_of_{samples}": _mean(best),
    }  # fmt: skip
    if all(sampled.problems[i].check_lines for i in rows):
        figures["auc_exact"] = label_auc(sampled, scores, ExactLabels(), rows)
    return {name: None if value != value else round(value, 4) for name, value in figures.items()}


def label_auc(sampled: SampledSolutions, scores: LineScores, labels: Labels, rows: Sequence[int]) -> float:
    """The AUC of the scores for these labels, over all lines of the samples of these problems."""
    return soft_auc(*_pairs([scores[i] for i in rows], label_samples(sampled, labels, rows)))


def label_samples(
    sampled: SampledSolutions, labels: Labels, rows: Sequence[int], first: int = SAMPLES
) -> list[list[list[float]]]:
    """The labels of the lines of the first `first` samples of these problems."""
    problems = [sampled.problems[i] for i in rows for _ in sampled.solutions[i][:first]]
    solutions = [one for i in rows for one in sampled.solutions[i][:first]]
    found = iter(labels.label(problems, solutions, derive_seed("held out", "label")))
    return [[next(found) for _ in sampled.solutions[i][:first]] for i in rows]


def _pairs(scores: LineScores, labels: LineScores) -> tuple[list[float], list[float]]:
    """Scores and labels of the lines that have both."""
    found = [
        pair
        for of_question, labels_of_question in zip(scores, labels)
        for one, label in zip(of_question, labels_of_question)
        for pair in zip(one, label)
    ]
    return [score for score, _ in found], [label for _, label in found]


def rollout_auc(scores: LineScores, rows: Sequence[int], labels: LineScores) -> float | None:
    """The AUC of the scores of these problems for labels by completions, None where it is undefined."""
    found = soft_auc(*_pairs([scores[i] for i in rows], labels))
    return None if found != found else round(found, 4)


def best_solution(solutions: Sequence[Solution], scores: Sequence[Sequence[float]]) -> int:
    """The index of the finished solution whose last line has the highest score, the first on ties."""
    last = [of_lines[-1] if one.ended and of_lines else -1.0 for one, of_lines in zip(solutions, scores)]
    return int(np.argmax(last))


def _is_right(problem: PolicyProblem, solution: Solution) -> bool:
    return solution.ended and problem.is_right(solution.text)


def _mean(values: Sequence[bool]) -> float:
    return float(np.mean(values)) if values else float("nan")
