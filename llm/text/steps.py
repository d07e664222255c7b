"""Steps of a solution: how an engine's continuation is split into them, and which noise stream writes a slot."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from ...planning.interface import ModelError
from ..engines.base import Generation, Sampling, Tokens
from ..engines.step_splitter import ends_solution, tokens_of_step


class Step(NamedTuple):
    """One recorded step: token ids, their log-probabilities and its share of the request's seconds.

    ended: "stop" (the delimiter), "end" (end of sequence, or a text that ends the solution), "length" (token limit).
    """

    tokens: Tokens
    logprobs: tuple[float, ...]
    ended: str
    seconds: float = 0.0


ENDINGS = ("stop", "end", "length")
"""The values of `Step.ended` and of `Generation.ended`."""


def token_bytes(tokens: Tokens) -> bytes:
    """Token ids as bytes, four each, little-endian."""
    return struct.pack(f"<{len(tokens)}i", *tokens)


def noise_stream(seed: int, parent: Tokens, slot: int) -> int:
    """The 63-bit name of the noise stream that slot `slot` of the state with tokens `parent` begins."""
    head = struct.pack("<qq", seed, slot)
    digest = hashlib.blake2b(head + token_bytes(parent), digest_size=8, person=b"stream").digest()
    return int.from_bytes(digest, "little") >> 1


def split_generation(
    generation: Generation, sampling: Sampling, room: int, decode: Callable[[Tokens], str], last: int | None = None
) -> list[Step]:
    """The steps of a request for one or many steps, each as a separate request for that step would have written it.

    sampling: of a request for one step. room: number of new tokens that fitted the context. last: number of the step,
    from 1, that was not cut (`Sampling.last_to_end`). A long request may go on where a request for one step would have
    hit its token limit; the step is cut there. An end of sequence right after a delimiter becomes an empty step where a
    request for the complete step alone would not have seen it. The result has at least one step.

    Errors: ModelError where the fields of the generation contradict each other.
    """
    if generation.ended not in ENDINGS or len(generation.steps) != len(generation.logprobs):
        raise _mismatch(generation)
    per_token = generation.seconds / max(1, sum(map(len, generation.steps)))
    steps: list[Step] = []
    for number, (tokens, logprobs) in enumerate(zip(generation.steps, generation.logprobs), 1):
        count, limit = len(tokens), min(sampling.max_tokens, room)
        if len(logprobs) != count:
            raise _mismatch(generation)
        ending = generation.ended if number == len(generation.steps) else "stop"
        rule = replace(sampling, stop=None) if number == last else sampling
        ended, kept = _step_ending(tokens, ending, limit, rule, decode)
        steps.append(Step(tuple(tokens[:kept]), tuple(logprobs[:kept]), ended, per_token * count))
        if ended == "length" or count > kept:
            return steps
        if ended == "stop" and ending == "end":
            steps.append(Step((), (), "end"))
        room -= count
    return steps or [Step((), (), generation.ended, generation.seconds)]


def _step_ending(
    tokens: Tokens, ending: str, limit: int, sampling: Sampling, decode: Callable[[Tokens], str]
) -> tuple[str, int]:
    """How a request for this step alone, with at most `limit` tokens, would have ended, and its number of tokens."""
    if sampling.stop and sampling.cut != "text":
        if len(tokens) < limit and ending != "length":
            return ending, len(tokens)
        whole = tokens_of_step(tokens[:limit], decode, sampling.cut, closed=True)
        return ("stop", whole) if whole else ("length", min(limit, len(tokens)))
    if len(tokens) > limit:
        return "length", limit
    return _delimited_ending(tokens, ending, limit, sampling, decode), len(tokens)


def _delimited_ending(
    tokens: Tokens, ending: str, limit: int, sampling: Sampling, decode: Callable[[Tokens], str]
) -> str:
    if ending == "stop":
        return "stop"
    text = decode(tokens)
    if not sampling.stop or sampling.stop not in text:
        return "length" if len(tokens) == limit else ending
    return ending if ending == "end" and ends_solution(text, sampling) else "stop"


def _mismatch(generation: Generation) -> ModelError:
    if generation.ended not in ENDINGS:
        return ModelError(f"Generation.ended must be stop, end or length, the engine gave {generation.ended!r}")
    return ModelError(
        f"Generation.logprobs must match steps: lengths {[len(s) for s in generation.steps]} "
        f"and {[len(p) for p in generation.logprobs]}"
    )
