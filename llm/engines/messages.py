"""What engines are asked and what they answer: token ids, sampling settings, generations, scores and counters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Tokens = tuple[int, ...]
"""Token ids in the engine's own vocabulary."""


Cut = Literal["text", "line", "paragraph", "sentence"]
"""What a step is: everything up to a delimiter, a line, a paragraph or a sentence."""


class EngineGone(RuntimeError):
    """The engine can answer no further request. What was recorded before stays valid, so a run can be resumed."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to continue a text.

    temperature: 0 means greedy decoding. top_p: nucleus sampling, 1 keeps the whole distribution.
    max_tokens: the largest number of new tokens. max_steps: the largest number of steps, None for no limit.
    stop: the delimiter that ends a step and is kept in its tokens; None generates until the end of sequence or
        `max_tokens`.
    ends: texts that end the solution; a step that contains one of them is the last.
    answered: whether the text of such a step really ends the solution; None: each does. Its representation is part of
        the keys of a tape.
    cut: what a step is, see `step_splitter.py`; for other kinds than "text", `stop` is what servers are told.
    last_to_end: the last of `max_steps` steps is not cut: it runs to the end of sequence.
    """

    temperature: float = 0.8
    top_p: float = 1.0
    max_tokens: int = 64
    max_steps: int | None = 1
    stop: str | None = "\n"
    ends: tuple[str, ...] = ()
    answered: Callable[[str], bool] | None = None
    cut: Cut = "text"
    last_to_end: bool = False


@dataclass(slots=True)
class Generation:
    """One continuation, split into steps.

    steps: new token ids of each step, with the delimiter and without the end of sequence.
    logprobs: log-probability of each of those tokens under the distribution after temperature and before top-p; at
        temperature 0 under the distribution at temperature 1.
    ended: "stop" (the requested number of steps), "end" (end of sequence, or one of `Sampling.ends`), "length" (a
        token limit, so that the last step is incomplete).
    cached: prompt tokens whose keys and values were in the cache. computed: positions run through the network.
    dropped: tokens that were written but belong to a step that was not asked for.
    seconds: time from the request to the answer.
    """

    steps: list[Tokens]
    logprobs: list[tuple[float, ...]]
    ended: str
    cached: int = 0
    computed: int = 0
    seconds: float = 0.0
    dropped: int = 0


@dataclass(slots=True)
class Score:
    """Log-probabilities of given next tokens after a prompt at temperature 1: `logprobs[i]` is that of `choices[i]`.

    cached, computed, seconds: as in `Generation`.
    """

    logprobs: tuple[float, ...]
    cached: int = 0
    computed: int = 0
    seconds: float = 0.0


@dataclass
class EngineCounters:
    """Totals since the engine was made, for benchmarks.

    requests, scored: number of requests, and of scores among them. generated: new tokens. computed, cached: positions
    run through the network, and prompt tokens found in the cache. busy_seconds: time with at least one request.
    """

    requests: int = 0
    generated: int = 0
    computed: int = 0
    cached: int = 0
    scored: int = 0
    busy_seconds: float = 0.0


def check_sampling(sampling: Sampling) -> None:
    """ValueError for a continuation of no tokens or no steps."""
    if sampling.max_tokens < 1 or (sampling.max_steps is not None and sampling.max_steps < 1):
        raise ValueError(f"max_tokens {sampling.max_tokens}, max_steps {sampling.max_steps}: at least 1 is needed")
