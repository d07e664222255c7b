"""Several critics as one: the weighted mean of their values."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..tape.cached_engine import CachedEngine
from ..text.formats import Format
from ..text.state import TextState
from .base import ClosableCritic, CompositeCritic, Critic, Judgement, SiblingCritic


class Weighted(CompositeCritic, ClosableCritic):
    """The weighted mean of several critics; its scale is the weighted mean of theirs, its cost the sum.

    parts: positive weights, normalised here, and critics.
    """

    def __init__(self, parts: Sequence[tuple[float, Critic]]) -> None:
        mass = sum(weight for weight, _ in parts)
        if not parts or any(weight <= 0 for weight, _ in parts):
            raise ValueError(f"a weighted critic needs positive weights, got {[weight for weight, _ in parts]}")
        self._parts = [(weight / mass, part) for weight, part in parts]
        self.name = "+".join(f"{weight:g}*{part.name}" for weight, part in parts)
        self.low = sum(weight * part.low for weight, part in self._parts)
        self.high = sum(weight * part.high for weight, part in self._parts)

    @property
    def parts(self) -> Sequence[tuple[float, Critic]]:
        """Weights that sum to 1, and critics."""
        return self._parts

    async def score(self, cached: CachedEngine, format: Format, state: TextState) -> Judgement:
        """The weighted mean; all parts judge at once."""
        return self._mean(await asyncio.gather(*(part.score(cached, format, state) for _, part in self._parts)))

    async def close(self) -> None:
        """Close the parts that are closable."""
        for _, part in self._parts:
            if isinstance(part, ClosableCritic):
                await part.close()

    def _mean(self, judgements: Sequence[Judgement]) -> Judgement:
        return Judgement(
            sum(weight * one.value for (weight, _), one in zip(self._parts, judgements)),
            sum(one.tokens for one in judgements),
            sum(one.seconds for one in judgements),
            sum(one.tokens_spent for one in judgements),
            sum(one.seconds_spent for one in judgements),
            sum(one.flops for one in judgements),
            sum(one.flops_spent for one in judgements),
        )


class WeightedSiblings(Weighted, SiblingCritic):
    """A weighted mean with at least one part that compares siblings, so that the whole compares siblings too."""

    async def score(self, cached: CachedEngine, format: Format, state: TextState) -> Judgement:
        """ValueError: a comparison of siblings has no value for a single state."""
        raise ValueError(f"{self.name} compares siblings; a single state has no value for it")

    async def compare(
        self, cached: CachedEngine, format: Format, parent: TextState, children: Sequence[TextState]
    ) -> list[Judgement]:
        """The weighted means of the children; parts that do not compare siblings judge each child."""

        async def judge(part: Critic) -> list[Judgement]:
            if isinstance(part, SiblingCritic):
                return list(await part.compare(cached, format, parent, children))
            return list(await asyncio.gather(*(part.score(cached, format, child) for child in children)))

        found = await asyncio.gather(*(judge(part) for _, part in self._parts))
        return [self._mean(judgements) for judgements in zip(*found)]
