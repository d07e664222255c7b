"""Where steps end: delimiters and final texts found in token ids."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

DECODE_CACHE = 4096
"""Number of decoded texts kept: the engine, the tape and the text model decode each step one after another."""


def decode(tokenizer: Any, tokens: Sequence[int]) -> str:
    """The text of token ids, with special tokens and without changes to spaces."""
    return _decode_cached(tokenizer, tuple(tokens))


@lru_cache(DECODE_CACHE)
def _decode_cached(tokenizer: Any, tokens: tuple[int, ...]) -> str:
    return str(tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False))


class StepEnds:
    """Decides whether the last token of a step completes the step, and whether that step completes the solution.

    Most delimiters lie within one token, so the ids whose text contains the delimiter are found once and a lookup is
    enough. A delimiter that may span several tokens is also searched in the text of the last few tokens.

    ids: token ids whose text contains the delimiter. spans: whether the delimiter may span several tokens.
    """

    def __init__(self, tokenizer: Any, vocabulary: int, stop: str, ends: tuple[str, ...]) -> None:
        self._tokenizer, self._stop, self._ends = tokenizer, stop, ends
        texts = tokenizer.batch_decode(
            [[i] for i in range(vocabulary)], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        self.ids = frozenset(i for i, text in enumerate(texts) if stop in text)
        self._span = len(stop.encode())
        self.spans = self._span > 1

    def ends_step(self, step: list[int]) -> bool:
        """Whether the last token of `step` completes the delimiter."""
        if step[-1] in self.ids:
            return True
        return self.spans and self._stop in decode(self._tokenizer, step[-self._span :])

    def ends_solution(self, step: list[int]) -> bool:
        """Whether a complete step contains one of the final texts."""
        if not self._ends:
            return False
        text = decode(self._tokenizer, step)
        return any(end in text for end in self._ends)


class StepEndsCache:
    """The `StepEnds` of one tokenizer, each made once because it decodes every token of the vocabulary."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._made: dict[tuple[str, tuple[str, ...]], StepEnds] = {}

    def __call__(self, stop: str, ends: tuple[str, ...]) -> StepEnds:
        key = stop, ends
        if key not in self._made:
            self._made[key] = StepEnds(self._tokenizer, len(self._tokenizer), stop, ends)
        return self._made[key]
