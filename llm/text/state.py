"""A state of text: token ids of the prompt and of the steps written so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain

from ..engines.base import Tokens

HASHED_TOKENS = 16
"""A state is hashed by its last tokens only, because those are the ones in which siblings differ."""


@dataclass(frozen=True, slots=True)
class TextState:
    """A question and the steps written so far; Equal when tokens and `ended` are equal.

    tokens: prompt and solution. A child's tokens are its parent's plus new ones; text is never tokenised again.
    ended: "" while open; "answer" when finished; otherwise a dead end: "end" (end of sequence without an answer),
        "length" (a step cut by the token limit, or a full context), "depth" (the step limit without an answer).
    prompt_length: number of tokens that are the prompt. step_start: position where the last step begins.
    stream: 63-bit name of the noise stream that wrote the last step. depth: number of steps, 0 at the root.
    to_end: the state was reached by a `to_end` expansion, so the same request wrote what lies below its slot 0.
    step_logprobs: per step, the log-probabilities of its tokens.
    question: the question's text, for critics that use their own prompts.
    """

    tokens: Tokens
    ended: str = ""
    prompt_length: int = field(default=0, compare=False)
    step_start: int = field(default=0, compare=False)
    stream: int = field(default=0, compare=False)
    depth: int = field(default=0, compare=False)
    to_end: bool = field(default=False, compare=False)
    step_logprobs: tuple[tuple[float, ...], ...] = field(default=(), compare=False, repr=False)
    question: str = field(default="", compare=False, repr=False)

    def __hash__(self) -> int:
        return hash((self.tokens[-HASHED_TOKENS:], self.ended))

    @property
    def solution(self) -> Tokens:
        """The tokens after the prompt."""
        return self.tokens[self.prompt_length :]

    @property
    def step(self) -> Tokens:
        """The tokens of the last step; empty at the root."""
        return self.tokens[self.step_start :]

    @property
    def logprobs(self) -> tuple[float, ...]:
        """Log-probabilities of the solution's tokens, [len(solution)]."""
        return tuple(chain.from_iterable(self.step_logprobs))
