"""JSON over HTTP to one or several servers that serve the same: load balancing, retries with back-off, deadlines.

This module knows nothing of tokens and models. Servers fail in many ways, so a request is repeated, on another server
if there is one, until an answer contains what was requested or the deadline has passed.
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

from ..messages import EngineGone

Answer = TypeVar("Answer")
Parse = Callable[[Any], Answer]

TRANSIENT = frozenset({408, 409, 425, 429, *range(500, 600)})
"""Status codes after which another attempt may succeed."""

MAX_BACKOFF = 30.0
"""The longest wait after a failure, in seconds."""


class ServerError(RuntimeError):
    """A server refused a request (`status` is its code), or none answered in time (`status` is 0)."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class ServersGone(ServerError, EngineGone):
    """No server has answered any request for as long as one may take."""


class _AttemptFailed(Exception):
    """An attempt that failed and may be repeated."""


@dataclass
class Server:
    """One address. in_flight: running requests. failures: in a row. retry_at: monotonic time of the next attempt."""

    url: str
    in_flight: int = 0
    failures: int = 0
    retry_at: float = 0.0


class Servers:
    """Sends each request to the server with the fewest running requests among those that did not just fail.

    retries: number of repeated attempts.
    """

    def __init__(
        self,
        urls: Sequence[str],
        key: str | None = None,
        *,
        deadline: float = 600.0,
        attempt_timeout: float = 120.0,
        backoff: float = 0.5,
        max_in_flight: int = 256,
    ) -> None:
        """Prepare connections.

        key: bearer token. deadline: seconds for a request with all its attempts, not counting the wait until fewer than
        `max_in_flight` requests run; then it is a ServerError. attempt_timeout: seconds for one attempt.
        backoff: seconds to wait after the first failure, doubled with each further one up to `MAX_BACKOFF`, with
        jitter; a longer Retry-After of the server is respected.
        """
        if not urls:
            raise ValueError("at least one base URL is needed, such as http://localhost:8000/v1")
        self.servers = [Server(url.rstrip("/")) for url in urls]
        self.deadline, self.attempt_timeout = deadline, attempt_timeout
        self.backoff, self.max_in_flight = backoff, max_in_flight
        self.retries, self._last_answer = 0, -math.inf
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client: httpx2.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._places = asyncio.Semaphore(max_in_flight)

    def get(self, path: str) -> list[tuple[str, Any]]:
        """What every server returns at `path`, without retries, as (url, JSON); ValueError names one that fails."""
        answers = []
        for server in self.servers:
            try:
                timeout = min(self.attempt_timeout, 15.0)
                reply = httpx2.get(server.url + path, headers=self._headers, timeout=timeout)
                reply.raise_for_status()
                answers.append((server.url, reply.json()))
            except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
                raise ValueError(f"no server to be used at {server.url}: {error or type(error).__name__}") from None
        return answers

    async def post(self, path: str, body: Mapping[str, Any], parse: Parse[Answer]) -> Answer:
        """`parse` of the answer; it raises ValueError, KeyError, TypeError or IndexError for a malformed one.

        Errors: ServerError where a server refuses the request for good, or the deadline has passed; ServersGone where
        no other request was answered in that time either.
        """
        client, failure = self._connected(), "not tried yet"
        async with self._places:
            started = time.monotonic()
            try:
                async with asyncio.timeout(self.deadline):
                    while True:
                        server = self._choose_server()
                        try:
                            return await self._attempt(client, server, path, body, parse)
                        except _AttemptFailed as error:
                            failure = f"{server.url}: {error}"
                        await self._back_off(server)
            except TimeoutError:
                text = f"no answer within {self.deadline:g} s; the last attempt: {failure}"
                raise (ServerError if self._last_answer > started else ServersGone)(text) from None

    async def _attempt(
        self, client: httpx2.AsyncClient, server: Server, path: str, body: Mapping[str, Any], parse: Parse[Answer]
    ) -> Answer:
        server.in_flight += 1
        try:
            async with asyncio.timeout(self.attempt_timeout):
                reply = await client.post(server.url + path, json=dict(body), headers=self._headers)
            self._check_status(server, reply)
            answer = parse(reply.json())
        except (httpx2.RequestError, TimeoutError) as error:
            raise _AttemptFailed(f"{type(error).__name__} {error}".strip()) from error
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise _AttemptFailed(f"a broken answer ({type(error).__name__}: {error})") from error
        finally:
            server.in_flight -= 1
        server.failures, server.retry_at = 0, 0.0
        self._last_answer = time.monotonic()
        return answer

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None and self._loop is asyncio.get_running_loop():
            await self._client.aclose()
        self._client = None

    def _connected(self) -> httpx2.AsyncClient:
        """The client of the running event loop; another loop gets a new one."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            limits = httpx2.Limits(max_connections=None, max_keepalive_connections=self.max_in_flight)
            self._client = httpx2.AsyncClient(limits=limits, timeout=self.attempt_timeout)
            self._loop, self._places = loop, asyncio.Semaphore(self.max_in_flight)
        return self._client

    def _choose_server(self) -> Server:
        now = time.monotonic()
        return min(self.servers, key=lambda server: (max(server.retry_at - now, 0.0), server.in_flight))

    def _check_status(self, server: Server, reply: httpx2.Response) -> None:
        """_AttemptFailed for a transient refusal, ServerError for a permanent one."""
        if reply.status_code == 200:
            return
        message = f"{reply.status_code} {' '.join(reply.text[:300].split())}"
        if reply.status_code not in TRANSIENT:
            raise ServerError(f"{server.url}: {message}", reply.status_code)
        retry_after = reply.headers.get("retry-after", "")
        if retry_after.isdigit():
            server.retry_at = time.monotonic() + int(retry_after)
        raise _AttemptFailed(message)

    async def _back_off(self, server: Server) -> None:
        """Set the time of the server's next attempt; sleep only while no server may be tried."""
        self.retries += 1
        pause = min(self.backoff * 2**server.failures, MAX_BACKOFF) * random.uniform(0.5, 1.0)
        server.failures += 1
        server.retry_at = max(server.retry_at, time.monotonic() + pause)
        await asyncio.sleep(max(0.0, min(each.retry_at for each in self.servers) - time.monotonic()))
