"""The files of a run: `results.jsonl` and `trees.jsonl`, which are only appended to.

A run that was stopped at any moment can be opened again and continued: a partial last line is removed and complete rows
are kept. Rows are dictionaries; this module does not depend on planners or models.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from ...planning.differences import differences, listed
from ...planning.files import try_lock
from ..errors import BadInput
from .row_checks import header_fault, plain_json, row_fault, tree_fault

FORMAT = 2
"""Of `results.jsonl`, the `trees.jsonl` that it refers to, and `summary.json`."""

RESULTS, TREES, SUMMARY, REPORT = "results.jsonl", "trees.jsonl", "summary.json", "report.html"
BLOCK = 1 << 16

HEADER_START = b'{"format":%d,"settings":{' % FORMAT
"""What the first line begins with. A file that ends before that was left by a run that was killed at its start."""

TREE_START = b'{"problem":'
"""What a line of `trees.jsonl` begins with."""

Row = dict[str, Any]
RowKey = tuple[str, int, str]


def row_key(row: Mapping[str, Any]) -> RowKey:
    """The planner, budget and problem that a row is the result of."""
    return row["planner"], row["budget"], row["problem"]


def read_run(folder: Path) -> tuple[dict[str, Any], dict[RowKey, Row]]:
    """Settings and rows of a run, finished or not; of the rows only what pooling needs is checked.

    Errors: BadInput where there is none, or one of another format.
    """
    try:
        lines = (folder / RESULTS).read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise BadInput(f"{folder} holds no run: {error.strerror or error}") from error
    header = _parse(lines[0] if lines else b"{}", folder, 1)
    _check_format(header, folder)
    rows = [_parse_row(line, folder, number, only_score=True) for number, line in enumerate(lines[1:], 2)]
    return header["settings"], {row_key(row): row for row in rows if not row.get("retryable")}


class RunStore:
    """The rows of one run folder, on disk and in memory.

    folder: created where it is missing. settings: everything that decides a row; a folder with other settings is
    refused unless it holds only retryable failures. retryable: the keys of failures of earlier calls that the next
    call runs again, such as those of an engine that died; they are not among `rows`.

    Errors: BadInput for a folder that cannot be written to, is in use by another run, or holds files of another format
    or program, which keep every byte.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.settings = json.loads(json.dumps(settings))
        self.rows: dict[RowKey, Row] = {}
        self.retryable: set[RowKey] = set()
        with write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            _check_foreign(folder)
            self._results = _open_locked(folder / RESULTS)
            self._trees = (folder / TREES).open("ab+")
        try:
            with write_errors(folder):
                self._read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RunStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; every added row is on disk already."""
        for file in (self._results, self._trees):
            with suppress(OSError):  # closing would retry a write that failed before, as on a full disk
                file.close()

    def add_tree(self, tree: Mapping[str, Any]) -> str:
        """Append a tree and return the reference to it that rows store."""
        with write_errors(self.folder):
            return f"{TREES}#{_append(self._trees, tree)}"

    def add_row(self, row: Row) -> None:
        """Append a row."""
        with write_errors(self.folder):
            _append(self._results, row)
        self.rows[row_key(row)] = row

    def read_tree(self, reference: str) -> dict[str, Any]:
        """The tree that a row's `tree` refers to. Errors: BadInput where it is missing or is no tree."""
        self._trees.seek(int(reference.rpartition("#")[2]))
        try:
            tree: dict[str, Any] = plain_json(self._trees.readline())
            fault = tree_fault(tree)
        except ValueError:
            where = f"{self.folder / TREES} lacks a tree that {RESULTS} refers to ({reference})"
            raise BadInput(f"{where}; restore the file or choose another --out") from None
        if fault:
            where = f"{self.folder / TREES}, byte {reference.rpartition('#')[2]}"
            raise BadInput(f"{where}: not a tree ({fault}); restore the file or choose another --out")
        return tree

    def _read(self) -> None:
        self._results.seek(0)
        lines = self._results.read().split(b"\n")[:-1]
        if not lines:
            self._begin()
            return
        header = _parse(lines[0], self.folder, 1)
        for number, line in enumerate(lines[1:], 2):
            row = _parse_row(line, self.folder, number)
            if row.get("retryable"):
                self.retryable.add(row_key(row))
            else:
                self.rows[row_key(row)] = row
        restarts = self.retryable and not self.rows and header["settings"] != self.settings
        if not restarts:
            self._check_settings(header["settings"])
        for file in (self._trees, self._results):
            _remove_partial_line(file)
        if restarts:
            self._restart()

    def _begin(self) -> None:
        """Write the header to a file that is empty, or holds a part of the header of a run that was killed."""
        _remove_partial_line(self._trees)
        self._results.truncate(0)
        _append(self._results, {"format": FORMAT, "settings": self.settings})

    def _restart(self) -> None:
        self.retryable.clear()
        self._results.truncate(0)
        _append(self._results, {"format": FORMAT, "settings": self.settings})

    def _check_settings(self, before: Mapping[str, Any]) -> None:
        if changes := differences(before, self.settings):
            raise BadInput(f"{self.folder} was begun with other settings: {listed(changes)}. Use another --out")


def _append(file: BinaryIO, content: Mapping[str, Any]) -> int:
    """Append a line and return its offset."""
    offset = file.seek(0, 2)
    file.write(json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")
    file.flush()
    return offset


def _remove_partial_line(file: BinaryIO) -> None:
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
        row = plain_json(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        where = f"{folder / RESULTS}, line {number}"
        raise BadInput(f"{where}: not a JSON object; restore the file or choose another --out")
    return row


def _parse_row(line: bytes, folder: Path, number: int, *, only_score: bool = False) -> Row:
    row = _parse(line, folder, number)
    if fault := row_fault(row, only_score=only_score):
        raise BadInput(f"{folder / RESULTS}, line {number}: not a row of results ({fault})")
    return row


def _check_format(header: Row, folder: Path) -> None:
    found = header.get("format")
    if type(found) is int and found < FORMAT:
        raise BadInput(
            f"{folder} holds a run of the older format {found}, which cannot be continued or read (this is format "
            f"{FORMAT}); run it again with another --out"
        )
    if type(found) is int and found > FORMAT:
        raise BadInput(
            f"{folder} holds a run of the newer format {found}; this version reads the header of format {FORMAT}: "
            "install a newer version, or choose another --out"
        )
    if found != FORMAT or header_fault(header):
        raise BadInput(f"{folder / RESULTS}, line 1: not a header of format {FORMAT}; choose another --out")


def _check_foreign(folder: Path) -> None:
    """Errors: BadInput where files of these names were not written by a run, and would be overwritten."""
    for name in (RESULTS, TREES):
        if (folder / name).exists() and not (folder / name).is_file():
            raise BadInput(f"{folder / name} is no file; choose another --out")
    with suppress(FileNotFoundError), (folder / RESULTS).open("rb") as file:
        if start := file.readline():
            if not start.endswith(b"\n") and (HEADER_START.startswith(start) or start.startswith(HEADER_START)):
                return  # the run was killed when it wrote its header
            return _check_format(_parse(start, folder, 1), folder)
    if found := [name for name in (SUMMARY, REPORT) if (folder / name).exists()]:
        raise BadInput(f"{folder} holds {' and '.join(found)} and no run; choose another --out, or remove them")
    with suppress(FileNotFoundError), (folder / TREES).open("rb") as file:
        start = file.read(64)
        if start and not (start.startswith(TREE_START) or TREE_START.startswith(start)):
            raise BadInput(f"{folder / TREES} was not written by a run; choose another --out")


def _open_locked(path: Path) -> BinaryIO:
    """Open for appending and lock where the system can. Errors: BadInput where another process holds the lock."""
    file = path.open("ab+")
    if not try_lock(file.fileno()):
        file.close()
        raise BadInput(f"another run is writing to {path.parent}; wait for it or choose another --out")
    return file


@contextmanager
def write_errors(folder: Path) -> Iterator[None]:
    """Turn a failed write, such as one on a full disk or without permission, into BadInput."""
    try:
        yield
    except OSError as error:
        raise BadInput(f"cannot write to {folder}: {error.strerror or error}; --out chooses another folder") from error
