"""Any server that speaks OpenAI's completions protocol: vLLM, SGLang, llama.cpp, hosted ones; one or several of them.

Prompts go out as token ids. Servers differ in what comes back: ids where they offer them (vLLM), else their text read
by our tokenizer; a step's delimiter where it is kept, else what the server says it stopped at, else the text is cut
here. A server takes no noise per token: what makes a run repeatable is its tape.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ..base import EngineCounters, EngineGone, Generation, Sampling, Score, Tokens
from ..stops import Delimiters, decode
from .servers import ServerError, Servers

EXTRAS = {
    "return_token_ids": True,
    "return_tokens_as_token_ids": True,
    "include_stop_str_in_output": True,
    "skip_special_tokens": False,
    "spaces_between_special_tokens": False,
}
"""Fields beyond OpenAI's protocol, left away for a server that refuses them."""

TOP = 20
"""Next tokens whose log-probabilities are asked for, where a server cannot be asked for certain ones."""


class NoLogprobs(ServerError, EngineGone):
    """The server gives no log-probabilities, so that no score will ever come."""


@dataclass(frozen=True)
class Completion:
    """One completion as read from the wire: new ids with log-probabilities (NaN where the server gives none).

    finish: "stop" or "length". stopped: the stop string that ended it where the server says so and left it away, None
    where the server does not say.
    """

    ids: Tokens
    logprobs: tuple[float, ...]
    finish: str
    stopped: str | None
    cached: int
    computed: int


class OpenAIEngine:
    """Continues and scores token sequences at servers that serve the same model; see `base.Engine`.

    model: its name there, and if they know it by another name, the only one they have. tokenizer: the model's.
    base_urls: such as "http://localhost:8000/v1", several of them in a list or separated by commas. key: by default the
    environment's OPENAI_API_KEY. context: by default what the servers say, else the tokenizer. options: of `Servers`,
    such as `deadline`.

    Log-probabilities are as the server gives them: vLLM's are those at temperature 1. `score` sees the `TOP` most
    likely tokens unless the server can be asked for certain ids; what is not among them has chance 0. mute: the last
    continuation came without any.

    Errors: ValueError for a server that cannot be reached or lacks the model.
    """

    def __init__(
        self,
        model: str,
        tokenizer: Any,
        base_urls: str | Sequence[str] = (),
        *,
        key: str | None = None,
        context: int | None = None,
        **options: Any,
    ) -> None:
        urls = base_urls.split(",") if isinstance(base_urls, str) else list(base_urls)
        self.servers = Servers([url.strip() for url in urls if url.strip()], key or _key(), **options)
        self.tokenizer, self.counters = tokenizer, EngineCounters()
        served = [_served(url, listing, model) for url, listing in self.servers.get("/models")]
        self.model = served[0]["id"]
        if any(entry["id"] != self.model for entry in served):
            raise ValueError(f"the servers serve different models: {', '.join(entry['id'] for entry in served)}")
        self.context = context or _context(served, tokenizer)
        self.fingerprint = _fingerprint(self.model, tokenizer)
        self._extras, self._stops, self.mute = dict(EXTRAS), True, False
        self._step_ends = Delimiters(self.tokenizer)

    async def generate(self, prompt: Sequence[int], sampling: Sampling, stream: int) -> Generation:
        """Continue `prompt` in one request; what a server writes beyond the last step is thrown away.

        Errors: ValueError for a prompt that leaves no room, ServerError where no server answers.
        """
        if not prompt or len(prompt) + 1 > self.context:
            raise ValueError(f"the prompt has {len(prompt)} tokens; the context holds {self.context}, one new included")
        begun = time.perf_counter()
        most = min(sampling.max_tokens, self.context - len(prompt))
        body = {"temperature": sampling.temperature, "top_p": sampling.top_p, "max_tokens": most, "logprobs": 1}
        stop = sampling.stop if sampling.max_steps == 1 else None
        made = await self._complete(prompt, {**body, "stop": [stop]} if stop and self._stops else body)
        if stop and self._stops and made.finish == "stop" and made.stopped is None and not self._holds(made.ids, stop):
            # from this answer on it is not known whether a step or the solution has ended
            self._stops = False
            made = await self._complete(prompt, body)
        ids, logprobs = made.ids, made.logprobs
        if stop and made.finish == "stop" and made.stopped == stop and not self._holds(ids, stop):
            line_end = tuple(self.tokenizer.encode(stop, add_special_tokens=False))
            ids, logprobs = ids + line_end, logprobs + (0.0,) * len(line_end)
        self.counters.generated += len(ids)
        steps, ended = self._steps(ids, sampling, made.finish)
        left = iter(logprobs)
        shares = [tuple(islice(left, len(step))) for step in steps]
        return Generation(steps, shares, ended, made.cached, made.computed, time.perf_counter() - begun)

    async def score(self, prompt: Sequence[int], choices: Sequence[int]) -> Score:
        """Log-probabilities of single next tokens `choices`. NoLogprobs where the server gives none at all."""
        begun = time.perf_counter()
        body = {"temperature": 1.0, "max_tokens": 1, "logprobs": TOP}
        found, cached, computed = await self._send(
            prompt, body | ({"logprob_token_ids": list(choices)} if self._extras else {}), self._read_top
        )
        if found is None:
            raise NoLogprobs(f"{self.model}: the server gives no log-probabilities; choose --value none or rollout")
        self.counters.scored += 1
        logprobs = tuple(self._look_up(found, i) for i in choices)
        return Score(logprobs, cached, computed, time.perf_counter() - begun)

    async def close(self) -> None:
        await self.servers.close()

    async def _complete(self, prompt: Sequence[int], body: dict[str, Any]) -> Completion:
        return await self._send(prompt, body, self._read_completion)

    async def _send(self, prompt: Sequence[int], body: dict[str, Any], read: Any) -> Any:
        """Post a completion request, once more without the extras if a server does not know them."""
        self.counters.requests += 1
        body = {"model": self.model, "prompt": list(map(int, prompt)), **body}
        try:
            return await self.servers.post("/completions", {**body, **self._extras}, read)
        except ServerError as error:
            if error.status not in (400, 422) or not self._extras or "context" in str(error):
                raise
            self._extras = {}
            body.pop("logprob_token_ids", None)
            return await self.servers.post("/completions", body, read)

    def _read_completion(self, answer: Any) -> Completion:
        choice = answer["choices"][0]
        text, finish = choice["text"], choice["finish_reason"]
        if finish not in ("stop", "length") or not isinstance(text, str):
            raise ValueError(f"finish_reason {finish!r}")
        wire = choice.get("logprobs") or {}
        names, given = wire.get("tokens") or [], wire.get("token_logprobs") or []
        ids = self._ids(choice, names, text)
        logprobs = tuple(math.nan if x is None else float(x) for x in given)
        self.mute = bool(ids) and not given
        if len(logprobs) != len(ids):
            logprobs = (math.nan,) * len(ids)
        special = set(self.tokenizer.all_special_ids)
        while finish == "stop" and ids and ids[-1] in special:
            ids, logprobs = ids[:-1], logprobs[:-1]
        said = choice.get("stop_reason", choice.get("matched_stop"))
        told = "stop_reason" in choice or "matched_stop" in choice
        stopped = said if isinstance(said, str) else "" if told else None
        return Completion(ids, logprobs, finish, stopped, *_usage(answer))

    def _ids(self, choice: Any, names: Sequence[str], text: str) -> Tokens:
        if choice.get("token_ids") is not None:
            return tuple(map(int, choice["token_ids"]))
        if names and all(name.startswith("token_id:") for name in names):
            return tuple(int(name.removeprefix("token_id:")) for name in names)
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def _read_top(self, answer: Any) -> tuple[dict[str, float] | None, int, int]:
        wire = answer["choices"][0].get("logprobs") or {}
        top = wire.get("top_logprobs") or [None]
        return None if top[0] is None else {k: float(v) for k, v in top[0].items()}, *_usage(answer)

    def _look_up(self, found: dict[str, float], token: int) -> float:
        if (name := f"token_id:{token}") in found:
            return found[name]
        text = decode(self.tokenizer, [token])
        # half a character is written the same for many tokens
        return -math.inf if "\ufffd" in text else found.get(text, -math.inf)

    def _holds(self, ids: Sequence[int], text: str) -> bool:
        return text in decode(self.tokenizer, ids)

    def _steps(self, ids: Tokens, sampling: Sampling, finish: str) -> tuple[list[Tokens], str]:
        """The ids cut into steps, at most as many as asked for, and how the last of them ended."""
        ended = "length" if finish == "length" else "end"
        if not sampling.stop:
            return [ids] if ids else [], ended
        ends = self._step_ends(sampling.stop, sampling.ends)
        steps: list[Tokens] = []
        step: list[int] = []
        for token in ids:
            step.append(token)
            if ends.finished(step):
                steps.append(tuple(step))
                if ends.final(step):
                    return steps, "end"
                if len(steps) == sampling.max_steps:
                    return steps, "stop"
                step = []
        return steps + ([tuple(step)] if step else []), ended


def _key() -> str | None:
    return os.environ.get("OPENAI_API_KEY")


def _usage(answer: Any) -> tuple[int, int]:
    """Prompt tokens from the server's cache, and positions it computed, as far as it says."""
    usage = answer.get("usage") or {}
    details = usage.get("prompt_tokens_details") or {}
    cached = int(details.get("cached_tokens") or 0)
    return cached, int(usage.get("prompt_tokens") or 0) - cached + max(int(usage.get("completion_tokens") or 0) - 1, 0)


def _served(url: str, listing: Any, model: str) -> dict[str, Any]:
    """What the server says of the model; ValueError that lists what it has."""
    entries = listing.get("data") if isinstance(listing, dict) else None
    entries = [entry for entry in entries or [] if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
    named = [entry for entry in entries if entry["id"] == model]
    if not named and len(entries) != 1:
        there = ", ".join(entry["id"] for entry in entries) or "none"
        raise ValueError(f"the server at {url} has no model {model!r}; there are {there}")
    return (named or entries)[0]


def _context(served: Sequence[dict[str, Any]], tokenizer: Any) -> int:
    told = [entry["max_model_len"] for entry in served if isinstance(entry.get("max_model_len"), int)]
    return min([*told, int(min(getattr(tokenizer, "model_max_length", 4096), 1 << 17))])


def _fingerprint(model: str, tokenizer: Any) -> str:
    """16 hex digits of the model's name and its tokenizer: a server does not tell its weights."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    words = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    text = f"openai\0{model}\0{words}{getattr(tokenizer, 'chat_template', None)}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
