"""An engine's prefix cache can be emptied between requests, and a model can have random weights."""

import asyncio
import shutil

import pytest
import torch
from plain import FREE, gather, prompts

from forethought.llm.engines.transformers.engine import TransformersEngine

torch.set_num_threads(1)


async def test_after_clearing_the_cache_all_is_computed_again_with_the_same_result(tiny_llama):
    engine, asked = TransformersEngine(tiny_llama, max_batch=4, cache_tokens=400), prompts(6, seed=5, longest=30)

    async def answers():
        return await gather(engine.generate(prompt, FREE, stream) for stream, prompt in enumerate(asked))

    first = await answers()
    warm = await answers()
    await engine.clear_cache()
    cold = await answers()
    assert [found.steps for found in first] == [found.steps for found in warm] == [found.steps for found in cold]
    assert sum(found.computed for found in warm) < sum(found.computed for found in cold)
    assert sum(found.computed for found in cold) == sum(found.computed for found in first)


async def test_the_cache_is_not_emptied_while_requests_run(tiny_llama):
    engine = TransformersEngine(tiny_llama)
    running = asyncio.ensure_future(engine.generate([1, 2, 3], FREE, 0))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="while requests are running"):
        await engine.clear_cache()
    assert (await running).steps


async def test_random_weights_need_no_weights_and_are_the_same_each_time(tiny_llama, tmp_path):
    folder = shutil.copytree(tiny_llama, tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(ValueError, match=r"lacks weights \(model.safetensors\)"):
        TransformersEngine(folder)
    state = torch.random.get_rng_state()
    one, two = (TransformersEngine(folder, load_format="dummy") for _ in range(2))
    assert torch.equal(state, torch.random.get_rng_state()), "the caller's random numbers are not used"
    assert one.fingerprint == two.fingerprint
    assert (await one.generate([1, 2, 3], FREE, 0)).steps
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match=r"lacks config.json"):
        TransformersEngine(folder, load_format="dummy")
