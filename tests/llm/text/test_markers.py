"""Several answer markers on one line."""

import pytest

from forethought.llm.text.answers import read_answer


@pytest.mark.parametrize("told", ["2\\sqrt{3}", "x^2 + 1", "7"])
def test_what_stands_between_two_markers_of_one_line_is_read_without_them(told):
    assert read_answer(f"#### {told} ####") == read_answer(f"#### {told}")
    assert read_answer(f"so #### {told} #### ####\n").marked
