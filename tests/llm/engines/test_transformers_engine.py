"""The transformers engine: results are independent of batches and of how requests are split; its parts."""

from __future__ import annotations

import asyncio
import copy
import random
import shutil

import numpy as np
import pytest
import torch
import transformers
from plain import FREE, flat, gather, prompts
from scipy.stats import chisquare
from transformers import AutoModelForCausalLM

from forethought.llm.engines.base import Sampling
from forethought.llm.engines.step_splitter import decode
from forethought.llm.engines.transformers import attention, sampler
from forethought.llm.engines.transformers.block_manager import BlockManager
from forethought.llm.engines.transformers.engine import TransformersEngine
from forethought.llm.engines.transformers.sampler import sample_tokens, uniforms


@pytest.fixture(params=["llama", "qwen2"])
def folder(request):
    return request.getfixturevalue(f"tiny_{request.param}")


@pytest.fixture
def engine(tiny_llama):
    return TransformersEngine(tiny_llama, max_batch=16)


async def test_tokens_do_not_depend_on_the_batch_or_the_order(tiny_llama):
    asked = [(p, stream) for p in prompts(4, seed=3, longest=30) for stream in range(10)]
    alone = TransformersEngine(tiny_llama, max_batch=1)
    together = TransformersEngine(tiny_llama, max_batch=64)
    shuffled = random.Random(0).sample(range(len(asked)), len(asked))
    first = await gather(alone.generate(p, FREE, s) for p, s in asked)
    second = await gather(together.generate(p, FREE, s) for p, s in asked)
    other = TransformersEngine(tiny_llama, max_batch=7)
    third = await gather(other.generate(asked[i][0], FREE, asked[i][1]) for i in shuffled)
    assert [g.steps for g in first] == [g.steps for g in second]
    assert [first[i].steps for i in shuffled] == [g.steps for g in third]
    assert len({tuple(flat(g)) for g in first}) > 30


async def test_a_solution_step_by_step_is_the_solution_in_one_request(folder):
    whole, pieces = TransformersEngine(folder), TransformersEngine(folder, max_batch=5)
    once = Sampling(temperature=1.0, max_tokens=60, max_steps=4, stop="e")

    async def walk(prompt, stream):
        steps, ended = [], "stop"
        while ended == "stop" and len(steps) < 4:
            asked = Sampling(temperature=1.0, max_tokens=60 - sum(map(len, steps)), max_steps=1, stop="e")
            got = await pieces.generate([*prompt, *(t for s in steps for t in s)], asked, stream)
            steps, ended = steps + got.steps, got.ended
        return steps

    asked = [(p, s) for p in prompts(4, seed=4, longest=30) for s in range(6)]
    expected = await gather(whole.generate(p, once, s) for p, s in asked)
    assert [g.steps for g in expected] == await gather(walk(p, s) for p, s in asked)
    assert max(len(g.steps) for g in expected) > 2


async def test_a_prompt_is_computed_once_for_siblings_asked_together(engine):
    prompt = list(range(1, 31))
    one = Sampling(temperature=1.0, max_tokens=1, stop=None)
    found = await gather(engine.generate(prompt, one, stream) for stream in range(8))
    assert engine.counters.computed == 30
    assert sorted(g.computed for g in found) == [0] * 7 + [30]
    assert sum(g.cached for g in found) == 7 * 30


async def test_any_common_prefix_is_found(engine):
    question = list(range(1, 21))
    first = await engine.generate(question, FREE, 1)
    written = flat(first)
    assert first.computed == 20 + len(written) - 1
    sibling = await engine.generate(question, Sampling(temperature=1.0, max_tokens=1, stop=None), 2)
    assert (sibling.cached, sibling.computed) == (20, 0)
    critique = await engine.score([*question, *written[:5], 7, 8, 9], [1])
    assert (critique.cached, critique.computed) == (25, 3)
    again = await engine.generate(question, FREE, 1)
    assert (again.steps, again.computed) == (first.steps, 0)


async def test_a_full_cache_evicts_blocks_and_results_stay_correct(tiny_llama):
    small, large = TransformersEngine(tiny_llama, max_batch=4, cache_tokens=130), TransformersEngine(tiny_llama)
    asked = [(p, s) for s in range(3) for p in prompts(12, seed=5, longest=30)]
    found = await gather(small.generate(p, FREE, s) for p, s in asked)
    wanted = await gather(large.generate(p, FREE, s) for p, s in asked)
    assert [g.steps for g in found] == [g.steps for g in wanted]
    assert small.counters.computed > large.counters.computed
    assert len(blocks := small._scheduler.block_manager) + blocks.num_free == 129


def test_eviction_frees_the_least_recently_used_blocks_and_no_parent_before_its_child():
    blocks, paths = BlockManager(20), []
    for first in (1, 2, 3):
        blocks.clock += 1
        block, path = 0, []
        for token in (first, 50, 51):
            block = blocks.allocate(block, token)
            path.append(block)
        paths.append(path)
    blocks.clock += 1
    blocks.touch(np.array(paths[0][:2]))
    blocks.evict(1)
    assert blocks.match_prefix([1, 50, 51]) == paths[0][:2]
    assert blocks.match_prefix([2, 50, 51]) == paths[1]
    blocks.clock += 1
    blocks.evict(2)
    assert blocks.match_prefix([2, 50, 51]) == [] and blocks.match_prefix([3, 50, 51]) == paths[2]


async def test_an_id_above_the_vocabulary_is_never_taken_for_a_cached_token(engine):
    """A prefix cache that maps (block, id) to one number could map two such pairs to the same number."""
    await engine.generate([5, 6, 7], FREE, 0)
    tops = engine.vocabulary, 1 << 16, 1 << 31, 1 << 32
    for wrong in (slot * top + token for slot in (1, 2, 3) for token in (5, 6, 7) for top in tops):
        for asked in (engine.score([wrong], [1]), engine.generate([5, wrong], FREE, 0)):
            with pytest.raises(ValueError, match="outside the vocabulary"):
                await asked
    assert (await engine.generate([5, 6, 7], FREE, 0)).cached == 3


async def test_a_delimiter_may_span_tokens_and_a_final_text_ends_the_solution(engine):
    probe = await gather(engine.generate([3, 4, 5], FREE, s) for s in range(20))
    texts = [flat(g) for g in probe]
    stream = next(i for i, t in enumerate(texts) if len(t) > 8 and decode(engine.tokenizer, t[4:6]).isascii())
    pair, final = decode(engine.tokenizer, texts[stream][4:6]), decode(engine.tokenizer, texts[stream][1:2])
    setting = Sampling(temperature=1.0, max_tokens=20, max_steps=1, stop=pair)
    stopped = await engine.generate([3, 4, 5], setting, stream)
    assert flat(stopped) == texts[stream][:6] and stopped.ended == "stop"
    setting = Sampling(temperature=1.0, max_tokens=20, max_steps=3, stop=pair, ends=(final,))
    ended = await engine.generate([3, 4, 5], setting, stream)
    assert flat(ended) == texts[stream][:6] and ended.ended == "end"


async def test_a_failing_forward_fails_its_requests_only(engine, monkeypatch):
    wanted = await TransformersEngine(engine._model_runner.model, tokenizer=engine.tokenizer).generate(
        [5, 6, 7], FREE, 1
    )
    with monkeypatch.context() as patch:
        patch.setattr(engine._model_runner, "hidden", lambda *a: 1 / 0)
        found = await asyncio.gather(*[engine.generate([5, 6, 7], FREE, s) for s in range(3)], return_exceptions=True)
    assert all(isinstance(f, ZeroDivisionError) for f in found)
    assert (await engine.generate([5, 6, 7], FREE, 1)).steps == wanted.steps


async def test_nan_logits_are_an_error(engine, monkeypatch):
    monkeypatch.setattr(engine._model_runner, "_scale", float("nan"))
    with pytest.raises(FloatingPointError, match="NaN"):
        await engine.generate([5, 6, 7], FREE, 1)


async def test_a_closed_engine_raises(engine):
    task = asyncio.create_task(engine.generate([5, 6, 7], FREE, 1))
    await asyncio.sleep(0)
    await engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        await task
    with pytest.raises(RuntimeError, match="closed"):
        await engine.score([1], [2])


async def test_a_full_context_is_scored_and_wrong_limits_are_value_errors(engine):
    assert (await engine.score([1] * 128, [3])).computed == 128
    with pytest.raises(ValueError, match="max_tokens 0"):
        await engine.generate([1], Sampling(max_tokens=0), 0)


def test_a_folder_that_is_no_model_is_named_with_what_it_lacks(tiny_llama, tmp_path):
    with pytest.raises(ValueError, match="no model folder /no/such/place"):
        TransformersEngine("/no/such/place")
    for name in ("config.json", "model.safetensors"):
        shutil.copy(tiny_llama / name, tmp_path)
    with pytest.raises(ValueError, match="lacks a tokenizer") as caught:
        TransformersEngine(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_fingerprints_tell_models_apart(tiny_llama, tiny_qwen2):
    again = TransformersEngine(tiny_llama).fingerprint
    assert again == TransformersEngine(tiny_llama).fingerprint != TransformersEngine(tiny_qwen2).fingerprint


def test_sampled_tokens_follow_the_distribution():
    logits = torch.tensor([[0.3, -1.0, 2.0, 0.0, 1.0, -0.5]])
    count, temperature = 20_000, 0.8
    u = uniforms(list(range(count)), [11] * count)
    rows = logits.expand(count, -1)
    found, logprobs = sample_tokens(rows, [temperature] * count, [1.0] * count, u)
    p = (logits[0] / temperature).softmax(-1).double()
    assert chisquare(np.bincount(found, minlength=6), (p / p.sum()).numpy() * count).pvalue > 1e-3
    np.testing.assert_allclose(logprobs[:50], p.log()[found[:50]], atol=1e-5)
    nucleus, _ = sample_tokens(rows, [temperature] * count, [0.9] * count, u)
    ranked = p.argsort(descending=True)
    kept = ranked[: int((p[ranked].cumsum(0) < 0.9).sum()) + 1]
    assert set(nucleus) == set(kept.tolist())
    counts = np.bincount(nucleus, minlength=6)[kept]
    assert chisquare(counts, (p[kept] / p[kept].sum()).numpy() * count).pvalue > 1e-3


def test_the_kernel_samples_the_same_tokens_as_torch(monkeypatch):
    if not sampler.HAVE_NUMBA:
        pytest.skip("without numba there is one way only")
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(600, 300, generator=generator)
    logits[:, 7:90:2], logits[::2, :5] = -torch.inf, -torch.inf
    temperature = [(0.0, 0.7, 1.0)[i % 3] for i in range(600)]
    u = np.concatenate([[0.0] * 3, [1 - 2.0**-53] * 3, np.random.default_rng(0).random(594)])
    found, logprobs = sample_tokens(logits, temperature, [1.0] * 600, u)
    monkeypatch.setattr(sampler, "HAVE_NUMBA", False)
    wanted, others = sample_tokens(logits, temperature, [1.0] * 600, u)
    assert found == wanted
    np.testing.assert_allclose(logprobs, others, atol=5e-6)


@pytest.mark.parametrize("wrong", [(13, float("nan")), (13, float("inf")), (slice(None), -float("inf"))])
@pytest.mark.parametrize("compiled", [True, False])
def test_logits_that_give_no_distribution_are_an_error_at_any_temperature(wrong, compiled, monkeypatch):
    monkeypatch.setattr(sampler, "HAVE_NUMBA", compiled and sampler.HAVE_NUMBA)
    logits = torch.zeros(2, 20)
    logits[1, wrong[0]] = wrong[1]
    for temperature in (0.0, 0.8):
        with pytest.raises(FloatingPointError, match="NaN"):
            sample_tokens(logits, [temperature] * 2, [1.0] * 2, np.array([0.5, 0.5]))


def test_noise_is_uniform_and_keyed_by_stream_and_position():
    streams, positions = np.divmod(np.arange(40_000), 200)
    u = uniforms((streams + 2**62).tolist(), positions.tolist())
    assert chisquare(np.bincount((u * 50).astype(int), minlength=50)).pvalue > 1e-3
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 0.02
    assert uniforms([5], [7]) == uniforms([9, 5], [1, 7])[1] != uniforms([7], [5])
    assert len(set(u.tolist())) == 40_000


def test_gathered_attention_is_attention_in_place():
    if not attention.HAVE_NUMBA:
        pytest.skip("without numba there is one kernel only")
    rng = np.random.default_rng(0)
    key, value = (torch.randn(50, 2, 16) for _ in range(2))
    tables = rng.integers(1, 50, size=(3, 20)).astype(np.int32)
    places, positions = np.array([2, 0, 0, 1, 0, 1]), np.array([19, 3, 4, 0, 5, 1])
    query, layout = torch.randn(1, 4, 6, 16), attention.AttentionMetadata(tables, places, positions)
    np.testing.assert_allclose(
        attention._attend_in_place(query, key, value, 0.25, layout),
        attention._attend_gathered(query, key, value, 0.25, layout),
        atol=2e-6,
    )


async def test_without_numba_the_tokens_are_the_same(tiny_llama, monkeypatch):
    asked = [(p, s) for p in prompts(5, seed=6, longest=30) for s in range(3)]
    with_numba, without = TransformersEngine(tiny_llama), TransformersEngine(tiny_llama, max_batch=4)
    wanted = await gather(with_numba.generate(p, FREE, s) for p, s in asked)
    monkeypatch.setattr(attention, "HAVE_NUMBA", False)
    monkeypatch.setattr(sampler, "HAVE_NUMBA", False)
    assert [g.steps for g in wanted] == [g.steps for g in await gather(without.generate(p, FREE, s) for p, s in asked)]


SMALL = dict(vocab_size=300, num_hidden_layers=2, bos_token_id=None, eos_token_id=0, pad_token_id=0)
LLAMA = dict(hidden_size=32, intermediate_size=48, num_attention_heads=4, num_key_value_heads=2, head_dim=8)


@pytest.mark.parametrize(
    "config",
    [
        transformers.GPT2Config(**SMALL, n_embd=32, n_head=4, n_positions=64),
        transformers.GPTNeoXConfig(**SMALL, hidden_size=32, intermediate_size=48, num_attention_heads=4),
        transformers.MistralConfig(**SMALL, **LLAMA, sliding_window=24),
        transformers.Qwen3Config(**SMALL, **LLAMA),
        transformers.CohereConfig(**SMALL, **{k: v for k, v in LLAMA.items() if k != "head_dim"}, logit_scale=0.25),
        transformers.Gemma3TextConfig(**SMALL, **LLAMA, sliding_window=24),
    ],
    ids=lambda config: config.model_type,
)
async def test_other_architectures_agree_with_their_own_attention(config, tiny_llama):
    torch.manual_seed(2)
    plain = AutoModelForCausalLM.from_config(config).eval()
    engine = TransformersEngine(copy.deepcopy(plain), tokenizer=TransformersEngine(tiny_llama).tokenizer)
    assert engine.context == min(getattr(config, "sliding_window", None) or 10**9, config.max_position_embeddings)
    prompt = list(range(1, 20))
    await engine.generate(prompt[:9], Sampling(temperature=1.0, max_tokens=4, stop=None), 0)
    score = await engine.score(prompt, range(10))
    with torch.no_grad():
        wanted = plain(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)[:10]
    np.testing.assert_allclose(score.logprobs, wanted, atol=1e-4)


@pytest.mark.parametrize(
    "config",
    [
        transformers.BloomConfig(**SMALL, hidden_size=32, n_head=4),
        transformers.Gemma2Config(**SMALL, **LLAMA),
        transformers.MambaConfig(**SMALL, hidden_size=32),
    ],
    ids=lambda config: config.model_type,
)
def test_attention_that_cannot_be_paged_is_refused_by_name(config, tiny_llama):
    plain = AutoModelForCausalLM.from_config(config)
    with pytest.raises(ValueError, match=type(plain).__name__):
        TransformersEngine(plain, tokenizer=TransformersEngine(tiny_llama).tokenizer)


async def test_bfloat16_is_near_float32(tiny_qwen2):
    exact = await TransformersEngine(tiny_qwen2).score(range(1, 30), [5, 9])
    rough = await TransformersEngine(tiny_qwen2, dtype="bfloat16").score(range(1, 30), [5, 9])
    np.testing.assert_allclose(exact.logprobs, rough.logprobs, atol=0.3)
