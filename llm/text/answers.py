"""Which number a solution of GSM8K ends in, and whether it is the right one.

The rule is the benchmark's: the number after `####`, else the last number (Cobbe et al. 2021; lm-evaluation-harness,
`gsm8k`, filters strict-match and flexible-extract), and between the two `\\boxed{}` and "the answer is", which chat
models write unasked. Numbers are exact: 18.00 is 18, 1/2 is 0.5, currency, percent signs and units fall away.
"""

from __future__ import annotations

import re
import threading
from fractions import Fraction
from typing import Any, NamedTuple

LONGEST = 100
"""More characters than this are babble and no number."""

_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
_VALUE = rf"(?:[$€£¥]\s*(?P<inner>-)?)?(?P<number>{_DIGITS}(?:\.[0-9]+)?|\.[0-9]+)"
_VALUE += r"(?:\s*/\s*(?P<over>[1-9][0-9]*)(?![0-9.])|\s+(?P<part>[0-9]+)\s*/\s*(?P<parts>[1-9][0-9]*)(?![0-9.]))?"
_LOOSE = re.compile(r"(?<![0-9A-Za-z_^)\].])(?P<minus>(?<![0-9]\s)-)?" + _VALUE)
"""A number anywhere in a text: 10-4 and 10 - 4 hold a 4, `- 4 apples` is an item of a list, m2 is a name."""
_TOLD = re.compile(r"(?P<minus>-\s*)?" + _VALUE)
_SAID = re.compile(r"answer(?: is)?:?[\s*$\\(]*(?=[-−.$€£¥0-9])", re.IGNORECASE)
_SYMBOLIC = re.compile(r"\\(?!text|mathrm|left|right|quad)[a-zA-Z]+|[0-9)]\s*\^")
_FRAC = re.compile(r"\\[dt]?frac\s*\{?\s*([0-9]+)\s*\}?\s*\{?\s*([0-9]+)\s*\}?")
_CALCULATOR = re.compile(r"<<[^<>]*>>")
_HALVES = {"½": " 1/2", "¼": " 1/4", "¾": " 3/4", "⅓": " 1/3", "⅔": " 2/3"}
_PLAIN = str.maketrans({"−": "-", "–": "-", "\u00a0": ",", "\u202f": ",", "\u2009": ",", **_HALVES})


class Grade(NamedTuple):
    """answer: what was found, None where there is no number. correct: whether it equals the gold answer.

    format_ok: whether it stood after `####` as asked: a wrong format is no wrong answer, and is counted apart.
    """

    answer: Fraction | None
    correct: bool
    format_ok: bool


def extract(text: str) -> Fraction | None:
    """The answer in `text`, None where it holds no number."""
    return _find(text)[0]


def gold_answer(gold: object) -> Fraction:
    """The true answer: a number, or a text with one (`... #### 18`). ValueError where there is none."""
    if isinstance(gold, int | Fraction) and not isinstance(gold, bool):
        return Fraction(gold)
    answer = extract(str(gold))
    if answer is None:
        raise ValueError(f"the gold answer holds no number: {str(gold)[-80:]!r}")
    return answer


def grade(prediction: str, gold: object) -> Grade:
    """Compare a solution's text with the gold answer exactly; LaTeX that is no plain number goes to math-verify."""
    true = gold_answer(gold)
    answer, format_ok, symbolic = _find(prediction)
    if symbolic and _verified(true, symbolic):
        answer = true
    return Grade(answer, answer == true, format_ok)


def _find(text: str) -> tuple[Fraction | None, bool, str]:
    """The answer, whether it stood after `####`, and where it was told as a formula, that formula."""
    places = [(_line(text, mark), True) for mark in re.finditer("####", text)] + [(_boxed(text), False)]
    places += [(_line(text, said), False) for said in list(_SAID.finditer(text))[-1:]]
    for told, format_ok in places:
        plain = _plain(told)
        if _SYMBOLIC.search(plain.rpartition("=")[2]):
            return None, format_ok, told
        if (answer := _told(plain)) is not None:
            return answer, format_ok, ""
    numbers = list(_LOOSE.finditer(_plain(text)))
    return (_value(numbers[-1]) if numbers else None), False, ""


def _line(text: str, mark: re.Match[str]) -> str:
    return text[mark.end() :].partition("\n")[0].strip()


def _told(plain: str) -> Fraction | None:
    """The number a line tells: the first one, after an equals sign if there is one there."""
    plain = re.sub(r"(?<=[0-9]),(?=[0-9])", "", plain)
    found = _TOLD.search(plain.rpartition("=")[2]) or _TOLD.search(plain)
    return _value(found) if found else None


def _boxed(text: str) -> str:
    r"""What stands in the last `\boxed{...}`, braces matched; "" without one."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return ""
    depth = 0
    for i in range(start + 6, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[start + 7 : i]
    return ""


def _plain(text: str) -> str:
    """The text without the signs of LaTeX, the calculator and the typesetter that may stand in and around a number."""
    text = _CALCULATOR.sub("", text).translate(_PLAIN)
    text = _FRAC.sub(r" \1/\2", text)
    text = text.replace("{,}", ",").replace("\\!", "").replace("\\$", "$").replace("\\%", "%")
    return re.sub(r"(?<=[0-9])\\,(?=[0-9])", "", text).replace("*", " ")


def _value(found: re.Match[str]) -> Fraction | None:
    if len(found[0]) > LONGEST:
        return None
    number = Fraction(found["number"].replace(",", ""))
    if found["over"]:
        number /= int(found["over"])
    if found["part"]:
        number += Fraction(int(found["part"]), int(found["parts"]))
    return -number if found["minus"] or found["inner"] else number


def _verified(true: Fraction, told: str) -> bool:
    """Whether math-verify finds the two equal; False without it, and off the main thread, where it cannot time out."""
    if len(told) > LONGEST or threading.current_thread() is not threading.main_thread():
        return False
    try:
        from math_verify import parse, verify
    except ImportError:
        return False
    gold: Any = parse(f"${true.numerator}/{true.denominator}$")
    return bool(verify(gold, parse(f"${told.strip(' $')}$")))
