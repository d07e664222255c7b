"""One call lists several distinct next steps, and each of them is an action (Tree of Thoughts, Yao et al. 2023).

Section 3, thought generator (b), `propose`: where steps are short, independent samples of one prompt repeat each other,
while the items of one list do not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

from ...planning.interface import Evaluate
from ..critics import CompositeCritic, Critic, Rating, Rollout, SelfCritique
from ..engines.base import Sampling
from ..step_result import EvaluatedStep, GeneratedStep
from ..text.encoding import encode_text
from ..text.state import TextState
from ..text.steps import Step, noise_stream
from ..text_model import TextModel
from .usage_meter import MeteredStep, UsageMeter, generate_lines

QUESTION = (
    "List {n} different possible next steps, one a line and numbered. Each continues the solution so far by one short "
    "step; where the answer is known, a step is four number signs and then the answer as a plain number.\n"
)
_NUMBERED = re.compile(r"(?:\(?[0-9]{1,2}[.):]+|[-*•])\s+(?=\S)")
_READING_CRITICS = (SelfCritique, Rating, Rollout)


@dataclass(frozen=True, slots=True, eq=False)
class ProposedState(TextState):
    """A state whose last step comes from a list.

    inserted: number of tokens at its end that no request of this tree has computed at these positions; the first
    request that reads them is charged for them.
    """

    inserted: int = field(default=0, compare=False)


class ProposeModel(TextModel):
    """Slot k of a state is item k % `list_length` of its list number k // `list_length`; otherwise as `TextModel`.

    A list is requested when the first of its items is expanded, by one request for `list_length` lines after the state
    and `QUESTION`; each list has its own noise stream. Equal lines count as one item. A list with too few items starts
    again at its first, whose edge the driver merges with the earlier one. A list without items is a dead end ("end").
    An item's text is encoded anew and appended to its parent's tokens; its log-probabilities are unknown and count as
    0, so the critic `logprob` means nothing here. `to_end` writes step by step.

    Charged: the list (its call, its tokens, its question as prompt tokens) at its first item, 0 calls and 0 generated
    tokens at the other items, which searches expand later or together with it. A step's own tokens are charged as
    prompt tokens where a critic or a list first reads them.
    """

    reasoning = "propose"
    list_length = 4

    @property
    def most_tokens(self) -> int:
        """The most tokens of a list."""
        return self.list_length * self.sampling.max_tokens

    @property
    def _list_sampling(self) -> Sampling:
        """Sampling of a list: an answer does not end it, and one line may use the tokens that others leave."""
        return replace(self.sampling, ends=(), cut="text", stop="\n", max_tokens=self.most_tokens)

    async def _generate(self, state: TextState, slot: int, to_end: bool) -> GeneratedStep:
        if state.ended:
            return GeneratedStep(state, state, Step((), (), "end"), 0, None)
        return await self._propose(state, slot)

    async def _propose(self, state: TextState, slot: int) -> MeteredStep:
        question = self.format.ask(QUESTION.format(n=self.list_length), state.step)
        room, meter = self._remaining(state) - len(question), UsageMeter(self.flops)
        if room < 1:
            return self._metered(state, Step((), (), "length"), meter)
        list_number, item = divmod(slot, self.list_length)
        prompt = state.tokens + question
        stream = noise_stream(self.seed, prompt, list_number)
        steps, computed = await generate_lines(
            self._cached_engine, prompt, self._list_sampling, stream, self.list_length, min(room, self.most_tokens)
        )
        if item == 0:
            inserted = _proposed(state).inserted
            meter.charge_request(len(prompt), 0 if list_number else len(question) + inserted, steps, ())
        for one in computed:
            meter.spend(len(prompt), one)
        lines = [self._decode(step.tokens) for step in steps if step.ended != "length"]
        items = list_items(lines, self.format.delimiter)
        return self._metered(state, self._step(items, item, self._remaining(state)), meter)

    def _step(self, items: Sequence[str], item: int, room: int) -> Step:
        """An item as a step; one that is too long is cut and then never finishes the solution."""
        if not items:
            return Step((), (), "end")
        tokens = encode_text(self.engine.tokenizer, items[item % len(items)] + self.format.delimiter)
        most = min(self.sampling.max_tokens, room)
        return Step(tokens[:most], (0.0,) * min(len(tokens), most), "length" if len(tokens) > most else "stop")

    def _metered(self, state: TextState, step: Step, meter: UsageMeter) -> MeteredStep:
        child = self._child(state, step, state.stream, False)
        proposed = replace(_proposed(child), inserted=len(step.tokens))
        return MeteredStep(state, proposed, step, 0, None, self.flops, meter)

    async def _expand_one(self, state: TextState, slot: int, to_end: bool, evaluate: Evaluate) -> EvaluatedStep:
        written = await self._generate(state, slot, to_end)
        judgement = await self._judge(written.child, evaluate)
        if isinstance(written, MeteredStep) and judgement.tokens and reads_with_policy(self.value):
            written.meter.charge_prompt(len(state.tokens), len(written.step.tokens))
            written.child = replace(_proposed(written.child), inserted=0)
        return written.judged(judgement)


def _proposed(state: TextState) -> ProposedState:
    """The state as a `ProposedState`; nothing is inserted in a root."""
    if isinstance(state, ProposedState):
        return state
    return ProposedState(**{f.name: getattr(state, f.name) for f in fields(TextState)})


def list_items(lines: Sequence[str], delimiter: str) -> list[str]:
    """The distinct items of a list in order, without their numbers; all lines where none is numbered."""
    texts = [line.removesuffix(delimiter).strip() for line in lines]
    numbered = [match for text in texts if (match := _NUMBERED.match(text))]
    items = [match.string[match.end() :] for match in numbered] or texts
    return list(dict.fromkeys(text for text in items if text))


def reads_with_policy(critic: Critic) -> bool:
    """Whether a critic, or a part of it, reads a state with the model that wrote it."""
    parts = critic.parts if isinstance(critic, CompositeCritic) else [(1.0, critic)]
    return any(isinstance(part, _READING_CRITICS) for _, part in parts)
