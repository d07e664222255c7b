"""The model asks a sub-question as policy and answers it as dynamics (Reasoning via Planning, Hao et al. 2023).

Section 3.1: a state is the sub-questions and answers so far, an action the next sub-question, the transition its
answer. Section 3.2, confidence of the state: several answers are sampled, the state gets the most frequent one, and the
share that agrees with it is the reward.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from ...planning.interface import Evaluate
from ..critics import Judgement, NoCritic
from ..engines.base import Tokens
from ..engines.step_splitter import ends_solution
from ..step_result import OPEN_OR_ANSWERED, GeneratedStep
from ..text.answers import extract_answer
from ..text.encoding import encode_text
from ..text.state import TextState
from ..text.steps import Step, noise_stream
from ..text_model import TextModel
from .usage_meter import MeteredStep, UsageMeter

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
"""Worked solutions by sub-questions, written for this package in the form of the prompts in the paper's appendix."""


@dataclass(frozen=True, slots=True, eq=False)
class AnsweredState(TextState):
    """A state of sub-questions and answers. agreements: per step the share of sampled answers equal to the one kept."""

    agreements: tuple[float, ...] = field(default=(), compare=False)


class RapModel(TextModel):
    """Slot k of a state is the k-th sampled sub-question together with its answer; otherwise as `TextModel`.

    The state is followed by "Question n:", the sub-question written with the slot's noise stream, "Answer n:" and the
    answer, each up to the delimiter. `answer_samples` answers are sampled, each with its own stream. Two agree where
    they contain the same number, or, without a number, the same text. The most frequent is kept, the earliest on ties.
    An answer cut by the token limit agrees with none; a step without any other answer is a dead end ("length"). A step
    that contains a text of `Format.ends` ends the solution. Where the sub-question already contains one, no answer is
    sampled and the agreement is 1 / `answer_samples`.

    The value of a solution, open or finished, is the mean agreement of its steps, since in the paper Q is the mean of a
    path's rewards. With a critic it is the geometric mean of that and of the critic's value, which corresponds to the
    paper's weight of 1/2. So it stays on the critics' scale and does not grow with the number of steps. The critic
    `vote` compares siblings without agreements.

    Charged: one call for the sub-question and one for each answer, all tokens they generate, the texts "Question n:"
    and "Answer n:" as prompt tokens, the rest of each prompt as cached. At temperature 0 all answers would be equal, so
    one is requested.
    """

    reasoning = "rap"
    answer_samples = 3

    @property
    def most_tokens(self) -> int:
        """The most tokens of a sub-question and its answers."""
        return (1 + self.answer_samples) * self.sampling.max_tokens

    @property
    def answers(self) -> int:
        """The number of answers sampled for each sub-question at this temperature."""
        return self.answer_samples if self.sampling.temperature > 0 else 1

    async def _generate(self, state: TextState, slot: int, to_end: bool) -> GeneratedStep:
        if state.ended:
            return GeneratedStep(state, state, Step((), (), "end"), 0, None)
        new_stream = slot > 0 or state.depth == 0
        stream = noise_stream(self.seed, state.tokens, slot) if new_stream else state.stream
        meter, lead = UsageMeter(self.flops), self._lead(ASK, state)
        line = await self._line(state.tokens + lead, len(lead), stream, self._remaining(state) - len(lead), meter)
        question = _with_lead(lead, line)
        if line.ended != "stop" or ends_solution(self._decode(line.tokens), self.sampling):
            return self._metered(state, question, stream, meter, 1 / self.answers)
        answer, agreement = await self._answer(state, question.tokens, meter)
        step = Step(question.tokens + answer.tokens, question.logprobs + answer.logprobs, answer.ended)
        return self._metered(state, step, stream, meter, agreement)

    async def _answer(self, state: TextState, question: Tokens, meter: UsageMeter) -> tuple[Step, float]:
        """The most frequent answer, with its lead before it, and the share of answers that agree with it."""
        lead = self._lead(ANSWER, state)
        prompt = state.tokens + question + lead
        room, samples = self.engine.context - len(prompt) - len(self.format.critique_tokens), self.answers
        streams = [noise_stream(self.seed, prompt, i) for i in range(samples)]
        new_tokens = [len(lead), *(0 for _ in streams[1:])]
        answers = await asyncio.gather(
            *(self._line(prompt, new, stream, room, meter) for new, stream in zip(new_tokens, streams))
        )
        complete = [(self._decode(one.tokens), one) for one in answers if one.ended != "length"]
        kept, agreeing = majority_answer(complete)
        return _with_lead(lead, kept or answers[0]._replace(ended="length")), agreeing / samples

    async def _line(self, prompt: Tokens, new: int, stream: int, room: int, meter: UsageMeter) -> Step:
        """One sampled line after `prompt`, whose last `new` tokens were not computed before."""
        if room < 1:
            return Step((), (), "length")
        step, computed = await self._cached_engine.step(prompt, self.sampling, stream, 1, room)
        meter.charge_request(len(prompt), new, [step], [computed])
        return step

    def _lead(self, text: str, state: TextState) -> Tokens:
        return encode_text(self.engine.tokenizer, text.format(n=state.depth + 1))

    def _metered(self, state: TextState, step: Step, stream: int, meter: UsageMeter, agreement: float) -> MeteredStep:
        child = self._child(state, step, stream, False)
        parts = {f.name: getattr(child, f.name) for f in fields(TextState)}
        answered = AnsweredState(**parts, agreements=(*_agreements(state), agreement))
        return MeteredStep(state, answered, step, 0, None, self.flops, meter)

    async def _judge(self, child: TextState, evaluate: Evaluate) -> Judgement:
        judgement = await super()._judge(child, evaluate)
        judged = evaluate == "all" or (evaluate == "finished" and child.ended)
        agreements = _agreements(child)
        if not judged or not agreements or child.ended not in OPEN_OR_ANSWERED:
            return judgement
        mean = math.fsum(agreements) / len(agreements)
        alone = isinstance(self.value, NoCritic)
        return judgement._replace(value=mean if alone else math.sqrt(mean * judgement.value))


def majority_answer(answers: Sequence[tuple[str, Step]]) -> tuple[Step | None, int]:
    """The first of the most frequent answers (text, step) and how many agree with it; None and 0 without answers."""
    keys = [key if (key := extract_answer(text)) is not None else text.strip() for text, _ in answers]
    if not keys:
        return None, 0
    most_frequent, count = Counter(keys).most_common(1)[0]
    return answers[keys.index(most_frequent)][1], count


def _agreements(state: TextState) -> tuple[float, ...]:
    """The agreements of a state's steps; a root has none."""
    return state.agreements if isinstance(state, AnsweredState) else ()


def _with_lead(lead: Tokens, step: Step) -> Step:
    """The step with text before it that was not sampled, whose log-probabilities are 0."""
    return Step(lead + step.tokens, (0.0,) * len(lead) + step.logprobs, step.ended)
