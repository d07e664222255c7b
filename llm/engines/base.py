"""What a text engine owes the text model: continue token ids, and score given continuations.

An engine knows tokens and nothing of problems, steps, trees or values. Every engine is asynchronous: callers await as
many requests as they like at once and the engine batches them as it sees fit.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

Tokens = tuple[int, ...]


class EngineGone(RuntimeError):
    """The engine answers no request any more, whatever it holds. Nothing recorded is lost: a run goes on from there
    once there is an engine again."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to continue a text.

    temperature: 0 is greedy. top_p: nucleus, 1 keeps all.
    max_tokens: the most new tokens. max_steps: the most steps (delimiters); None for no limit.
    stop: a text that ends a step; it is kept in the tokens. None: run to the end of sequence or `max_tokens`.
    ends: texts after which the solution is over; a step that contains one is the last.
    """

    temperature: float = 0.8
    top_p: float = 1.0
    max_tokens: int = 64
    max_steps: int | None = 1
    stop: str | None = "\n"
    ends: tuple[str, ...] = ()


@dataclass(slots=True)
class Generation:
    """One continuation, cut into steps.

    steps: new token ids per step, delimiter included, end-of-sequence excluded.
    logprobs: the log-probability of each of those tokens under the distribution sampled from before top-p
        (temperature applied; at temperature 0 under temperature 1).
    ended: "stop" (as many steps as asked for), "end" (end of sequence, or a text of `ends`), "length" (cut by a token
        limit: its last step is unfinished).
    cached: prompt tokens whose keys and values were found; computed: positions run through the network.
    """

    steps: list[Tokens]
    logprobs: list[tuple[float, ...]]
    ended: str
    cached: int = 0
    computed: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Score:
    """Log-probabilities of given next tokens after a prompt: `logprobs[i]` is that of `choices[i]` (temperature 1)."""

    logprobs: tuple[float, ...]
    cached: int = 0
    computed: int = 0
    seconds: float = 0.0


@dataclass
class EngineCounters:
    """What an engine did since it was made, for benchmarks: positions computed against tokens kept."""

    requests: int = 0
    generated: int = 0
    computed: int = 0
    cached: int = 0
    scored: int = 0
    busy_seconds: float = 0.0
    notes: dict[str, float] = field(default_factory=dict)


_SHARED: list[int] = []
_MOST_SHARED = 1 << 20


def shared_ids(ids: Sequence[int]) -> Tokens:
    """The same ids as objects that all texts share. A search comes back to each of its texts after a forward that has
    emptied the processor's caches, and would have to fetch every number anew."""
    top = max(ids, default=0)
    if top >= _MOST_SHARED or min(ids, default=0) < 0:  # no vocabulary has such, a broken tape may
        return tuple(map(int, ids))
    if top >= len(_SHARED):
        _SHARED.extend(range(len(_SHARED), top + 1))
    return tuple(map(_SHARED.__getitem__, ids))


def prompt_ids(prompt: Sequence[int], new: int, context: int, vocabulary: int) -> array[int]:
    """The prompt as whole numbers from 0 on, in one look at each, since a search sends its longest texts again and
    again; ValueError where it is empty, leaves no room for `new` tokens or holds others. What is above the vocabulary
    is for `check_known`, which whoever keeps prompts needs for what he has not kept alone."""
    try:
        ids = array("I", prompt if type(prompt) is tuple else tuple(prompt))
    except TypeError:
        return prompt_ids(tuple(map(int, prompt)), new, context, vocabulary)
    except OverflowError:
        raise _unknown(vocabulary) from None
    if not ids:
        raise ValueError("the prompt is empty: give at least one token")
    if len(ids) + new > context:
        raise ValueError(
            f"the prompt has {len(ids)} tokens; the context holds {context}"
            + (", the first new token included" if new else "")
        )
    return ids


def check_known(ids: Sequence[int], vocabulary: int) -> None:
    """ValueError for an id that is not below the vocabulary."""
    if max(ids, default=0) >= vocabulary:
        raise _unknown(vocabulary)


def checked_prompt(prompt: Sequence[int], new: int, context: int, vocabulary: int) -> Tokens:
    """The prompt as whole numbers of the vocabulary; errors of `prompt_ids` and `check_known`."""
    ids = tuple(prompt_ids(prompt, new, context, vocabulary))
    check_known(ids, vocabulary)
    return ids


def _unknown(vocabulary: int) -> ValueError:
    return ValueError(f"a prompt token is outside the vocabulary of {vocabulary}")


def check_sampling(sampling: Sampling) -> None:
    """ValueError for a continuation of no tokens or no steps."""
    if sampling.max_tokens < 1 or (sampling.max_steps is not None and sampling.max_steps < 1):
        raise ValueError(f"max_tokens {sampling.max_tokens}, max_steps {sampling.max_steps}: at least 1 is needed")


class Engine(Protocol):
    """Continues and scores token sequences.

    fingerprint: identifies weights and tokenizer; part of every tape key.
    context: the longest sequence it can hold.
    """

    fingerprint: str
    context: int
    counters: EngineCounters

    @property
    def tokenizer(self) -> object: ...

    async def generate(self, prompt: Sequence[int], sampling: Sampling, stream: int) -> Generation:
        """Continue `prompt`. Noise is a function of (stream, absolute position) where the engine can key its noise."""
        ...

    async def score(self, prompt: Sequence[int], choices: Sequence[int]) -> Score:
        """Log-probabilities of single next tokens `choices` after `prompt`."""
        ...

    async def close(self) -> None: ...
