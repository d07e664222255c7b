"""The files of a run: `results.jsonl` and `trees.jsonl`, which are only ever appended to.

A run that was stopped at any moment is opened again and goes on: a half-written last line is cut off, complete rows
are kept. Knows nothing of planners or models; rows are dictionaries.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from ..tasks.base import BadInput

FORMAT = 1
RESULTS, TREES = "results.jsonl", "trees.jsonl"
BLOCK = 1 << 16

Row = dict[str, Any]
Cell = tuple[str, int, str]


def cell_of(row: Mapping[str, Any]) -> Cell:
    """What a row is the result of: planner, budget, problem."""
    return row["planner"], row["budget"], row["problem"]


def read_run(folder: Path) -> tuple[dict[str, Any], dict[Cell, Row]]:
    """Settings and rows of a run, whether it goes on or not. Errors: BadInput where there is none."""
    try:
        lines = (folder / RESULTS).read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise BadInput(f"{folder} holds no run: {error.strerror or error}") from error
    told = [_parse(line, folder, number) for number, line in enumerate(lines, 1)]
    _check_format(told[0] if told else {}, folder)
    rows = {cell_of(_checked(row, folder, n)): row for n, row in enumerate(told[1:], 2) if not row.get("again")}
    return told[0]["settings"], rows


class Book:
    """The rows of one run folder, on disk and in memory.

    folder: made where it is missing. settings: everything that decides a row; a folder begun with others is refused,
    unless it holds nothing but failures that are to be run again. lost: the cells of such failures in earlier calls;
    they are not among `rows`.

    Errors: BadInput for a folder that cannot be written to, is written to by another run, or holds other files.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.settings = json.loads(json.dumps(settings))
        self.rows: dict[Cell, Row] = {}
        self.lost: set[Cell] = set()
        with written_to(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._results = _open_locked(folder / RESULTS)
            self._trees = (folder / TREES).open("ab+")
        try:
            with written_to(folder):
                self._read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Book:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; every row added is on disk already."""
        for file in (self._results, self._trees):
            with suppress(OSError):  # what found no room when it was added would be tried once more
                file.close()

    def keep(self, tree: Mapping[str, Any]) -> str:
        """Append a tree; gives what rows point at it with, so it comes before them."""
        with written_to(self.folder):
            return f"{TREES}#{_append(self._trees, tree)}"

    def add(self, row: Row) -> None:
        """Append a row."""
        with written_to(self.folder):
            _append(self._results, row)
        self.rows[cell_of(row)] = row

    def tree(self, reference: str) -> dict[str, Any]:
        """The tree that a row's `tree` points at. Errors: BadInput where it is not there."""
        self._trees.seek(int(reference.rpartition("#")[2]))
        try:
            tree: dict[str, Any] = json.loads(self._trees.readline())
        except ValueError:
            where = f"{self.folder / TREES} lacks a tree that {RESULTS} points at ({reference})"
            raise BadInput(f"{where}; restore the file or choose another --out") from None
        return tree

    def _read(self) -> None:
        _cut_half_line(self._trees)
        _cut_half_line(self._results)
        self._results.seek(0)
        lines = self._results.read().split(b"\n")[:-1]
        if not lines:
            _append(self._results, {"format": FORMAT, "settings": self.settings})
            return
        for number, line in enumerate(lines[1:], 2):
            row = _checked(_parse(line, self.folder, number), self.folder, number)
            if row.get("again"):
                self.lost.add(cell_of(row))
            else:
                self.rows[cell_of(row)] = row
        header = _parse(lines[0], self.folder, 1)
        if self.lost and not self.rows and header.get("settings") != self.settings:
            self._begin_anew()
        else:
            self._check_header(header)

    def _begin_anew(self) -> None:
        self.lost.clear()
        self._results.truncate(0)
        _append(self._results, {"format": FORMAT, "settings": self.settings})

    def _check_header(self, header: Row) -> None:
        _check_format(header, self.folder)
        before = header["settings"]
        names = sorted(n for n in before.keys() | self.settings.keys() if before.get(n) != self.settings.get(n))
        if names:
            changes = "; ".join(f"{n} was {_short(before.get(n))}, is {_short(self.settings.get(n))}" for n in names)
            raise BadInput(f"{self.folder} was begun with other settings: {changes}. Start anew with another --out")


def _append(file: BinaryIO, content: Mapping[str, Any]) -> int:
    offset = file.seek(0, 2)
    file.write(json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")
    file.flush()
    return offset


def _cut_half_line(file: BinaryIO) -> None:
    start = end = file.seek(0, 2)
    while start:
        start = max(0, start - BLOCK)
        file.seek(start)
        found = file.read(min(BLOCK, end - start)).rfind(b"\n")
        if found >= 0:
            file.truncate(start + found + 1)
            return
    file.truncate(0)


def _parse(line: bytes, folder: Path, number: int) -> Row:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        where = f"{folder / RESULTS}, line {number}"
        raise BadInput(f"{where}: not a JSON object; restore the file or choose another --out")
    return row


def _check_format(header: Row, folder: Path) -> None:
    if header.get("format") != FORMAT or not isinstance(header.get("settings"), dict):
        raise BadInput(f"{folder / RESULTS}, line 1: not a header of format {FORMAT}; choose another --out")


def _checked(row: Row, folder: Path, number: int) -> Row:
    if not {"planner", "budget", "problem", "score"} <= row.keys():
        raise BadInput(f"{folder / RESULTS}, line {number}: not a row of results")
    return row


def _open_locked(path: Path) -> BinaryIO:
    """Open for appending; a second process on the same folder is refused where the system can lock files."""
    file = path.open("ab+")
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise BadInput(f"another run is writing to {path.parent}; wait for it or choose another --out") from None
    except (ImportError, OSError):  # not every system locks files, nor every network's disk
        pass
    return file


@contextmanager
def written_to(folder: Path) -> Iterator[None]:
    """BadInput where the system refuses to write there: no permission, no room, no such place."""
    try:
        yield
    except OSError as error:
        raise BadInput(f"cannot write to {folder}: {error.strerror or error}; --out chooses another folder") from error


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
