"""An engine behind a tape: recorded requests are answered without the engine."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

from ..engines.base import Engine, Generation, Sampling, Score, Tokens
from ..engines.step_splitter import decode
from ..text.steps import Step, split_generation
from .records import pack_score, pack_step, score_key, step_key, unpack_score, unpack_step
from .tape import Tape


class CachedEngine:
    """Steps and scores from the tape, or from the engine, which are then recorded.

    Each method returns the recorded answer and what the engine returned in this very call, None where the tape
    answered: the first is charged to a planner, the second is what the engine spent.
    """

    def __init__(self, engine: Engine, tape: Tape) -> None:
        self.engine, self.tape = engine, tape

    def text(self, tokens: Sequence[int]) -> str:
        """The text of token ids, decoded as the engine decodes them to find delimiters."""
        return decode(self.engine.tokenizer, tokens)

    def step(
        self,
        prompt: Tokens,
        sampling: Sampling,
        stream: int,
        steps: int = 1,
        remaining: int | None = None,
        last_to_end: bool = False,
    ) -> Coroutine[Any, Any, tuple[Step, Generation | None]]:
        """The step that `stream` writes after `prompt`.

        sampling: `max_tokens` limits each step; `max_steps` is ignored.
        steps: if the step is not recorded, request this many in one generation and record each under the key that a
            request for this step alone has.
        remaining: the largest number of new tokens in all, by default what the engine's context leaves.
        last_to_end: the last of these steps is not cut: it runs to the end of sequence.
        """
        fingerprint, uncut = self.engine.fingerprint, replace(sampling, last_to_end=True)
        left = self.engine.context - len(prompt) if remaining is None else remaining
        last = steps if last_to_end else None
        key = step_key(fingerprint, prompt, uncut if last == 1 else sampling, left, stream)

        def call() -> Awaitable[Generation]:
            max_tokens = min(sampling.max_tokens * steps, left)
            unchanged = max_tokens == sampling.max_tokens and steps == sampling.max_steps
            rule = uncut if last_to_end else sampling
            settings = rule if unchanged else replace(rule, max_tokens=max_tokens, max_steps=steps)
            return self.engine.generate(prompt, settings, stream)

        def to_records(made: Generation) -> tuple[dict[bytes, bytes], Step]:
            first, *others = split_generation(made, sampling, left, self.text, last)
            records, tokens, rest = {key: pack_step(first)}, prompt, left
            for number, (before, step) in enumerate(zip((first, *others), others), 2):
                tokens, rest = tokens + before.tokens, rest - len(before.tokens)
                rule = uncut if number == last else sampling
                records[step_key(fingerprint, tokens, rule, rest, stream)] = pack_step(step)
            return records, first

        return self.tape.fetch(key, call, to_records, unpack_step)

    def score(self, prompt: Tokens, choices: Sequence[int]) -> Coroutine[Any, Any, tuple[Score, Score | None]]:
        """Log-probabilities of single next tokens `choices` after `prompt`."""
        key = score_key(self.engine.fingerprint, prompt, choices)

        def to_records(made: Score) -> tuple[dict[bytes, bytes], Score]:
            return {key: pack_score(made)}, made

        return self.tape.fetch(key, lambda: self.engine.score(prompt, choices), to_records, unpack_score)
