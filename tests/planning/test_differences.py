"""Two sets of settings in words, of which one may come from a stranger."""

from forethought.planning.differences import MOST, SHOWN, differences, listed


def test_each_difference_is_named_with_both_values():
    before, now = {"a": 1, "b": {"c": 2, "d": 3}, "e": 4, "f": 0}, {"a": 1, "b": {"c": 5, "d": 3}, "e": "4", "f": 1}
    assert differences(before, now, ["f"]) == ["b.c was 2, is 5", 'e was 4, is "4"']
    assert differences(now, now) == [] and differences({"a": 1}, {}) == ["a was 1, is null"]


def test_names_and_values_of_a_stranger_stay_on_their_line():
    (line,) = differences({"\r\n\u2028\x1b[31m" + "x" * 500: "\n\x1b"}, {})
    assert line.isprintable() and len(line.splitlines()) == 1 and len(line) < 3 * SHOWN
    (line,) = differences({"\x85": {"\x0b": 1}}, {"\x85": {}})
    assert line.isprintable()


def test_long_values_are_shown_from_where_they_begin_to_differ():
    (line,) = differences({"a": "x" * 1000 + "old"}, {"a": "x" * 1000 + "new"})
    assert "old" in line and "new" in line and len(line) < 3 * SHOWN


def test_only_the_first_changes_are_listed():
    assert listed([str(i) for i in range(MOST + 3)]) == "0; 1; 2; 3; and 3 more"
    assert listed(["one"]) == "one"
