"""The waiting time before a request is repeated grows with failures in a row and starts anew after a success."""

import asyncio
import json
import random
from types import SimpleNamespace

import pytest

from forethought.llm.engines.http import servers as http
from forethought.llm.engines.http.servers import Servers

PAUSE = 0.5


async def start_server(statuses):
    """A server that answers each request with the next of `statuses`, then with 200."""

    async def serve(reader, writer):
        headers = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(headers.partition(b"content-length:")[2].split(b"\r\n")[0]))
        body = json.dumps({"answer": 1}).encode()
        status = statuses.pop(0) if statuses else 200
        writer.write(b"HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
def waits(monkeypatch):
    """The waiting times asked for, without the random part, on a clock that only they move."""
    found, sleep, clock = [], asyncio.sleep, SimpleNamespace(now=0.0)

    async def noted(seconds):
        if seconds > 0:
            found.append(seconds)
            clock.now += seconds
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", noted)
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    monkeypatch.setattr(http, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return found


async def test_the_first_failure_after_a_success_waits_the_first_delay_again(waits):
    statuses = []
    server, url = await start_server(statuses)
    servers = Servers([url], backoff=PAUSE)
    for failures in (3, 1, 2):
        statuses += [503] * failures
        waits.clear()
        assert await servers.post("/completions", {}, lambda answer: answer["answer"]) == 1
        assert waits == pytest.approx([PAUSE * 2**i for i in range(failures)])
    assert servers.retries == 6
    await servers.close()
    server.close()
