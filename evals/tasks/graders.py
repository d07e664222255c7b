"""Grading of answers that are numbers, letters of a multiple choice, or texts; reading never sees the gold one.

As in `llm/text/answers.py` the last `####` counts before `\\boxed{}` and "the answer is", the later of which counts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ...llm.text.markers import MAX_ANSWER, texts_after_markers
from .base import GradedAnswer, Problem
from .numeric import grade_numeric, is_gold

_SAID = re.compile(
    r"\b(?:answer|choice|option)\b[*_]{0,3}(?:\s{1,3}(?:is|would be|will be|must be)\b\s{0,3}:?|\s{0,3}:)",
    re.IGNORECASE,
)
_OPTION = re.compile(r"(?:^|\s)\(?([A-Z])[).:]\s")
_LETTER = re.compile(
    r"[\s*_$`\"'\[({:\\]{0,12}(?:(?:the\s)?(?:option|choice|answer)\s{1,3}(?:is\s{1,3})?)?(?:text(?:bf|rm)?|mathrm|mathbf)?"
    r"[\s*({\[]{0,6}([A-Za-z])(?![A-Za-z0-9'’])(.{0,40})",
    re.IGNORECASE,
)
_CLOSED = re.compile(r"\s*(?:$|[)\]}.,:;*_$`\"'\\?!-])|\s+(?:because|since|as|is|which|due)\b", re.IGNORECASE)
_ANOTHER = re.compile(r"[)\]}*.\s]{0,6}(?:,|/|&|\band\b|\bor\b)\s{0,3}(?:option\s)?[(*]{0,3}[A-Z](?![A-Za-z0-9])")
_WRAPPED = re.compile(r"\\?(?:text(?:bf|rm)?|mathrm|mathbf)\{([^{}]*)\}")


@dataclass(frozen=True)
class Grader:
    """One way of grading. grade: of a text (None: no solution) for a problem. gold: a gold answer in its short form.

    `gold` raises ValueError for what is no answer of this kind. answers: see `TextTask`.
    """

    grade: Callable[[str | None, Problem], GradedAnswer]
    gold: Callable[[str], str]
    summary: str
    answers: Literal["number", "letter", "text"]


def _line(text: str) -> str:
    return text.lstrip("\n *:")[:MAX_ANSWER].partition("\n")[0].strip()


def letter_of(text: str, letters: str) -> str | None:
    """The letter that a short text gives, such as `(B)`, `B. Paris` or `\\text{B}`.

    letters: those that are options. None where it gives none, "" where it gives several. An `a` or `I` that begins a
    sentence is no letter.
    """
    found = _LETTER.match(text)
    if found is None or found[1].upper() not in letters:
        return None
    open_words = found[1].islower() or found[1] in "AI"
    bracketed = text[found.start(1) - 1 : found.start(1)] in ("(", "{", "[")
    if open_words and not (bracketed or _CLOSED.match(found[2])):
        return None
    return "" if _ANOTHER.match(found[2]) else found[1].upper()


def read_choice(text: str, question: str) -> tuple[str | None, bool]:
    """The letter that a solution chooses, None for none or several, and whether it stood after `####`.

    Without a marker it is the last `(B)`, or a last or first line that is a letter.
    """
    letters = "".join(dict.fromkeys(_OPTION.findall(question)))
    letters = letters if len(letters) > 1 else "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    for given, marked in texts_after_markers(text, _SAID, _line):
        if (letter := letter_of(given, letters)) is not None:
            return letter or None, marked
    options = [letter for letter in re.findall(r"\(([A-Z])\)", text) if letter in letters]
    if options:
        return options[-1], False
    lines = [line for line in text.splitlines() if line.strip()]
    for line in (*lines[-1:], *lines[:1]):
        found = _LETTER.match(line)
        if found and _CLOSED.match(found[2]) and (letter := letter_of(line, letters)):
            return letter, False
    return None, False


def read_exact(text: str) -> tuple[str | None, bool]:
    """The text that a solution gives, normalised, and whether it stood after `####`; otherwise its last line."""
    for given, marked in texts_after_markers(text, _SAID, _line):
        if answer := normalised(given):
            return answer, marked
    lines = [line for line in text.splitlines() if line.strip()]
    return (normalised(lines[-1]) or None if lines else None), False


def normalised(text: str) -> str:
    """A text without differences of case, white space, surrounding marks and a final full stop."""
    text = _WRAPPED.sub(r"\1", unicodedata.normalize("NFKC", text))
    return " ".join(text.split()).strip("*_$`\"'“”‘’ ").rstrip(".").strip("*_$`\"'“”‘’ ").casefold()


def _grade_number(text: str | None, problem: Problem) -> GradedAnswer:
    return grade_numeric(text, problem.answer)


def _grade_choice(text: str | None, problem: Problem) -> GradedAnswer:
    answer, marked = read_choice(text or "", problem.question)
    return GradedAnswer(answer, answer == problem.answer, marked)


def _grade_exact(text: str | None, problem: Problem) -> GradedAnswer:
    answer, marked = read_exact(text or "")
    return GradedAnswer(answer, answer == normalised(problem.answer), marked)


def _gold_number(text: str) -> str:
    if not is_gold(text):
        raise ValueError(f"the answer is not one number: {text[:60]!r}")
    return text


def _gold_letter(text: str) -> str:
    found = re.fullmatch(r"\(?([A-Za-z])(?:[).:]\s.*|[).:]?)", text, re.DOTALL)
    if found is None:
        raise ValueError(f"the answer is not the letter of an option: {text[:60]!r}")
    return found[1].upper()


def _gold_text(text: str) -> str:
    if not normalised(text):
        raise ValueError(f"the answer is empty: {text[:60]!r}")
    return text


GRADERS = {
    "number": Grader(_grade_number, _gold_number, "equal as numbers", "number"),
    "choice": Grader(_grade_choice, _gold_letter, "the same letter of a multiple choice", "letter"),
    "exact": Grader(_grade_exact, _gold_text, "the same text but for case and white space", "text"),
}
"""The values of `--grade`."""
