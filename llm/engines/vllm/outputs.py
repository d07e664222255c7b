"""vLLM's outputs read token by token: steps with their log-probabilities, or the scores of given tokens."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Protocol

from ..messages import Tokens
from ..stops import StepEnds
from ..transformers.loading import eos_ids


class OutputReader(Protocol):
    """Reads the outputs of one request."""

    def read(self, output: Any) -> bool:
        """Read a `CompletionOutput`; whether it was the last one needed. RuntimeError where vLLM failed."""
        ...


class StepReader:
    """Splits the tokens that vLLM writes into steps, by the rule of all engines; it drops tokens after the last step.

    steps, logprobs: as in `Generation`. ended: "" until the continuation has ended. tokens_read: all tokens received.
    """

    def __init__(self, ends: StepEnds | None, max_steps: int | None, eos: frozenset[int]) -> None:
        self.steps: list[Tokens] = []
        self.logprobs: list[tuple[float, ...]] = []
        self.ended, self.tokens_read = "", 0
        self._ends, self._max_steps, self._eos = ends, max_steps, eos
        self._step: list[int] = []
        self._step_logprobs: list[float] = []

    def read(self, output: Any) -> bool:
        """Read a `CompletionOutput` of new tokens; whether the continuation has ended."""
        if output.finish_reason not in (None, "stop", "length"):
            raise RuntimeError(f"vLLM gave the request up: {output.finish_reason}")
        self.tokens_read += len(output.token_ids)
        for token, logprobs in zip(output.token_ids, output.logprobs):
            if not self.ended:
                self._append(int(token), float(logprobs[token].logprob))
        if output.finish_reason is not None and not self.ended:
            self.ended = "length" if output.finish_reason == "length" else "end"
        if self.ended:
            self._close_step()
        return bool(self.ended)

    def _append(self, token: int, logprob: float) -> None:
        if token in self._eos:
            self.ended = "end"
            return
        self._step.append(token)
        self._step_logprobs.append(logprob)
        if self._ends is None or not self._ends.ends_step(self._step):
            return
        solution_ended = self._ends.ends_solution(self._step)
        self._close_step()
        if solution_ended:
            self.ended = "end"
        elif len(self.steps) == self._max_steps:
            self.ended = "stop"

    def _close_step(self) -> None:
        if self._step:
            self.steps.append(tuple(self._step))
            self.logprobs.append(tuple(self._step_logprobs))
            self._step, self._step_logprobs = [], []


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
