"""Files and folders that are written whole or not at all, and tables that a spreadsheet does not run.

Everything is written beside its place and renamed at the end, so a process that is killed leaves the earlier file or
none, and no reader sees a part of one.
"""

from __future__ import annotations

import csv
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a cell that begins with one of these for a formula."""


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write a file of text (UTF-8) or bytes, in one atomic move. Its folder must exist."""
    with whole_file(path) as beside:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A path beside `path` to write to, with the same suffix; it is moved to `path` unless the block raises.

    Something that is no file, such as `/dev/null`, is written directly.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        yield path
        return
    beside = _beside(path)
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: str | Path, last: str) -> Iterator[Path]:
    """An empty folder beside `folder` to write files to, which are moved to `folder` unless the block raises.

    A new folder appears in one atomic move. In an existing one each file is replaced atomically and other files are
    kept; `last` is the name of the file that tells that the folder is complete, which is moved last.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(folder)
    beside.mkdir()
    try:
        yield beside
        with suppress(OSError):
            os.rename(beside, folder)  # also onto an empty folder, but not onto one with files
            return
        for file in sorted(beside.iterdir(), key=lambda file: (file.name == last, file.name)):
            os.replace(file, folder / file.name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def try_lock(file: int) -> bool:
    """Lock a file or folder by its descriptor until that is closed; whether no other process holds the lock.

    Also True where the system has no such locks, as on some network file systems.
    """
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return True
    return True


@contextmanager
def locked_folder(folder: str | Path) -> Iterator[None]:
    """Hold the lock of a folder; one that is missing is made, and removed again where it is empty at the end.

    Errors: BlockingIOError where another process holds the lock.
    """
    folder = Path(folder)
    missing = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if not try_lock(descriptor):
            raise BlockingIOError(f"another process is writing to {folder}")
        yield
    finally:
        os.close(descriptor)
        if missing:
            with suppress(OSError):
                folder.rmdir()


def write_table(path: str | Path, names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file with a header, in one atomic move."""
    with whole_file(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([csv_cell(name) for name in names])
        writer.writerows([csv_cell(cell) for cell in row] for row in rows)


def csv_cell(cell: object) -> object:
    """The cell, with an apostrophe before a text that a spreadsheet would run as a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_SIGNS) else cell


def _beside(path: Path) -> Path:
    return path.with_name(f".{secrets.token_hex(4)}.{path.name}")
