"""An engine for servers with OpenAI's completions interface: vLLM, SGLang, llama.cpp and hosted ones.

Prompts are sent as token ids. Servers differ in what they return: token ids where they offer them (vLLM), else text
that is tokenised here; the delimiter of a step where they keep it, else what stopped the generation, else the text is
split here. A server accepts no random numbers per token, so only a tape makes a run repeatable.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ....planning.fingerprint import fingerprint
from ..base import Engine, EngineCounters, EngineGone, Generation, Sampling, Score, Tokens
from ..model_files import tokenizer_text
from ..step_splitter import StepEndsCache, StepSplitter, decode
from .replies import Choice, CompletionReply, Logprobs, ModelList, ServedModel, reply_of
from .servers import Answer, Parse, ServerError, Servers

EXTRAS = {
    "return_token_ids": True,
    "return_tokens_as_token_ids": True,
    "include_stop_str_in_output": True,
    "skip_special_tokens": False,
    "spaces_between_special_tokens": False,
}
"""Fields beyond OpenAI's interface, omitted for a server that refuses them."""

TOP_LOGPROBS = 20
"""Most likely next tokens to request where a server cannot return the log-probabilities of given ones."""

SERVER_STOPS = {"line": "\n", "paragraph": "\n\n", "sentence": ""}
"""What stops a request for one step, by the kind of step; a sentence ends at no fixed text, so nothing stops it.

A server that is stopped at a line does not see the blank lines after it, which therefore begin the next step.
"""

MAX_TOKEN_LENGTH = 512
"""Characters that a token may have at most; a text that is longer than its tokens allow is not tokenised."""


class NoLogprobs(ServerError, EngineGone):
    """The server returns no log-probabilities, so that no score is possible."""


@dataclass(frozen=True)
class Completion:
    """One completion as received: new ids with log-probabilities (NaN where the server returns none).

    finish: "stop" or "length". stopped: the stop text that ended the completion and is not part of it, "" where it was
    none; None where the server does not say. cached, computed, dropped: as in `Generation`.
    """

    ids: Tokens
    logprobs: tuple[float, ...]
    finish: str
    stopped: str | None
    cached: int
    computed: int
    dropped: int = 0


class OpenAIEngine(Engine):
    """Generates and scores token sequences on servers that serve the same model; see `Engine`.

    Log-probabilities are those of the server: vLLM's are at temperature 1. `score` sees the `TOP_LOGPROBS` most likely
    tokens unless the server accepts token ids; other tokens get probability 0. `gives_logprobs` is False after a
    continuation without log-probabilities.
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
        """Ask the servers for their models.

        model: its name on the servers; if they have a single model, its name may differ. tokenizer: the model's.
        base_urls: such as "http://localhost:8000/v1", several in a list or separated by commas. key: by default the
        environment variable OPENAI_API_KEY. context: by default what the servers report, else the tokenizer's.
        options: of `Servers`, such as `deadline`.

        Errors: ValueError for a server that cannot be reached or lacks the model.
        """
        urls = base_urls.split(",") if isinstance(base_urls, str) else list(base_urls)
        key = key or os.environ.get("OPENAI_API_KEY")
        self.servers = Servers([url.strip() for url in urls if url.strip()], key, **options)
        self.tokenizer, self.counters = tokenizer, EngineCounters()
        served = [_served_model(address, listing, model) for address, listing in self.servers.get("/models")]
        self.model = served[0].id
        if any(entry.id != self.model for entry in served):
            raise ValueError(f"the servers serve different models: {', '.join(entry.id for entry in served)}")
        self.context = context or _context(served, tokenizer)
        self.fingerprint = _fingerprint(self.model, tokenizer)
        self._extras, self._use_stop = dict(EXTRAS), True
        self._step_ends = StepEndsCache(self.tokenizer)

    async def generate(self, prompt: Sequence[int], sampling: Sampling, stream: int) -> Generation:
        """Continue `prompt`, in one request unless a server stops after a blank line; see `SERVER_STOPS`.

        Errors: ValueError for a prompt that leaves no room, ServerError where no server answers.
        """
        if not prompt or len(prompt) + 1 > self.context:
            raise ValueError(f"the prompt has {len(prompt)} tokens; the context holds {self.context}, one new included")
        started, ends = time.perf_counter(), self._step_ends(sampling)
        split = StepSplitter(ends, sampling)
        left = min(sampling.max_tokens, self.context - len(prompt))
        cached, computed, ids = 0, 0, list(map(int, prompt))
        while not split.ended:
            made, stopped = await self._continue(ids, sampling, left)
            cached, computed, left = cached + made.cached, computed + made.computed, left - len(made.ids)
            split.dropped += made.dropped
            for token, logprob in zip(made.ids, made.logprobs):
                if split.ended:
                    split.dropped += 1
                else:
                    split.append(token, logprob)
            ids += made.ids
            if not (stopped and split.is_blank() and left > 0 and made.ids):
                split.finish("stop" if stopped else "length" if made.finish == "length" else "end")
        self.counters.generated += sum(map(len, split.steps)) + split.dropped
        seconds = time.perf_counter() - started
        return Generation(split.steps, split.logprobs, split.ended, cached, computed, seconds, split.dropped)

    async def _continue(self, prompt: Sequence[int], sampling: Sampling, left: int) -> tuple[Completion, bool]:
        """One completion of at most `left` tokens, with the delimiter where that stopped it, and whether it did."""
        body = {"temperature": sampling.temperature, "top_p": sampling.top_p, "max_tokens": left, "logprobs": 1}
        stop = SERVER_STOPS.get(sampling.cut, sampling.stop)
        if sampling.max_steps != 1 or sampling.last_to_end or not stop or not self._use_stop:
            return await self._complete(prompt, body), False
        made = await self._complete(prompt, {**body, "stop": [stop]})
        if made.finish == "stop" and made.stopped is None and not self._contains(made.ids, stop):
            # such a server does not say whether the stop text or the end of sequence ended the completion
            self._use_stop = False
            again = await self._complete(prompt, body)
            return replace(again, dropped=len(made.ids), computed=again.computed + made.computed), False
        stopped = made.finish == "stop" and (made.stopped == stop or self._contains(made.ids, stop))
        if stopped and not self._contains(made.ids, stop):
            delimiter = tuple(self.tokenizer.encode(stop, add_special_tokens=False))
            made = replace(made, ids=made.ids + delimiter, logprobs=made.logprobs + (0.0,) * len(delimiter))
        return made, stopped

    async def score(self, prompt: Sequence[int], choices: Sequence[int]) -> Score:
        """Log-probabilities of single next tokens `choices`. NoLogprobs where the server returns none."""
        started = time.perf_counter()
        body: dict[str, Any] = {"temperature": 1.0, "max_tokens": 1, "logprobs": TOP_LOGPROBS}
        body |= {"logprob_token_ids": list(choices)} if self._extras else {}
        top, cached, computed = await self._send(prompt, body, self._parse_top_logprobs)
        if top is None:
            raise NoLogprobs(f"{self.model}: the server gives no log-probabilities; choose --value none or rollout")
        self.counters.scored += 1
        logprobs = tuple(self._look_up(top, token) for token in choices)
        return Score(logprobs, cached, computed, time.perf_counter() - started)

    async def close(self) -> None:
        """Close the connections."""
        await self.servers.close()

    async def _complete(self, prompt: Sequence[int], body: dict[str, Any]) -> Completion:
        return await self._send(prompt, body, partial(self._parse_completion, body["max_tokens"]))

    async def _send(self, prompt: Sequence[int], body: dict[str, Any], parse: Parse[Answer]) -> Answer:
        """Post a completion request, and once more without the extra fields if a server refuses them."""
        self.counters.requests += 1
        body = {"model": self.model, "prompt": list(map(int, prompt)), **body}
        try:
            return await self.servers.post("/completions", {**body, **self._extras}, parse)
        except ServerError as error:
            if error.status not in (400, 422) or not self._extras or "context" in str(error):
                raise
            self._extras = {}
            body.pop("logprob_token_ids", None)
            return await self.servers.post("/completions", body, parse)

    def _parse_completion(self, max_tokens: int, received: Any) -> Completion:
        reply = reply_of(CompletionReply, received)
        choice, given = reply.choices[0], reply.choices[0].logprobs or Logprobs()
        if len(choice.text) > MAX_TOKEN_LENGTH * (max_tokens + 1) or len(choice.token_ids or ()) > max_tokens + 1:
            raise ValueError(f"a completion of more than {max_tokens} tokens")
        ids = self._ids(choice, given.tokens or [])
        logprobs = tuple(math.nan if x is None else x for x in given.token_logprobs or ())
        self.gives_logprobs = not ids or bool(logprobs)
        if len(logprobs) != len(ids):
            logprobs = (math.nan,) * len(ids)
        special = set(self.tokenizer.all_special_ids)
        while choice.finish_reason == "stop" and ids and ids[-1] in special:
            ids, logprobs = ids[:-1], logprobs[:-1]
        reported = choice.model_fields_set & {"stop_reason", "matched_stop"}
        reason = choice.stop_reason if "stop_reason" in reported else choice.matched_stop
        stopped = reason if isinstance(reason, str) else "" if reported else None
        return Completion(ids, logprobs, choice.finish_reason, stopped, *reply.processed)

    def _ids(self, choice: Choice, names: Sequence[str]) -> Tokens:
        """The ids where the server returns them, as such or as token names, else the tokenised text."""
        if choice.token_ids is not None:
            return self._known(choice.token_ids)
        if names and all(name.startswith("token_id:") for name in names):
            return self._known([int(name.removeprefix("token_id:")) for name in names])
        return tuple(self.tokenizer.encode(choice.text, add_special_tokens=False))

    def _known(self, ids: Sequence[int]) -> Tokens:
        if ids and not 0 <= min(ids) <= max(ids) < len(self.tokenizer):
            raise ValueError(f"a token id outside the vocabulary of {len(self.tokenizer)}")
        return tuple(ids)

    def _parse_top_logprobs(self, received: Any) -> tuple[dict[str, float] | None, int, int]:
        reply = reply_of(CompletionReply, received)
        logprobs = reply.choices[0].logprobs or Logprobs()
        top = (logprobs.top_logprobs or [None])[0]
        return top, *reply.processed

    def _look_up(self, top: dict[str, float], token: int) -> float:
        if (name := f"token_id:{token}") in top:
            return top[name]
        text = decode(self.tokenizer, [token])
        # many tokens that are parts of a character have this same text
        return -math.inf if "\ufffd" in text else top.get(text, -math.inf)

    def _contains(self, ids: Sequence[int], text: str) -> bool:
        return text in decode(self.tokenizer, ids)


def _served_model(address: str, listing: Any, model: str) -> ServedModel:
    """The server's entry for the model; ValueError that lists the models it has."""
    try:
        entries = reply_of(ModelList, listing).data
    except ValueError as error:
        raise ValueError(f"the server at {address} lists no models ({error})") from None
    named = [entry for entry in entries if entry.id == model]
    if not named and len(entries) != 1:
        there = ", ".join(entry.id for entry in entries[:20]) or "none"
        raise ValueError(f"the server at {address} has no model {model!r}; there are {there}")
    return (named or entries)[0]


def _context(served: Sequence[ServedModel], tokenizer: Any) -> int:
    reported = [entry.max_model_len for entry in served if entry.max_model_len is not None]
    return min([*reported, int(min(getattr(tokenizer, "model_max_length", 4096), 1 << 17))])


def _fingerprint(model: str, tokenizer: Any) -> str:
    """16 hex digits of the model's name and its tokenizer, since a server does not show its weights."""
    return fingerprint([f"openai\0{model}\0{tokenizer_text(tokenizer)}"])
