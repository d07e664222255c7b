"""Reward models on vLLM: a language model read at label tokens, or a classification head read through `encode`."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer

from ..base import Sampling, Score
from ..transformers.reward import check_vocabulary, reward_engine
from ..weights import downloaded
from .engine import VllmEngine

HEADS = {"Qwen2ForProcessRewardModel": "token_classify", "Qwen2ForSequenceClassification": "classify"}
"""Classes with a head that vLLM runs, as `architectures` of config.json has them, and the task to ask for."""


class VllmRewardEngine(VllmEngine):
    """A decoder with a head of one or two labels, whose next tokens are the labels: 1 for right, 0 for wrong.

    A prompt is read at its last token. `token_classify` gives a row for every token that was not in the prefix cache,
    and only the last of them is used; `classify` pools the last token.
    """

    def __init__(self, model: str | Path, *, task: str, **options: Any) -> None:
        """Arguments and errors as of `VllmEngine`."""
        pooling = {"tok_pooling_type": "ALL"} if task == "token_classify" else {"seq_pooling_type": "LAST"}
        super().__init__(model, runner="pooling", pooler_config=pooling, **options)
        self._task = task

    async def generate(self, prompt: Sequence[int], sampling: Sampling, stream: int) -> Any:
        """A reward model writes nothing: ValueError."""
        raise ValueError("a reward model scores and does not write")

    async def score(self, prompt: Sequence[int], choices: Sequence[int]) -> Score:
        """Log-probabilities of the labels `choices`, each 0 or 1, at the end of `prompt`."""
        prompt, begun = self._checked(prompt, 0), time.perf_counter()
        rows, cached = await self.home.run(lambda: self._encode(prompt))
        logits = [float(x) for x in rows.reshape(-1, rows.shape[-1])[-1]]
        pair = logits if len(logits) == 2 else [0.0, *logits]
        mass = max(pair) + math.log(sum(math.exp(x - max(pair)) for x in pair))
        self._count(cached, len(prompt) - cached, 0)
        self.counters.scored += 1
        seconds = time.perf_counter() - begun
        return Score(tuple(pair[i] - mass for i in choices), cached, len(prompt) - cached, seconds)

    async def _encode(self, prompt: Sequence[int]) -> tuple[Any, int]:
        """The head's rows [n, labels] (or [labels]) before any activation, and the prompt's tokens from the cache."""
        from vllm import PoolingParams

        how = PoolingParams(task=self._task, use_activation=False, skip_reading_prefix_cache=False)
        asked = {"prompt_token_ids": list(prompt)}
        async with aclosing(self.home.llm.encode(asked, how, self.home.name())) as told:
            async for output in told:
                data, cached = output.outputs.data, int(output.num_cached_tokens or 0)
        return data, cached


def vllm_reward_engine(source: str | Path, *, head: bool, device: str = "cpu", **options: Any) -> Any:
    """An engine on the reward model in a folder, or of a hub id: vLLM, or for heads it lacks the transformers engine.

    Errors: ValueError for a vocabulary that does not fit, before anything is started.
    """
    folder = downloaded(source)
    known = int(AutoConfig.from_pretrained(folder).get_text_config().vocab_size)
    check_vocabulary(AutoTokenizer.from_pretrained(folder), known, source)
    if head:
        task = HEADS.get(_architecture(folder))
        if task is None:
            return reward_engine(source, head=True, device=device)
        return VllmRewardEngine(source, task=task, device=device, **options)
    return VllmEngine(source, device=device, **options)


def _architecture(folder: Path) -> str:
    return str((json.loads((folder / "config.json").read_text()).get("architectures") or [""])[0])
