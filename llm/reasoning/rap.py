"""The model as policy asks a sub-question, and as dynamics answers it (Reasoning via Planning, Hao et al. 2023).

Their section 3.1: a state is the sub-questions and answers so far, an action the next sub-question, the transition its
answer; section 3.2, confidence of the state: several answers are drawn, the state gets the most frequent one, and how
many agree with it is the reward.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from ...planning.interface import Evaluate
from ..critics import Judgement, NoValue
from ..engines.base import Tokens
from ..step_result import OPEN_OR_ANSWERED, GeneratedStep
from ..text.answers import extract
from ..text.steps import Step, TextState, stream_of
from ..text_model import TextModel
from .usage_meter import Bill, Billed, words

ASK, ANSWER = "Question {n}:", "Answer {n}:"

EXAMPLES: tuple[tuple[str, str], ...] = (
    (
        "Mara buys 3 boxes of 8 pencils and gives 5 pencils to her brother. How many pencils does she keep?",
        "Question 1: How many pencils does Mara buy?\nAnswer 1: She buys 3 * 8 = 24 pencils.\n"
        "Question 2: How many pencils does she keep?\nAnswer 2: She keeps 24 - 5 = 19 pencils. #### 19",
    ),
    (
        "A baker sells 40 rolls in the morning and half as many in the afternoon. A roll costs $2. How much money does "
        "he take?",
        "Question 1: How many rolls does he sell in the afternoon?\nAnswer 1: He sells 40 / 2 = 20 rolls.\n"
        "Question 2: How many rolls does he sell in all?\nAnswer 2: He sells 40 + 20 = 60 rolls.\n"
        "Question 3: How much money does he take?\nAnswer 3: He takes 60 * 2 = $120. #### 120",
    ),
)
"""Solutions by sub-questions: our own problems, in the form of their appendix's prompts."""


@dataclass(slots=True, eq=False)
class Agreed(TextState):
    """A state of questions and answers. agreed: per step the share of the answers that agree with the one kept."""

    agreed: tuple[float, ...] = field(default=(), compare=False)


class RapModel(TextModel):
    """Slot k of a state is the k-th sampled sub-question with its answer, one step; see `TextModel` for all else.

    After a state stand "Question n:", the sub-question that the slot's stream writes, "Answer n:" and the answer, each
    to the delimiter. `times` answers are drawn, each with a stream of its own; they agree where they hold the same
    number, or without one the same words. The most frequent is kept, the earliest of equals and of its kin. An answer
    cut by the token limit agrees with nothing; a step without another is a dead end ("length"). A step that holds a
    final text ends the solution, as everywhere; where the sub-question holds one itself, no answer is drawn, and only
    one of `times` agrees.

    The worth of a solution, open or finished, is the mean agreement of its steps (their Q is the mean of a path's
    rewards); with a critic the geometric mean of that and of what the critic says, as their weight of 1/2 does. So it
    stays on the critics' scale, and no longer path earns more by its length. `vote` compares without agreements.

    Charged: one call for the sub-question and one for each answer, all tokens they generate, the two leads as prompt
    tokens, the rest of each prompt as cached. At temperature 0 all answers are the same, and one is asked for.
    """

    reasoning = "rap"
    times = 3

    @property
    def most_tokens(self) -> int:
        """The most tokens of a sub-question and its answers."""
        return (1 + self.times) * self.sampling.max_tokens

    async def _generate(self, state: TextState, slot: int, to_end: bool) -> GeneratedStep:
        if state.ended:
            return GeneratedStep(state, state, Step((), (), "end"), 0, None)
        fresh = slot > 0 or state.depth == 0
        stream = stream_of(self.seed, state.tokens, slot) if fresh else state.stream
        bill, lead = Bill(self.flops), self._lead(ASK, state)
        asked = await self._ask(state.tokens + lead, len(lead), stream, self._remaining(state) - len(lead), bill)
        question = _joined(lead, asked)
        if asked.ended != "stop" or any(end in self._decode(asked.tokens) for end in self.format.ends):
            return self._billed(state, question, stream, bill, 1 / self.answers)
        kept, agreement = await self._answer(state, question.tokens, bill)
        step = Step(question.tokens + kept.tokens, question.logprobs + kept.logprobs, kept.ended)
        return self._billed(state, step, stream, bill, agreement)

    async def _answer(self, state: TextState, question: Tokens, bill: Bill) -> tuple[Step, float]:
        """The most frequent answer, its lead before it, and the share of answers that agree with it."""
        lead = self._lead(ANSWER, state)
        prompt = state.tokens + question + lead
        room, times = self.engine.context - len(prompt) - len(self.format.critique_tokens), self.answers
        streams = [stream_of(self.seed, prompt, i) for i in range(times)]
        news = [len(lead), *(0 for _ in streams[1:])]
        drawn = await asyncio.gather(*(self._ask(prompt, new, one, room, bill) for new, one in zip(news, streams)))
        kept, agreeing = majority([(self._decode(one.tokens), one) for one in drawn if one.ended != "length"])
        return _joined(lead, kept or drawn[0]._replace(ended="length")), agreeing / times

    @property
    def answers(self) -> int:
        """How many answers a sub-question gets."""
        return self.times if self.sampling.temperature > 0 else 1

    async def _ask(self, prompt: Tokens, new: int, stream: int, room: int, bill: Bill) -> Step:
        """One line after `prompt`, whose last `new` tokens nobody had computed."""
        if room < 1:
            return Step((), (), "length")
        step, done = await self._cached_engine.step(prompt, self.sampling, stream, 1, room)
        bill.request(len(prompt), new, [step], [done])
        return step

    def _lead(self, text: str, state: TextState) -> Tokens:
        return words(self.engine.tokenizer, text.format(n=state.depth + 1))

    def _billed(self, state: TextState, step: Step, stream: int, bill: Bill, agreement: float) -> Billed:
        reached = self._child(state, step, stream, False)
        parts = {f.name: getattr(reached, f.name) for f in fields(TextState)}
        child = Agreed(**parts, agreed=(*getattr(state, "agreed", ()), agreement))
        return Billed(state, child, step, 0, None, self.flops, bill)

    async def _judge(self, child: TextState, evaluate: Evaluate) -> Judgement:
        judgement = await super()._judge(child, evaluate)
        judged = evaluate == "all" or (evaluate == "finished" and child.ended)
        agreed = getattr(child, "agreed", ())
        if not judged or not agreed or child.ended not in OPEN_OR_ANSWERED:
            return judgement
        mean = math.fsum(agreed) / len(agreed)
        alone = isinstance(self.value, NoValue)
        return judgement._replace(value=mean if alone else math.sqrt(mean * judgement.value))


def majority(drawn: Sequence[tuple[str, Step]]) -> tuple[Step | None, int]:
    """The first of the most frequent answers (text, step) and how many agree with it; None and 0 of none."""
    keys = [key if (key := extract(text)) is not None else text.strip() for text, _ in drawn]
    if not keys:
        return None, 0
    most, times = Counter(keys).most_common(1)[0]
    return drawn[keys.index(most)][1], times


def _joined(lead: Tokens, step: Step) -> Step:
    """The step with words before it that were not drawn: their log-probability is 0."""
    return Step(lead + step.tokens, (0.0,) * len(lead) + step.logprobs, step.ended)
