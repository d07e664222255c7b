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

from ..tasks.base import BadInput

FORMAT = 2
"""Of `results.jsonl`, the `trees.jsonl` that it refers to, and `summary.json`."""

RESULTS, TREES = "results.jsonl", "trees.jsonl"
BLOCK = 1 << 16

Row = dict[str, Any]
RowKey = tuple[str, int, str]


def row_key(row: Mapping[str, Any]) -> RowKey:
    """The planner, budget and problem that a row is the result of."""
    return row["planner"], row["budget"], row["problem"]


def read_run(folder: Path) -> tuple[dict[str, Any], dict[RowKey, Row]]:
    """Settings and rows of a run, finished or not. Errors: BadInput where there is none, or one of another format."""
    try:
        lines = (folder / RESULTS).read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise BadInput(f"{folder} holds no run: {error.strerror or error}") from error
    parsed = [_parse(line, folder, number) for number, line in enumerate(lines, 1)]
    _check_format(parsed[0] if parsed else {}, folder)
    rows = {row_key(_check_row(row, folder, n)): row for n, row in enumerate(parsed[1:], 2) if not row.get("retryable")}
    return parsed[0]["settings"], rows


class RunStore:
    """The rows of one run folder, on disk and in memory.

    folder: created where it is missing. settings: everything that decides a row; a folder with other settings is
    refused unless it holds only retryable failures. retryable: the keys of failures of earlier calls that the next
    call runs again, such as those of an engine that died; they are not among `rows`.

    Errors: BadInput for a folder that cannot be written to, is in use by another run, or holds files of another format.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.settings = json.loads(json.dumps(settings))
        self.rows: dict[RowKey, Row] = {}
        self.retryable: set[RowKey] = set()
        with write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
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
        """The tree that a row's `tree` refers to. Errors: BadInput where it is missing."""
        self._trees.seek(int(reference.rpartition("#")[2]))
        try:
            tree: dict[str, Any] = json.loads(self._trees.readline())
        except ValueError:
            where = f"{self.folder / TREES} lacks a tree that {RESULTS} refers to ({reference})"
            raise BadInput(f"{where}; restore the file or choose another --out") from None
        return tree

    def _read(self) -> None:
        _remove_partial_line(self._trees)
        _remove_partial_line(self._results)
        self._results.seek(0)
        lines = self._results.read().split(b"\n")[:-1]
        if not lines:
            _append(self._results, {"format": FORMAT, "settings": self.settings})
            return
        header = _parse(lines[0], self.folder, 1)
        _check_format(header, self.folder)
        for number, line in enumerate(lines[1:], 2):
            row = _check_row(_parse(line, self.folder, number), self.folder, number)
            if row.get("retryable"):
                self.retryable.add(row_key(row))
            else:
                self.rows[row_key(row)] = row
        if self.retryable and not self.rows and header["settings"] != self.settings:
            self._restart()
        else:
            self._check_settings(header["settings"])

    def _restart(self) -> None:
        self.retryable.clear()
        self._results.truncate(0)
        _append(self._results, {"format": FORMAT, "settings": self.settings})

    def _check_settings(self, before: Mapping[str, Any]) -> None:
        names = sorted(n for n in before.keys() | self.settings.keys() if before.get(n) != self.settings.get(n))
        if names:
            changes = "; ".join(f"{n} was {_short(before.get(n))}, is {_short(self.settings.get(n))}" for n in names)
            raise BadInput(f"{self.folder} was begun with other settings: {changes}. Use another --out")


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
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        where = f"{folder / RESULTS}, line {number}"
        raise BadInput(f"{where}: not a JSON object; restore the file or choose another --out")
    return row


def _check_format(header: Row, folder: Path) -> None:
    found = header.get("format")
    if isinstance(found, int) and found < FORMAT:
        raise BadInput(
            f"{folder} holds a run of the older format {found}, which cannot be continued or read (this is format "
            f"{FORMAT}); run it again with another --out"
        )
    if found != FORMAT or not isinstance(header.get("settings"), dict):
        raise BadInput(f"{folder / RESULTS}, line 1: not a header of format {FORMAT}; choose another --out")


def _check_row(row: Row, folder: Path, number: int) -> Row:
    if not {"planner", "budget", "problem", "score"} <= row.keys():
        raise BadInput(f"{folder / RESULTS}, line {number}: not a row of results")
    return row


def _open_locked(path: Path) -> BinaryIO:
    """Open for appending and lock where the system can. Errors: BadInput where another process holds the lock."""
    file = path.open("ab+")
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise BadInput(f"another run is writing to {path.parent}; wait for it or choose another --out") from None
    except (ImportError, OSError):  # some systems and network file systems have no file locks
        pass
    return file


@contextmanager
def write_errors(folder: Path) -> Iterator[None]:
    """Turn a failed write, such as one on a full disk or without permission, into BadInput."""
    try:
        yield
    except OSError as error:
        raise BadInput(f"cannot write to {folder}: {error.strerror or error}; --out chooses another folder") from error


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
