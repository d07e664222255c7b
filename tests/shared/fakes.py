"""Fake tokenizers and engines with known texts, for tests of what is built on engines."""

from __future__ import annotations

import asyncio
import hashlib
import math

from forethought.llm.engines.base import Engine, EngineCounters, Generation, Sampling, Score
from forethought.llm.text.formats import PlainFormat
from forethought.llm.text_model import TextModel

LINES = ("a+b\n", "c\n", "so be it\n", "#### 7\n", "#### 8\n")


class Letters:
    """A token per character."""

    eos_token_id = 0

    def encode(self, text, add_special_tokens=True):
        return [ord(c) for c in text]

    def decode(self, tokens, **_):
        return "".join(map(chr, tokens))


class LineEngine(Engine):
    """Writes the line that (stream, position) determines, cut at `max_tokens`; None is the end of sequence.

    generated, scored: the requests so far. written: number of tokens written.
    """

    tokenizer = Letters()

    def __init__(self, lines=LINES, context=500, fingerprint="fake"):
        self.lines, self.context, self.fingerprint = lines, context, fingerprint
        self.generated, self.scored, self.counters, self.written = [], [], EngineCounters(), 0

    def line(self, stream, position):
        digest = hashlib.blake2b(f"{stream} {position}".encode(), digest_size=8).digest()
        return self.lines[int.from_bytes(digest, "little") % len(self.lines)]

    async def generate(self, prompt, sampling, stream):
        self.generated.append((prompt, sampling, stream))
        await asyncio.sleep(0)
        steps, remaining, ended = [], sampling.max_tokens, "stop"
        while ended == "stop" and len(steps) != sampling.max_steps:
            line = self.line(stream, len(prompt) + sum(map(len, steps)))
            step = tuple(map(ord, line or ""))[:remaining]
            remaining -= len(step)
            steps += [step] if step else []
            if line is None or any(end in line for end in sampling.ends):
                ended = "end"
            if line is not None and (len(step) < len(line) or remaining == 0):
                ended = "length"
        self.written += sum(map(len, steps))
        logprobs = [tuple(-token / 1000 for token in step) for step in steps]
        return Generation(steps, logprobs, ended, cached=0, computed=len(prompt), seconds=0.0)

    async def score(self, prompt, choices):
        self.scored.append(prompt)
        await asyncio.sleep(0)
        chance = int.from_bytes(hashlib.blake2b(bytes(prompt), digest_size=2).digest(), "little") / 65536
        return Score((math.log(chance + 1e-9), math.log(1 - chance)), computed=3)

    async def close(self):
        pass


def text_model(engine, value=None, tape=None, seed=0, max_steps=6, **sampling):
    """A text model over an engine of letters, whose critique is `ok?`, answered by a letter."""
    return TextModel(engine, letters_format(engine), value, Sampling(**sampling), seed, max_steps, tape)


def letters_format(engine):
    return PlainFormat(engine.tokenizer, critique="ok?", yes="y", no="n")
