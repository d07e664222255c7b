"""What a state of text is, and how an engine's continuation is cut into steps.

A state is token ids: the prompt of the question and the steps so far. Nothing here knows engines, tapes or values.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from ...planning.interface import ModelError
from ..engines.base import Generation, Sampling, Tokens

TAIL = 16
"""Tokens that a state's hash is of: those that siblings differ in."""


@dataclass(slots=True)  # a frozen one takes four times as long to make
class TextState:
    """A question and the steps written so far, not to be changed. Two are equal when their tokens and `ended` are.

    tokens: prompt and solution; a child's are its parent's plus new ones, never re-tokenised text.
    ended: "" while open; "answer" (finished); else a dead end: "end" (end of sequence without an answer), "length" (a
        step cut by the token limit, or no room left in the context), "depth" (as many steps as allowed, no answer).
    prompt_length: tokens that are the prompt. step_start: where the last step begins.
    stream: 63-bit name of the noise that wrote the last step. depth: steps so far, 0 at the root.
    followed: reached by a `to_end` expansion, so that the same request wrote what lies below its slot 0.
    step_logprobs: per step the log-probabilities of its tokens.
    question: what was asked, for critics that read it in words of their own.
    """

    tokens: Tokens
    ended: str = ""
    prompt_length: int = field(default=0, compare=False)
    step_start: int = field(default=0, compare=False)
    stream: int = field(default=0, compare=False)
    depth: int = field(default=0, compare=False)
    followed: bool = field(default=False, compare=False)
    step_logprobs: tuple[tuple[float, ...], ...] = field(default=(), compare=False, repr=False)
    question: str = field(default="", compare=False, repr=False)

    def __hash__(self) -> int:
        return hash((self.tokens[-TAIL:], self.ended))

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


class Step(NamedTuple):
    """One recorded step: token ids, their log-probabilities, its share of the request's seconds.

    ended: "stop" (the delimiter), "end" (end of sequence, or a text after which the solution is over), "length" (cut).
    """

    tokens: Tokens
    logprobs: tuple[float, ...]
    ended: str
    seconds: float = 0.0


ENDINGS = ("stop", "end", "length")
"""How a continuation or a step may end."""


def packed(tokens: Tokens) -> bytes:
    """Token ids as bytes, four each."""
    return struct.pack(f"<{len(tokens)}i", *tokens)


def stream_of(seed: int, parent: Tokens, slot: int) -> int:
    """The 63-bit stream that slot `slot` of the state with tokens `parent` opens (design 3.2)."""
    head = struct.pack("<qq", seed, slot)
    digest = hashlib.blake2b(head + packed(parent), digest_size=8, person=b"stream").digest()
    return int.from_bytes(digest, "little") >> 1


def cut(generation: Generation, sampling: Sampling, room: int, text: Callable[[Tokens], str]) -> list[Step]:
    """The steps of a request for one or many steps, each as a request of its own would have written it.

    sampling: of a request for one step. room: new tokens that there was room for. A long request may run on where a
    short one would have been cut, and is cut there. The end of sequence right after a complete step becomes an empty
    step, since a request for the complete step alone would not have seen it. At least one step comes back.

    Errors: ModelError where the engine's fields do not fit together.
    """
    if generation.ended not in ENDINGS or len(generation.steps) != len(generation.logprobs):
        raise _unfit(generation)
    share = generation.seconds / max(1, sum(map(len, generation.steps)))
    steps: list[Step] = []
    for at, (tokens, logprobs) in enumerate(zip(generation.steps, generation.logprobs), 1):
        count, most = len(tokens), min(sampling.max_tokens, room)
        if len(logprobs) != count:
            raise _unfit(generation)
        ending = generation.ended if at == len(generation.steps) else "stop"
        ended = _ended(tokens, ending, most, sampling, text)
        steps.append(Step(tuple(tokens[:most]), tuple(logprobs[:most]), ended, share * count))
        if ended == "length":
            return steps
        if ended == "stop" and ending == "end":
            steps.append(Step((), (), "end"))
        room -= count
    return steps or [Step((), (), generation.ended, generation.seconds)]


def _ended(tokens: Tokens, ending: str, most: int, sampling: Sampling, text: Callable[[Tokens], str]) -> str:
    """How a request for this step alone, of at most `most` tokens, would have ended."""
    if len(tokens) > most:
        return "length"
    if ending == "stop":
        return "stop"
    words = text(tokens)
    if not sampling.stop or sampling.stop not in words:
        return "length" if len(tokens) == most else ending
    return ending if ending == "end" and any(end in words for end in sampling.ends) else "stop"


def _unfit(generation: Generation) -> ModelError:
    if generation.ended not in ENDINGS:
        return ModelError(f"Generation.ended must be stop, end or length, the engine gave {generation.ended!r}")
    return ModelError(
        f"Generation.logprobs must match steps: lengths {[len(s) for s in generation.steps]} "
        f"and {[len(p) for p in generation.logprobs]}"
    )
