"""The waiting time before a request is repeated grows with failures in a row and starts anew after a success."""

import asyncio
import json
import random

import pytest

from forethought.llm.engines.http.servers import Servers

PAUSE = 0.02


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
    """The waiting times asked for, without the random part."""
    found, sleep = [], asyncio.sleep

    async def noted(seconds, *more):
        if seconds > 0:
            found.append(seconds)
        return await sleep(seconds, *more)

    monkeypatch.setattr(asyncio, "sleep", noted)
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    return found


async def test_the_first_failure_after_a_success_waits_the_first_delay_again(waits):
    statuses = []
    server, url = await start_server(statuses)
    servers = Servers([url], backoff=PAUSE)
    for failures in (3, 1, 2):
        statuses += [503] * failures
        waits.clear()
        assert await servers.post("/completions", {}, lambda answer: answer["answer"]) == 1
        assert waits == pytest.approx([PAUSE * 2**i for i in range(failures)], abs=PAUSE / 4)
    assert servers.retries == 6
    await servers.close()
    server.close()
