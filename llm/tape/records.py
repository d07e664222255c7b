"""What a tape contains: the keys of requests, and steps and scores in binary form."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from functools import lru_cache

from ..engines.base import Sampling, Score, Tokens
from ..text.steps import ENDINGS, Step, token_bytes

FORMAT = 3
"""Version of keys, records and the file; it is part of every key."""

_PERSON = b"tape%d" % FORMAT


def step_key(fingerprint: str, prompt: Tokens, sampling: Sampling, remaining: int, stream: int) -> bytes:
    """The key of the step that `stream` writes after `prompt`, where `remaining` new tokens are allowed in all."""
    settings = _step_settings(sampling, min(sampling.max_tokens, remaining))
    return _key(b"step", fingerprint, f"({settings}, {stream if sampling.temperature else 0})", prompt)


def score_key(fingerprint: str, prompt: Tokens, choices: Sequence[int]) -> bytes:
    """The key of the log-probabilities of next tokens `choices` after `prompt`."""
    return _key(b"score", fingerprint, _choices_text(tuple(map(int, choices))), prompt)


def _key(kind: bytes, fingerprint: str, settings: str, prompt: Tokens) -> bytes:
    head = f"\0{fingerprint}\0{settings}\0".encode()
    return hashlib.blake2b(kind + head + token_bytes(prompt), digest_size=16, person=_PERSON).digest()


_choices_text = lru_cache(64)(repr)
"""A critic has few sets of choices and requests each of them thousands of times."""


@lru_cache(64)
def _step_settings(sampling: Sampling, max_tokens: int) -> str:
    """The settings on which the text of a step depends."""
    top_p = float(sampling.top_p) if sampling.temperature else 1.0
    rule = (sampling.stop, sampling.ends, sampling.answered, sampling.cut, sampling.last_to_end)
    return repr((float(sampling.temperature), top_p, max_tokens, *rule))


def pack_step(step: Step) -> bytes:
    """A step as a record."""
    n = len(step.tokens)
    return struct.pack(f"<BId{n}i{n}d", ENDINGS.index(step.ended), n, step.seconds, *step.tokens, *step.logprobs)


def unpack_step(record: bytes) -> Step:
    """The step of a record. Errors: ValueError for one that `pack_step` did not write."""
    try:
        ended, n, seconds = struct.unpack_from("<BId", record)
        numbers = struct.unpack(f"<{n}i{n}d", record[struct.calcsize("<BId") :])
        if min(numbers[:n], default=0) < 0:
            raise ValueError("a token id is negative")
        return Step(numbers[:n], numbers[n:], ENDINGS[ended], seconds)
    except (struct.error, IndexError, OverflowError) as error:
        raise ValueError(f"not the record of a step: {error}") from None


def pack_score(score: Score) -> bytes:
    """A score as a record."""
    n = len(score.logprobs)
    return struct.pack(f"<IQQd{n}d", n, score.cached, score.computed, score.seconds, *score.logprobs)


def unpack_score(record: bytes) -> Score:
    """The score of a record. Errors: ValueError for one that `pack_score` did not write."""
    try:
        n, cached, computed, seconds = struct.unpack_from("<IQQd", record)
        logprobs = struct.unpack(f"<{n}d", record[struct.calcsize("<IQQd") :])
    except (struct.error, OverflowError) as error:
        raise ValueError(f"not the record of a score: {error}") from None
    return Score(logprobs, cached, computed, seconds)
