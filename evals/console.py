"""Printing: lines and cells without markup, tables that fit the width of the console, and JSON on standard output.

rich reads square brackets as markup, so that a path or an extra such as `[vllm]` would vanish; everything that is not
written by this package therefore goes through `say`, `plain` or `show_table`.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

CONTROL_CHARACTERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that move the cursor, colour, clear or reverse the text of a terminal; tab and line feed do not."""


def visible(text: str) -> str:
    """The text with escapes such as \\x1b in place of control characters, which a terminal would obey."""
    return CONTROL_CHARACTERS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def plain(text: object, style: str = "") -> Text:
    """The text as rich prints it letter by letter: no markup, and no control characters (`visible`)."""
    return Text(visible(str(text)), style=style, overflow="fold")


def say(console: Console | None, text: object, *, style: str = "", wrap: bool = False) -> None:
    """Print a line as it is.

    console: None for standard output. wrap: break prose at words; paths and commands, which are copied, stay whole.
    """
    (console or Console()).print(plain(text, style), highlight=False, soft_wrap=not wrap)


LEAST_WIDTH = 8
"""Letters to which the first column of a table may be folded; below that rich decides which columns are."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    name: its heading, of several lines where it contains line breaks. right: whether cells are flush right, as numbers
    are. optional: 0 for a column that is always shown; of the others that with the largest number is left out first.
    """

    name: str
    right: bool = True
    optional: int = 0


def show_table(
    console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]], *, title: str = "", keys: int = 1,
    rest: str = "",
) -> None:  # fmt: skip
    """Print a table that fits the width of the console without cutting a cell.

    Where it is too wide, optional columns are left out, and a line says so and that `rest` has them. Columns that still
    do not fit, or all where there is no `rest`, continue in further tables, which repeat the first `keys` columns.
    """
    if title:
        say(console, title, wrap=True)
    shown, absent = list(range(len(columns))), []
    while rest and _width(columns, rows, shown, 1) > console.width:
        last = max(shown, key=lambda i: columns[i].optional)
        if not columns[last].optional:
            break
        shown.remove(last)
        absent.append(last)
    for number, block in enumerate(_blocks(columns, rows, shown, keys, console.width)):
        if number:
            console.print()
        console.print(_table(columns, rows, block, console.width))
    if absent:
        names = ", ".join(columns[i].name.replace("\n", " ") for i in sorted(absent))
        say(console, f"left out, since the table would be too wide: {names}; see {rest}", wrap=True)


def _need(column: Column, rows: Sequence[Sequence[str]], i: int) -> int:
    return max(cell_len(line) for text in (column.name, *(row[i] for row in rows)) for line in [*text.split("\n"), ""])


def _width(columns: Sequence[Column], rows: Sequence[Sequence[str]], block: Sequence[int], gap: int) -> int:
    return sum(_need(columns[i], rows, i) for i in block) + gap * (len(block) - 1)


def _blocks(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], shown: Sequence[int], keys: int, width: int
) -> list[list[int]]:
    """The columns of each table, of which every one begins with the keys and has at least one more column."""
    head = list(shown[:keys])
    blocks = [list(head)]
    for i in shown[keys:]:
        if len(blocks[-1]) > keys and _width(columns, rows, [*blocks[-1], i], 1) > width:
            blocks.append(list(head))
        blocks[-1].append(i)
    return blocks


def _table(columns: Sequence[Column], rows: Sequence[Sequence[str]], block: Sequence[int], width: int) -> Table:
    """One table; its first column is folded where the others leave it too little room."""
    gap = 2 if _width(columns, rows, block, 2) <= width else 1
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0))
    for i in block:
        side = "right" if columns[i].right else "left"
        table.add_column(plain(columns[i].name), justify=side, overflow="fold")  # type: ignore[arg-type]
    needs = [_need(columns[i], rows, i) for i in block]
    needs[0] += min(0, width - _width(columns, rows, block, gap))
    if needs[0] >= min(LEAST_WIDTH, _need(columns[block[0]], rows, block[0])):
        for column, need in zip(table.columns, needs):
            column.width = need
    for row in rows:
        table.add_row(*(plain(row[i]) for i in block))
    return table


def plain_values(value: Any) -> Any:
    """The value as JSON can hold it: dataclasses as objects, paths as text, figures that are not finite as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain_values(asdict(value))
    if isinstance(value, Mapping):
        return {str(name): plain_values(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(each) for each in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_json(result: Any) -> None:
    """Write the result to standard output as one JSON value."""
    sys.stdout.write(json.dumps(plain_values(result), indent=1) + "\n")
