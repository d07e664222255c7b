"""A vote between siblings: which of these next steps is the most promising?

Yao et al. 2023, "Tree of Thoughts", section 3, state evaluator (b). The paper samples a few votes; here the model's
next-token probabilities give the shares that infinitely many sampled votes would have.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..tape.cached_engine import CachedEngine
from ..text.formats import Format
from ..text.state import TextState
from .base import Judgement, SiblingCritic, token_probabilities
from .rating import rating_tokens

MAX_CANDIDATES = 9
"""Candidates in one vote, each of which is named by one digit."""


class Vote(SiblingCritic):
    """The share of votes each sibling gets, in [0, 1]; a child without a rival gets 1.

    The question continues the parent's tokens and lists the steps sorted by their tokens, so the prompt, which is the
    tape's key, does not depend on the order in which the children were asked for. Shares of different groups are not
    on one scale, as in Tree of Thoughts: a group of two has the higher shares. The value is NaN for a step that the end
    of the budget left without the siblings that were planned for it.

    Errors: ValueError for a search that asks for one child at a time, and for more than nine siblings.
    """

    name = "vote"
    low, high = 0.0, 1.0

    async def score(self, cached: CachedEngine, format: Format, state: TextState) -> Judgement:
        """ValueError: a vote has no value for a single state."""
        raise ValueError("vote compares siblings; a single state has no value for it")

    async def compare(
        self, cached: CachedEngine, format: Format, parent: TextState, children: Sequence[TextState]
    ) -> list[Judgement]:
        """Each child's share of the votes, NaN where no candidate has any; one call, charged to the last child."""
        if len(children) == 1:
            return [Judgement(self.high)]
        if len(children) > MAX_CANDIDATES:
            raise ValueError(
                f"vote tells at most {MAX_CANDIDATES} siblings apart, got {len(children)}; ask for a smaller width"
            )
        candidates = sorted(children, key=lambda child: child.tokens)
        numbers = rating_tokens(cached.engine.tokenizer)
        question = vote_question([cached.text(child.step) for child in candidates])
        suffix = format.ask(question + numbers.lead, parent.step)
        probabilities, score, computed = await token_probabilities(cached, parent.tokens + suffix, numbers.choices)
        votes = numbers.sum_spellings(probabilities)[: len(candidates)]
        mass = sum(votes)
        shares = {child: vote / mass if mass > 0 else math.nan for child, vote in zip(candidates, votes)}
        sizes = cached.engine.flops
        flops = (
            sizes.of_tokens(len(parent.tokens), len(suffix)),
            sizes.of_score(len(parent.tokens) + len(suffix), computed),
        )
        spent = (computed.computed, computed.seconds) if computed else (0, 0.0)
        free = [Judgement(shares[child]) for child in children[:-1]]
        return [*free, Judgement(shares[children[-1]], len(suffix), score.seconds, *spent, *flops)]


def vote_question(steps: Sequence[str]) -> str:
    """The question that lists the candidate steps under the numbers 1, 2, ..."""
    listed = "\n".join(f"{number}. {' '.join(step.split())}" for number, step in enumerate(steps, 1))
    return (
        f"Here are {len(steps)} possible next steps:\n{listed}\nWhich of them is the most promising for a right "
        "solution? Reply with its number only.\nNumber:"
    )
