"""vLLM's outputs read token by token: steps with their log-probabilities, or the scores of given tokens."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Protocol

from ..step_splitter import StepSplitter
from ..transformers.loading import eos_ids


class OutputReader(Protocol):
    """Reads the outputs of one request."""

    def read(self, output: Any) -> bool:
        """Read a `CompletionOutput`; whether it was the last one needed. RuntimeError where vLLM failed."""
        ...


class StepReader:
    """Splits the tokens that vLLM writes into steps, by the rule of all engines.

    split: the steps. tokens_read: all tokens received; those after the last step count as dropped.
    """

    def __init__(self, split: StepSplitter, eos: frozenset[int]) -> None:
        self.split, self.tokens_read, self._eos = split, 0, eos

    def read(self, output: Any) -> bool:
        """Read a `CompletionOutput` of new tokens; whether the continuation has ended."""
        if output.finish_reason not in (None, "stop", "length"):
            raise RuntimeError(f"vLLM gave the request up: {output.finish_reason}")
        split = self.split
        self.tokens_read += len(output.token_ids)
        for token, logprobs in zip(output.token_ids, output.logprobs):
            if split.ended:
                split.dropped += 1
            elif token in self._eos:
                split.finish("end")
            else:
                split.append(int(token), float(logprobs[token].logprob))
        if output.finish_reason is not None:
            split.finish("length" if output.finish_reason == "length" else "end")
        return bool(split.ended)


class ScoreReader:
    """Log-probabilities of requested tokens by id, which vLLM returns with the one token that it writes."""

    def __init__(self) -> None:
        self.logprobs: dict[int, float] = {}

    def read(self, output: Any) -> bool:
        """Read a `CompletionOutput`, which is the only one."""
        if not output.logprobs:
            raise RuntimeError(f"vLLM gave the request up: {output.finish_reason}")
        self.logprobs = {int(token): float(entry.logprob) for token, entry in output.logprobs[0].items()}
        return True


def vllm_eos_ids(config: Any, tokenizer: Any) -> frozenset[int]:
    """All token ids that end a sequence, by vLLM's `ModelConfig`, its generation settings and the tokenizer."""
    settings = SimpleNamespace(**{"eos_token_id": None} | (config.try_get_generation_config() or {}))
    text = config.hf_text_config
    model = SimpleNamespace(generation_config=settings, config=SimpleNamespace(eos_token_id=text.eos_token_id))
    return eos_ids(model, tokenizer)
