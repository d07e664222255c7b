"""Numbers in running text, after answer markers and as gold answers; and the time that reading takes."""

import json
import time
from fractions import Fraction as F
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.llm.text.answers import check_answer, gold_answer, read_answer
from forethought.llm.text.numbers import last_number, marked_number, strict_number

GSM8K = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "gsm8k"

AFTER_A_MARK = [
    ("18", 18), ("18.", 18), ("$18$", 18), ("\\$18", 18), ("18 eggs", 18), ("18km", 18), ("USD18", 18), ("€18", 18),
    ("£ 18", 18), ("₹18", 18), ("-₹18", -18), ("-$5", -5), ("$-5", -5), ("- 5", -5), ("-5", -5), ("−5", -5), ("–5", -5),
    ("007", 7), ("0", 0), (".5", F(1, 2)), ("18.00", 18), ("18.50", F(37, 2)), ("3.14.", F(157, 50)), ("50%", 50),
    ("50\\%", 50), ("1,234,567", 1234567), ("$1,234.50", F(2469, 2)), ("1{,}000", 1000), ("1\\,000", 1000),
    ("1\u202f234", 1234), ("1\u00a0234", 1234), ("1 000", 1000), ("12 345 678", 12345678), ("10~000", 10000),
    ("10\\;000", 10000), ("1'000", 1000), ("1’000", 1000), ("1_000", 1000), ("1/2", F(1, 2)), ("1/2.", F(1, 2)),
    ("3 / 4 of a cup", F(3, 4)), ("1 1/2", F(3, 2)), ("2 1/2.", F(5, 2)), ("-1 1/2", F(-3, 2)), ("½", F(1, 2)),
    ("-½", F(-1, 2)), ("1½ cups", F(3, 2)), ("2⅔", F(8, 3)), ("⅜", F(3, 8)), ("\\frac{3}{4}", F(3, 4)),
    ("\\dfrac{3}{4}", F(3, 4)), ("\\tfrac34", F(3, 4)), ("\\cfrac{1}{3}", F(1, 3)), ("\\frac{-1}{2}", F(-1, 2)),
    ("-\\frac{1}{2}", F(-1, 2)), ("\\frac{1}{-2}", F(-1, 2)), ("\\frac{-1}{-2}", F(1, 2)), ("\\frac{1.5}{2}", F(3, 4)),
    ("1\\frac12", F(3, 2)), ("2\\frac{1}{3}", F(7, 3)), ("\\mathbf{18}", 18), ("\\textbf{18}", 18), ("\\text{18}", 18),
    ("\\mathrm{18}", 18), ("18 \\text{ dollars}", 18), ("**18**", 18), ("*18*", 18), ("**$18**", 18),
    ("\\(18\\)", 18), ("\\[18\\]", 18), ("\\approx 11", 11), ("\\approx11", 11), ("1.5 \\times 10^6", 1500000),
    ("1.5 × 10^6", 1500000), ("2 \\cdot 10^{-2}", F(1, 50)), ("1e6", 1000000), ("2.5e-1", F(1, 4)),
    ("2 + 3 = 5", 5), ("2 \\times 3 = 6", 6), ("x = -4", -4), ("5 = x", 5), ("<<3+4=7>>7", 7), ("18#", 18),
    ("18, which is more than 3", 18), ("18 (not 3)", 18), ("18 or so", 18), ("1 (one)", 1),
]  # fmt: skip
NO_SINGLE_NUMBER = [
    "-2,1", "2,5", "1,2,3", "1,23", "(2, 5)", "4:30", "2:1", "2\\sqrt{3}", "4\\sqrt{4}", "2^3", "x^2 + 1 = 2^3",
    "\\sqrt{2}", "\\pi", "\\frac{1}{0}", "1/0", "\\frac{\\sqrt{3}}{2}", "3\\pi/4",
]  # fmt: skip
NO_ANSWER = ["", "none", "unknown", "x", "...", "$", "-"]
LAST = [
    ("so 3 + 4 = 7.", 7), ("He paid $5, then $6.", 6), ("That is 1,234,567 in all", 1234567), ("they are 1,2,3", 3),
    ("He eats 2 3/4 pies.", F(11, 4)), ("eats 2 1/2.", F(5, 2)), ("The probability is 2/3.", F(2, 3)),
    ("x = 3.14.", F(157, 50)), ("it is -12.5 degrees", F(-25, 2)), ("from 10-4", 4), ("from 10 - 4", 4), ("2 -3", 3),
    ("- 4 apples", 4), ("18 m^2", 18), ("the name is m2 and there are 6", 6), ("3 \\times 6 = 18", 18),
    ("so $-\\frac{1}{2}$", F(-1, 2)), ("about -½", F(-1, 2)), ("about ½", F(1, 2)), ("-₹18", -18), ("x \\approx11", 11),
    ("12 345 678", 12345678), ("$400 000 - $282 000 = $118 000.", 118000), ("2:00 pm", 2), ("5 kg and 3", 3),
    ("he has 5 of 10%", 10), ("2 * 10^3 m", 2000), ("a 5-year plan", 5), ("No. 7", 7), ("(8)", 8), ("[9]", 9),
    ("it's 3,000.", 3000), ("5, 6, 7", 7), ("5/6", F(5, 6)), ("costs $.50", F(1, 2)), ("= 1.", 1), ("x=7", 7),
]  # fmt: skip
NO_NUMBER = ["", "no number", "m2", "9" * 5000, "..., - $ % /", "at 4:30", "H2O", "x^2"]
GOLDS = [
    ("18", 18), ("- 5", -5), ("-½", F(-1, 2)), ("-\\frac{1}{2}", F(-1, 2)), ("$1,018", 1018), ("1018.0", 1018),
    ("72 hours", 72), ("50%", 50), ("1 000", 1000), ("18 \\text{ dollars}", 18), ("$\\frac{3}{4}$", F(3, 4)),
    ("18km", 18), ("3/4", F(3, 4)), ("2 1/2", F(5, 2)), ("-7", -7), ("0.125", F(1, 8)), ("1e3", 1000), ("18.", 18),
]  # fmt: skip
REFUSED = [
    "", "none", "4:30", "2\\sqrt{3}", "x=5 or x=7", "2,5", "3 and 4", "5 - 2", "x = 5", "1/0", "2^3", "10**3",
    "18 or 19", "(2, 3)", "about 5", "5 6", "3/4/2020", "1.2.3", "--5",
]  # fmt: skip
ANSWERS = [
    ("The answer is approximately 18 in 3 days", 18), ("\\boxed{2}, hence the final answer: 3", 3),
    ("#### 2\nNo, wait.\n#### 3", 3), ("#### 18#### 19", 19), ("#### none\n#### 3", 3), ("#### 3\n#### none", 3),
    ("#### unknown\nor 5", 5), ("The answer is $-\\frac{1}{2}$.", F(-1, 2)), ("the answer is \\frac{3}{4}", F(3, 4)),
    ("The answer is \\(18\\) because of 3", 18), ("\\boxed{x} and then 5", 5), ("\\boxed{18} for 3 days", 18),
    ("\\boxed{\\frac{3}{4}}", F(3, 4)), ("\\boxed{18 \\text{ eggs}} and 5", 18), ("The answer is: **$18**, not 20", 18),
    ("The answer is the sum of 3 and 4, which is 7.", 7), ("Answer: 12 eggs", 12), ("#### 5\nThe answer is 6.", 5),
    ("\\boxed{2}\n\\boxed{3}", 3), ("The answer is 4. The answer is 5.", 5), ("so it is 7", 7),
]  # fmt: skip


@pytest.mark.parametrize("text, number", AFTER_A_MARK)
def test_a_number_after_a_marker(text, number):
    assert marked_number(text) == (number, True)
    assert read_answer(f"There were 99.\n#### {text}\n")[:3:2] == (number, True)


@pytest.mark.parametrize("text", NO_SINGLE_NUMBER)
def test_a_pair_a_time_and_a_formula_are_answers_but_no_numbers(text):
    assert marked_number(text) == (None, True)
    answer = read_answer(f"There were 99.\n#### {text}")
    assert answer.number is None and answer.key and not check_answer(f"#### {text}", 99).correct


@pytest.mark.parametrize("text", NO_ANSWER)
def test_nothing_after_a_marker_is_no_answer(text):
    assert marked_number(text) == (None, False)


@pytest.mark.parametrize("text, number", LAST)
def test_the_last_number_of_a_text(text, number):
    assert last_number(text) == number


@pytest.mark.parametrize("text", NO_NUMBER)
def test_texts_without_a_number(text):
    assert last_number(text) is None


@pytest.mark.parametrize("text, number", GOLDS)
def test_golds_are_one_number_and_nothing_else(text, number):
    assert strict_number(text) == number == gold_answer(f"a\n#### {text}")


@pytest.mark.parametrize("text", REFUSED)
def test_other_golds_are_refused(text):
    assert strict_number(text) is None
    with pytest.raises(ValueError, match="not one number"):
        gold_answer(text)


@pytest.mark.parametrize("text, number", ANSWERS)
def test_the_last_marker_that_is_followed_by_an_answer_counts(text, number):
    assert read_answer(text).number == number


@given(st.text(alphabet="0123456789.,/-$% \\fracsqt{}½':^kmx", max_size=30))
def test_every_accepted_gold_is_graded_right(gold):
    if strict_number(gold) is not None:
        assert check_answer(f"#### {gold}", gold).correct


@given(st.text(max_size=200))
def test_votes_are_counted_on_the_text_alone(text):
    answer = read_answer(text)
    assert answer is None or (answer.key == read_answer(text).key and (answer.number is None or not answer.expression))


def test_equal_formulas_vote_for_each_other():
    keys = {read_answer(text).key for text in ("#### 4\\sqrt{4}", "\\boxed{4 \\sqrt{4}}", "#### $4\\sqrt{4}$.")}
    assert len(keys) == 1 and keys != {read_answer("#### 5\\sqrt{4}").key}


@pytest.mark.skipif(not GSM8K.is_dir(), reason="GSM8K is not beside the repository")
def test_every_gold_of_gsm8k_is_read_as_it_is_written():
    for name in ("train", "test"):
        for line in (GSM8K / f"{name}.jsonl").read_text().splitlines():
            told = json.loads(line)["answer"]
            gold = told.rpartition("####")[2].strip()
            assert gold_answer(gold) == F(gold.replace(",", "").replace("$", "")) == read_answer(told).number


FAMILIES = [
    "#", "####", "#### ", "#### 1\n", "\\frac", "\\frac1" + " " * 800, "\\frac{", "\\boxed{", "\\boxed{1", "answer is ",
    "the answer is 1,", " " * 9 + "answer", "1 ", "1/", "1,", "1, 000", "1.", "9", "1 1/", "-", "$", "<<", "{", "\\,",
    "10~", "½", "a1", "^", "1e", "=1", "\\text{", "\\times", "*", "\n",
]  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_reading_takes_time_in_proportion_to_the_text(family):
    def seconds(size):
        text, best = (family * (size // len(family) + 1))[:size], 1e9
        for _ in range(3):
            begun = time.process_time()
            check_answer(text, "18")
            best = min(best, time.process_time() - begun)
        return best

    # ten times the text takes ten times the time, a hundred times where a loop is nested; a busy machine may treble it
    assert seconds(100_000) <= 40 * max(seconds(10_000), 0.002)
