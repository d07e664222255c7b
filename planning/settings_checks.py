"""Checks of settings, which all planners, wrappers and budgets share: one line says what was given and what is allowed.

Numbers are Python's or numpy's; booleans are no numbers, and NaN and infinity are no settings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real

LONGEST = 60
"""Characters of a given value that a message shows."""


def check_setting(holds: bool, name: str, allowed: str, given: object) -> None:
    """Errors: ValueError with the setting's name, its allowed values and the given one, unless the condition holds."""
    if not holds:
        shown = " ".join(repr(given).split())
        shown = shown if len(shown) <= LONGEST else f"{shown[:LONGEST]} ..."
        raise ValueError(f"{name} is {allowed}, got {shown}")


def check_integers(settings: object, least: int, *names: str, optional: bool = False) -> None:
    """Errors: ValueError unless these attributes are integers of at least `least`, or None where that is allowed."""
    for name in names:
        given = getattr(settings, name)
        if not (optional and given is None):
            check_integer(name, given, least, " or None" if optional else "")


def check_integer(name: str, given: object, least: int, others: str = "") -> None:
    """Errors: ValueError unless this is an integer of at least `least`; others: further values for the message."""
    integer = isinstance(given, Integral) and not isinstance(given, bool) and int(given) >= least
    check_setting(integer, name, f"an integer, at least {least}{others}", given)


def check_numbers(
    settings: object,
    *names: str,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
    optional: bool = False,
) -> None:
    """Errors: ValueError unless these attributes are finite numbers within bounds, or None where that is allowed.

    least, most: bounds that are allowed themselves. above, below: bounds that are not.
    """
    bounds = {"at least": least, "above": above, "at most": most, "below": below}
    words = [f"{word} {bound:g}" for word, bound in bounds.items() if math.isfinite(bound)]
    allowed = " and ".join([*words, "finite" if words else "a finite number"]) + (", or None" if optional else "")
    for name in names:
        given = getattr(settings, name)
        holds = is_number(given) and least <= given <= most and above < given < below
        check_setting(holds or (optional and given is None), name, allowed, given)


def check_choices(settings: object, **choices: Sequence[object]) -> None:
    """Errors: ValueError unless each of these attributes is one of its choices."""
    for name, allowed in choices.items():
        given = getattr(settings, name)
        found = any(type(given) is type(each) and given == each for each in allowed)
        check_setting(found, name, f"one of {', '.join(map(str, allowed))}", given)


def check_flags(settings: object, *names: str) -> None:
    """Errors: ValueError unless these attributes are True or False."""
    check_choices(settings, **dict.fromkeys(names, (True, False)))


def is_number(given: object) -> bool:
    """Whether this is a finite real number, and no boolean."""
    return isinstance(given, Real) and not isinstance(given, bool) and math.isfinite(given)


def is_pair(given: object) -> bool:
    """Whether this is a tuple of two finite numbers."""
    return isinstance(given, tuple) and len(given) == 2 and all(map(is_number, given))
