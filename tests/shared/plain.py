"""Continuations and logits computed by the transformers library itself, with which engines are compared."""

from __future__ import annotations

import asyncio
import random

import torch

from forethought.llm.engines.base import Sampling

FREE = Sampling(temperature=1.0, max_tokens=20, max_steps=None, stop=None)
COLD = Sampling(temperature=0, max_tokens=40, max_steps=None, stop=None)


def flat(generation):
    return [token for step in generation.steps for token in step]


def prompts(count, seed=0, longest=70):
    rng = random.Random(seed)
    return [[rng.randrange(1, 280) for _ in range(rng.randint(3, longest))] for _ in range(count)]


def greedy(plain, prompt, most=40):
    """The tokens that plain transformers generates without the end of sequence, and whether that was reached."""
    ids = torch.tensor([prompt])
    made = plain.generate(ids, attention_mask=ids * 0 + 1, max_new_tokens=most, do_sample=False, pad_token_id=0)
    new = made[0, len(prompt) :].tolist()
    return [t for t in new if t != 0], 0 in new


def logits_after(plain, prompt, new=()):
    """Logits [len(new) + 1, V] after the prompt and after each of the tokens `new`."""
    with torch.no_grad():
        return plain(torch.tensor([[*prompt, *new]])).logits[0, len(prompt) - 1 :]


async def gather(requests):
    return await asyncio.gather(*requests)
