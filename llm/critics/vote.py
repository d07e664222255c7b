"""A vote between siblings: which of these next steps is the most promising?

Yao et al. 2023, "Tree of Thoughts", section 3, state evaluator (b). Where they sample a few votes, the model's logits
give the share of votes that infinitely many samples would.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..tape.cached_engine import CachedEngine
from ..text.formats import Format
from ..text.steps import TextState
from .base import Comparison, Judgement, chances
from .rating import numbers_of

MOST = 9
"""Candidates in one vote: each is named by one digit."""


class Vote(Comparison):
    """The share of votes each sibling gets, in [0, 1]; a child without a rival gets 1.

    The question continues the parent's own tokens and lists the steps in the order of their tokens, so that neither
    the order of asking nor who asked matters: the tape's key is the sorted group. Shares of different groups are not on
    one scale: that is so in Tree of Thoughts too, and a group of two has the higher shares. A step that the end of the
    budget left alone is worth NaN.

    Errors: ValueError for a search that asks for one child at a time, and for more than nine siblings.
    """

    name = "vote"
    low, high = 0.0, 1.0

    async def score(self, taped: CachedEngine, format: Format, state: TextState) -> Judgement:
        raise ValueError("vote compares siblings; a single state has no worth to it")

    async def compare(
        self, taped: CachedEngine, format: Format, parent: TextState, children: Sequence[TextState]
    ) -> list[Judgement]:
        if len(children) == 1:
            return [Judgement(self.high)]
        if len(children) > MOST:
            raise ValueError(f"vote tells at most {MOST} siblings apart, got {len(children)}; ask for a smaller width")
        ranked = sorted(children, key=lambda child: child.tokens)
        numbers = numbers_of(taped.engine.tokenizer)
        question = _question([taped.text(child.step) for child in ranked])
        suffix = format.ask(question + numbers.lead, parent.step)
        found, score, done = await chances(taped, parent.tokens + suffix, numbers.choices)
        votes = numbers.sums(found)[: len(ranked)]
        mass = sum(votes)
        shares = {child: vote / mass if mass > 0 else float("nan") for child, vote in zip(ranked, votes)}
        sizes = taped.engine.flops
        flops = sizes.of_tokens(len(parent.tokens), len(suffix)), sizes.of_score(len(parent.tokens) + len(suffix), done)
        cost = (len(suffix), score.seconds, done.computed if done else 0, done.seconds if done else 0.0, *flops)
        free = [Judgement(shares[child]) for child in children[:-1]]
        return [*free, Judgement(shares[children[-1]], *cost)]


def _question(steps: Sequence[str]) -> str:
    listed = "\n".join(f"{number}. {' '.join(step.split())}" for number, step in enumerate(steps, 1))
    return (
        f"Here are {len(steps)} possible next steps:\n{listed}\nWhich of them is the most promising for a right "
        "solution? Reply with its number only.\nNumber:"
    )
