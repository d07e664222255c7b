"""A reward model as a critic: it judges the steps (`prm`) or the finished solution (`orm`)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence

from ...planning.interface import ModelError
from ..engines.base import Engine, Tokens
from ..tape.cached_engine import CachedEngine
from ..text.formats import Format
from ..text.state import TextState
from .base import ClosableCritic, Judgement, token_probabilities
from .reward_formats import RewardFormat

AGGREGATES: dict[str, Callable[[Sequence[float]], float]] = {
    "last": lambda scores: scores[-1],
    "min": lambda scores: math.nan if any(map(math.isnan, scores)) else min(scores),
    "product": math.prod,
    "mean": lambda scores: sum(scores) / len(scores),
}
"""From step scores to the solution's score. Lightman et al. 2023: product and min; Snell et al. 2024: last."""


class ProcessReward(ClosableCritic):
    """P(right) / (P(right) + P(wrong)) at the end of each step, aggregated over the steps, in [0, 1].

    engine: runs the reward model; with its prefix cache a child costs only the positions of its last step. The model's
    own tokenizer encodes question and steps. aggregate: last, min, product or mean. outcome: the whole solution counts
    as one step, and only finished solutions are judged (1/2 for open ones).

    Charged: the positions that the last step adds; those of all steps for a solution written by one `to_end` request,
    which is judged once. The question's positions are shared by all states of a tree and are not charged.
    """

    low, high = 0.0, 1.0

    def __init__(
        self, engine: Engine, reward_format: RewardFormat, aggregate: str = "last", outcome: bool = False
    ) -> None:
        if aggregate not in AGGREGATES:
            raise ValueError(f"no aggregate {aggregate!r}; there are {', '.join(AGGREGATES)}")
        self.engine, self.reward_format, self.aggregate, self.outcome = engine, reward_format, aggregate, outcome
        self.name = "orm" if outcome else "prm"

    async def score(self, cached: CachedEngine, format: Format, state: TextState) -> Judgement:
        """The aggregated score; NaN for a solution without steps or longer than the reward model's context.

        Errors: ModelError where the reward format does not find one score per step.
        """
        if self.outcome and not state.ended:
            return Judgement((self.low + self.high) / 2)
        steps = self._steps(cached.text(state.solution), format.delimiter)
        prefixes = self.reward_format.score_prefixes(state.question, steps) if steps else []
        if len(prefixes) != len(steps):
            raise ModelError(f"{len(steps)} steps gave {len(prefixes)} places to read their scores at: {steps[-1]!r}")
        if not prefixes or len(prefixes[-1]) > self.engine.context:
            return Judgement(math.nan)
        return await self._judge(CachedEngine(self.engine, cached.tape), state, steps, prefixes)

    async def close(self) -> None:
        """Close the reward model's engine."""
        await self.engine.close()

    def _steps(self, solution: str, delimiter: str) -> list[str]:
        if self.outcome:
            return [solution.strip()] if solution.strip() else []
        return [line.strip() for line in solution.split(delimiter) if line.strip()]

    async def _judge(
        self, reward_model: CachedEngine, state: TextState, steps: Sequence[str], prefixes: Sequence[Tokens]
    ) -> Judgement:
        needed = prefixes[-1:] if self.aggregate == "last" else prefixes
        labels = self.reward_format.labels
        found = await asyncio.gather(*(token_probabilities(reward_model, prefix, labels) for prefix in needed))
        scores = [right / (right + wrong) if right + wrong > 0 else math.nan for (right, wrong), _, _ in found]
        whole, flops = self.outcome or state.to_end, self.engine.flops
        before = self._shared(state.question, steps) if whole or len(prefixes) == 1 else len(prefixes[-2])
        return Judgement(
            AGGREGATES[self.aggregate](scores),
            tokens=len(prefixes[-1]) - before,
            seconds=sum(score.seconds for _, score, _ in (found if whole else found[-1:])),
            tokens_spent=sum(computed.computed for _, _, computed in found if computed),
            seconds_spent=sum(computed.seconds for _, _, computed in found if computed),
            flops=flops.of_tokens(before, len(prefixes[-1]) - before),
            flops_spent=sum(flops.of_score(len(prefix), computed) for prefix, (_, _, computed) in zip(needed, found)),
        )

    def _shared(self, question: str, steps: Sequence[str]) -> int:
        """The number of positions that all solutions of the question share: up to where two first steps differ."""
        one, other = (self.reward_format.score_prefixes(question, [text])[0] for text in (steps[0], f"Z{steps[0]}"))
        return next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), 0)
