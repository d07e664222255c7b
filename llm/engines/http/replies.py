"""What servers reply, validated: the fields that the engine uses, of the types that OpenAI's interface gives them.

Source: OpenAI's API reference, "Completions" and "Models"; vLLM's additions `token_ids`, `stop_reason` and
`max_model_len`. Fields that are not named here are ignored.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Count = Annotated[int, Field(ge=0)]
LogProbability = Annotated[float, Field(le=1e-3)]
"""At most 0 but for rounding; NaN is refused."""

ReplyT = TypeVar("ReplyT", bound="Reply")


class Reply(BaseModel):
    """A reply, or a part of one; numbers in quotation marks and the like are refused."""

    model_config = ConfigDict(strict=True, frozen=True)


class PromptTokensDetails(Reply):
    """cached_tokens: prompt tokens that the server had in its cache."""

    cached_tokens: Count | None = None


class TokenUsage(Reply):
    """Tokens that a server says it processed for one request."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_tokens_details: PromptTokensDetails | None = None

    @property
    def cached(self) -> int:
        """Prompt tokens from the cache, at most all of the prompt."""
        details = self.prompt_tokens_details
        return min((details and details.cached_tokens) or 0, self.prompt_tokens or 0)

    @property
    def computed(self) -> int:
        """Positions that the server computed: the prompt without its cached part, and all new tokens but the last."""
        return (self.prompt_tokens or 0) - self.cached + max((self.completion_tokens or 0) - 1, 0)


class Logprobs(Reply):
    """Log-probabilities of the new tokens; `top_logprobs` holds those of the likeliest tokens at each position."""

    tokens: list[str] | None = None
    token_logprobs: list[LogProbability | None] | None = None
    top_logprobs: list[dict[str, LogProbability] | None] | None = None


class Choice(Reply):
    """One completion."""

    text: str
    finish_reason: Literal["stop", "length"]
    stop_reason: str | int | None = None
    matched_stop: str | int | None = None
    token_ids: list[int] | None = None
    logprobs: Logprobs | None = None


class CompletionReply(Reply):
    """The reply to `POST /completions`."""

    choices: Annotated[list[Choice], Field(min_length=1)]
    usage: TokenUsage | None = None

    @property
    def processed(self) -> tuple[int, int]:
        """Prompt tokens from the server's cache, and positions that it computed, as far as it reports them."""
        return (self.usage.cached, self.usage.computed) if self.usage else (0, 0)


class ServedModel(Reply):
    """A model of a server; max_model_len: its longest sequence in tokens."""

    id: Annotated[str, Field(min_length=1, max_length=1000)]
    max_model_len: Annotated[int, Field(ge=1)] | None = None


class ModelList(Reply):
    """The reply to `GET /models`."""

    data: list[ServedModel]


def reply_of(kind: type[ReplyT], received: object) -> ReplyT:
    """The reply as an object. Errors: ValueError that names the first field that is wrong."""
    try:
        return kind.model_validate(received)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where or 'reply'}: {first['msg']}") from None
