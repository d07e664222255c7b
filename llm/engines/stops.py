"""Where steps end: delimiters and final texts found in token ids."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

RECENT = 4096
"""Texts that are kept: the engine, the tape and the text model want the text of each step in turn."""


def decode(tokenizer: Any, tokens: Sequence[int]) -> str:
    """The text of tokens, special ones and spaces as they are."""
    return _decoded(tokenizer, tuple(tokens))


@lru_cache(RECENT)
def _decoded(tokenizer: Any, tokens: tuple[int, ...]) -> str:
    return str(tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False))


class StepEnds:
    """Says of a step's tokens whether the last of them finishes the step, and whether the step is the last.

    Most delimiters lie within one token, so a look at its id is enough: the ids whose text holds the delimiter are
    found once. One that may be spread over several tokens is also sought in the text of the last few.

    ids: those whose text holds the delimiter. spans: whether it may be spread over several tokens.
    """

    def __init__(self, tokenizer: Any, vocabulary: int, stop: str, ends: tuple[str, ...]) -> None:
        self._tokenizer, self._stop, self._ends = tokenizer, stop, ends
        texts = tokenizer.batch_decode(
            [[i] for i in range(vocabulary)], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        self.ids = frozenset(i for i, text in enumerate(texts) if stop in text)
        self._span = len(stop.encode())
        self.spans = self._span > 1

    def finished(self, step: list[int]) -> bool:
        if step[-1] in self.ids:
            return True
        return self.spans and self._stop in decode(self._tokenizer, step[-self._span :])

    def final(self, step: list[int]) -> bool:
        """Whether a finished step holds one of the final texts."""
        if not self._ends:
            return False
        text = decode(self._tokenizer, step)
        return any(end in text for end in self._ends)


class Delimiters:
    """The `StepEnds` of one tokenizer, each made once: it looks at every token of the vocabulary."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._made: dict[tuple[str, tuple[str, ...]], StepEnds] = {}

    def __call__(self, stop: str, ends: tuple[str, ...]) -> StepEnds:
        key = stop, ends
        if key not in self._made:
            self._made[key] = StepEnds(self._tokenizer, len(self._tokenizer), stop, ends)
        return self._made[key]
