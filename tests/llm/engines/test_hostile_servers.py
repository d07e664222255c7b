"""Servers that send what no correct server sends: every reply is an error of one line, and none shows a secret."""

import asyncio
import contextlib
import json
import threading

import pytest
from completion_server import CompletionServer, status
from plain import flat
from time_limits import ATTEMPT, DEADLINE

from forethought.llm.engines.base import EngineGone, Sampling
from forethought.llm.engines.http import servers as servers_module
from forethought.llm.engines.http.openai import OpenAIEngine
from forethought.llm.engines.http.servers import AccessRefused, ServerError
from forethought.llm.engines.transformers.engine import TransformersEngine

STEP = Sampling(temperature=0, max_tokens=8, max_steps=1, stop="z")
KEY = "sk-secret-123456"


@pytest.fixture(scope="module")
def local(stepping_llama):
    return TransformersEngine(stepping_llama)


@pytest.fixture
def serve(local, limits):
    made = []

    def start(url=lambda url: url, **options):
        server = CompletionServer(local)
        made.append(server)
        options = {"backoff": 0.01, "deadline": DEADLINE, "attempt_timeout": ATTEMPT, "key": KEY} | options
        return server, OpenAIEngine("tiny", local.tokenizer, url(server.url), **options)

    yield start
    for server in made:
        server.stop()


def changed(change):
    """A trick that changes the JSON of a correct reply."""

    def trick(wire):
        _, _, body = wire.partition(b"\r\n\r\n")
        answer = json.loads(body)
        answer = change(answer) or answer
        content = json.dumps(answer).encode()
        return b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n%s" % (len(content), content)

    return trick


def in_choice(**fields):
    return changed(lambda answer: answer["choices"][0].update(fields))


def in_logprobs(**fields):
    return changed(lambda answer: answer["choices"][0]["logprobs"].update(fields))


NESTED = b"[" * 100_000 + b"]" * 100_000
BROKEN = {
    "a list": changed(lambda answer: [answer]),
    "a number": changed(lambda answer: 5),
    "choices is text": changed(lambda answer: answer.update(choices="none")),
    "a choice is a list": changed(lambda answer: answer.update(choices=[[]])),
    "no choice": changed(lambda answer: answer.update(choices=[])),
    "text is a number": in_choice(text=7),
    "text is null": in_choice(text=None),
    "ids are text": in_choice(token_ids=["5"]),
    "ids are fractions": in_choice(token_ids=[1.5]),
    "negative ids": in_choice(token_ids=[-1]),
    "ids beyond the vocabulary": in_choice(token_ids=[10**9]),
    "more ids than asked for": in_choice(token_ids=[1] * 1000),
    "more text than asked for": in_choice(text="a" * 10**7, token_ids=None),
    "finish is a list": in_choice(finish_reason=["stop"]),
    "the stop is an object": in_choice(stop_reason={"a": 1}),
    "logprobs is a list": in_choice(logprobs=[1]),
    "token_logprobs is text": in_logprobs(token_logprobs="none"),
    "a positive log-probability": in_logprobs(token_logprobs=[3.0]),
    "log-probabilities that are text": in_logprobs(token_logprobs=["-1"]),
    "tokens are numbers": in_logprobs(tokens=[1, 2]),
    "usage is a list": changed(lambda answer: answer.update(usage=[1])),
    "negative usage": changed(lambda answer: answer.update(usage={"prompt_tokens": -5})),
    "usage is text": changed(lambda answer: answer.update(usage={"prompt_tokens": "many"})),
    "deeply nested": lambda wire: b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n%s" % (len(NESTED), NESTED),
    "not UTF-8": lambda wire: b"HTTP/1.1 200 X\r\nContent-Length: 4\r\n\r\n\xff\xfe\xfd\xfc",
    "Retry-After is a word": status(503, b"Retry-After: soon\r\n"),
    "Retry-After is a superscript": status(503, "Retry-After: ²\r\n".encode("latin-1")),
    "Retry-After is long past": status(503, b"Retry-After: Fri, 01 Jan 1999 00:00:00 GMT\r\n"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_reply_is_asked_for_again(serve, local, name):
    server, engine = serve()
    prompt = local.tokenizer.encode("How many apples?\n")
    server.tricks = [BROKEN[name]]
    found, wanted = await engine.generate(prompt, STEP, 0), await local.generate(prompt, STEP, 0)
    assert flat(found) == flat(wanted)
    assert engine.servers.retries == 1


TOP = {
    "a list": {"top_logprobs": [[1]]},
    "numbers in text": {"top_logprobs": [{"token_id:5": "-1.0"}]},
    "positive": {"top_logprobs": [{"token_id:5": 2.0}]},
    "not in a list": {"top_logprobs": {"token_id:5": -1.0}},
}


@pytest.mark.parametrize("name", TOP)
async def test_broken_scores_are_asked_for_again(serve, local, name):
    server, engine = serve()
    prompt = local.tokenizer.encode("How many apples?\n")
    server.tricks = [in_logprobs(**TOP[name])]
    assert (await engine.score(prompt, [5])).logprobs == pytest.approx(
        (await local.score(prompt, [5])).logprobs, abs=1e-4
    )
    assert engine.servers.retries == 1


async def test_null_usage_and_null_log_probabilities_are_none_given(serve, local):
    server, engine = serve()
    server.tricks = [changed(lambda answer: answer.update(usage=None))]
    made = await engine.generate(local.tokenizer.encode("How many?\n"), STEP, 0)
    assert (made.cached, made.computed) == (0, 0) and engine.servers.retries == 0
    server, engine = serve()
    server.tricks = [in_choice(logprobs=None)]
    await engine.generate(local.tokenizer.encode("How many?\n"), STEP, 0)
    assert not engine.gives_logprobs


async def test_more_cached_tokens_than_the_prompt_has_count_as_the_prompt(serve, local):
    server, engine = serve()
    usage = {"prompt_tokens": 10, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 10**9}}
    server.tricks = [changed(lambda answer: answer.update(usage=usage))]
    made = await engine.generate(local.tokenizer.encode("How many?\n"), STEP, 0)
    assert (made.cached, made.computed) == (10, 2)


async def test_a_reply_without_end_is_read_up_to_the_limit(serve, local, monkeypatch):
    monkeypatch.setattr(servers_module, "MAX_REPLY", 1 << 20)
    server, engine = serve()
    prompt = local.tokenizer.encode("How many?\n")
    server.tricks = [lambda wire: b"HTTP/1.1 200 X\r\nContent-Length: 99999999\r\n\r\n" + b" " * (1 << 21)]
    found, wanted = await engine.generate(prompt, STEP, 0), await local.generate(prompt, STEP, 0)
    assert flat(found) == flat(wanted)
    assert engine.servers.retries == 1


@pytest.mark.parametrize("code", [401, 403, 404])
async def test_a_refusal_of_all_requests_stops_the_run_after_one(serve, local, code):
    server, engine = serve()
    engine._extras = {}
    server.tricks = [status(code)] * 5
    with pytest.raises(AccessRefused, match=f"{code} nope") as caught:
        await engine.generate(local.tokenizer.encode("How many?\n"), STEP, 0)
    assert isinstance(caught.value, EngineGone) and len(server.tricks) == 4


async def test_a_server_that_repeats_the_headers_shows_neither_key_nor_password(serve, limits, local):
    limits.most_attempts = 2
    server, engine = serve(lambda url: url.replace("http://", "http://me:pass-word-9@"))
    shown = f"Authorization: Bearer {KEY}, http://me:pass-word-9@host and pass-word-9".encode()
    for code in (400, 401, 503):
        server.tricks = [
            lambda wire, code=code: b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (code, len(shown), shown)
        ] * 99
        engine._extras = {}
        with pytest.raises(ServerError) as caught:
            await engine.generate(local.tokenizer.encode("How many?\n"), STEP, 0)
        assert KEY not in str(caught.value) and "pass-word-9" not in str(caught.value)
        assert "127.0.0.1" in str(caught.value)


def raw_server(send):
    """The address of a server on a thread that calls `send(writer)` for each connection."""
    ready, found = threading.Event(), []

    async def run():
        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                await send(writer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        found.append(server.sockets[0].getsockname()[1])
        ready.set()
        await asyncio.sleep(120)

    threading.Thread(target=asyncio.run, args=(run(),), daemon=True).start()
    ready.wait()
    return f"http://127.0.0.1:{found[0]}/v1"


async def drip_headers(writer):
    writer.write(b"HTTP/1.1 200 X\r\n")
    while True:
        writer.write(b"X-A: b\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


async def drip_body(writer):
    writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("send", [drip_headers, drip_body])
def test_a_listing_of_models_that_drips_ends_at_the_limit(local, monkeypatch, send):
    monkeypatch.setattr(servers_module, "START_TIMEOUT", 0.5)
    with pytest.raises(
        ValueError, match=r"no server to be used at http://127\.0\.0\.1:\d+/v1: no answer within 0\.5 s"
    ):
        OpenAIEngine("tiny", local.tokenizer, raw_server(send))


def listing(content):
    async def send(writer):
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n%s" % (len(content), content))
        await writer.drain()

    return send


LISTINGS = {
    "not JSON": b"<html>",
    "a list": b"[1, 2]",
    "entries are text": b'{"data": ["tiny"]}',
    "an id is a number": b'{"data": [{"id": 5}]}',
    "a negative context": b'{"data": [{"id": "tiny", "max_model_len": -4}]}',
    "nested": NESTED,
}


@pytest.mark.parametrize("name", LISTINGS)
def test_a_broken_listing_of_models_is_one_line(local, name):
    with pytest.raises(ValueError, match=r"http://127\.0\.0\.1:\d+/v1") as caught:
        OpenAIEngine("tiny", local.tokenizer, raw_server(listing(LISTINGS[name])))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
