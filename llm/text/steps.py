"""Steps of a solution: how an engine's continuation is split into them, and which noise stream writes a slot."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import NamedTuple

from ...planning.interface import ModelError
from ..engines.base import Generation, Sampling, Tokens


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
    generation: Generation, sampling: Sampling, room: int, decode: Callable[[Tokens], str]
) -> list[Step]:
    """The steps of a request for one or many steps, each as a separate request for that step would have written it.

    sampling: of a request for one step. room: number of new tokens that fitted the context. A long request may go on
    where a request for one step would have hit its token limit; the step is cut there. An end of sequence right after
    a complete step becomes an empty step, because a request for the complete step alone would not have seen it. The
    result has at least one step.

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
        ended = _step_ending(tokens, ending, limit, sampling, decode)
        steps.append(Step(tuple(tokens[:limit]), tuple(logprobs[:limit]), ended, per_token * count))
        if ended == "length":
            return steps
        if ended == "stop" and ending == "end":
            steps.append(Step((), (), "end"))
        room -= count
    return steps or [Step((), (), generation.ended, generation.seconds)]


def _step_ending(tokens: Tokens, ending: str, limit: int, sampling: Sampling, decode: Callable[[Tokens], str]) -> str:
    """How a request for this step alone, with at most `limit` tokens, would have ended."""
    if len(tokens) > limit:
        return "length"
    if ending == "stop":
        return "stop"
    text = decode(tokens)
    if not sampling.stop or sampling.stop not in text:
        return "length" if len(tokens) == limit else ending
    return ending if ending == "end" and any(end in text for end in sampling.ends) else "stop"


def _mismatch(generation: Generation) -> ModelError:
    if generation.ended not in ENDINGS:
        return ModelError(f"Generation.ended must be stop, end or length, the engine gave {generation.ended!r}")
    return ModelError(
        f"Generation.logprobs must match steps: lengths {[len(s) for s in generation.steps]} "
        f"and {[len(p) for p in generation.logprobs]}"
    )
