"""Texts to token ids. Tokenizers are those of transformers, or objects with the same `encode` and `decode`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..engines.base import Tokens


def encode_text(tokenizer: Any, text: str) -> Tokens:
    """The token ids of a text, without special tokens."""
    return tuple(tokenizer.encode(text, add_special_tokens=False))


def verdict_tokens(tokenizer: Any, yes: str | Sequence[str], no: str | Sequence[str]) -> tuple[Tokens, Tokens]:
    """Ids of the first tokens of "yes" and of "no" in their spellings, without those that occur in both.

    Errors: ValueError where no id is left for one of them.
    """
    yes_ids, no_ids = _first_tokens(tokenizer, yes), _first_tokens(tokenizer, no)
    both = set(yes_ids) & set(no_ids)
    yes_ids, no_ids = tuple(i for i in yes_ids if i not in both), tuple(i for i in no_ids if i not in both)
    if not yes_ids or not no_ids:
        raise ValueError(f"the tokenizer's first tokens of {yes!r} and of {no!r} do not tell yes from no")
    return yes_ids, no_ids


def _first_tokens(tokenizer: Any, spellings: str | Sequence[str]) -> Tokens:
    """The ids of the spellings that are one token, each once; where none is, the first token of each."""
    ids = [encode_text(tokenizer, text) for text in ([spellings] if isinstance(spellings, str) else spellings)]
    single = [one[0] for one in ids if len(one) == 1]
    return tuple(dict.fromkeys(single or [one[0] for one in ids if one]))
