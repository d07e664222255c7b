"""The openai engine: against the transformers engine behind an honest server, and against servers of every bad kind."""

import asyncio
import json
import math
import threading
import time

import numpy as np
import pytest
import torch
from plain import flat
from rich.console import Console

from forethought.evals.request import make_request
from forethought.evals.runners.evaluate import evaluate
from forethought.evals.tasks.base import RunStopped
from forethought.llm.critics import Means, value_named
from forethought.llm.engines.base import Sampling
from forethought.llm.engines.http.openai import OpenAIEngine
from forethought.llm.engines.http.servers import ServerError, ServersGone
from forethought.llm.engines.transformers.engine import TransformersEngine
from forethought.llm.load import load_text_model
from forethought.llm.text.formats import format_for
from forethought.llm.text_model import TextModel

torch.set_num_threads(1)

COLD = Sampling(temperature=0, max_tokens=40, max_steps=1, stop="z")


class Server:
    """An HTTP server on a thread. `tricks` are taken one a request: a function of the honest answer's bytes gives what
    goes over the wire instead; None closes the connection.

    kind: "vllm" gives ids, keeps stop strings and can be asked for certain log-probabilities; "plain" knows OpenAI's
    fields only and drops the stop string without a word; "strict" refuses others; "mute" has no log-probabilities.
    """

    def __init__(self, engine, kind="vllm", names=("tiny",)):
        self.engine, self.kind, self.names, self.tricks, self.bodies, self.open = engine, kind, names, [], [], 0
        self.loop = asyncio.new_event_loop()
        started = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self.thread.start()
        started.wait()
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def _run(self, started):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        self.loop.run_forever()
        server.close()
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self.loop.close()

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    async def _serve(self, reader, writer):
        try:
            while line := await reader.readline():
                headers = b""
                while (more := await reader.readline()) != b"\r\n":
                    headers += more.lower()
                size = int(headers.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
                status, answer = await self._answer(line, await reader.readexactly(size))
                body = json.dumps(answer).encode()
                wire = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body
                trick = self.tricks.pop(0) if self.tricks and line.startswith(b"POST") else None
                if trick is not None:
                    wire = await trick(wire) if asyncio.iscoroutinefunction(trick) else trick(wire)
                writer.write(wire or b"")
                await writer.drain()
                if trick is not None:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, line, content):
        if b"/models" in line:
            return 200, {"data": [{"id": name, "max_model_len": 2048} for name in self.names]}
        body = json.loads(content)
        self.bodies.append(body)
        if self.kind == "strict" and "return_token_ids" in body:
            return 400, {"error": "Unrecognized request argument: return_token_ids"}
        self.open += 1
        try:
            choice, generation = await self._complete(body)
        finally:
            self.open -= 1
        usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": sum(map(len, generation.steps))}
        return 200, {
            "choices": [choice],
            "usage": usage | {"prompt_tokens_details": {"cached_tokens": generation.cached}},
        }

    async def _complete(self, body):
        words, stop = self.engine.tokenizer, (body.get("stop") or [None])[0]
        sampling = Sampling(body["temperature"], body.get("top_p", 1.0), body["max_tokens"], 1, stop)
        if body["max_tokens"] == 1:
            sampling = Sampling(0, 1.0, 1, 1, None)
        generation = await self.engine.generate(body["prompt"], sampling, len(self.bodies))
        ids = flat(generation)
        given = [x for step in generation.logprobs for x in step]
        text, finish = words.decode(ids), "length" if generation.ended == "length" else "stop"
        if self.kind != "vllm" and stop and text.endswith(stop):
            text, ids, given = text.removesuffix(stop), ids[:-1], given[:-1]
        names = [f"token_id:{i}" if self.kind == "vllm" else words.decode([i]) for i in ids]
        top = [await self._top(body, words)] if body["max_tokens"] == 1 else None
        choice = {"text": text, "finish_reason": finish, "index": 0}
        if self.kind != "mute":
            choice["logprobs"] = {"tokens": names, "token_logprobs": given, "top_logprobs": top}
        if self.kind == "vllm":
            eos = [words.eos_token_id] if generation.ended == "end" else []
            choice |= {"token_ids": ids + eos, "stop_reason": stop if generation.ended == "stop" else None}
        return choice, generation

    async def _top(self, body, words):
        wanted = body.get("logprob_token_ids") if self.kind == "vllm" else list(range(len(words)))
        score = await self.engine.score(body["prompt"], wanted)
        ranked = sorted(zip(score.logprobs, wanted), reverse=True)
        if self.kind == "vllm":
            return {f"token_id:{i}": x for x, i in ranked}
        return {words.decode([i]): x for x, i in ranked[: body["logprobs"]]}


@pytest.fixture(scope="module")
def truth(stepping_llama):
    return TransformersEngine(stepping_llama)


@pytest.fixture
def serve(stepping_llama):
    """Makes servers, each with an engine of its own, and an engine that asks them."""
    made = []

    def start(kind="vllm", count=1, model="tiny", **options):
        servers = [Server(TransformersEngine(stepping_llama), kind) for _ in range(count)]
        made.extend(servers)
        options = {"pause": 0.01, "deadline": 20.0, "attempt": 5.0} | options
        words = servers[0].engine.tokenizer
        engine = OpenAIEngine(model, words, ",".join(server.url for server in servers), **options)
        return (servers[0] if count == 1 else servers), engine

    yield start
    for server in made:
        server.stop()


def prompts(engine, count=5):
    return [engine.tokenizer.encode(f"How many {word}?\n") for word in "abcdefgh"[:count]]


@pytest.mark.parametrize("kind", ["vllm", "plain", "strict", "mute"])
@pytest.mark.parametrize("steps", [1, 3, None])
async def test_greedy_steps_are_those_of_the_same_weights_here(serve, truth, kind, steps):
    server, engine = serve(kind)
    sampling = Sampling(temperature=0, max_tokens=40, max_steps=steps, stop="z", ends=("yes",))
    compared = 0
    for prompt in prompts(engine):
        found, wanted = await engine.generate(prompt, sampling, 1), await truth.generate(prompt, sampling, 1)
        if engine.tokenizer.encode(engine.tokenizer.decode(flat(wanted))) != flat(wanted) and kind != "vllm":
            continue  # text does not tell such ids, and a random model writes them
        compared += 1
        assert (found.steps, found.ended) == (wanted.steps, wanted.ended)
        for one, other in zip(found.logprobs, wanted.logprobs):
            if kind == "vllm":
                np.testing.assert_allclose(one, other, atol=1e-4)
            assert len(one) == len(other)
    assert compared >= (5 if kind == "vllm" else 0)
    assert engine.counters.requests >= 5 and server.open == 0
    await engine.close()


async def test_scores_are_those_of_the_same_weights_here(serve, truth):
    _, engine = serve()
    for prompt in prompts(engine, 3):
        found, wanted = await engine.score(prompt, [5, 9, 250]), await truth.score(prompt, [5, 9, 250])
        np.testing.assert_allclose(found.logprobs, wanted.logprobs, atol=1e-4)
    _, plain = serve("plain")
    all_ = range(len(plain.tokenizer))
    wanted = (await truth.score(prompt, all_)).logprobs
    told = [i for i in np.argsort(wanted)[::-1][:20].tolist() if "\ufffd" not in plain.tokenizer.decode([i])]
    unlikely = int(np.argmin(wanted))
    found = await plain.score(prompt, [*told, unlikely])
    np.testing.assert_allclose(found.logprobs[:-1], [wanted[i] for i in told], atol=1e-4)
    assert len(told) > 3 and found.logprobs[-1] == -math.inf
    _, mute = serve("mute")
    with pytest.raises(ServerError, match="no log-probabilities; choose --value none or rollout"):
        await mute.score(prompt, [1])


async def test_a_server_that_drops_the_stop_string_is_asked_without_one_from_then_on(serve):
    server, engine = serve("plain")
    for prompt in prompts(engine):
        generation = await engine.generate(prompt, COLD, 0)
        assert generation.ended in ("stop", "end", "length")
    stops = [body.get("stop") for body in server.bodies]
    assert stops[0] == ["z"] and stops[-1] is None and len(stops) == 6


async def test_a_server_that_refuses_the_extras_is_asked_without_them_from_then_on(serve):
    server, engine = serve("strict")
    for prompt in prompts(engine, 3):
        await engine.generate(prompt, COLD, 0)
    assert ["return_token_ids" in body for body in server.bodies].count(True) == 1


def status(code, extra=b""):
    return lambda wire: b"HTTP/1.1 %d X\r\n%sContent-Length: 4\r\n\r\nnope" % (code, extra)


def slow(seconds):
    async def trick(wire):
        await asyncio.sleep(seconds)
        return wire

    return trick


TRICKS = {
    "429": status(429),
    "429 with Retry-After": status(429, b"Retry-After: 0\r\n"),
    "500": status(500),
    "503": status(503),
    "closed at once": lambda wire: b"",
    "truncated body": lambda wire: wire[: len(wire) // 2],
    "truncated header": lambda wire: wire[:9],
    "malformed JSON": lambda wire: wire.replace(b'"choices"', b"'choices'"),
    "no choices": lambda wire: wire.replace(b'"choices"', b'"chances"'),
    "no finish": lambda wire: wire.replace(b'"finish_reason"', b'"finish_raison"'),
    "not HTTP": lambda wire: b"\x16\x03\x01\x02garbage",
    "slow": slow(1.0),
    "wrong encoding": lambda wire: wire.replace(b"HTTP/1.1 200 X\r\n", b"HTTP/1.1 200 X\r\nContent-Encoding: gzip\r\n"),
}


@pytest.mark.parametrize("name", TRICKS)
async def test_a_failure_that_passes_is_waited_out(serve, truth, name):
    server, engine = serve(attempt=0.5 if name == "slow" else 5.0)
    prompt = prompts(engine, 1)[0]
    wanted = await truth.generate(prompt, COLD, 0)
    server.tricks = [TRICKS[name]] * 2
    found = await engine.generate(prompt, COLD, 0)
    assert found.steps == wanted.steps and engine.servers.retries == 2
    server.tricks = [TRICKS[name]]
    assert (await engine.score(prompt, [5])).logprobs == pytest.approx(
        (await truth.score(prompt, [5])).logprobs, abs=1e-4
    )


async def test_the_deadline_holds_over_all_attempts_and_names_the_last_failure(serve):
    for trick, told in ((TRICKS["503"], "503 nope"), (slow(5), "TimeoutError")):
        # a server each: the first one's last connection may be found broken by the second's first attempt
        server, engine = serve(deadline=0.6, attempt=0.25)
        server.tricks = [trick] * 1000
        begun = time.monotonic()
        with pytest.raises(ServerError, match=rf"no answer within 0.6 s; the last attempt: {server.url}: {told}"):
            await engine.generate(prompts(engine, 1)[0], COLD, 0)
        assert 0.5 < time.monotonic() - begun < 3
        assert engine.servers.servers[0].in_flight == 0


async def test_a_refusal_that_stays_is_told_at_once(serve):
    server, engine = serve()
    for code in (400, 401, 404, 422):
        server.tricks = [status(code)] * 5
        engine._extras = {}
        with pytest.raises(ServerError, match=f"{code} nope") as error:
            await engine.generate(prompts(engine, 1)[0], COLD, 0)
        assert error.value.status == code and len(server.tricks) == 4
    server.tricks = []
    with pytest.raises(ValueError, match="the prompt has 5000 tokens; the context holds 2048"):
        await engine.generate([1] * 5000, COLD, 0)


async def test_several_servers_share_the_load_and_a_dead_one_is_avoided(serve):
    servers, engine = serve(count=3)
    asked = [p for p in prompts(engine, 8) for _ in range(3)]
    wanted = [g.steps for g in await asyncio.gather(*(engine.generate(p, COLD, 0) for p in asked))]
    shares = [len(server.bodies) for server in servers]
    assert sum(shares) == 24 and min(shares) >= 5
    for server in servers[:2]:
        server.tricks = [TRICKS["closed at once"]] * 1000
    found = await asyncio.gather(*(engine.generate(p, COLD, 0) for p in asked))
    assert [g.steps for g in found] == wanted
    assert len(servers[2].bodies) - shares[2] == 24


async def test_at_most_so_many_requests_are_under_way_and_a_cancelled_one_lets_go(serve):
    server, engine = serve(most=2)
    server.tricks = [slow(30)] * 2
    stuck = [asyncio.create_task(engine.generate(prompts(engine, 1)[0], COLD, n)) for n in range(3)]
    while len(server.bodies) < 2:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert len(server.bodies) == 2 == engine.servers.servers[0].in_flight
    for task in stuck[:2]:
        task.cancel()
    generation = await stuck[2]
    assert generation.steps and engine.servers.servers[0].in_flight == 0


def test_servers_that_cannot_be_used_are_named(serve, stepping_llama):
    server, engine = serve()
    words = engine.tokenizer
    assert engine.context == 2048 and OpenAIEngine("other name", words, server.url).model == "tiny"
    with pytest.raises(ValueError, match=r"no server to be used at http://127.0.0.1:9/v1"):
        OpenAIEngine("tiny", words, "http://127.0.0.1:9/v1")
    with pytest.raises(ValueError, match="at least one base URL"):
        OpenAIEngine("tiny", words)
    server.names = ("one", "two")
    with pytest.raises(ValueError, match="has no model 'tiny'; there are one, two"):
        OpenAIEngine("tiny", words, server.url)
    other, _ = serve()
    with pytest.raises(ValueError, match="serve different models: one, tiny"):
        OpenAIEngine("one", words, [server.url, other.url])


def test_a_text_model_runs_over_a_server_from_several_event_loops(serve, stepping_llama, tmp_path):
    server, _ = serve()
    text = load_text_model(stepping_llama, "openai", tape=tmp_path / "a.tape", base_urls=server.url)

    async def expand(slots):
        roots, _ = await text.start(["How many?"])
        return await text.expand(roots * len(slots), slots)

    states, expansion = asyncio.run(expand([0, 1, 2]))
    assert all(state.step for state in states) and (expansion.value[expansion.discount > 0] > 0).all()
    asked = len(server.bodies)
    again, _ = asyncio.run(expand([0, 1, 2]))
    assert again == states and len(server.bodies) == asked
    asyncio.run(expand([3]))
    assert len(server.bodies) > asked


def run_over(engine, folder, out, monkeypatch, value="none", limit=6):
    """`forethought eval` over these servers; the settings of the run are the same whatever their address."""
    words = format_for(engine.tokenizer, str(folder))
    critic = None if value == "none" else value_named(value, Means())
    monkeypatch.setattr(
        "forethought.evals.runners.text_runner.load", lambda *_: TextModel(engine, words, critic, seed=2)
    )
    flags = {"engine": "openai", "base_url": "x", "value": value, "limit": limit, "in_flight": 2, "quiet": True}
    with (out.parent / "log").open("w") as log:
        return evaluate(make_request("stories", "best_of_n", "6", out=out, **flags), Console(file=log))


def rows_of(out):
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()][1:]


def test_a_server_that_goes_away_stops_the_run_and_another_goes_on(serve, stepping_llama, tmp_path, monkeypatch):
    server, engine = serve(deadline=2.0)
    answer = server._answer

    async def leaving(line, content):
        if len(server.bodies) >= 8:
            server.tricks = [TRICKS["closed at once"]] * 1000
        return await answer(line, content)

    server._answer = leaving
    with pytest.raises(RunStopped, match=r"no answer within 2 s; the last attempt: http://.* are recorded as failed"):
        run_over(engine, stepping_llama, tmp_path / "out", monkeypatch)
    first = rows_of(tmp_path / "out")
    failed = [row for row in first if row["failed"]]
    assert 1 <= len(failed) <= 4 and len(first) > len(failed)
    assert all("no answer within" in row["failed"] and row["retryable"] for row in failed)
    summary = run_over(serve()[1], stepping_llama, tmp_path / "out", monkeypatch).summary
    assert (summary["rows"][0]["n"], summary["rows"][0]["failed"]) == (6, 0)
    assert rows_of(tmp_path / "out")[: len(first)] == first


async def test_one_request_without_an_answer_is_no_server_gone(serve):
    server, engine = serve(deadline=1.5, attempt=0.7)
    (bad, good), answer = prompts(engine, 2), server._answer

    async def stalling(line, content):
        await asyncio.sleep(30 if content and json.loads(content)["prompt"] == bad else 0)
        return await answer(line, content)

    server._answer = stalling
    stuck = asyncio.create_task(engine.generate(bad, COLD, 0))
    await asyncio.sleep(0.1)
    assert (await engine.generate(good, COLD, 0)).steps
    with pytest.raises(ServerError, match=r"no answer within 1\.5 s") as caught:
        await stuck
    assert not isinstance(caught.value, ServersGone)


@pytest.mark.parametrize("value", ["self", "logprob"])
def test_a_server_without_log_probabilities_is_told_at_once(serve, stepping_llama, tmp_path, monkeypatch, value):
    _, engine = serve("mute")
    with pytest.raises(RunStopped, match="the server gives no log-probabilities; choose --value none or rollout"):
        run_over(engine, stepping_llama, tmp_path / "out", monkeypatch, value)
    assert sum(1 for row in rows_of(tmp_path / "out") if row["failed"]) <= 2
