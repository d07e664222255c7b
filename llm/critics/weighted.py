"""Several critics as one: the weighted mean of what they say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..tape.cached_engine import CachedEngine
from ..text.formats import Format
from ..text.steps import TextState
from .base import ClosableCritic, Comparison, Judgement, Value


class Weighted(ClosableCritic):
    """The weighted mean; its scale is the weighted mean of theirs, what it costs the sum.

    parts: weights, positive and normalised here, and critics.
    """

    def __init__(self, parts: Sequence[tuple[float, Value]]) -> None:
        mass = sum(weight for weight, _ in parts)
        if not parts or any(weight <= 0 for weight, _ in parts):
            raise ValueError(f"a weighted value wants positive weights, got {[weight for weight, _ in parts]}")
        self.parts = [(weight / mass, part) for weight, part in parts]
        self.name = "+".join(f"{weight:g}*{part.name}" for weight, part in parts)
        self.low = sum(weight * part.low for weight, part in self.parts)
        self.high = sum(weight * part.high for weight, part in self.parts)

    async def score(self, taped: CachedEngine, format: Format, state: TextState) -> Judgement:
        return self._mean(await asyncio.gather(*(part.score(taped, format, state) for _, part in self.parts)))

    async def close(self) -> None:
        """Close the parts that have something to close."""
        for _, part in self.parts:
            if isinstance(part, ClosableCritic):
                await part.close()

    def _mean(self, found: Sequence[Judgement]) -> Judgement:
        return Judgement(
            sum(weight * one.value for (weight, _), one in zip(self.parts, found)),
            sum(one.tokens for one in found),
            sum(one.seconds for one in found),
            sum(one.computed for one in found),
            sum(one.busy for one in found),
            sum(one.flops for one in found),
            sum(one.flops_spent for one in found),
        )


class WeightedComparison(Weighted, Comparison):
    """A weighted mean in which one part or more compares siblings, and which therefore does so itself."""

    async def score(self, taped: CachedEngine, format: Format, state: TextState) -> Judgement:
        raise ValueError(f"{self.name} compares siblings; a single state has no worth to it")

    async def compare(
        self, taped: CachedEngine, format: Format, parent: TextState, children: Sequence[TextState]
    ) -> list[Judgement]:
        async def judge(part: Value) -> list[Judgement]:
            if isinstance(part, Comparison):
                return list(await part.compare(taped, format, parent, children))
            return list(await asyncio.gather(*(part.score(taped, format, child) for child in children)))

        found = await asyncio.gather(*(judge(part) for _, part in self.parts))
        return [self._mean(judgements) for judgements in zip(*found)]
