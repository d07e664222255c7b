"""Powers of ten in the notation of programming languages."""

import pytest

from forethought.llm.text.answers import extract_answer, read_answer


@pytest.mark.parametrize("told", ["10{}3", "2*10{}3", "2 * 10{}-3", "$10{}3", "so 10{}3"])
def test_two_stars_after_ten_are_a_power(told):
    assert read_answer("#### " + told.format("**")) == read_answer("#### " + told.format("^"))


def test_a_number_times_a_power_of_ten_is_a_number():
    assert extract_answer("#### 2*10**3") == 2000 and extract_answer("It costs 2*10**3 dollars.") == 2000
    assert extract_answer("#### **110**") == 110
