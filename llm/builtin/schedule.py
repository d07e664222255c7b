"""What the reasoner is trained on at each optimiser step: a function of the plan and the step alone."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from .data import Batch, Tree, Words, gold_tree, pack, sampled_tree
from .exercises import hang_copies, hang_drills
from .net import Shape
from .stories import Story, generate

JUDGE_FROM = 1080  # before this step the lines themselves have to be learned
GROUP = 8  # batches drawn together, so that trees of like size share a batch


@dataclass(frozen=True)
class Plan:
    """The schedule of a run, counted in optimiser steps and never in time.

    batch: texts a step. rate: the peak learning rate, reached after `warmup` and falling in a line from
    fall_from on. asks: at most how many quantities of a text are asked for. copies, drills: sentences
    said again and plain sums beside each story. From the step sample_from on the model's own solutions
    are judged too, and gone on from. refresh: steps between drawings of solutions, a multiple of GROUP;
    sampled: their share of a batch; onward: the chance that after a line of them the way on is taught.
    A run stopped at a multiple of GROUP goes on exactly.
    """

    steps: int = 5000
    batch: int = 8
    seed: int = 0
    rate: float = 2e-3
    warmup: int = 200
    fall_from: int = 2400
    critique_weight: float = 0.5
    sound_weight: float = 1.0
    asks: int = 3
    copies: int = 3
    drills: int = 3
    slips: float = 0.4
    judged: float = 0.3
    sample_from: int = 2000
    refresh: int = 16
    sampled: float = 0.45
    onward: float = 0.4
    sample_stories: int = 16
    samples_each: int = 4
    checkpoint_every: int = 200
    evaluate_every: int = 2400
    shape: Shape = field(default_factory=Shape)

    def rate_at(self, step: int) -> float:
        """The learning rate of a step: a rise, a plateau and a linear fall."""
        left = (self.steps - step) / (self.steps - self.fall_from)
        return self.rate * min(1.0, (step + 1) / self.warmup, max(left, 0.02))

    def draws_at(self, step: int) -> bool:
        """Whether new solutions are to be sampled from the model before this step."""
        return step >= self.sample_from and (step - self.sample_from) % self.refresh == 0

    def wrong_at(self, step: int) -> float:
        """The chance of a wrong line beside each line: low while the model has yet to learn the right ones."""
        return 0.2 if step < JUDGE_FROM else 0.4

    def slips_at(self, step: int) -> float:
        """The chance of a wrong result beside each line: what the critique misses longest."""
        return 0.0 if step < JUDGE_FROM else self.slips * (1 if step < self.sample_from else 2)

    def judged_at(self, step: int) -> float:
        """The share of plain sums that are judged."""
        return 0.0 if step < JUDGE_FROM else self.judged

    def drills_at(self, step: int) -> int:
        """How many plain sums hang beside each story: most while sums are what is left to learn."""
        return self.drills * 3 if 600 <= step < 2800 else self.drills

    def critique_at(self, step: int) -> float:
        """The weight of the critique's loss beside the text's."""
        return self.critique_weight * (1 if step < self.sample_from else 3)


def draw_length(step: int | None, rng: random.Random) -> int:
    """A number of steps for a story at that point of the run: few at first; a few long ones where it is None."""
    if step is None:
        return rng.choices((2, 3, 4, 5, 6, 7, 8), (1, 1.2, 1.2, 1.2, 0.15, 0.1, 0.1))[0]
    if step < 288:
        return rng.choice((1, 2))
    if step < 792:
        return rng.choice((1, 2, 2, 3))
    return rng.choices((1, 2, 3, 4, 5), (0.3, 1, 1.2, 1.1, 1))[0]


def draw_story(plan: Plan, index: int, step: int | None, rng: random.Random) -> Story:
    """The training story of this index; nearly half have a distractor."""
    return generate(plan.seed, index, draw_length(step, rng), rng.random() < 0.45)


class Feed:
    """The batches of a run; `pool` holds the sampled solutions that batches draw on."""

    def __init__(self, plan: Plan, words: Words) -> None:
        self.plan, self.words = plan, words
        self.pool: list[tuple[Story, list[str]]] = []
        self._group: tuple[int, int, list[list[Tree]]] = (-1, -1, [])

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        key = (step // GROUP, len(self.pool))
        if self._group[:2] != key:
            self._group = (*key, self._draw(step // GROUP))
        return pack(self._group[2][step % GROUP], self.words.pad)

    def _draw(self, group: int) -> list[list[Tree]]:
        plan, rng, step = self.plan, random.Random(f"{self.plan.seed}/{group}"), group * GROUP
        trees = []
        for i in range(GROUP * plan.batch):
            if self.pool and rng.random() < plan.sampled:
                story, texts = rng.choice(self.pool)
                trees.append(sampled_tree(story, rng.sample(texts, 2), self.words, lambda: rng.random() < plan.onward))
            else:
                story = draw_story(plan, step * plan.batch + i, step, rng)
                chances = {"wrong": plan.wrong_at(step), "slips": plan.slips_at(step)}
                trees.append(gold_tree(story, self.words, rng, asks=plan.asks, **chances))
                hang_copies(trees[-1], story, plan.copies, self.words, rng)
        drill = random.Random(f"{plan.seed}/drill/{group}")
        for tree in trees:
            hang_drills(tree, plan.drills_at(step), self.words, drill, plan.judged_at(step))
        trees.sort(key=lambda tree: len(tree.tokens))
        batches = [trees[k * plan.batch : (k + 1) * plan.batch] for k in range(GROUP)]
        rng.shuffle(batches)
        return batches
