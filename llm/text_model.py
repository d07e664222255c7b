"""A language model as a model to plan with: action k of a state is its k-th sampled next step.

The text model uses engines, formats and critics through their interfaces, and knows no trees, planners or budgets.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from fractions import Fraction
from typing import Any, Self

import numpy as np

from ..planning.interface import UNITS, Actions, Evaluate, Expansion, IndexedActions, SampledActions
from ..planning.settings_checks import check_integer, check_integers, check_numbers
from .concurrency import gather_or_cancel
from .critics import UNJUDGED, ClosableCritic, Critic, Judgement, NoCritic, SiblingCritic
from .engines.base import Engine, Sampling, Tokens
from .engines.step_splitter import ends_solution
from .step_result import OPEN_OR_ANSWERED, EvaluatedStep, GeneratedStep, expansion_of
from .tape.cached_engine import CachedEngine
from .tape.tape import Tape
from .text.answers import AnswerAfterMark, extract_answer, read_answer
from .text.formats import Format
from .text.state import TextState
from .text.steps import Step, noise_stream

SIBLINGS = "compares siblings and is for searches that ask for all children of a state at once (beam, `Beam(b, c)`)"


class TextModel:
    """An `AsyncModel` over text. States are lists of `TextState`; actions are slots, which are unbounded in number.

    Every slot of the root, and any slot k > 0, starts a stream of noise identified by (seed, parent's tokens, k); slot
    0 below the root continues its parent's stream. With `to_end` one request generates the whole solution and the tape
    records its steps, so that a later `expand` at slot 0, with or without `to_end`, finds them.

    Reward is 0 and discount 1 until the solution ends. A finished state (`ended == "answer"`) has discount 0, value 0
    and the critic's score of the solution as reward, or 0 with `evaluate="none"`. A dead end (`ended` "end", "length",
    "depth") has discount 0, `dead_end` and the lowest score as reward (0 with "none"), without a call of the critic.
    Open states have the critic's score as value with "all", else 0. The root has the middle of the critic's scale,
    since there is nothing to evaluate yet. Expanding an ended state returns that state at no cost.

    Charged (`usage`): what this planner would have paid alone, whatever is on the tape and whichever planner ran first:
      nodes: 1 per expansion, 0 for the root.
      model_calls: 1 per generation request; 0 where `to_end` at slot 0 continues a state that this planner itself
        reached with `to_end`, because the same request wrote it; 0 where the context has no room. A critic's calls
        appear in `value_tokens` only.
      generated_tokens: those of the step.
      prompt_tokens: the prompt's, once, in `start`. cached_tokens: the parent's tokens, per generation request.
      value_tokens: those of the critique's suffix, per call of the critic; the state's own tokens are cached.
      seconds: as recorded: those of the request (with `to_end` the step's share by tokens) and of the critic.
      flops: `DecoderFlops` of the prompt's, the step's and the critique's tokens; cached ones are only attended to.
    Spent: what the engine did in this very call: nodes 1, all tokens and seconds of the request it started (with
    `to_end` the whole request), prompt tokens split by the engine's own cache, positions that the critic computed. For
    an answer from the tape, or from a call that was already running: nodes 1 and zeros.
    """

    reasoning = "steps"
    """The name of this class among the thought generators of `reasoning/`."""

    def __init__(
        self,
        engine: Engine,
        format: Format,
        value: Critic | None = None,
        sampling: Sampling | None = None,
        seed: int = 0,
        max_steps: int | None = None,
        tape: Tape | None = None,
    ) -> None:
        """Combine an engine with a format and a critic.

        value: the critic, by default `NoCritic`. sampling: temperature, top_p and the most tokens of a step; stop and
        ends are those of the format. max_steps: depth limit, by default the format's. tape: shared by models of a run.

        Errors: ValueError for settings out of range.
        """
        sampling = sampling or Sampling(max_tokens=format.max_step_tokens)
        max_steps = format.max_steps if max_steps is None else max_steps
        check_integer("max_steps", max_steps, 1)
        check_integers(sampling, 1, "max_tokens")
        check_numbers(sampling, "temperature", least=0)
        check_numbers(sampling, "top_p", above=0, most=1)
        self.engine, self.format, self.seed = engine, format, seed
        self.value: Critic = value or NoCritic()
        rules: dict[str, Any] = {"stop": format.delimiter, "cut": format.cut, "max_steps": 1}
        self.sampling = replace(sampling, **rules, ends=format.ends, answered=format.answered)
        self.max_steps = max_steps
        self.tape = Tape() if tape is None else tape
        self._cached_engine = CachedEngine(engine, self.tape)
        self.flops = engine.flops

    @property
    def actions(self) -> IndexedActions:
        """Unboundedly many samples."""
        return SampledActions()

    @property
    def cost(self) -> int:
        """One node per expansion."""
        return 1

    @property
    def most_tokens(self) -> int:
        """The most tokens of a step; a request with `to_end` is charged step by step."""
        return self.sampling.max_tokens

    def at(self, temperature: float) -> Self:
        """The same model at another temperature (0 is greedy), with the same engine, critic and tape."""
        return self._with(sampling=replace(self.sampling, temperature=temperature))

    def seeded(self, seed: int) -> Self:
        """The same model with other noise, thus another random tree, with the same engine, critic and tape."""
        return self._with(seed=seed)

    def _with(self, **changes: Any) -> Self:
        """A copy with other values of the attributes named."""
        other = copy(self)
        for name, value in changes.items():
            setattr(other, name, value)
        return other

    async def start(self, problems: Any) -> tuple[list[TextState], Expansion]:
        """The states of B questions: texts, or objects with a `question`.

        Errors: ValueError for a question that leaves no room in the context.
        """
        problems = [problems] if isinstance(problems, str) else list(problems)
        states = [self._root(getattr(problem, "question", problem)) for problem in problems]
        usage = np.zeros((len(states), len(UNITS)))
        usage[:, UNITS.index("prompt_tokens")] = [state.prompt_length for state in states]
        usage[:, UNITS.index("flops")] = [self.flops.of_tokens(0, state.prompt_length) for state in states]
        value = np.full(len(states), (self.value.low + self.value.high) / 2, np.float32)
        zeros, ones = np.zeros(len(states), np.float32), np.ones(len(states), np.float32)
        return states, Expansion(zeros, ones, value, usage=usage, spent=np.zeros_like(usage))

    async def expand(
        self,
        states: Sequence[TextState],
        actions: Sequence[int] | Actions,
        *,
        to_end: bool = False,
        evaluate: Evaluate = "all",
    ) -> tuple[list[TextState], Expansion]:
        """Write step `actions[i]` of `states[i]`, all K concurrently.

        The critic evaluates each step as soon as it is written; one that compares siblings waits for all of them.

        Errors: ValueError for such a critic with a search that asks for single children.
        """
        slots = [int(slot) for slot in np.asarray(actions).tolist()]
        if len(states) != len(slots) or min(slots, default=0) < 0:
            raise ValueError(f"{len(states)} states need as many slots, all at least 0; got {slots}")
        if evaluate not in ("none", "finished", "all"):
            raise ValueError(f"evaluate must be none, finished or all, got {evaluate!r}")
        if isinstance(self.value, SiblingCritic) and evaluate != "none":
            steps = await self._expand_compared(self.value, states, slots, to_end, evaluate)
        else:
            calls = [self._expand_one(state, slot, to_end, evaluate) for state, slot in zip(states, slots)]
            steps = [await calls[0]] if len(calls) == 1 else await gather_or_cancel(calls)
        return [step.state for step in steps], expansion_of(steps)

    async def close(self) -> None:
        """Close the engine, and the critic's own engine if it has one; the tape stays open."""
        await self.engine.close()
        if isinstance(self.value, ClosableCritic):
            await self.value.close()

    def answered(self, state: TextState) -> bool:
        """Whether the solution is finished with an answer, which a dead end never is."""
        return state.ended == "answer"

    def answer(self, state: TextState) -> Fraction | None:
        """The number with which a finished solution ends; None without one and for any other state."""
        return extract_answer(self.text(state)) if self.answered(state) else None

    def text(self, state: TextState) -> str:
        """The solution so far, without the prompt."""
        return self._decode(state.solution)

    def step_text(self, state: TextState) -> str:
        """The last step; "" at the root."""
        return self._decode(state.step) if state.depth else ""

    def _decode(self, tokens: Sequence[int]) -> str:
        return self._cached_engine.text(tokens)

    def _remaining(self, state: TextState) -> int:
        """New tokens that fit into the context beside a critique, whichever the critic, so that all share one tree."""
        return self.engine.context - len(state.tokens) - len(self.format.critique_tokens)

    def _root(self, question: str) -> TextState:
        if not isinstance(question, str) or not question.strip():
            raise ValueError(f"a question must be a text that is not empty, got {question!r}")
        prompt = tuple(self.format.prompt_tokens(question))
        state = TextState(prompt, prompt_length=len(prompt), step_start=len(prompt), question=question)
        if self._remaining(state) < 1:
            raise ValueError(
                f"the question is longer than the context: its prompt has {len(prompt)} tokens and the critique "
                f"{len(self.format.critique_tokens)}, the model holds {self.engine.context}: {question[:60]!r}"
            )
        return state

    async def _expand_one(self, state: TextState, slot: int, to_end: bool, evaluate: Evaluate) -> EvaluatedStep:
        generated = await self._generate(state, slot, to_end)
        return generated.judged(await self._judge(generated.child, evaluate))

    async def _generate(self, state: TextState, slot: int, to_end: bool) -> GeneratedStep:
        if state.ended:
            return GeneratedStep(state, state, Step((), (), "end"), 0, None)
        new_stream = slot > 0 or state.depth == 0
        stream = noise_stream(self.seed, state.tokens, slot) if new_stream else state.stream
        calls = int(new_stream or not (to_end and state.to_end))
        remaining = self._remaining(state)
        if remaining < 1:
            calls, step, made = 0, Step((), (), "length"), None
        else:
            left = self.max_steps - state.depth
            steps = left if to_end else 1
            last = self.format.last_to_end and steps == left
            step, made = await self._cached_engine.step(state.tokens, self.sampling, stream, steps, remaining, last)
        return GeneratedStep(state, self._child(state, step, stream, to_end), step, calls, made, self.flops)

    async def _expand_compared(
        self, critic: SiblingCritic, states: Sequence[TextState], slots: Sequence[int], to_end: bool, evaluate: Evaluate
    ) -> list[EvaluatedStep]:
        """Write all steps, then let the critic compare the children of each parent.

        The tape answers for siblings that were requested earlier.
        """
        unvalued = to_end or evaluate != "all"
        if unvalued and any(state.depth == 0 for state in states):
            raise ValueError(f"{self.value.name} {SIBLINGS}; this one needs values of finished solutions only")
        steps = await asyncio.gather(*(self._generate(state, slot, to_end) for state, slot in zip(states, slots)))
        if unvalued:  # the completion of a search that ended without a solution, which uses no value
            return [step.judged(Judgement(math.nan)) for step in steps]
        groups: dict[TextState, list[int]] = {}
        for i, state in enumerate(states):
            groups.setdefault(state, []).append(i)
        compared = await asyncio.gather(
            *(self._compare_children(critic, parent, [slots[i] for i in group]) for parent, group in groups.items())
        )
        judgements, low = dict(zip(groups, compared)), Judgement(self.value.low)
        evaluated, charged = [], set()
        for step in steps:
            judgement = judgements[step.parent].get(step.child, low)
            edge = (step.parent, step.child)
            # equal siblings share one judgement, which is charged once
            evaluated.append(step.judged(Judgement(judgement.value) if edge in charged else judgement))
            charged.add(edge)
        return evaluated

    async def _compare_children(
        self, critic: SiblingCritic, parent: TextState, slots: Sequence[int]
    ) -> dict[TextState, Judgement]:
        """Judgements of the distinct children of `parent`, dead ends excepted, up to the last slot requested."""
        if parent.ended:
            return {}
        if max(slots) == 0 and parent.depth == 0:
            raise ValueError(f"{self.value.name} {SIBLINGS}; this one asks for a single step")
        steps = await asyncio.gather(*(self._generate(parent, slot, False) for slot in range(max(slots) + 1)))
        children = list(dict.fromkeys(step.child for step in steps if step.child.ended in OPEN_OR_ANSWERED))
        if max(slots) == 0:  # the budget allowed one child, which has no sibling to be compared with
            return dict.fromkeys(children, Judgement(math.nan))
        judgements = await critic.compare(self._cached_engine, self.format, parent, children) if children else []
        return dict(zip(children, judgements))

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
        """`TextState.ended` of the child; a step cut by the token limit never finishes a solution."""
        if step.ended == "length":
            return "length"
        text = self._decode(step.tokens)
        if ends_solution(text, self.sampling):
            return "answer"
        if step.ended == "end":
            return "answer" if self._answers_at_end(self._decode(tokens[parent.prompt_length :])) else "end"
        return "depth" if parent.depth + 1 >= self.max_steps else ""

    def _answers_at_end(self, solution: str) -> bool:
        """Whether a solution that the model ends itself holds an answer."""
        answered = self.format.answered
        if not self.format.eos_answers:
            return False
        return answered.at_end(solution) if isinstance(answered, AnswerAfterMark) else bool(read_answer(solution))

    async def _judge(self, child: TextState, evaluate: Evaluate) -> Judgement:
        if evaluate == "none" or (evaluate == "finished" and not child.ended):
            return UNJUDGED
        if child.ended not in OPEN_OR_ANSWERED:
            return Judgement(self.value.low)
        return await self.value.score(self._cached_engine, self.format, child)
