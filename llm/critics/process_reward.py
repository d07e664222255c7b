"""A reward model of its own judges the steps (`prm`) or the finished solution (`orm`)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence

from ...planning.interface import ModelError
from ..engines.base import Engine, Tokens
from ..tape.cached_engine import CachedEngine
from ..text.formats import Format
from ..text.steps import TextState
from .base import ClosableCritic, Judgement, chances
from .reward_formats import RewardFormat

AGGREGATES: dict[str, Callable[[Sequence[float]], float]] = {
    "last": lambda scores: scores[-1],
    "min": lambda scores: math.nan if any(map(math.isnan, scores)) else min(scores),
    "product": math.prod,
    "mean": lambda scores: sum(scores) / len(scores),
}
"""From the steps' scores to the solution's. Lightman et al. 2023: product and min; Snell et al. 2024: last."""


class ProcessReward(ClosableCritic):
    """P(right) / (P(right) + P(wrong)) where a step ends, aggregated over the steps, in [0, 1].

    engine: runs the reward model and keeps what it has read, so that a child costs the positions of its last step; its
    own tokenizer reads the question and the steps in words. aggregate: last, min, product or mean. outcome: the whole
    solution counts as one step, and only finished ones are judged (1/2 for the others).

    Charged: the positions that the last step adds; of a followed solution, which is judged once, those of all steps.
    Those of the question are shared by all of a tree's states and are not charged.
    """

    low, high = 0.0, 1.0

    def __init__(self, engine: Engine, reads: RewardFormat, aggregate: str = "last", outcome: bool = False) -> None:
        if aggregate not in AGGREGATES:
            raise ValueError(f"no aggregate {aggregate!r}; there are {', '.join(AGGREGATES)}")
        self.engine, self.reads, self.aggregate, self.outcome = engine, reads, aggregate, outcome
        self.name = "orm" if outcome else "prm"

    async def score(self, taped: CachedEngine, format: Format, state: TextState) -> Judgement:
        if self.outcome and not state.ended:
            return Judgement((self.low + self.high) / 2)
        steps = self._steps(taped.text(state.solution), format.delimiter)
        readings = self.reads.readings(state.question, steps) if steps else []
        if len(readings) != len(steps):
            raise ModelError(f"{len(steps)} steps gave {len(readings)} places to read their scores at: {steps[-1]!r}")
        if not readings or len(readings[-1]) > self.engine.context:
            return Judgement(math.nan)
        return await self._read(CachedEngine(self.engine, taped.tape), state, steps, readings)

    async def close(self) -> None:
        """Close the reward model's engine."""
        await self.engine.close()

    def _steps(self, solution: str, delimiter: str) -> list[str]:
        if self.outcome:
            return [solution.strip()] if solution.strip() else []
        return [line.strip() for line in solution.split(delimiter) if line.strip()]

    async def _read(
        self, reader: CachedEngine, state: TextState, steps: Sequence[str], readings: Sequence[Tokens]
    ) -> Judgement:
        wanted = readings[-1:] if self.aggregate == "last" else readings
        found = await asyncio.gather(*(chances(reader, reading, self.reads.labels) for reading in wanted))
        scores = [right / (right + wrong) if right + wrong > 0 else math.nan for (right, wrong), _, _ in found]
        alone, flops = self.outcome or state.followed, self.engine.flops
        before = self._shared(state.question, steps) if alone or len(readings) == 1 else len(readings[-2])
        return Judgement(
            AGGREGATES[self.aggregate](scores),
            tokens=len(readings[-1]) - before,
            seconds=sum(score.seconds for _, score, _ in (found if alone else found[-1:])),
            computed=sum(done.computed for _, _, done in found if done),
            busy=sum(done.seconds for _, _, done in found if done),
            flops=flops.of_tokens(before, len(readings[-1]) - before),
            flops_spent=sum(flops.of_score(len(reading), done) for reading, (_, _, done) in zip(wanted, found)),
        )

    def _shared(self, question: str, steps: Sequence[str]) -> int:
        """Positions that solutions of the question begin with alike: where two with other first words part."""
        one, other = (self.reads.readings(question, [text])[0] for text in (steps[0], f"Z{steps[0]}"))
        return next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), 0)
