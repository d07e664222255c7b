"""Reading of the values of options: lists of names and of budgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import BadInput


def as_names(given: str | Sequence[Any], what: str = "names") -> tuple[Any, ...]:
    """The names in a text, separated by commas; any other sequence as it is. what: they name, for errors.

    Errors: BadInput for none.
    """
    words = [word.strip() for word in given.split(",") if word.strip()] if isinstance(given, str) else list(given)
    if not words:
        raise BadInput(f"expected {what} separated by commas, got {given!r}")
    return tuple(words)


def as_budgets(given: str | int | Sequence[str | int]) -> tuple[int, ...]:
    """Distinct positive integers in ascending order, from a number, a sequence or a text such as `8,16,32`.

    Errors: BadInput for anything else.
    """
    words = as_names(given, "budgets") if isinstance(given, Sequence) else [given]
    return tuple(sorted({_as_budget(word) for word in words}))


def _as_budget(given: object) -> int:
    try:
        number = int(given.replace("_", "")) if isinstance(given, str) else given
    except ValueError:
        number = 0
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise BadInput(f"a budget is a positive integer, got {given!r}")
    return number
