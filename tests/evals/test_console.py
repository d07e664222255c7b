"""Printing: brackets and control characters of strangers, tables of any width, and JSON."""

import io
import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from forethought.evals.console import Column, plain_values, print_json, say, show_table

BRACKETS = "runs/[red]a[/red]/[vllm]"


def printed(work, width=80):
    file = io.StringIO()
    work(Console(file=file, width=width))
    return file.getvalue()


def test_a_line_keeps_brackets_and_is_not_broken():
    text = f"written to {BRACKETS} " + "x" * 100
    assert printed(lambda console: say(console, text)) == text + "\n"


def test_prose_is_broken_at_words():
    lines = printed(lambda console: say(console, "many words " * 20, wrap=True), 30).splitlines()
    assert len(lines) > 5 and all(len(line) <= 30 for line in lines)
    assert {word for line in lines for word in line.split()} == {"many", "words"}


def test_control_characters_cannot_reach_the_terminal():
    shown = printed(lambda console: say(console, "a\x1b[2Jb\x07c\x9bd"))
    assert "\x1b" not in shown and "\x07" not in shown and "\x9b" not in shown and "[2Jb" in shown


COLUMNS = [
    Column("planner", right=False), Column("budget"), Column("score"), Column("tokens", optional=1),
    Column("seconds", optional=2),
]  # fmt: skip
ROWS = [["best_of_n", "1,024", "0.583 [.42 .61]", "12,345", "101.25"], [BRACKETS, "8", "-140.5 [-160 -121]", "7", "2"]]


@pytest.mark.parametrize("width", [140, 80, 60, 50, 34])
@pytest.mark.parametrize("rest", ["", "summary.json"])
def test_no_cell_is_cut_at_any_width(width, rest):
    shown = printed(lambda console: show_table(console, COLUMNS, ROWS, title="t", keys=2, rest=rest), width)
    assert all(cell_len(line) <= width for line in shown.splitlines())
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown
    letters = "".join(shown.split())
    for row in ROWS:
        for cell in row[1:3]:
            assert cell.replace(" ", "") in letters


def test_columns_that_do_not_fit_are_left_out_in_order_and_named():
    at = {w: printed(lambda console: show_table(console, COLUMNS, ROWS, rest="summary.json"), w) for w in (120, 64, 56)}
    assert "left out" not in at[120] and "101.25" in at[120]
    assert "12,345" in at[64] and "101.25" not in at[64]
    assert "too wide: seconds; see summary.json" in " ".join(at[64].split())
    assert "12,345" not in at[56] and "tokens, seconds; see summary.json" in " ".join(at[56].split())


def test_without_another_place_the_columns_continue_in_a_table_that_repeats_the_keys():
    shown = printed(lambda console: show_table(console, COLUMNS, ROWS, keys=1), 64)
    assert "101.25" in shown and "12,345" in shown and "left out" not in shown
    assert shown.count("planner") == 2 and shown.count("best_of_n") == 2 and shown.count("1,024") == 1


@dataclass
class Point:
    where: Path
    figures: tuple[float, ...]


def test_json_has_no_value_that_a_parser_refuses(capsys):
    print_json({"point": Point(Path("a/b"), (1.0, math.nan, -math.inf)), 8: [None, True, "[x]"]})
    told = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
    assert told == {"point": {"where": "a/b", "figures": [1.0, None, None]}, "8": [None, True, "[x]"]}
    assert plain_values(3) == 3
