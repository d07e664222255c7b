"""What vLLM writes, read token by token: steps with their log-probabilities, or the scores of given tokens."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ..base import Tokens
from ..stops import StepEnds
from ..transformers.network import eos_of


class Written:
    """Tokens cut into steps by the rule of all engines; what comes after the last step is thrown away.

    steps, logprobs: as in `Generation`. ended: "" while nothing has ended it. read: tokens taken, thrown away or not.
    """

    def __init__(self, ends: StepEnds | None, max_steps: int | None, eos: frozenset[int]) -> None:
        self.steps: list[Tokens] = []
        self.logprobs: list[tuple[float, ...]] = []
        self.ended, self.read = "", 0
        self._ends, self._max_steps, self._eos = ends, max_steps, eos
        self._step: list[int] = []
        self._shares: list[float] = []

    def take(self, output: Any) -> bool:
        """Read a `CompletionOutput` of new tokens; whether that is enough. RuntimeError where vLLM failed."""
        if output.finish_reason not in (None, "stop", "length"):
            raise RuntimeError(f"vLLM gave the request up: {output.finish_reason}")
        self.read += len(output.token_ids)
        for token, told in zip(output.token_ids, output.logprobs):
            if not self.ended:
                self._append(int(token), float(told[token].logprob))
        if output.finish_reason is not None and not self.ended:
            self.ended = "length" if output.finish_reason == "length" else "end"
        if self.ended:
            self._close()
        return bool(self.ended)

    def _append(self, token: int, logprob: float) -> None:
        if token in self._eos:
            self.ended = "end"
            return
        self._step.append(token)
        self._shares.append(logprob)
        if self._ends is None or not self._ends.finished(self._step):
            return
        final = self._ends.final(self._step)
        self._close()
        if final:
            self.ended = "end"
        elif len(self.steps) == self._max_steps:
            self.ended = "stop"

    def _close(self) -> None:
        if self._step:
            self.steps.append(tuple(self._step))
            self.logprobs.append(tuple(self._shares))
            self._step, self._shares = [], []


class Scored:
    """Log-probabilities of asked tokens, by id, off the one token that vLLM writes."""

    def __init__(self) -> None:
        self.logprobs: dict[int, float] = {}

    def take(self, output: Any) -> bool:
        """Read a `CompletionOutput`. RuntimeError where vLLM failed."""
        if not output.logprobs:
            raise RuntimeError(f"vLLM gave the request up: {output.finish_reason}")
        self.logprobs = {int(token): float(told.logprob) for token, told in output.logprobs[0].items()}
        return True


def eos_ids(config: Any, tokenizer: Any) -> frozenset[int]:
    """All ids that end a sequence, as vLLM's `ModelConfig`, generation settings and tokenizer have them."""
    settings = SimpleNamespace(**{"eos_token_id": None} | (config.try_get_generation_config() or {}))
    text = config.hf_text_config
    model = SimpleNamespace(generation_config=settings, config=SimpleNamespace(eos_token_id=text.eos_token_id))
    return eos_of(model, tokenizer)
