"""Reward models on vLLM: a language model scored at label tokens, or a classification head through `encode`."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer

from ..base import Engine, Generation, Sampling, Score
from ..model_files import downloaded
from ..transformers.reward import check_vocabulary, reward_engine
from .engine import VllmEngine

HEADS = {"Qwen2ForProcessRewardModel": "token_classify", "Qwen2ForSequenceClassification": "classify"}
"""Architectures (as in config.json) with a head that vLLM runs, and the pooling task of each."""


class VllmRewardEngine(VllmEngine):
    """A decoder with a head of one or two labels, which are its next tokens: 1 for right, 0 for wrong.

    The head is read at the last token of a prompt. `token_classify` returns a row for every token that was not in the
    prefix cache, of which the last is used; `classify` pools the last token.
    """

    def __init__(self, model: str | Path, *, task: str, **options: Any) -> None:
        """task: the pooling task of `HEADS`; other arguments and errors as for `VllmEngine`."""
        pooling = {"tok_pooling_type": "ALL"} if task == "token_classify" else {"seq_pooling_type": "LAST"}
        super().__init__(model, runner="pooling", pooler_config=pooling, **options)
        self._task = task

    async def generate(self, prompt: Sequence[int], sampling: Sampling, stream: int) -> Generation:
        """ValueError: a reward model with a head generates nothing."""
        raise ValueError("a reward model scores and does not write")

    async def score(self, prompt: Sequence[int], choices: Sequence[int]) -> Score:
        """Log-probabilities of the labels `choices`, each 0 or 1, at the end of `prompt`."""
        prompt, started = self._checked(prompt, 0), time.perf_counter()
        rows, cached = await self.thread.run(lambda: self._encode(prompt))
        logits = [float(x) for x in rows.reshape(-1, rows.shape[-1])[-1]]
        pair = logits if len(logits) == 2 else [0.0, *logits]
        mass = max(pair) + math.log(sum(math.exp(x - max(pair)) for x in pair))
        self._count(cached, len(prompt) - cached, 0)
        self.counters.scored += 1
        seconds = time.perf_counter() - started
        return Score(tuple(pair[i] - mass for i in choices), cached, len(prompt) - cached, seconds)

    async def _encode(self, prompt: Sequence[int]) -> tuple[Any, int]:
        """The head's logits [n, labels] (or [labels]), and the number of cached prompt tokens."""
        from vllm import PoolingParams

        parameters = PoolingParams(task=self._task, use_activation=False, skip_reading_prefix_cache=False)
        request = {"prompt_token_ids": list(prompt)}
        async with aclosing(self.thread.llm.encode(request, parameters, self.thread.request_id())) as outputs:
            async for output in outputs:
                data, cached = output.outputs.data, int(output.num_cached_tokens or 0)
        return data, cached


def vllm_reward_engine(source: str | Path, *, head: bool, device: str = "cpu", **options: Any) -> Engine:
    """An engine for the reward model in a folder or on the hub: vLLM's, or the transformers engine for other heads.

    Errors: ValueError for a tokenizer that does not fit the model, before anything is started.
    """
    folder = downloaded(source)
    known = int(AutoConfig.from_pretrained(folder, trust_remote_code=False).get_text_config().vocab_size)
    check_vocabulary(AutoTokenizer.from_pretrained(folder, trust_remote_code=False), known, source)
    if head:
        task = HEADS.get(_architecture(folder))
        if task is None:
            return reward_engine(source, head=True, device=device)
        return VllmRewardEngine(source, task=task, device=device, **options)
    return VllmEngine(source, device=device, **options)


def _architecture(folder: Path) -> str:
    return str((json.loads((folder / "config.json").read_text()).get("architectures") or [""])[0])
