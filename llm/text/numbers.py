"""Numbers as people, models and LaTeX write them, read exactly and in time that grows linearly with the text.

`last_number` reads a running text, `marked_number` the text after an answer marker, which is meant as the answer, and
`strict_number` accepts a text only if it is nothing but one number, as a gold answer must be. Nothing here knows tasks,
golds or models.
"""

from __future__ import annotations

import re
from fractions import Fraction

MAX_LENGTH = 100
"""A longer string of digits is degenerate output of a model and counts as no number."""

_VULGAR = {
    "½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5", "⅗": "3/5", "⅘": "4/5",
    "⅙": "1/6", "⅚": "5/6", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8",
}  # fmt: skip
_CHARACTERS = str.maketrans(
    {"−": "-", "–": "-", "‐": "-", "‑": "-", "’": "'", "\u00a0": "~", "\u202f": "~", "\u2009": "~", "×": "*", "·": "*"}
)
_DIGITS = r"(?:[0-9]{1,3}(?P<group>[,'_ ~])[0-9]{3}(?:(?P=group)[0-9]{3})*(?![0-9])|[0-9]+)"
_END = r"(?![0-9/])(?!\.[0-9])"
_VALUE = (
    r"(?:[$€£¥₹₩₽₺₫₴₦฿]\s{0,2}(?P<inner>-)?)?"
    rf"(?P<number>{_DIGITS}(?:\.[0-9]+)?|\.[0-9]+)"
    r"(?:[eE](?P<exponent>[+-]?[0-9]{1,2})(?![0-9A-Za-z])"
    r"|\s{0,2}\*\s{0,2}10\s{0,2}\^\s{0,2}\{?(?P<power>-?[0-9]{1,2})(?![0-9])\}?"
    rf"|\s{{0,2}}/\s{{0,2}}(?P<over>[0-9]+(?:\.[0-9]+)?){_END}"
    rf"|\s{{1,2}}(?P<part>[0-9]+)\s{{0,2}}/\s{{0,2}}(?P<parts>[0-9]+){_END})?"
)
_LOOSE = re.compile(r"(?<![0-9A-Za-z_^)\].:/])(?P<minus>(?<![0-9]\s)-)?" + _VALUE + r"(?![0-9]|:(?!00)[0-9])")
"""A number in running text: `m2` is a name, `10 - 4` holds a 4, and `- 4 apples` is an item of a list."""
_MARKED = re.compile(r"(?P<minus>-\s{0,2})?" + _VALUE)

_NUMERAL = r"-?[0-9]+(?:\.[0-9]+)?"
_FRAC = re.compile(
    rf"\\[dtc]?frac(?:\s{{0,3}}\{{\s{{0,3}}({_NUMERAL})\s{{0,3}}\}}|\s{{0,3}}([0-9]))"
    rf"(?:\s{{0,3}}\{{\s{{0,3}}({_NUMERAL})\s{{0,3}}\}}|\s{{0,3}}([0-9]))"
)
_CALCULATOR = re.compile(r"<<[^<>\n]{0,200}>>")
_WRAPPER = re.compile(r"\\(?:math(?:bf|rm|bb|it|sf|tt)|text(?:bf|it|rm|normal)?|boldsymbol|bm|mbox)(?![A-Za-z])")
_IGNORED = re.compile(
    r"\\(?:approx|simeq|sim|left|right|quad|qquad|displaystyle|implies|therefore|Rightarrow)(?![A-Za-z])|\\[()\[\]]"
)
_FORMULA = re.compile(r"\\[A-Za-z]|\^")
_UNIT = re.compile(r"[\s~%°.{}$*]*(?:[A-Za-z$%°][A-Za-z%°.{}~'\s-]{0,60})?[\s.]*")


def plain(text: str) -> str:
    """The text without the typesetting that may stand in or around a number; simple fractions are written as a/b."""
    text = _CALCULATOR.sub("", text).translate(_CHARACTERS)
    text = re.sub("[" + "".join(_VULGAR) + "]", _vulgar, text)
    text = _FRAC.sub(_fraction, text).replace("{,}", ",").replace("\\$", "$").replace("\\%", "%").replace("\\!", "")
    text = re.sub(r"(?<=[0-9])\\,(?=[0-9]{3}(?![0-9]))", "~", text)
    text = re.sub(r"\\[,;: ]", "~", text)
    text = re.sub(r"\\(?:times|cdot)(?![A-Za-z])", "*", _IGNORED.sub(" ", _WRAPPER.sub("", text)))
    return re.sub(r"(?<![0-9])10\*\*(?=-?[0-9])", "10^", text).replace("**", " ")


def _vulgar(found: re.Match[str]) -> str:
    return _after_digit(found) + _VULGAR[found[0]]


def _fraction(found: re.Match[str]) -> str:
    above, below = found[1] or found[2], found[3] or found[4]
    minus = "-" if above.startswith("-") != below.startswith("-") else ""
    return f"{_after_digit(found)}{minus}{above.lstrip('-')}/{below.lstrip('-')}"


def _after_digit(found: re.Match[str]) -> str:
    """A space where a fraction follows a digit, so that the two are a mixed number."""
    return " " if found.string[found.start() - 1 : found.start()].isdigit() else ""


def _value(found: re.Match[str]) -> Fraction | None:
    """What a match stands for; None for a division by zero and for degenerate output."""
    below = found["over"] or found["parts"] or "1"
    if len(found[0]) > MAX_LENGTH or not Fraction(below):
        return None
    number = Fraction(re.sub("[,'_ ~]", "", found["number"]))
    number *= Fraction(10) ** int(found["exponent"] or found["power"] or 0)
    number = number + Fraction(found["part"]) / Fraction(below) if found["part"] else number / Fraction(below)
    return -number if found["minus"] or found["inner"] else number


def last_number(text: str) -> Fraction | None:
    """The last number of a running text, None where it holds none."""
    last = None
    for found in _LOOSE.finditer(plain(text)):
        last = found
    return None if last is None else _value(last)


def marked_number(text: str) -> tuple[Fraction | None, bool]:
    """The number that a text after an answer marker tells, and whether the text is meant as an answer at all.

    The first number counts, after the last equals sign if there is one. A pair such as `2,5`, a time and a formula are
    answers but no numbers: (None, True). A text without digits is no answer: (None, False).
    """
    line = plain(text)
    told = line.rpartition("=")[2]
    if not any(letter.isdigit() for letter in told) and not _FORMULA.search(told):
        told = line
    found = _MARKED.search(told)
    if found is None:
        return None, bool(_FORMULA.search(told))
    rest = told[found.end() :]
    before = told[: found.start()]
    if (
        re.match(r"\s{0,2}[,:]\s{0,2}-?[0-9]|\s{0,2}\^|[0-9]", rest)
        or _FORMULA.search(before + rest)
        or ("^" in told[found.start() : found.end()] and not found["power"])
    ):
        return None, True
    return _value(found), True


def strict_number(text: str) -> Fraction | None:
    """The number that the whole text is, apart from a unit or currency; None for anything else."""
    line = plain(text).strip().removeprefix("$") if text.count("$") > 1 else plain(text).strip()
    found = _MARKED.match(line)
    if found is None or not _UNIT.fullmatch(line, found.end()):
        return None
    return _value(found)
