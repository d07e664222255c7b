"""The language model as a world to plan in: slot k of a state is the k-th sampled next step (design 3.2).

It knows engines, formats and critics by their protocols, and nothing of trees, planners or budgets.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from copy import copy
from dataclasses import replace
from fractions import Fraction
from typing import Any, Self, TypeVar

import numpy as np

from ..planning.interface import Evaluate, Expansion, IndexedActions, SampledActions
from ..planning.usage import FLOPS, PROMPT_TOKENS, no_usage
from .critics import UNJUDGED, Judgement, NoValue, Value
from .engines.base import Engine, Sampling, Tokens, shared_ids
from .engines.flops import work_of
from .step_result import ALIVE, Reached, Written, expansion_of
from .tape.tape import Tape, Taped
from .text.answers import extract
from .text.formats import Format
from .text.steps import Step, TextState, stream_of

T = TypeVar("T")

_Compare = Callable[[Taped, Format, TextState, Sequence[TextState]], Awaitable[Sequence[Judgement]]]

SIBLINGS = "compares siblings and is for searches that ask for all children of a state at once (beam, `Beam(b, c)`)"


async def together(calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """What these give, all of them under way at once; one that fails ends the others. The first has no task of its own,
    which would take a tenth of what a search does for a node."""
    if not calls:
        return []
    first, *others = calls
    tasks = [asyncio.create_task(other) for other in others]
    try:
        return [await first, *[await task for task in tasks]]
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


class TextModel:
    """An `AsyncModel` over text. States are lists of `TextState`, actions slots of an unbounded offer.

    A slot of the root, and any slot k > 0, opens a stream of noise, named by (seed, parent's tokens, k); slot 0 below
    the root inherits its parent's. With `to_end` one request writes the whole solution and the tape keeps its steps, so
    a later `expand` at slot 0, followed or not, finds them there.

    Reward 0 and discount 1 until the solution ends. A finished state (`ended == "answer"`) has discount 0, value 0 and
    as reward the critic's score of the solution, 0 with `evaluate="none"`. A dead end (`ended` "end", "length", "depth")
    has discount 0, `dead_end` and the critic's low end as reward (0 with "none"); no critic is asked, and it is no answer.
    Open states have the critic's score as value with "all", else 0. The root has the middle of the critic's scale:
    there is nothing to judge yet. An ended state that is expanded stays what it is, at no cost.

    Charged (`usage`): what this planner would have paid alone, whatever the tape holds and whoever came first:
      nodes 1 per expansion, 0 for the root.
      model_calls 1 per generation request; 0 where `to_end` at slot 0 continues a state that this planner itself
        reached with `to_end`: the same request wrote it; 0 where the context has no room. A critic's call shows in
        `value_tokens` only.
      generated_tokens: those of the step.
      prompt_tokens: the prompt's, once, in `start`. cached_tokens: the parent's tokens, per generation request.
      value_tokens: those of the critique's suffix, per critic's call, the state's own tokens being cached.
      seconds: as recorded: the request's (its share by tokens in a followed one) and the critic's.
      flops: `engines.work.Work` of the prompt's, the step's and the critique's tokens; cached ones are only looked at.
    Spent: what the engine did now: nodes 1, all tokens and seconds of the request it started (a followed one: all of
    it at once), prompt tokens split by the engine's own cache, positions the critic computed. A tape hit, or joining
    a call under way: nodes 1 and zeros.
    """

    way = "steps"

    def __init__(
        self,
        engine: Engine,
        format: Format,
        value: Value | None = None,
        sampling: Sampling | None = None,
        seed: int = 0,
        max_steps: int | None = None,
        tape: Tape | None = None,
    ) -> None:
        """Sampling gives temperature, top_p and the most tokens of a step; stop and ends are the format's.

        value: None is `NoValue`. max_steps: depth limit, by default the format's. tape: shared between models of a run.
        """
        sampling = sampling or Sampling(max_tokens=format.max_step_tokens)
        max_steps = format.max_steps if max_steps is None else max_steps
        if max_steps < 1 or sampling.max_tokens < 1 or sampling.temperature < 0 or not 0 < sampling.top_p <= 1:
            raise ValueError(
                "wanted max_steps >= 1, max_tokens >= 1, temperature >= 0 and 0 < top_p <= 1, "
                f"got max_steps={max_steps}, {sampling}"
            )
        self.engine, self.format, self.value, self.seed = engine, format, value or NoValue(), seed
        self.sampling = replace(sampling, stop=format.delimiter, ends=format.ends, max_steps=1)
        self.max_steps = max_steps
        self.tape = Tape() if tape is None else tape
        self._taped = Taped(engine, self.tape)
        self.work = work_of(engine)

    @property
    def actions(self) -> IndexedActions:
        return SampledActions()

    @property
    def cost(self) -> int:
        return 1

    @property
    def most_tokens(self) -> int:
        """The most tokens a step may have; a followed request is charged step by step."""
        return self.sampling.max_tokens

    def at(self, temperature: float) -> Self:
        """The same model at another temperature (0: greedy), with the same engine, critic and tape."""
        return self._with(sampling=replace(self.sampling, temperature=temperature))

    def seeded(self, seed: int) -> Self:
        """The same model with other noise, hence another tree, with the same engine, critic and tape."""
        return self._with(seed=seed)

    def _with(self, **changes: Any) -> Self:
        """A copy with other settings of the same names."""
        other = copy(self)
        for name, given in changes.items():
            setattr(other, name, given)
        return other

    async def start(self, problems: Any) -> tuple[list[TextState], Expansion]:
        """The states of B questions: texts, or objects with a `question`.

        Errors: ValueError for a question that leaves no room in the context.
        """
        problems = [problems] if isinstance(problems, str) else list(problems)
        states = [self._root(getattr(problem, "question", problem)) for problem in problems]
        usage = no_usage(len(states))
        usage[:, PROMPT_TOKENS] = [state.prompt_length for state in states]
        usage[:, FLOPS] = [self.work.of(0, state.prompt_length) for state in states]
        value = np.full(len(states), (self.value.low + self.value.high) / 2, np.float32)
        zeros, ones = np.zeros(len(states), np.float32), np.ones(len(states), np.float32)
        return states, Expansion(zeros, ones, value, usage=usage, spent=np.zeros_like(usage))

    async def expand(
        self, states: Sequence[TextState], actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[list[TextState], Expansion]:
        """Write step `actions[i]` of `states[i]`, all K at once; each is judged as soon as it is written, by a critic
        that compares siblings when all are. ValueError for such a critic and a search that asks for lone steps."""
        slots = [int(slot) for slot in np.asarray(actions).tolist()]
        if len(states) != len(slots) or min(slots, default=0) < 0:
            raise ValueError(f"{len(states)} states want as many slots, all at least 0; got {slots}")
        if evaluate not in ("none", "finished", "all"):
            raise ValueError(f"valued must be none, finished or all, got {evaluate!r}")
        compare = getattr(self.value, "compare", None)
        if compare is not None and evaluate != "none":
            reached = await self._compared(compare, states, slots, to_end, evaluate)
        else:
            walks = [self._walk(state, slot, to_end, evaluate) for state, slot in zip(states, slots)]
            reached = [await walks[0]] if len(walks) == 1 else await together(walks)
        return [one.state for one in reached], expansion_of(reached)

    async def close(self) -> None:
        """Close the engine and the critic's own engine, if it has one; the tape stays open."""
        await self.engine.close()
        if (close := getattr(self.value, "close", None)) is not None:
            await close()

    def answered(self, state: TextState) -> bool:
        """Whether the solution is finished with an answer; a dead end never is."""
        return state.ended == "answer"

    def answer(self, state: TextState) -> Fraction | None:
        """The number a finished solution ends in; None for anything else, and where it has none."""
        return extract(self.text(state)) if self.answered(state) else None

    def text(self, state: TextState) -> str:
        """The solution so far, without the prompt."""
        return self._decode(state.solution)

    def step_text(self, state: TextState) -> str:
        """The last step; "" at the root."""
        return self._decode(state.step) if state.depth else ""

    def _decode(self, tokens: Sequence[int]) -> str:
        return self._taped.text(tokens)

    def _room(self, state: TextState) -> int:
        """New tokens that fit the context; the critique's place is kept for every critic, so that all share a tree."""
        return self.engine.context - len(state.tokens) - len(self.format.critique_tokens)

    def _root(self, question: str) -> TextState:
        if not isinstance(question, str) or not question.strip():
            raise ValueError(f"a question must be a text that is not empty, got {question!r}")
        prompt = shared_ids(self.format.prompt_tokens(question))
        state = TextState(prompt, prompt_length=len(prompt), step_start=len(prompt), question=question)
        if self._room(state) < 1:
            raise ValueError(
                f"the question is longer than the context: its prompt has {len(prompt)} tokens and the critique "
                f"{len(self.format.critique_tokens)}, the model holds {self.engine.context}: {question[:60]!r}"
            )
        return state

    async def _walk(self, state: TextState, slot: int, to_end: bool, evaluate: Evaluate) -> Reached:
        written = await self._write(state, slot, to_end)
        return written.judged(await self._judge(written.child, evaluate))

    async def _write(self, state: TextState, slot: int, to_end: bool) -> Written:
        if state.ended:
            return Written(state, state, Step((), (), "end"), 0, None)
        fresh = slot > 0 or state.depth == 0
        stream = stream_of(self.seed, state.tokens, slot) if fresh else state.stream
        calls = int(fresh or not (to_end and state.followed))
        room = self._room(state)
        if room < 1:
            calls, step, done = 0, Step((), (), "length"), None
        else:
            steps = self.max_steps - state.depth if to_end else 1
            step, done = await self._taped.step(state.tokens, self.sampling, stream, steps, room)
        return Written(state, self._child(state, step, stream, to_end), step, calls, done, self.work)

    async def _compared(
        self, compare: _Compare, states: Sequence[TextState], slots: Sequence[int], to_end: bool, evaluate: Evaluate
    ) -> list[Reached]:
        """Write all, then let the critic compare those of one parent; siblings asked for earlier are on the tape."""
        alone = to_end or evaluate != "all"
        if alone and any(state.depth == 0 for state in states):
            raise ValueError(f"{self.value.name} {SIBLINGS}; this one wants values of finished solutions only")
        written = await asyncio.gather(*(self._write(state, slot, to_end) for state, slot in zip(states, slots)))
        if alone:  # the closing of a search that ended without a solution, which asks for no worth
            return [one.judged(Judgement(math.nan)) for one in written]
        groups: dict[TextState, list[int]] = {}
        for i, state in enumerate(states):
            groups.setdefault(state, []).append(i)
        found = await asyncio.gather(
            *(self._compared_group(compare, parent, [slots[i] for i in group]) for parent, group in groups.items())
        )
        judged, low = dict(zip(groups, found)), Judgement(self.value.low)
        reached, booked = [], set()
        for one in written:
            worth = judged[one.parent].get(one.child, low)
            edge = (one.parent, one.child)
            # the worth of equal siblings is one judgement, paid once
            reached.append(one.judged(Judgement(worth.value) if edge in booked else worth))
            booked.add(edge)
        return reached

    async def _compared_group(
        self, compare: _Compare, parent: TextState, slots: Sequence[int]
    ) -> dict[TextState, Judgement]:
        """What the distinct living children of `parent` up to the last slot asked for are worth to each other."""
        if parent.ended:
            return {}
        if max(slots) == 0 and parent.depth == 0:
            raise ValueError(f"{self.value.name} {SIBLINGS}; this one asks for a single step")
        written = await asyncio.gather(*(self._write(parent, slot, False) for slot in range(max(slots) + 1)))
        children = list(dict.fromkeys(one.child for one in written if one.child.ended in ALIVE))
        if max(slots) == 0:  # the budget left room for one: nothing to compare it with
            return dict.fromkeys(children, Judgement(math.nan))
        worth = await compare(self._taped, self.format, parent, children) if children else []
        return dict(zip(children, worth))

    def _child(self, parent: TextState, step: Step, stream: int, to_end: bool) -> TextState:
        tokens = parent.tokens + step.tokens
        return TextState(
            tokens,
            self._ended(parent, step, tokens),
            parent.prompt_length,
            len(parent.tokens),
            stream,
            parent.depth + 1,
            to_end,
            (*parent.step_logprobs, step.logprobs),
            parent.question,
        )

    def _ended(self, parent: TextState, step: Step, tokens: Tokens) -> str:
        """Whether and how the solution is over; a step cut by the token limit never finishes it."""
        if step.ended == "length":
            return "length"
        words = self._decode(step.tokens)
        for end in self.format.ends:
            if end in words:
                return "answer"
        if step.ended == "end":
            told = self.format.eos_answers and extract(self._decode(tokens[parent.prompt_length :])) is not None
            return "answer" if told else "end"
        return "depth" if parent.depth + 1 >= self.max_steps else ""

    async def _judge(self, child: TextState, evaluate: Evaluate) -> Judgement:
        if evaluate == "none" or (evaluate == "finished" and not child.ended):
            return UNJUDGED
        if child.ended not in ALIVE:
            return Judgement(self.value.low)
        return await self.value.score(self._taped, self.format, child)
