"""The number a solution of GSM8K ends in, and whether it equals the gold answer.

The rule is the benchmark's: the number after `####`, else the last number (Cobbe et al. 2021; lm-evaluation-harness,
`gsm8k`, filters strict-match and flexible-extract). Between the two come `\\boxed{}` and "the answer is", which chat
models write without being asked. Numbers are compared exactly: 18.00 equals 18 and 1/2 equals 0.5; currency signs,
percent signs and units are ignored.
"""

from __future__ import annotations

import re
import threading
from fractions import Fraction
from typing import Any, NamedTuple

MAX_CHARACTERS = 100
"""A longer match is not read as a number."""

_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
_VALUE = rf"(?:[$€£¥]\s*(?P<inner>-)?)?(?P<number>{_DIGITS}(?:\.[0-9]+)?|\.[0-9]+)"
_VALUE += r"(?:\s*/\s*(?P<over>[1-9][0-9]*)(?![0-9.])|\s+(?P<part>[0-9]+)\s*/\s*(?P<parts>[1-9][0-9]*)(?![0-9.]))?"
_ANYWHERE = re.compile(r"(?<![0-9A-Za-z_^)\].])(?P<minus>(?<![0-9]\s)-)?" + _VALUE)
"""A number anywhere in a text. The minus of 10-4 and 10 - 4 is an operator, that of `- 4 apples` marks a list item, and
the 2 of m2 belongs to a name."""
_STATED = re.compile(r"(?P<minus>-\s*)?" + _VALUE)
_ANSWER_IS = re.compile(r"answer(?: is)?:?[\s*$\\(]*(?=[-−.$€£¥0-9])", re.IGNORECASE)
_SYMBOLIC = re.compile(r"\\(?!text|mathrm|left|right|quad)[a-zA-Z]+|[0-9)]\s*\^")
_FRAC = re.compile(r"\\[dt]?frac\s*\{?\s*([0-9]+)\s*\}?\s*\{?\s*([0-9]+)\s*\}?")
_CALCULATOR = re.compile(r"<<[^<>]*>>")
_FRACTIONS = {"½": " 1/2", "¼": " 1/4", "¾": " 3/4", "⅓": " 1/3", "⅔": " 2/3"}
_TYPOGRAPHY = str.maketrans({"−": "-", "–": "-", "\u00a0": ",", "\u202f": ",", "\u2009": ",", **_FRACTIONS})


class AnswerCheck(NamedTuple):
    """answer: the number found, None where there is none. correct: whether it equals the gold answer.

    format_ok: whether it stood after `####` as asked. It is reported apart from `correct`, because an answer in another
    format can still be right.
    """

    answer: Fraction | None
    correct: bool
    format_ok: bool


def extract_answer(text: str) -> Fraction | None:
    """The answer stated in `text`, None where it contains no number."""
    return _find(text)[0]


def gold_answer(gold: object) -> Fraction:
    """The gold answer, from a number or from a text with one (`... #### 18`). ValueError where there is none."""
    if isinstance(gold, int | Fraction) and not isinstance(gold, bool):
        return Fraction(gold)
    answer = extract_answer(str(gold))
    if answer is None:
        raise ValueError(f"the gold answer holds no number: {str(gold)[-80:]!r}")
    return answer


def check_answer(prediction: str, gold: object) -> AnswerCheck:
    """Compare a solution's answer with the gold answer exactly; LaTeX that is no plain number goes to math-verify."""
    expected = gold_answer(gold)
    answer, format_ok, formula = _find(prediction)
    if formula and _verified(expected, formula):
        answer = expected
    return AnswerCheck(answer, answer == expected, format_ok)


def _find(text: str) -> tuple[Fraction | None, bool, str]:
    """The answer, whether it stood after `####`, and the answer's formula where it is one, else ""."""
    candidates = [(_line_after(text, mark), True) for mark in re.finditer("####", text)] + [(_boxed(text), False)]
    candidates += [(_line_after(text, match), False) for match in list(_ANSWER_IS.finditer(text))[-1:]]
    for stated, format_ok in candidates:
        plain = _plain(stated)
        if _SYMBOLIC.search(plain.rpartition("=")[2]):
            return None, format_ok, stated
        if (answer := _first_number(plain)) is not None:
            return answer, format_ok, ""
    numbers = list(_ANYWHERE.finditer(_plain(text)))
    return (_value(numbers[-1]) if numbers else None), False, ""


def _line_after(text: str, mark: re.Match[str]) -> str:
    return text[mark.end() :].partition("\n")[0].strip()


def _first_number(plain: str) -> Fraction | None:
    """The first number of a line; the first after the last equals sign where there is one."""
    plain = re.sub(r"(?<=[0-9]),(?=[0-9])", "", plain)
    found = _STATED.search(plain.rpartition("=")[2]) or _STATED.search(plain)
    return _value(found) if found else None


def _boxed(text: str) -> str:
    r"""The contents of the last `\boxed{...}`, with matched braces; "" without one."""
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
    """The text without LaTeX signs, calculator annotations and typographic characters in and around numbers."""
    text = _CALCULATOR.sub("", text).translate(_TYPOGRAPHY)
    text = _FRAC.sub(r" \1/\2", text)
    text = text.replace("{,}", ",").replace("\\!", "").replace("\\$", "$").replace("\\%", "%")
    return re.sub(r"(?<=[0-9])\\,(?=[0-9])", "", text).replace("*", " ")


def _value(found: re.Match[str]) -> Fraction | None:
    if len(found[0]) > MAX_CHARACTERS:
        return None
    number = Fraction(found["number"].replace(",", ""))
    if found["over"]:
        number /= int(found["over"])
    if found["part"]:
        number += Fraction(int(found["part"]), int(found["parts"]))
    return -number if found["minus"] or found["inner"] else number


def _verified(expected: Fraction, formula: str) -> bool:
    """Whether math-verify finds the two equal; False without it and off the main thread, where it cannot time out."""
    if len(formula) > MAX_CHARACTERS or threading.current_thread() is not threading.main_thread():
        return False
    try:
        from math_verify import parse, verify
    except ImportError:
        return False
    gold: Any = parse(f"${expected.numerator}/{expected.denominator}$")
    return bool(verify(gold, parse(f"${formula.strip(' $')}$")))
