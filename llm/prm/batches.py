"""What is trained on at each optimiser step: new solutions of new problems, a function of the schedule and the step."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise

from ..builtin.data import StoryVocabulary
from ..builtin.stories import Story
from ..critics.reward_formats import RewardFormat
from .arithmetic_drills import add_right_result, attach_drills, corrupted_solutions
from .examples import LabelledTree
from .labels import Labels
from .problems import ProblemSource
from .samplers import PolicySampler, Solution, derive_seed


@dataclass(frozen=True)
class Schedule:
    """The schedule of a training, counted in optimiser steps and never in time.

    problems: new ones for each step; samples: solutions of each. group: steps whose solutions are sampled at once.
    learning_rate: its peak, reached after `warmup` steps and decaying linearly to 0. Only for stories with exact
    labels: validity_weight: of the loss of token validity; drills: arithmetic formulas beside each question; corrupted:
    probability of a copy of each right line with a wrong result. A training that was stopped resumes exactly. One with
    more `steps` than before continues at the learning rates of the longer schedule; it is not the longer training from
    the start, whose rate had not fallen to 0 in between.
    """

    steps: int = 2000
    seed: int = 0
    problems: int = 8
    samples: int = 4
    group: int = 8
    learning_rate: float = 1e-3
    warmup: int = 50
    validity_weight: float = 1.0
    drills: int = 8
    corrupted: float = 0.5
    reward_format: str = "builtin"
    checkpoint_every: int = 80

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step."""
        decay = (self.steps - step) / max(1, self.steps - self.warmup)
        return self.learning_rate * min(1.0, (step + 1) / self.warmup, decay)


class BatchSampler:
    """The batches of a training.

    reward_format: where in a solution scores are read. most: the longest sequence in tokens. vocab: the tokenizer of a
    network that is trained on the validity of a story's tokens too, else None.
    """

    def __init__(
        self,
        schedule: Schedule,
        source: ProblemSource,
        sampler: PolicySampler,
        labels: Labels,
        reward_format: RewardFormat,
        most: int,
        vocab: StoryVocabulary | None,
    ) -> None:
        self.schedule, self.source, self.sampler, self.labels = schedule, source, sampler, labels
        self.reward_format, self.most, self.vocab = reward_format, most, vocab
        self._group: tuple[int, list[list[LabelledTree]]] = (-1, [])

    def batch(self, step: int) -> list[LabelledTree]:
        """The trees of a step, which are of similar size."""
        group, index = divmod(step, self.schedule.group)
        if self._group[0] != group:
            self._group = (group, self._batches(group))
        return self._group[1][index]

    def _batches(self, group: int) -> list[list[LabelledTree]]:
        trees = [tree for tree in self.trees(group) if tree.labels]
        count = self.schedule.group
        if len(trees) < count:
            raise ValueError("the policy writes hardly a whole line of a solution, so there is nothing to judge")
        trees.sort(key=lambda tree: len(tree.tree.tokens))
        bounds = [len(trees) * k // count for k in range(count + 1)]
        batches = [trees[start:end] for start, end in pairwise(bounds)]
        random.Random(derive_seed(self.schedule.seed, "order", group)).shuffle(batches)
        return batches

    def trees(self, group: int) -> list[LabelledTree]:
        """A tree for each problem of a group, with its labelled solutions."""
        schedule, seed = self.schedule, self.schedule.seed
        count = schedule.group * schedule.problems
        problems = [self.source(group * count + i) for i in range(count)]
        repeated = [problem for problem in problems for _ in range(schedule.samples)]
        questions = [problem.question for problem in repeated]
        solutions = self.sampler.sample(questions, derive_seed(seed, "write", group))
        labels = self.labels.label(repeated, solutions, derive_seed(seed, "label", group))
        trees = [LabelledTree() for _ in problems]
        rng = random.Random(derive_seed(seed, "sums", group))
        for i, (problem, solution, label) in enumerate(zip(repeated, solutions, labels)):
            tree = trees[i // schedule.samples]
            tree.add_solution(self.reward_format, solution, label, self.most)
            if self.vocab is not None and problem.story is not None:
                self._add_story_labels(tree, problem.story, solution, self.vocab, rng)
        if self.vocab is not None:
            for tree in trees:
                attach_drills(tree.tree, schedule.drills, self.vocab, rng)
        return trees

    def _add_story_labels(
        self, tree: LabelledTree, story: Story, solution: Solution, vocab: StoryVocabulary, rng: random.Random
    ) -> None:
        """Add what needs a story's checker: which tokens are valid, and copies of right lines with wrong results."""
        if self.schedule.validity_weight > 0:
            tree.add_validity(story, solution, vocab)
        for corrupted, right in corrupted_solutions(story, solution, self.schedule.corrupted, rng):
            tree.add_solution(self.reward_format, corrupted, [0.0], self.most, first=len(corrupted.lines) - 1)
            tree.add_validity(story, corrupted, vocab)
            add_right_result(tree.tree, corrupted, right, vocab)
