"""The interface between the text model and an inference engine: generate continuations and score given next tokens.

An engine works on token ids and knows nothing of problems, trees or values. Every engine is asynchronous: callers await
any number of requests at once, and the engine batches them. This module exports the messages of `messages.py` too.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, ClassVar

from .flops import UNKNOWN_FLOPS, DecoderFlops
from .messages import EngineCounters, EngineGone, Generation, Sampling, Score, Tokens, check_sampling

__all__ = [
    "Engine",
    "EngineCounters",
    "EngineGone",
    "Generation",
    "Sampling",
    "Score",
    "Tokens",
    "check_sampling",
    "install_line",
]


class Engine(ABC):
    """Generates and scores token sequences.

    tokenizer: the model's, as transformers has it.
    fingerprint: identifies weights and tokenizer; it is part of every key on a tape.
    context: the longest sequence in tokens.
    counters: totals of all requests.
    flops: the sizes from which the cost of tokens follows, `UNKNOWN_FLOPS` where the model is hidden.
    gives_logprobs: False once a server has returned a generation without log-probabilities.
    requires: what the class needs beyond the package's own dependencies: the name that is imported, and the extras of
        this package of which each installs it.
    replicable: whether it runs a model itself, so that several replicas of it make sense.
    """

    requires: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    replicable: ClassVar[bool] = False

    tokenizer: Any
    fingerprint: str
    context: int
    counters: EngineCounters
    flops: DecoderFlops = UNKNOWN_FLOPS
    gives_logprobs: bool = True

    @abstractmethod
    async def generate(self, prompt: Sequence[int], sampling: Sampling, stream: int) -> Generation:
        """Continue `prompt`.

        stream: names the random numbers. An engine that controls its sampler draws each token with noise that depends
        on (stream, absolute position) only, so that results do not depend on the batch.
        """

    @abstractmethod
    async def score(self, prompt: Sequence[int], choices: Sequence[int]) -> Score:
        """Log-probabilities of the single next tokens `choices` after `prompt`."""

    async def clear_cache(self) -> None:
        """Empty the prefix cache while no request runs; by default nothing, for engines without one of their own."""
        return None

    async def close(self) -> None:
        """Release what the engine holds; by default nothing."""
        return None

    @classmethod
    def missing_packages(cls) -> str:
        """One line with the command that installs what is not installed; "" where nothing is missing."""
        for package, extras in cls.requires.items():
            absent = sys.modules[package] is None if package in sys.modules else find_spec(package) is None
            if absent:
                return f"{cls.__name__} needs {package}: {install_line(*extras)}"
        return ""


def install_line(*extras: str) -> str:
    """The command that installs one of these extras of this package."""
    return " or ".join(f"pip install 'forethought[{extra}]'" for extra in extras)
