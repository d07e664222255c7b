"""Where steps end: one rule that splits the tokens of a continuation into steps, for every engine.

The kinds of steps (`Sampling.cut`): "text" ends right after the delimiter `Sampling.stop`; "line" after a line that
holds more than white space, "paragraph" after such a paragraph, "sentence" after such a sentence. The last three keep
the blank lines that follow with the step before them, so they see that a step is over only when the next one begins;
the tokens of a next step that is not wanted are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from .messages import Sampling, Tokens

DECODE_CACHE = 4096
"""Number of decoded texts kept: the engine, the tape and the text model decode each step one after another."""

_BLANK = r"(?:[^\S\n]*\n)*"
_NUMBER = r"(?:\d{1,3}[.)]\s+)?(?!\d{1,3}[.)]\s)"
"""The number of an item in a list, whose full stop ends no sentence."""

_STEPS = {
    "line": re.compile(rf"\S[^\n]*\n{_BLANK}"),
    "paragraph": re.compile(rf"\S(?:[^\n]|\n(?![^\S\n]*\n))*\n[^\S\n]*\n{_BLANK}"),
    "sentence": re.compile(rf"{_NUMBER}\S(?:[^\n]*?[.!?][\"'”’)\]*]{{0,3}}(?:\n|[^\S\n]+|$)|[^\n]*\n){_BLANK}"),
}
"""A whole step of each kind that looks ahead, with the blank lines after it."""

_CLOSERS = {"line": "\n", "paragraph": "\n", "sentence": ".!?\n"}
"""The characters of which one must be in a step that is over."""


def decode(tokenizer: Any, tokens: Sequence[int]) -> str:
    """The text of token ids, with special tokens and without changes to spaces."""
    return _decode_cached(tokenizer, tuple(tokens))


@lru_cache(DECODE_CACHE)
def _decode_cached(tokenizer: Any, tokens: tuple[int, ...]) -> str:
    return str(tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def step_length(text: str, cut: str, *, closed: bool = False) -> int:
    """The length of the first step of a text in a kind that looks ahead, 0 while it is not over.

    closed: nothing follows the text, so that a step at its end is over.
    """
    found = _STEPS[cut].search(text)
    if found is None or not (closed or text[found.end() :].strip()):
        return 0
    return found.end()


def tokens_of_step(step: Sequence[int], text_of: Callable[[Any], str], cut: str, *, closed: bool) -> int:
    """How many tokens the first step has, see `step_length`; text_of: from tokens to their text."""
    end, count = step_length(text_of(step), cut, closed=closed), len(step)
    while end and count > 1 and len(text_of(step[: count - 1])) >= end:
        count -= 1
    return count if end else 0


def ends_solution(text: str, sampling: Sampling) -> bool:
    """Whether the text of a step ends the solution: it holds one of `ends`, and passes `answered` where that is set."""
    return any(end in text for end in sampling.ends) and (sampling.answered is None or sampling.answered(text))


class StepEnds:
    """Decides where the steps of one tokenizer and kind of step end.

    ids: token ids whose text contains the delimiter, or a character that may close a step. spans: whether the delimiter
    may span several tokens. looks_ahead: whether a step is over only when the next one begins.
    """

    def __init__(self, tokenizer: Any, vocabulary: int, stop: str, cut: str = "text") -> None:
        self._tokenizer, self._stop, self._cut = tokenizer, stop, cut
        self.looks_ahead = cut != "text"
        texts = tokenizer.batch_decode(
            [[i] for i in range(vocabulary)], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        if self.looks_ahead:
            closers = set(_CLOSERS[cut])
            self.ids = frozenset(i for i, text in enumerate(texts) if not closers.isdisjoint(text))
        else:
            self.ids = frozenset(i for i, text in enumerate(texts) if stop in text)
        self._span = len(stop.encode())
        self.spans = self.looks_ahead or self._span > 1

    def length(self, step: list[int], *, closed: bool = False) -> int:
        """How many of these tokens are the first step, 0 while that is not over; closed: no further token follows."""
        if not self.looks_ahead:
            return len(step) if self._delimited(step) else 0
        if self.ids.isdisjoint(step):
            return 0
        return tokens_of_step(step, self.text, self._cut, closed=closed)

    def _delimited(self, step: list[int]) -> bool:
        """Whether the last token completes the delimiter."""
        if step[-1] in self.ids:
            return True
        return self._span > 1 and self._stop in decode(self._tokenizer, step[-self._span :])

    def text(self, step: Sequence[int]) -> str:
        """The text of a step."""
        return decode(self._tokenizer, step)


class StepEndsCache:
    """The `StepEnds` of one tokenizer, each made once because it decodes every token of the vocabulary."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._made: dict[tuple[str, str], StepEnds] = {}

    def __call__(self, sampling: Sampling) -> StepEnds | None:
        """The one for these settings, None where they ask for no steps."""
        if not sampling.stop:
            return None
        key = sampling.stop, sampling.cut
        if key not in self._made:
            self._made[key] = StepEnds(self._tokenizer, len(self._tokenizer), *key)
        return self._made[key]


class StepSplitter:
    """The steps of one continuation, token by token.

    steps, logprobs: the complete steps, and log-probabilities of their tokens. ended: `Generation.ended`, "" while the
    continuation goes on. dropped: tokens that were written and belong to a step that was not asked for.
    """

    def __init__(self, ends: StepEnds | None, sampling: Sampling) -> None:
        self.steps: list[Tokens] = []
        self.logprobs: list[tuple[float, ...]] = []
        self.ended, self.dropped = "", 0
        self._ends, self._sampling = ends, sampling
        self._step: list[int] = []
        self._step_logprobs: list[float] = []
        self._cuts = ends is not None and not (sampling.last_to_end and sampling.max_steps == 1)

    def append(self, token: int, logprob: float) -> bool:
        """Add a token; whether the continuation has ended with it."""
        self._step.append(token)
        self._step_logprobs.append(logprob)
        while self._cuts and self._step:
            assert self._ends is not None
            count = self._ends.length(self._step)
            if not count:
                break
            self._close(count)
        return bool(self.ended)

    def finish(self, ended: str) -> None:
        """End the continuation: at the end of sequence ("end"), a limit ("length"), a server's stop text ("stop")."""
        if self.ended:
            return
        if ended == "stop" and self._step:
            self._close(len(self._step))
            self.ended, self._cuts = self.ended or ended, False
            return
        if ended == "length" and self._cuts and (count := self._whole()):
            self._close(count)
        if not self.ended:
            self.ended, self._cuts = ended, False
            self._close(len(self._step))

    def is_blank(self) -> bool:
        """Whether nothing but white space has been written."""
        return self._ends is not None and not self.steps and not self._ends.text(self._step).strip()

    def _whole(self) -> int:
        """How many of the tokens at a limit are a whole step, of which only the next one could have told; 0: none."""
        ends = self._ends
        return ends.length(self._step, closed=True) if ends is not None and ends.looks_ahead and self._step else 0

    def _close(self, count: int) -> None:
        """The first `count` tokens are a step; nothing happens for 0."""
        if not count:
            return
        step, self._step = self._step[:count], self._step[count:]
        self.steps.append(tuple(step))
        self.logprobs.append(tuple(self._step_logprobs[:count]))
        self._step_logprobs = self._step_logprobs[count:]
        if self.ended or self._ends is None:
            return
        left = None if self._sampling.max_steps is None else self._sampling.max_steps - len(self.steps)
        if ends_solution(self._ends.text(step), self._sampling):
            self.ended = "end"
        elif left == 0:
            self.ended = "stop"
        self._cuts = not self.ended and not (left == 1 and self._sampling.last_to_end)
        if self.ended:
            self.dropped = len(self._step)
