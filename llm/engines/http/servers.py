"""JSON over HTTP to one or several servers that serve the same: load balancing, retries with back-off, deadlines.

This module knows nothing of tokens and models. Servers fail in many ways, so a request is repeated, on another server
if there is one, until an answer contains what was requested or the deadline has passed. What a server sends is data
from a stranger: its size is limited, and messages about it show no key and no password.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeVar

import httpx2

from ....planning.redaction import redact
from ..messages import EngineGone

Answer = TypeVar("Answer")
Parse = Callable[[Any], Answer]

TRANSIENT = frozenset({408, 409, 425, 429, *range(500, 600)})
"""Status codes after which another attempt may succeed."""

REFUSED = frozenset({401, 403, 404})
"""Status codes that every further request would get too: a wrong key, a wrong path, or an unknown model."""

MAX_BACKOFF = 30.0
"""The longest wait after a failure, in seconds."""

MAX_REPLY = 1 << 24
"""The largest reply that is read, in bytes."""

OFF_LOOP = 1 << 16
"""Replies of more bytes are parsed in a thread, so that other requests are not held up meanwhile."""

START_TIMEOUT = 15.0
"""The longest that a server may take to list its models, in seconds."""

_USER_INFO = re.compile(r"(?<=://)[^/@\s]+@")


class ServerError(RuntimeError):
    """A server refused a request (`status` is its code), or none answered in time (`status` is 0)."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class ServersGone(ServerError, EngineGone):
    """No server has answered any request for as long as one may take."""


class AccessRefused(ServerError, EngineGone):
    """A server refuses access, or does not know the path or the model; further requests would be refused too."""


class _AttemptFailed(Exception):
    """An attempt that failed and may be repeated."""


class RawReply(NamedTuple):
    """A reply as received. retry_after: its header of that name, "" where there is none."""

    status: int
    body: bytes
    retry_after: str


@dataclass
class Server:
    """One address. in_flight: running requests. failures: in a row. retry_at: monotonic time of the next attempt."""

    url: str
    in_flight: int = 0
    failures: int = 0
    retry_at: float = 0.0

    @property
    def name(self) -> str:
        """The address without a user's name and password, for messages."""
        return _USER_INFO.sub("", self.url)


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
        self._secrets = [secret for secret in [key, *map(_password_of, urls)] if secret]
        self._client: httpx2.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._places = asyncio.Semaphore(max_in_flight)

    def get(self, path: str) -> list[tuple[str, Any]]:
        """What every server returns at `path`, without retries, as (address, JSON).

        Errors: ValueError that names a server which fails, or takes longer than `START_TIMEOUT` in total.
        """
        with ThreadPoolExecutor(1) as thread:  # the caller's thread may be running an event loop already
            return [
                (server.name, thread.submit(asyncio.run, self._get(server, path)).result()) for server in self.servers
            ]

    async def _get(self, server: Server, path: str) -> Any:
        limit = min(self.attempt_timeout, START_TIMEOUT)
        try:
            async with asyncio.timeout(limit), httpx2.AsyncClient(timeout=limit) as client:
                reply = await self._exchange(client, "GET", server.url + path, None)
            if reply.status != 200:
                raise ValueError(_status_text(reply))
            return await _parsed(reply.body, lambda found: found)
        except TimeoutError:
            raise ValueError(f"no server to be used at {server.name}: no answer within {limit:g} s") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            reason = self._redacted(f"{error or type(error).__name__}")
            raise ValueError(f"no server to be used at {server.name}: {reason}") from None

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
                            failure = f"{server.name}: {self._redacted(str(error))}"
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
                reply = await self._exchange(client, "POST", server.url + path, body)
            self._check_status(server, reply)
            answer = await _parsed(reply.body, parse)
        except (httpx2.RequestError, TimeoutError) as error:
            raise _AttemptFailed(f"{type(error).__name__} {error}".strip()) from error
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise _AttemptFailed(f"a broken answer ({type(error).__name__}: {error})") from error
        finally:
            server.in_flight -= 1
        server.failures, server.retry_at = 0, 0.0
        self._last_answer = time.monotonic()
        return answer

    async def _exchange(
        self, client: httpx2.AsyncClient, method: str, url: str, body: Mapping[str, Any] | None
    ) -> RawReply:
        """Send a request and read the reply. Errors: ValueError for one of more than `MAX_REPLY` bytes."""
        content = None if body is None else dict(body)
        async with client.stream(method, url, json=content, headers=self._headers) as reply:
            received = bytearray()
            async for part in reply.aiter_bytes():
                received += part
                if len(received) > MAX_REPLY:
                    raise ValueError(f"a reply of more than {MAX_REPLY >> 20} MiB")
            return RawReply(reply.status_code, bytes(received), reply.headers.get("retry-after", ""))

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

    def _check_status(self, server: Server, reply: RawReply) -> None:
        """_AttemptFailed for a transient refusal, ServerError for a permanent one."""
        if reply.status == 200:
            return
        message = _status_text(reply)
        if reply.status not in TRANSIENT:
            kind = AccessRefused if reply.status in REFUSED else ServerError
            raise kind(f"{server.name}: {self._redacted(message)}", reply.status)
        server.retry_at = time.monotonic() + min(_seconds_of(reply.retry_after), self.deadline)
        raise _AttemptFailed(message)

    def _redacted(self, text: str) -> str:
        """A text without the key and without passwords in addresses, which a server may repeat in its replies."""
        return redact(text, *self._secrets)

    async def _back_off(self, server: Server) -> None:
        """Set the time of the server's next attempt; sleep only while no server may be tried."""
        self.retries += 1
        pause = min(self.backoff * 2**server.failures, MAX_BACKOFF) * random.uniform(0.5, 1.0)
        server.failures += 1
        server.retry_at = max(server.retry_at, time.monotonic() + pause)
        await asyncio.sleep(max(0.0, min(each.retry_at for each in self.servers) - time.monotonic()))


async def _parsed(body: bytes, parse: Parse[Answer]) -> Answer:
    """`parse` of the JSON in a body. Errors: ValueError for a body that is not JSON, and those of `parse`."""

    def work() -> Answer:
        try:
            return parse(json.loads(body))
        except RecursionError:
            raise ValueError("the JSON is nested too deeply") from None

    return await asyncio.to_thread(work) if len(body) > OFF_LOOP else work()


def _status_text(reply: RawReply) -> str:
    return f"{reply.status} {' '.join(reply.body[:300].decode(errors='replace').split())}".strip()


def _seconds_of(retry_after: str) -> float:
    """The seconds that a Retry-After header names, as a number or as a date; 0 where it names none."""
    try:
        if re.fullmatch(r"[0-9]{1,9}", retry_after):
            return float(retry_after)
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _password_of(url: str) -> str:
    found = re.search(r"://[^/@:\s]*:([^/@\s]+)@", url)
    return found[1] if found else ""
