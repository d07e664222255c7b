"""Every step and score of a run, stored by content, so that planners share one random tree (design 3.2).

The tape knows keys and bytes; `Taped` puts it in front of an engine and knows how steps and scores are packed. Where
the bytes lie is the store's affair: in memory here, in a file that several processes share in `tape_file.py`.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Protocol, TypeVar

from ..engines.base import Engine, Generation, Sampling, Score, Tokens, shared_ids
from ..engines.stops import decode
from ..text.steps import ENDINGS, Step, split_generation, token_bytes

FORMAT = 1
"""Version of the records below; part of every key."""

_PERSON = b"tape%d" % FORMAT

T = TypeVar("T")
Done = TypeVar("Done", Generation, Score)


class Store(Protocol):
    """Where records lie: bytes under a 16-byte digest. `put` keeps what is there already, all of one call or none."""

    def get(self, key: bytes) -> bytes | None: ...

    def put(self, records: Mapping[bytes, bytes]) -> None: ...

    def close(self) -> None: ...

    def __len__(self) -> int: ...


class MemoryStore:
    """A dictionary; `size` is the bytes of its records.

    below: a store that is read and never written, such as the tape of a replay.
    """

    def __init__(self, below: Store | None = None) -> None:
        self._records: dict[bytes, bytes] = {}
        self._below = below
        self.size = 0

    def get(self, key: bytes) -> bytes | None:
        found = self._records.get(key)
        return self._below.get(key) if found is None and self._below is not None else found

    def put(self, records: Mapping[bytes, bytes]) -> None:
        for key, record in records.items():
            if self._records.setdefault(key, record) is record:
                self.size += len(record)

    def close(self) -> None:
        if self._below is not None:
            self._below.close()

    def __len__(self) -> int:
        return len(self._records)


class Tape:
    """Records of all planners of a run. Identical requests in flight are one call.

    hits: answered from the store. misses: calls started. merged: joined a call under way.
    """

    def __init__(self, store: Store | None = None) -> None:
        self.store: Store = MemoryStore() if store is None else store
        self.hits = self.misses = self.merged = 0
        self._flights: dict[bytes, tuple[asyncio.AbstractEventLoop, list[asyncio.Future[None]]]] = {}

    def __len__(self) -> int:
        return len(self.store)

    def close(self) -> None:
        """Close the store; whatever was recorded is there already."""
        self.store.close()

    async def fetch(
        self,
        key: bytes,
        call: Callable[[], Awaitable[Done]],
        records_of: Callable[[Done], tuple[dict[bytes, bytes], T]],
        read: Callable[[bytes], T],
    ) -> tuple[T, Done | None]:
        """What the record of `key` says, and what the engine did if this very fetch called it, else None.

        Whoever asks first calls; who joins shares its error, and calls anew where it was cancelled. records_of: from
        what was done the records by key, that of `key` among them, and what that one says. read: what a record says.
        """
        joined = False
        while (record := self.store.get(key)) is None:
            loop = asyncio.get_running_loop()
            home, waiting = self._flights.get(key, (None, []))
            if home is loop:
                joined = True
                waiting.append(landed := loop.create_future())
                await landed
                continue
            self.misses += 1
            self._flights[key] = loop, (waiting := [])
            failed = None
            try:
                done = await call()
                records, made = records_of(done)
                self.store.put(records)
            except Exception as error:
                failed = error
                raise
            finally:
                self._flights.pop(key, None)
                _wake(waiting, failed)
            kept = self.store.get(key)  # another process may have been first
            return (made if kept is None or kept is records[key] else read(kept)), done
        self.merged += joined
        self.hits += not joined
        return read(record), None


def _wake(waiting: Sequence[asyncio.Future[None]], failed: Exception | None) -> None:
    """Wake up those who joined a call that is over."""
    for landed in waiting:
        if landed.done():  # cancelled
            continue
        if failed is None:
            landed.set_result(None)
        else:
            landed.set_exception(failed)


class Taped:
    """An engine behind a tape. What it returns second is what the engine did now, None where the tape answered."""

    def __init__(self, engine: Engine, tape: Tape) -> None:
        self.engine, self.tape = engine, tape

    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens, as the engine looked for delimiters in it."""
        return decode(self.engine.tokenizer, tokens)

    def step(
        self, prompt: Tokens, sampling: Sampling, stream: int, steps: int = 1, room: int | None = None
    ) -> Coroutine[Any, Any, tuple[Step, Generation | None]]:
        """The step that `stream` writes after `prompt`.

        sampling: `max_tokens` is the most of each step; `max_steps` is ignored. steps: where the step is not on the
        tape, ask for so many in one request, and record each under the key a walk step by step would use. room: the
        most new tokens in all, by default what the engine's context leaves.
        """
        left = self.engine.context - len(prompt) if room is None else room
        key = self._step_key(prompt, sampling, left, stream)

        def call() -> Awaitable[Generation]:
            most = min(sampling.max_tokens * steps, left)
            usual = most == sampling.max_tokens and steps == sampling.max_steps
            asked = sampling if usual else replace(sampling, max_tokens=most, max_steps=steps)
            return self.engine.generate(prompt, asked, stream)

        def records_of(done: Generation) -> tuple[dict[bytes, bytes], Step]:
            first, *others = split_generation(done, sampling, left, self.text)
            records, text, room = {key: _pack_step(first)}, prompt, left
            for before, step in zip((first, *others), others):
                text, room = text + before.tokens, room - len(before.tokens)
                records[self._step_key(text, sampling, room, stream)] = _pack_step(step)
            return records, first

        return self.tape.fetch(key, call, records_of, _unpack_step)

    def score(self, prompt: Tokens, choices: Sequence[int]) -> Coroutine[Any, Any, tuple[Score, Score | None]]:
        """Log-probabilities of single next tokens `choices` after `prompt`."""
        key = self._key(b"score", _in_words(tuple(map(int, choices))), prompt)

        def records_of(done: Score) -> tuple[dict[bytes, bytes], Score]:
            return {key: _pack_score(done)}, done

        return self.tape.fetch(key, lambda: self.engine.score(prompt, choices), records_of, _unpack_score)

    def _step_key(self, prompt: Tokens, sampling: Sampling, left: int, stream: int) -> bytes:
        """left: room for so many new tokens."""
        how = _manner(sampling, min(sampling.max_tokens, left))
        return self._key(b"step", f"({how}, {stream if sampling.temperature else 0})", prompt)

    def _key(self, kind: bytes, how: str, prompt: Tokens) -> bytes:
        head = f"\0{self.engine.fingerprint}\0{how}\0".encode()
        return hashlib.blake2b(kind + head + token_bytes(prompt), digest_size=16, person=_PERSON).digest()


_in_words = lru_cache(64)(repr)
"""Of the choices of a score: a critic has few and asks about them thousands of times."""


@lru_cache(64)
def _manner(sampling: Sampling, most: int) -> str:
    """What of the settings makes a step of at most `most` tokens another one."""
    top_p = float(sampling.top_p) if sampling.temperature else 1.0
    return repr((float(sampling.temperature), top_p, most, sampling.stop, sampling.ends))


def _pack_step(step: Step) -> bytes:
    n = len(step.tokens)
    return struct.pack(f"<BId{n}i{n}d", ENDINGS.index(step.ended), n, step.seconds, *step.tokens, *step.logprobs)


def _unpack_step(record: bytes) -> Step:
    ended, n, seconds = struct.unpack_from("<BId", record)
    numbers = struct.unpack_from(f"<{n}i{n}d", record, struct.calcsize("<BId"))
    return Step(shared_ids(numbers[:n]), numbers[n:], ENDINGS[ended], seconds)


def _pack_score(score: Score) -> bytes:
    n = len(score.logprobs)
    return struct.pack(f"<IQQd{n}d", n, score.cached, score.computed, score.seconds, *score.logprobs)


def _unpack_score(record: bytes) -> Score:
    n, cached, computed, seconds = struct.unpack_from("<IQQd", record)
    logprobs = struct.unpack_from(f"<{n}d", record, struct.calcsize("<IQQd"))
    return Score(logprobs, cached, computed, seconds)
