"""Which answer a solution gives, and whether it is the right one.

The rule is GSM8K's (Cobbe et al. 2021; lm-evaluation-harness, `gsm8k`): the number after `####`, else the last number.
Between the two come `\\boxed{}` and "the answer is", which chat models write unasked; the later of them counts. The
last marker that is followed by an answer wins, since a solution may announce its answer before it gives it.

Reading never sees the gold answer: `read_answer` needs the text alone, so that votes are counted on what was written,
and `grade` compares afterwards.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, NamedTuple

from .markers import MARK, MAX_ANSWER, MAX_MARKERS, texts_after_markers
from .numbers import MAX_LENGTH, last_number, marked_number, plain, strict_number

_SAID = re.compile(
    r"answer(?:\s(?:is|would be|will be|must be))?\s?:?"
    r"(?:\s(?:approximately|about|around|roughly|exactly|therefore|thus|only|simply|equal to))?"
    r"[\s*$(\[]{0,10}(?:\\[(\[]\s{0,3})?(?=[-−.$€£¥₹0-9½¼¾⅓⅔]|\\?(?:[dtc]?frac|math|approx))",
    re.IGNORECASE,
)


class Answer(NamedTuple):
    """What a solution gives as its answer.

    number: its value, None where it is no single number. expression: what was written, for answers that are no numbers.
    marked: whether it stood after `####`, as the tasks ask for.
    """

    number: Fraction | None
    expression: str
    marked: bool

    @property
    def key(self) -> str:
        """What votes are counted on: the number in lowest terms, else the expression."""
        return str(self.number) if self.number is not None else self.expression


class AnswerCheck(NamedTuple):
    """answer: the number read, None where there is none. correct: whether the answer equals the gold answer.

    format_ok: whether it stood after `####`; a wrong format is reported apart from a wrong answer.
    expression: the answer as written where it is no single number, such as a formula.
    """

    answer: Fraction | None
    correct: bool
    format_ok: bool
    expression: str = ""

    @property
    def key(self) -> str | None:
        """What votes are counted on, None without an answer; the gold answer has no part in it."""
        return str(self.answer) if self.answer is not None else self.expression or None


def read_answer(text: str) -> Answer | None:
    """The answer that `text` gives, None where it holds none.

    What follows the last `####` counts first, then what follows the last `\\boxed{` or "the answer is", then the last
    number. Time is linear in the length of the text.
    """
    for given, marked in texts_after_markers(text, _SAID, _first_line):
        number, meant = marked_number(given)
        if meant:
            return Answer(number, "" if number is not None else _expression(given), marked)
    number = last_number(text)
    return None if number is None else Answer(number, "", False)


def extract_answer(text: str) -> Fraction | None:
    """The number that `text` gives as its answer, exactly; None where it gives none, or a pair or a formula."""
    answer = read_answer(text)
    return None if answer is None else answer.number


def gold_answer(gold: object) -> Fraction:
    """The true answer: a number, or a text that is one, or that ends in one after `####`.

    Errors: ValueError for anything else, such as a pair, a time or a formula.
    """
    if isinstance(gold, int | Fraction) and not isinstance(gold, bool):
        return Fraction(gold)
    number = strict_number(str(gold).rpartition(MARK)[2])
    if number is None:
        raise ValueError(f"the gold answer is not one number: {str(gold)[-80:]!r}")
    return number


def check_answer(prediction: str, gold: object) -> AnswerCheck:
    """Compare a solution's answer with the gold answer exactly; math-verify evaluates one that is a formula."""
    expected, answer = gold_answer(gold), read_answer(prediction)
    if answer is None:
        return AnswerCheck(None, False, False)
    correct = answer.number == expected if answer.number is not None else _verified(expected, answer.expression)
    return AnswerCheck(answer.number, correct, answer.marked, answer.expression)


_INTRODUCED = re.compile(r"[\s*_:$(]*(?:(?:the\s)?(?:final\s)?answer(?:\sis)?\s{0,2}:?[\s*_:$(]*)?", re.IGNORECASE)
_LISTED = re.compile(r"[0-9]{1,3}[.)]\s+\S")


@dataclass(frozen=True)
class AnswerAfterMark:
    """Whether a text holds `####` and, on the same line, an answer; so neither a heading nor an announcement counts.

    kind: "number" for one number with its unit, "letter" for an option of a multiple choice, "text" for any text.
    """

    kind: Literal["number", "letter", "text"] = "number"

    def __call__(self, text: str) -> bool:
        return any(self._fits(_first_line(part)) for part in text.split(MARK)[1:][-MAX_MARKERS:])

    def at_end(self, text: str) -> bool:
        """Whether a solution at the end of the model's turn holds an answer, marked or not."""
        return bool(text.strip()) if self.kind != "number" else read_answer(text) is not None

    def _fits(self, line: str) -> bool:
        given = line[found.end() :] if (found := _INTRODUCED.match(line)) else line
        if self.kind == "text":
            return bool(given.strip())
        if self.kind == "letter":
            return re.match(r"[A-Za-z](?![A-Za-z0-9])", given) is not None
        return _LISTED.match(given) is None and strict_number(given.rstrip("*_) ")) is not None


def _first_line(text: str) -> str:
    return text.partition("\n")[0].strip()[:MAX_ANSWER]


def _expression(given: str) -> str:
    """A formula in a form in which equal spellings are equal: without blanks, dollar signs and a final full stop."""
    return re.sub(r"[\s$~]|\\(?:left|right)(?![A-Za-z])", "", plain(given)).rstrip(".").casefold()


def _verified(true: Fraction, expression: str) -> bool:
    """Whether math-verify finds the two equal; False without it, and off the main thread, where it cannot time out."""
    if len(expression) > MAX_LENGTH or threading.current_thread() is not threading.main_thread():
        return False
    try:
        from math_verify import parse, verify
    except ImportError:
        return False
    gold: Any = parse(f"${true.numerator}/{true.denominator}$")
    return bool(verify(gold, parse(f"${expression}$")))
