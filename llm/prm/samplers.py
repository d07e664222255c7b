"""Who writes the solutions that are judged: the policy, at a temperature, from the question or from any line on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import LlamaForCausalLM

from ..builtin.sample import sample_solutions
from ..tape.tape import Tape
from ..text.steps import TextState
from ..text_model import TextModel

MAX_TOKENS = 200  # of a solution by the built-in reasoner


@dataclass(frozen=True)
class Solution:
    """What a policy wrote.

    text: all of it. lines: its whole lines, without their ends. ended: whether the last of them states an answer, so
    that nothing follows. states: after each line, for a writer that goes on from tokens.
    """

    question: str
    text: str
    lines: tuple[str, ...]
    ended: bool
    states: tuple[Any, ...] = field(default=(), compare=False, repr=False)


class Writer(Protocol):
    """A policy at a temperature; what it writes is a function of its arguments alone."""

    def write(self, questions: Sequence[str], seed: int, greedy: bool = False) -> list[Solution]:
        """A solution for each question; equal questions get different ones, unless greedy."""
        ...

    def finish(self, starts: Sequence[tuple[Solution, int]], times: int, seed: int) -> list[list[str]]:
        """For each solution's first so many lines, the whole texts of `times` ways on from there, "" for dead ends."""
        ...


class FastWriter:
    """The built-in reasoner, or a Llama of its shape, by its own sampler: equal beginnings are computed once."""

    def __init__(self, model: LlamaForCausalLM, tokenizer: Any, temperature: float = 0.8) -> None:
        self.model, self.tokenizer, self.temperature = model, tokenizer, temperature

    def write(self, questions: Sequence[str], seed: int, greedy: bool = False) -> list[Solution]:
        texts = self._sample(questions, seed, 0.0 if greedy else self.temperature)
        return [_cut(question, text) for question, text in zip(questions, texts)]

    def finish(self, starts: Sequence[tuple[Solution, int]], times: int, seed: int) -> list[list[str]]:
        begun = ["".join(f"{line}\n" for line in solution.lines[:count]) for solution, count in starts]
        prompts = [f"{start[0].question}\n{text}"[:-1] for start, text in zip(starts, begun) for _ in range(times)]
        ways = self._sample(prompts, seed, self.temperature)
        return [[text + way for way in ways[i * times : (i + 1) * times]] for i, text in enumerate(begun)]

    def _sample(self, prompts: Sequence[str], seed: int, temperature: float) -> list[str]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return sample_solutions(self.model, self.tokenizer, prompts, temperature, MAX_TOKENS)


def _cut(question: str, text: str) -> Solution:
    lines = tuple(text.split("\n")[:-1])
    return Solution(question, text, lines, bool(lines) and lines[-1].startswith("####"))


class EngineWriter:
    """Any policy that the transformers engine runs, in its own format; lines are the format's steps."""

    def __init__(self, model: str | Path, temperature: float = 0.8, device: str = "cpu") -> None:
        from ..load import load_text_model

        self.text: TextModel = load_text_model(model, value="none", temperature=temperature, device=device)

    def write(self, questions: Sequence[str], seed: int, greedy: bool = False) -> list[Solution]:
        model = self._model(seed)
        return asyncio.run(self._write(model.at(0.0) if greedy else model, questions))

    def finish(self, starts: Sequence[tuple[Solution, int]], times: int, seed: int) -> list[list[str]]:
        return asyncio.run(self._finish(self._model(seed), starts, times))

    def _model(self, seed: int) -> TextModel:
        """The policy with noise of that seed and an empty tape."""
        text = self.text
        return TextModel(text.engine, text.format, None, text.sampling, seed, text.max_steps, Tape())

    async def _write(self, model: TextModel, questions: Sequence[str]) -> list[Solution]:
        roots, _ = await model.start(list(dict.fromkeys(questions)))
        root, seen = {state.question: state for state in roots}, dict.fromkeys(questions, 0)
        walks = []
        for question in questions:
            seen[question] += 1
            walks.append(self._follow(model, root[question], seen[question]))
        return [self._solution(model, states) for states in await asyncio.gather(*walks)]

    async def _finish(self, model: TextModel, starts: Sequence[tuple[Solution, int]], times: int) -> list[list[str]]:
        ways = [self._follow(model, one.states[count - 1], k + 1) for one, count in starts for k in range(times)]
        ends = [states[-1] for states in await asyncio.gather(*ways)]
        texts = [model.text(end) if model.answered(end) else "" for end in ends]
        return [texts[i * times : (i + 1) * times] for i in range(len(starts))]

    @staticmethod
    async def _follow(model: TextModel, state: TextState, slot: int) -> list[TextState]:
        """The states that one request writes, the last one ended; an ended state alone where nothing follows."""
        states = []
        while not state.ended:
            (state,), _ = await model.expand([state], [slot], to_end=True, evaluate="none")
            states.append(state)
            slot = 0
        return states or [state]

    @staticmethod
    def _solution(model: TextModel, states: Sequence[TextState]) -> Solution:
        """A step cut by a limit and one without words are no lines."""
        whole = [state for state in states if state.ended != "length" and model.step_text(state).strip()]
        lines = tuple(model.step_text(state).strip() for state in whole)
        return Solution(states[-1].question, model.text(states[-1]), lines, states[-1].ended == "answer", tuple(whole))


def seed_of(*parts: object) -> int:
    """A 32-bit seed of anything that can be written down."""
    return random.Random("/".join(map(str, parts))).getrandbits(32)
