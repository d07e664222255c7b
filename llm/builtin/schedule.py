"""What the reasoner is trained on at each optimiser step: a function of the schedule and the step only."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from .data import Batch, StoryTree, StoryVocabulary, pack, sampled_tree, solution_tree
from .exercises import attach_copies, attach_drills
from .net import Shape
from .stories import Story, generate

VERDICTS_FROM = 1080
"""Before this step few wrong lines are trained, because the right ones have to be learned first."""
GROUP = 8
"""Batches that are drawn together, so that trees of similar size share a batch."""


@dataclass(frozen=True)
class Schedule:
    """The schedule of a training, counted in optimiser steps and never in time.

    batch: stories per step. learning_rate: its peak, reached after `warmup` steps and decaying linearly from
    `decay_from` on. critique_weight, validity_weight: of the losses of verdicts and of token validity. questions: at
    most how many quantities of a story are asked for. copies, drills: copied sentences and arithmetic formulas beside
    each story; judged_drills: the share of formulas with verdicts. arithmetic_errors: probability of a wrong result
    beside each line. From step `sample_from` on, solutions sampled from the model are trained too: `sampled_share` of a
    batch, drawn anew every `sample_every` steps (a multiple of GROUP), `samples_per_story` for each of `sample_stories`
    stories; continued: probability that the continuation after one of their lines is trained.

    A training that was stopped at a multiple of GROUP resumes exactly. One with more `steps` than before continues at
    the learning rates of the longer schedule: it equals the longer training where the shorter one ended by
    `decay_from`; otherwise its rate falls twice.
    """

    steps: int = 5000
    batch: int = 8
    seed: int = 0
    learning_rate: float = 2e-3
    warmup: int = 200
    decay_from: int = 2400
    critique_weight: float = 0.5
    validity_weight: float = 1.0
    questions: int = 3
    copies: int = 3
    drills: int = 3
    arithmetic_errors: float = 0.4
    judged_drills: float = 0.3
    sample_from: int = 2000
    sample_every: int = 16
    sampled_share: float = 0.45
    continued: float = 0.4
    sample_stories: int = 16
    samples_per_story: int = 4
    checkpoint_every: int = 200
    evaluate_every: int = 2400
    shape: Shape = field(default_factory=Shape)

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step: linear warm-up, constant, linear decay."""
        left = (self.steps - step) / (self.steps - self.decay_from) if step > self.decay_from else 1.0
        return self.learning_rate * min(1.0, (step + 1) / self.warmup, max(left, 0.02))

    def samples_at(self, step: int) -> bool:
        """Whether solutions are sampled from the model before this step."""
        return step >= self.sample_from and (step - self.sample_from) % self.sample_every == 0

    def wrong_at(self, step: int) -> float:
        """The probability of a wrong line beside each line."""
        return 0.2 if step < VERDICTS_FROM else 0.4

    def arithmetic_errors_at(self, step: int) -> float:
        """The probability of a wrong result beside each line, which is what the critique misses longest."""
        return 0.0 if step < VERDICTS_FROM else self.arithmetic_errors * (1 if step < self.sample_from else 2)

    def judged_drills_at(self, step: int) -> float:
        """The share of arithmetic formulas with verdicts."""
        return 0.0 if step < VERDICTS_FROM else self.judged_drills

    def drills_at(self, step: int) -> int:
        """The number of arithmetic formulas beside each story, largest while mainly arithmetic is left to learn."""
        return self.drills * 3 if 600 <= step < 2800 else self.drills

    def critique_weight_at(self, step: int) -> float:
        """The weight of the verdicts' loss beside the text's."""
        return self.critique_weight * (1 if step < self.sample_from else 3)


def draw_length(step: int | None, rng: random.Random) -> int:
    """A story's number of derivations at a training step: few at first.

    step: None for the distribution of sampled solutions, which has a few long stories.
    """
    if step is None:
        return rng.choices((2, 3, 4, 5, 6, 7, 8), (1, 1.2, 1.2, 1.2, 0.15, 0.1, 0.1))[0]
    if step < 288:
        return rng.choice((1, 2))
    if step < 792:
        return rng.choice((1, 2, 2, 3))
    return rng.choices((1, 2, 3, 4, 5), (0.3, 1, 1.2, 1.1, 1))[0]


def draw_story(schedule: Schedule, index: int, step: int | None, rng: random.Random) -> Story:
    """The training story of this index; nearly half have a distractor."""
    return generate(schedule.seed, index, draw_length(step, rng), rng.random() < 0.45)


class BatchSampler:
    """The batches of a training; `pool` holds stories with solutions sampled from the model."""

    def __init__(self, schedule: Schedule, vocab: StoryVocabulary) -> None:
        self.schedule, self.vocab = schedule, vocab
        self.pool: list[tuple[Story, list[str]]] = []
        self._group: tuple[int, int, list[list[StoryTree]]] = (-1, -1, [])

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        key = (step // GROUP, len(self.pool))
        if self._group[:2] != key:
            self._group = (*key, self._draw(step // GROUP))
        return pack(self._group[2][step % GROUP], self.vocab.pad)

    def _draw(self, group: int) -> list[list[StoryTree]]:
        schedule, step = self.schedule, group * GROUP
        rng = random.Random(f"{schedule.seed}/{group}")
        trees = [self._tree(step * schedule.batch + i, step, rng) for i in range(GROUP * schedule.batch)]
        drill_rng = random.Random(f"{schedule.seed}/drill/{group}")
        for tree in trees:
            attach_drills(tree, schedule.drills_at(step), self.vocab, drill_rng, schedule.judged_drills_at(step))
        trees.sort(key=lambda tree: len(tree.tokens))
        batches = [trees[k * schedule.batch : (k + 1) * schedule.batch] for k in range(GROUP)]
        rng.shuffle(batches)
        return batches

    def _tree(self, index: int, step: int, rng: random.Random) -> StoryTree:
        """A tree of sampled solutions, or a new story with its solution and corrupted lines."""
        schedule = self.schedule
        if self.pool and rng.random() < schedule.sampled_share:
            story, texts = rng.choice(self.pool)
            return sampled_tree(story, rng.sample(texts, 2), self.vocab, lambda: rng.random() < schedule.continued)
        story = draw_story(schedule, index, step, rng)
        tree = solution_tree(
            story, self.vocab, rng, wrong=schedule.wrong_at(step), questions=schedule.questions,
            arithmetic=schedule.arithmetic_errors_at(step),
        )  # fmt: skip
        attach_copies(tree, story, schedule.copies, self.vocab, rng)
        return tree
