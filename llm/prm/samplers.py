"""Solutions that the policy samples, from the question or from any line on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from ..builtin.sample import sample_solutions
from ..tape.tape import Tape
from ..text.state import TextState
from ..text_model import TextModel

MAX_TOKENS = 200  # of a solution by the built-in reasoner


@dataclass(frozen=True)
class Solution:
    """A solution that a policy wrote.

    text: all of it. lines: its complete lines, without line ends. ended: whether the last line states an answer.
    states: the text state after each line, for samplers that continue from token ids.
    """

    question: str
    text: str
    lines: tuple[str, ...]
    ended: bool
    states: tuple[TextState, ...] = field(default=(), compare=False, repr=False)


class PolicySampler(Protocol):
    """A policy at a temperature; its samples are a function of the arguments only."""

    def sample(self, questions: Sequence[str], seed: int, greedy: bool = False) -> list[Solution]:
        """A solution for each question; equal questions get different ones, unless greedy."""
        ...

    def complete(self, starts: Sequence[tuple[Solution, int]], times: int, seed: int) -> list[list[str]]:
        """`times` completions of each start, which is a solution and the number of its lines to keep.

        Returns whole solution texts, "" for a completion that ends without an answer.
        """
        ...


class BuiltinSampler:
    """The built-in reasoner, or a Llama of its shape, with its own sampler, which computes equal prompts once."""

    def __init__(self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, temperature: float = 0.8) -> None:
        self.model, self.tokenizer, self.temperature = model, tokenizer, temperature

    def sample(self, questions: Sequence[str], seed: int, greedy: bool = False) -> list[Solution]:
        """See `PolicySampler.sample`."""
        texts = self._texts(questions, seed, 0.0 if greedy else self.temperature)
        return [_solution(question, text) for question, text in zip(questions, texts)]

    def complete(self, starts: Sequence[tuple[Solution, int]], times: int, seed: int) -> list[list[str]]:
        """See `PolicySampler.complete`; dead ends are returned as they are, since they state no answer."""
        beginnings = ["".join(f"{line}\n" for line in solution.lines[:count]) for solution, count in starts]
        prompts = [f"{start[0].question}\n{text}"[:-1] for start, text in zip(starts, beginnings) for _ in range(times)]
        texts = self._texts(prompts, seed, self.temperature)
        return [[start + text for text in texts[i * times : (i + 1) * times]] for i, start in enumerate(beginnings)]

    def _texts(self, prompts: Sequence[str], seed: int, temperature: float) -> list[str]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return sample_solutions(self.model, self.tokenizer, prompts, temperature, MAX_TOKENS)


def _solution(question: str, text: str) -> Solution:
    lines = tuple(text.split("\n")[:-1])
    return Solution(question, text, lines, bool(lines) and lines[-1].startswith("####"))


class EngineSampler:
    """Any policy that the transformers engine runs, in its own format; lines are the format's steps."""

    def __init__(self, model: str | Path, temperature: float = 0.8, device: str = "cpu") -> None:
        from ..load import load_text_model

        self.model: TextModel = load_text_model(model, value="none", temperature=temperature, device=device)

    def sample(self, questions: Sequence[str], seed: int, greedy: bool = False) -> list[Solution]:
        """See `PolicySampler.sample`."""
        model = self._seeded(seed)
        return asyncio.run(self._sample(model.at(0.0) if greedy else model, questions))

    def complete(self, starts: Sequence[tuple[Solution, int]], times: int, seed: int) -> list[list[str]]:
        """See `PolicySampler.complete`."""
        return asyncio.run(self._complete(self._seeded(seed), starts, times))

    def _seeded(self, seed: int) -> TextModel:
        """The policy with the noise of this seed and an empty tape."""
        model = self.model
        return TextModel(model.engine, model.format, None, model.sampling, seed, model.max_steps, Tape())

    async def _sample(self, model: TextModel, questions: Sequence[str]) -> list[Solution]:
        roots, _ = await model.start(list(dict.fromkeys(questions)))
        root, times = {state.question: state for state in roots}, dict.fromkeys(questions, 0)
        requests = []
        for question in questions:
            times[question] += 1
            requests.append(self._to_end(model, root[question], times[question]))
        return [self._solution(model, states) for states in await asyncio.gather(*requests)]

    async def _complete(self, model: TextModel, starts: Sequence[tuple[Solution, int]], times: int) -> list[list[str]]:
        requests = [self._to_end(model, one.states[count - 1], k + 1) for one, count in starts for k in range(times)]
        ends = [states[-1] for states in await asyncio.gather(*requests)]
        texts = [model.text(end) if model.answered(end) else "" for end in ends]
        return [texts[i * times : (i + 1) * times] for i in range(len(starts))]

    @staticmethod
    async def _to_end(model: TextModel, state: TextState, slot: int) -> list[TextState]:
        """The states that one request writes, the last one ended; only the state itself where it has ended already."""
        states = []
        while not state.ended:
            (state,), _ = await model.expand([state], [slot], to_end=True, evaluate="none")
            states.append(state)
            slot = 0
        return states or [state]

    @staticmethod
    def _solution(model: TextModel, states: Sequence[TextState]) -> Solution:
        """The solution of a chain of states; steps cut by a limit and empty steps are no lines."""
        complete = [state for state in states if state.ended != "length" and model.step_text(state).strip()]
        lines = tuple(model.step_text(state).strip() for state in complete)
        return Solution(
            states[-1].question, model.text(states[-1]), lines, states[-1].ended == "answer", tuple(complete)
        )


def derive_seed(*parts: object) -> int:
    """A 32-bit seed from the texts of the parts."""
    return random.Random("/".join(map(str, parts))).getrandbits(32)
