"""Adversarial texts are read and graded in time that grows linearly: 100 kB within 0.3 s and 15 times as long as 10 kB.

Time is that of the processor on this thread, the least of several runs, so that other processes do not matter.
"""

from __future__ import annotations

import time

import pytest

from forethought.evals.tasks.base import Problem
from forethought.evals.tasks.graders import GRADERS
from forethought.llm.text.answers import AnswerAfterMark

GOLD = {"number": "7", "choice": "A", "exact": "seven"}
REPEATED = [
    "#", "#### ", "####\n", "$", "$ ", "€ -", "\\", "{", "}", "{}", "(", "-", "- ", "+-", ",", "7", "1,", "1 000 ",
    "1'000", "1_", " ", "\n", "\r\n", "\t", "\u200b", "\u0301", "７", "数1字२", "½", "🙂", "1/", "1/2 ", "2 1/2 ", "1e5", "10^",
    "^", "~", "%", "1% ", ".", "1.", "4:30 ", "=", "x=1", "_", "**", "'", "\"", "\\frac{1}{2}", "\\frac{", "\\frac1",
    "\\sqrt{", "\\boxed{1}", "\\boxed{", "\\boxed ", "\\text{", "\\mathbf{1}", "\\times", "\\left(", "1.5 \\times 10^{6} ",
    "the answer is ", "the answer is 1 ", "answer:", "option is ", "(A) ", "A) ", "A, B and ", "| 1 | 2 |\n",
    "x = f(1)\n", "<<1+1=2>>", "<<", "<think>", "<think>1</think>", "apples ",
]  # fmt: skip
MADE = {
    "nested braces": lambda n: "{" * (n // 2) + "}" * (n // 2),
    "nested boxes": lambda n: "\\boxed{" * (n // 8) + "}" * (n // 8),
    "a fraction and blanks": lambda n: "\\frac1" + " " * n + "2",
    "a marker and blanks": lambda n: "#### " + " " * n + "1",
    "a marker and letters": lambda n: "#### " + "a" * n,
    "a number and a unit": lambda n: "#### 1 " + "apples " * (n // 7),
    "a letter and combining marks": lambda n: "#### a" + "\u0301" * n,
    "digits after a marker": lambda n: "#### " + "9" * n,
}
FAMILIES = {repr(text): lambda n, text=text: text * (n // len(text)) for text in REPEATED} | MADE


def least(work, text):
    seconds = []
    for _ in range(3):
        begun = time.thread_time()
        work(text)
        seconds.append(time.thread_time() - begun)
    return min(seconds)


def is_linear(work, make):
    """Whether one of five measurements is within the bounds; times below a millisecond are not compared."""
    for _ in range(5):
        short, long = least(work, make(10_000)), least(work, make(100_000))
        if long <= 0.3 and long <= 15 * max(short, 1e-3):
            return True
    return False


@pytest.mark.parametrize("grade", GRADERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_grading_takes_linear_time(family, grade):
    problem = Problem("1", "Which? (A) one (B) two", GOLD[grade])
    assert is_linear(lambda text: GRADERS[grade].grade(text, problem), FAMILIES[family])


@pytest.mark.parametrize("kind", ["number", "letter", "text"])
def test_whether_a_step_ends_a_solution_is_found_in_linear_time(kind):
    slow = [name for name, make in FAMILIES.items() if not is_linear(AnswerAfterMark(kind), make)]
    assert slow == []


def test_a_quadratic_rule_is_found():
    assert not is_linear(lambda text: [text.count("ab", 0, i) for i in range(0, len(text), 100)], lambda n: "a" * n)
