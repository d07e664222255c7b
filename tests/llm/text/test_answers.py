"""Which number is the answer, and whether it is right."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.llm.text.answers import AnswerCheck, check_answer, extract_answer, gold_answer

TOLD = [
    ("#### 18", 18),
    ("3 + 15 = 18\n#### 18\n", 18),
    ("####18", 18),
    ("#### 18.", 18),
    ("#### 18.00", 18),
    ("#### 18.50", "37/2"),
    ("#### .5", "1/2"),
    ("#### 007", 7),
    ("#### 0", 0),
    ("#### -5", -5),
    ("#### - 5", -5),
    ("#### −5", -5),
    ("#### -$5", -5),
    ("#### $-5", -5),
    ("#### $1,234.50", "2469/2"),
    ("#### \\$18", 18),
    ("#### €18", 18),
    ("#### USD18", 18),
    ("#### 1,234,567", 1234567),
    ("#### 1{,}000", 1000),
    ("#### 1\\,000", 1000),
    ("#### 1\u202f234", 1234),
    ("#### 50%", 50),
    ("#### 50\\%", 50),
    ("#### 1/2", "1/2"),
    ("#### 3 / 4 of a cup", "3/4"),
    ("#### 1 1/2", "3/2"),
    ("#### -1 1/2", "-3/2"),
    ("#### 1½ cups", "3/2"),
    ("#### \\frac{3}{4}", "3/4"),
    ("#### 1\\frac12", "3/2"),
    ("#### 18 eggs", 18),
    ("#### 18km", 18),
    ("#### 18 \\text{ dollars}", 18),
    ("#### **18**", 18),
    ("#### $18$", 18),
    ("#### 2 + 3 = 5", 5),
    ("#### 2 \\times 3 = 6", 6),
    ("#### 5 = x", 5),
    ("#### <<3+4=7>>7", 7),
    ("#### 18#### 19", 19),
    ("#### none\n#### 3", 3),
]
LAST = [
    ("so 3 + 4 = 7.", 7),
    ("He paid $5, then $6.", 6),
    ("That is 1,234,567 in all", 1234567),
    ("they are 1,2,3", 3),
    ("He eats 2 3/4 pies.", "11/4"),
    ("x = 3.14.", "157/50"),
    ("it is -12.5 degrees", "-25/2"),
    ("from 10-4", 4),
    ("from 10 - 4", 4),
    ("2 -3", 3),
    ("- 4 apples", 4),
    ("18 m^2", 18),
    ("the name is m2 and the answer 6", 6),
    ("\\boxed{18} for 3 days", 18),
    ("\\boxed{\\frac{3}{4}}", "3/4"),
    ("\\boxed{18 \\text{ eggs}} and 5", 18),
    ("The answer is 18 for 2 days", 18),
    ("The answer is: **$18**, not 20", 18),
    ("The final answer is \\(18\\).", 18),
    ("The answer is the sum of 3 and 4, which is 7.", 7),
    ("#### unknown\nor 5", 5),
    ("\\[ 3 \\times 6 = 18 \\]", 18),
]
NONE = ["", "no number", "#### ", "m2", "9" * 5000, "####", "\\boxed{", "..., - $ % /"]


@pytest.mark.parametrize("text, number", TOLD)
def test_the_number_after_the_mark(text, number):
    assert check_answer(text, Fraction(number)) == AnswerCheck(Fraction(number), True, True)
    assert extract_answer("Ann has 99 eggs.\n" + text + "\n") == Fraction(number)


@pytest.mark.parametrize("text, number", LAST)
def test_without_the_mark_what_is_boxed_or_said_or_last(text, number):
    assert check_answer(text, Fraction(number)) == AnswerCheck(Fraction(number), True, False)


@pytest.mark.parametrize("text", NONE)
def test_no_number_is_no_answer(text):
    assert check_answer(text, 18) == AnswerCheck(None, False, False)


def test_a_wrong_format_is_counted_apart_from_a_wrong_answer():
    assert check_answer("It is 18.", 18) == AnswerCheck(Fraction(18), True, False)
    assert check_answer("#### 17", 18) == AnswerCheck(Fraction(17), False, True)


@pytest.mark.parametrize("gold", ["a\n#### 1,018", 1018, "1018", "1018.0", "$1,018", Fraction(1018)])
def test_gold_answers_in_all_their_forms(gold):
    assert gold_answer(gold) == 1018 and check_answer("#### 1018.00", gold).correct


@pytest.mark.parametrize("gold", ["", "none", "#### x", None, True])
def test_a_gold_answer_without_a_number_is_an_error(gold):
    with pytest.raises(ValueError, match="not one number"):
        gold_answer(gold)


def test_fractions_are_compared_exactly():
    assert check_answer("#### 1/3", "1/3").correct and not check_answer("#### 0.3333333333", "1/3").correct
    assert check_answer("#### 0.1", "1/10").correct and not check_answer("#### 0.30000000000000004", "0.3").correct


def test_formulas_go_to_math_verify():
    pytest.importorskip("math_verify")
    assert check_answer("#### 4\\sqrt{4}", 8) == AnswerCheck(None, True, True, "4\\sqrt{4}")
    assert check_answer("\\boxed{2^3}", 8) == AnswerCheck(None, True, False, "2^3")
    assert check_answer("#### 2^3", 2) == AnswerCheck(None, False, True, "2^3"), (
        "its first number is not what a formula says"
    )


@given(st.fractions(max_denominator=10**6))
def test_a_written_number_is_read_back(number):
    assert extract_answer(f"#### {number}") == number == extract_answer(f"so it is {number}")


@given(st.integers(-(10**12), 10**12))
def test_thousands_are_read_back(number):
    assert extract_answer(f"That makes {number:,} eggs.") == number == extract_answer(f"#### ${number:,}.00")


@given(st.text(max_size=200))
def test_no_text_breaks_it(text):
    extract_answer(text)
    extract_answer("####" + text)
