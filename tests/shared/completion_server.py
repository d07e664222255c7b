"""An HTTP server with OpenAI's completions interface in front of an engine, and the failures it can be told to show."""

from __future__ import annotations

import asyncio
import json
import threading

from plain import flat

from forethought.llm.engines.base import Sampling


class CompletionServer:
    """A server on a thread. Each request uses up one of `tricks`, which replaces the bytes of the correct answer.

    kind: "vllm" returns ids, keeps stop strings and returns log-probabilities of given ids; "plain" ignores fields
    beyond OpenAI's and drops the stop string; "strict" refuses such fields; "mute" returns no log-probabilities.
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
                    # else a client that is quicker than `close` below would try this connection once more
                    wire = wire.replace(b" X\r\n", b" X\r\nConnection: close\r\n", 1)
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


def status(code, extra=b""):
    return lambda wire: b"HTTP/1.1 %d X\r\n%sContent-Length: 4\r\n\r\nnope" % (code, extra)


async def silence(wire):
    """No answer until the server stops."""
    await asyncio.Event().wait()


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
    "wrong encoding": lambda wire: wire.replace(b"HTTP/1.1 200 X\r\n", b"HTTP/1.1 200 X\r\nContent-Encoding: gzip\r\n"),
}
