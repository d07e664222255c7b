"""One call lists several distinct next steps, and a slot is one of them (Tree of Thoughts, Yao et al. 2023).

Their section 3, thought generator (b), `propose`: where steps are short, samples of one prompt repeat each other, while
a list written in one context does not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ...planning.interface import Evaluate
from ..critics import Rating, Rollout, SelfCritique, Value
from ..engines.base import Sampling
from ..step_result import EvaluatedStep, GeneratedStep
from ..text.steps import Step, TextState, stream_of
from ..text_model import TextModel
from .usage_meter import Bill, Billed, lines, words

QUESTION = (
    "List {n} different possible next steps, one a line and numbered. Each continues the solution so far by one short "
    "step; where the answer is known, a step is `#### n` with the answer as a plain number.\n"
)
_NUMBERED = re.compile(r"(?:\(?[0-9]{1,2}[.):]+|[-*•])\s+(?=\S)")
_READERS = (SelfCritique, Rating, Rollout)


@dataclass(slots=True, eq=False)
class Proposed(TextState):
    """A state whose last step comes from a list. inserted: tokens at its end that no request of this tree has computed
    where they stand now, so that the first to read them pays for them."""

    inserted: int = field(default=0, compare=False)


class ProposeModel(TextModel):
    """Slot k of a state is item k % `listed` of its list number k // `listed`; see `TextModel` for all else.

    A list is asked for when the first of its steps is walked, by one request for `listed` lines after the state and
    `QUESTION`; each list has a stream of its own. Lines that say the same are one item. A list that is too short begins
    again at its first item, whose edge the driver merges with the earlier one. A list without an item is a dead end
    ("end"). An item is put after its parent's tokens as words of its own; its log-probabilities are unknown and count
    as 0, so `logprob` is no critic for it. `to_end` writes step by step.

    Charged: the list (its call, its tokens, its question as prompt tokens) at its first item, 0 calls and generated
    tokens at the others, which searches walk later or together with it; a step's own tokens, put in anew, as prompt
    tokens where a critic or a list first reads them.
    """

    reasoning = "propose"
    listed = 4

    @property
    def most_tokens(self) -> int:
        """The most tokens of a list."""
        return self.listed * self.sampling.max_tokens

    @property
    def _listing(self) -> Sampling:
        """How a list is sampled: an answer does not end it, and a line may take what the others leave."""
        return replace(self.sampling, ends=(), max_tokens=self.most_tokens)

    async def _generate(self, state: TextState, slot: int, to_end: bool) -> GeneratedStep:
        if state.ended:
            return GeneratedStep(state, state, Step((), (), "end"), 0, None)
        asked = self.format.ask(QUESTION.format(n=self.listed), state.step)
        room, bill = self._remaining(state) - len(asked), Bill(self.flops)
        if room < 1:
            return self._billed(state, Step((), (), "length"), bill)
        which, item = divmod(slot, self.listed)
        stream = stream_of(self.seed, state.tokens + asked, which)
        steps, done = await lines(
            self._cached_engine, state.tokens + asked, self._listing, stream, self.listed, min(room, self.most_tokens)
        )
        if item == 0:
            new = 0 if which else len(asked) + getattr(state, "inserted", 0)
            bill.request(len(state.tokens) + len(asked), new, steps, ())
        for one in done:
            bill.spend(len(state.tokens) + len(asked), one)
        items = items_of([self._decode(step.tokens) for step in steps if step.ended != "length"], self.format.delimiter)
        return self._billed(state, self._step(items, item, self._remaining(state)), bill)

    def _step(self, items: Sequence[str], item: int, room: int) -> Step:
        """An item as a step; one that is too long is cut, which never finishes it."""
        if not items:
            return Step((), (), "end")
        tokens = words(self.engine.tokenizer, items[item % len(items)] + self.format.delimiter)
        most = min(self.sampling.max_tokens, room)
        return Step(tokens[:most], (0.0,) * min(len(tokens), most), "length" if len(tokens) > most else "stop")

    def _billed(self, state: TextState, step: Step, bill: Bill) -> Billed:
        reached = self._child(state, step, state.stream, False)
        parts = {f.name: getattr(reached, f.name) for f in fields(TextState)}
        child = Proposed(**parts, inserted=len(step.tokens))
        return Billed(state, child, step, 0, None, self.flops, bill)

    async def _expand_one(self, state: TextState, slot: int, to_end: bool, evaluate: Evaluate) -> EvaluatedStep:
        written: Any = await self._generate(state, slot, to_end)
        judgement = await self._judge(written.child, evaluate)
        if judgement.tokens and reads(self.value) and not state.ended:
            written.bill.prompt(len(state.tokens), len(written.step.tokens))
            written.child = replace(written.child, inserted=0)
        found: EvaluatedStep = written.judged(judgement)
        return found


def items_of(said: Sequence[str], delimiter: str) -> list[str]:
    """The distinct items of a list in their order, less their numbers; all lines where none is numbered."""
    told = [text.removesuffix(delimiter).strip() for text in said]
    numbered = [match for text in told if (match := _NUMBERED.match(text))]
    found = [match.string[match.end() :] for match in numbered] or told
    return list(dict.fromkeys(text for text in found if text))


def reads(value: Value) -> bool:
    """Whether a critic, or a part of it, reads a state with the model that wrote it."""
    return any(isinstance(part, _READERS) for _, part in getattr(value, "parts", [(1.0, value)]))
