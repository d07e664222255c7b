"""JSON over HTTP to one or several servers that serve the same: load balancing, retries with back-off, a deadline.

Knows nothing of tokens and models. Servers fail in every way there is: a request is repeated, at another server where
there is one, until an answer holds what was asked for or its time is up.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2

from ..base import EngineGone

Answer = TypeVar("Answer")
Read = Callable[[Any], Answer]

TRANSIENT = frozenset({408, 409, 425, 429, *range(500, 600)})
"""Status codes that may be gone at the next attempt."""


class ServerError(RuntimeError):
    """A server refused a request (`status` is its code), or none answered in time (0)."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class ServersGone(ServerError, EngineGone):
    """No server has answered anyone for as long as a request may take."""


class _Failure(Exception):
    """An attempt that failed and may be repeated."""


@dataclass
class Server:
    """One address; requests under way there, failures in a row, and until when to leave it alone (monotonic)."""

    url: str
    in_flight: int = 0
    failures: int = 0
    rests: float = 0.0


class Servers:
    """Answers from whichever server has the fewest requests under way and did not just fail.

    deadline: seconds for a request with all its attempts, after which it is a ServerError; waiting for one of the
    `most` places in flight does not count. attempt: seconds for one attempt. pause: the first wait after a failure,
    doubled with each, at most half a minute, with jitter; a server's Retry-After is kept where it is longer.
    """

    def __init__(
        self,
        urls: Sequence[str],
        key: str | None = None,
        *,
        deadline: float = 600.0,
        attempt: float = 120.0,
        pause: float = 0.5,
        most: int = 256,
    ) -> None:
        if not urls:
            raise ValueError("at least one base URL is needed, such as http://localhost:8000/v1")
        self.servers = [Server(url.rstrip("/")) for url in urls]
        self.deadline, self.attempt, self.pause, self.most = deadline, attempt, pause, most
        self.retries, self._heard = 0, -math.inf
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client: httpx2.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gate = asyncio.Semaphore(most)

    def get(self, path: str) -> list[tuple[str, Any]]:
        """What every server has at `path`, at once and without retries. ValueError that names one without an answer."""
        found = []
        for server in self.servers:
            try:
                reply = httpx2.get(server.url + path, headers=self._headers, timeout=min(self.attempt, 15.0))
                reply.raise_for_status()
                found.append((server.url, reply.json()))
            except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
                raise ValueError(f"no server to be used at {server.url}: {error or type(error).__name__}") from None
        return found

    async def post(self, path: str, body: Mapping[str, Any], read: Read[Answer]) -> Answer:
        """What `read` makes of the answer; it raises ValueError, KeyError, TypeError or IndexError for a broken one.

        Errors: ServerError where a server refuses the request for good, or the deadline has passed; ServersGone where
        nobody else had an answer in that time either.
        """
        client, failure = self._connected(), "not tried yet"
        async with self._gate:
            begun = time.monotonic()
            try:
                async with asyncio.timeout(self.deadline):
                    while True:
                        server = self._next()
                        try:
                            return await self._attempt(client, server, path, body, read)
                        except _Failure as error:
                            failure = f"{server.url}: {error}"
                        await self._wait(server)
            except TimeoutError:
                text = f"no answer within {self.deadline:g} s; the last attempt: {failure}"
                raise (ServerError if self._heard > begun else ServersGone)(text) from None

    async def _attempt(
        self, client: httpx2.AsyncClient, server: Server, path: str, body: Mapping[str, Any], read: Read[Answer]
    ) -> Answer:
        server.in_flight += 1
        try:
            async with asyncio.timeout(self.attempt):
                reply = await client.post(server.url + path, json=dict(body), headers=self._headers)
            self._check(server, reply)
            answer = read(reply.json())
        except (httpx2.RequestError, TimeoutError) as error:
            raise _Failure(f"{type(error).__name__} {error}".strip()) from error
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise _Failure(f"a broken answer ({type(error).__name__}: {error})") from error
        finally:
            server.in_flight -= 1
        server.failures, server.rests = 0, 0.0
        self._heard = time.monotonic()
        return answer

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None and self._loop is asyncio.get_running_loop():
            await self._client.aclose()
        self._client = None

    def _connected(self) -> httpx2.AsyncClient:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            limits = httpx2.Limits(max_connections=None, max_keepalive_connections=self.most)
            self._client = httpx2.AsyncClient(limits=limits, timeout=self.attempt)
            self._loop, self._gate = loop, asyncio.Semaphore(self.most)
        return self._client

    def _next(self) -> Server:
        now = time.monotonic()
        return min(self.servers, key=lambda server: (max(server.rests - now, 0.0), server.in_flight))

    def _check(self, server: Server, reply: httpx2.Response) -> None:
        """_Failure for a refusal that may pass, ServerError for one that stays."""
        if reply.status_code == 200:
            return
        told = f"{reply.status_code} {' '.join(reply.text[:300].split())}"
        if reply.status_code not in TRANSIENT:
            raise ServerError(f"{server.url}: {told}", reply.status_code)
        after = reply.headers.get("retry-after", "")
        if after.isdigit():
            server.rests = time.monotonic() + int(after)
        raise _Failure(told)

    async def _wait(self, server: Server) -> None:
        """Leave the server alone for a while; wait as long as all of them rest."""
        self.retries += 1
        pause = min(self.pause * 2**server.failures, 30.0) * random.uniform(0.5, 1.0)
        server.failures += 1
        server.rests = max(server.rests, time.monotonic() + pause)
        await asyncio.sleep(max(0.0, min(each.rests for each in self.servers) - time.monotonic()))
