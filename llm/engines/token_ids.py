"""Checks of prompts, fast for long sequences of token ids."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from .messages import Tokens


def prompt_ids(prompt: Sequence[int], new: int, context: int, vocabulary: int) -> array[int]:
    """The prompt as an array of non-negative integers, converted in one pass because searches resend long prompts.

    new: tokens that must still fit into the context. Ids above the vocabulary are left to `check_known`, which an
    engine with a prefix cache only needs for the ids that it has not cached.

    Errors: ValueError for an empty prompt, one that leaves no room for `new` tokens, and one with negative ids.
    """
    try:
        ids = array("I", prompt if type(prompt) is tuple else tuple(prompt))
    except TypeError:
        return prompt_ids(tuple(map(int, prompt)), new, context, vocabulary)
    except OverflowError:
        raise _unknown_token(vocabulary) from None
    if not ids:
        raise ValueError("the prompt is empty: give at least one token")
    if len(ids) + new > context:
        raise ValueError(
            f"the prompt has {len(ids)} tokens; the context holds {context}"
            + (", the first new token included" if new else "")
        )
    return ids


def check_known(ids: Sequence[int], vocabulary: int) -> None:
    """ValueError for an id that is not below `vocabulary`."""
    if max(ids, default=0) >= vocabulary:
        raise _unknown_token(vocabulary)


def checked_prompt(prompt: Sequence[int], new: int, context: int, vocabulary: int) -> Tokens:
    """The prompt as a tuple of ids of the vocabulary; errors of `prompt_ids` and `check_known`."""
    ids = tuple(prompt_ids(prompt, new, context, vocabulary))
    check_known(ids, vocabulary)
    return ids


def _unknown_token(vocabulary: int) -> ValueError:
    return ValueError(f"a prompt token is outside the vocabulary of {vocabulary}")
