"""A tape in a file: SQLite with a write-ahead log, so that several processes read and write it at once.

Besides the records it holds what a replay needs in place of the models: their tokenizers, contexts and settings. A
stored record survives the death of the process; an incomplete one is rolled back. Every row has a checksum, and a file
that is no tape is refused before SQLite may change it.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..engines.base import Engine, EngineGone
from .recorded_model import RecordedModel, pack_files, unpack_files
from .records import FORMAT

APPLICATION = 0x466F5470
"""SQLite's application id of a tape ("FoTp"), which tells it from other programs' databases."""

LOCK_TIMEOUT = 30.0
"""Seconds to wait for another process's transaction, which takes milliseconds."""

BROKEN = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What SQLite raises for a damaged file; the second where it cannot even decode its own message."""

CHECKSUM = 8
"""Bytes of the checksum that a stored record begins with."""

MAGIC, VERSION_AT, APPLICATION_AT, HEADER = b"SQLite format 3\0", slice(60, 64), slice(68, 72), 100
"""The begin of SQLite's header, where it holds `user_version` and `application_id`, and its size in bytes."""

_TABLES = """
CREATE TABLE IF NOT EXISTS records(key BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS models(
    fingerprint TEXT, role TEXT, name TEXT NOT NULL, context INTEGER NOT NULL, files BLOB NOT NULL,
    checksum BLOB NOT NULL, PRIMARY KEY(fingerprint, role));
CREATE TABLE IF NOT EXISTS runs(settings TEXT PRIMARY KEY, checksum BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS problems(question TEXT PRIMARY KEY, answer TEXT NOT NULL, checksum BLOB NOT NULL);
"""


class TapeFailed(EngineGone):
    """The tape can be neither read nor written, as on a full disk, so that no answer of an engine would be kept."""


class TapeFile:
    """A `tape.Store` in the file `path`, created if it does not exist.

    A record whose checksum is wrong counts as missing and is replaced by the next one of its key; `damaged` is the
    number of those that were found.
    """

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        """Open or create the file.

        read_only: write nothing; the file must exist and may be in a folder without write permission.

        Errors: ValueError for a file that is no tape, has another format, or lies where SQLite cannot share it.
        """
        self.path, self._rejected = Path(path), dict[bytes, bytes]()
        if read_only and not self.path.is_file():
            raise ValueError(f"there is no tape {self.path}")
        if not self.path.parent.is_dir():
            raise ValueError(f"the tape {self.path} cannot be made: there is no folder {self.path.parent}")
        try:
            self._check_header()
            self._db = self._open_read_only() if read_only else self._open()
        except (*BROKEN, OSError) as error:
            raise ValueError(f"{self.path} cannot be used as a tape: {error}") from error

    @property
    def damaged(self) -> int:
        """How many records were found damaged and not replaced since."""
        return len(self._rejected)

    def get(self, key: bytes) -> bytes | None:
        """The record of `key`, None if there is none. Errors: TapeFailed."""
        with self._failures("read"):
            row = self._db.execute("SELECT record FROM records WHERE key = ?", (key,)).fetchone()
        if row is None or row[0] == self._rejected.get(key):
            return None
        stored: bytes = row[0]
        if isinstance(stored, bytes) and stored[:CHECKSUM] == _checksum(key, stored[CHECKSUM:]):
            self._rejected.pop(key, None)  # another process may have replaced it
            return stored[CHECKSUM:]
        self._rejected[key] = stored
        return None

    def reject(self, key: bytes) -> None:
        """Take the record of `key` for damaged, since its content cannot be read."""
        self._rejected[key] = self._db.execute("SELECT record FROM records WHERE key = ?", (key,)).fetchone()[0]

    def put(self, records: Mapping[bytes, bytes]) -> None:
        """Add records whose keys are new or damaged, all or none of them. Errors: TapeFailed."""
        bad = [(key, self._rejected[key]) for key in records if key in self._rejected]
        rows = [(key, _checksum(key, record) + record) for key, record in records.items()]
        with self._transaction():
            self._db.executemany("DELETE FROM records WHERE key = ? AND record = ?", bad)
            self._db.executemany("INSERT OR IGNORE INTO records VALUES (?, ?)", rows)
        for key, _ in bad:
            del self._rejected[key]

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM records").fetchone()[0])

    def add_model(self, engine: Engine, name: str, folder: str | Path | None, role: str = "policy") -> None:
        """Store what a replay needs in place of `engine`.

        folder: of the model's `forethought.json`, if it has one. role: "policy", or "reward" for a reward model.
        """
        parts = engine.fingerprint, role
        query = "SELECT * FROM models WHERE fingerprint = ? AND role = ?"
        known = self._db.execute(query, parts).fetchone()
        if known is None or not _intact(known):
            row = (*parts, name, engine.context, pack_files(engine.tokenizer, folder))
            with self._transaction():
                self._db.execute("INSERT OR REPLACE INTO models VALUES (?, ?, ?, ?, ?, ?)", (*row, _checksum(*row)))

    def model(self, name: str | None = None, role: str = "policy") -> RecordedModel:
        """The model of that name or fingerprint, or the only one there is; ValueError that lists them otherwise."""
        columns = "SELECT * FROM models WHERE role = ? ORDER BY name, fingerprint"
        rows = self._rows(columns, (role,))
        fitting = [row for row in rows if name is None or name in (row[2], row[0])]
        if len(fitting) != 1:
            there = ", ".join(f"{row[2]} ({row[0]})" for row in rows) or "none"
            wanted = f"no {role} model {name!r}" if not fitting and name else f"no single {role} model to choose"
            raise ValueError(f"the tape {self.path} holds {wanted}; there are: {there}")
        fingerprint, _, found, context, files = fitting[0]
        try:
            return RecordedModel(found, fingerprint, int(context), unpack_files(files))
        except (ValueError, TypeError) as error:
            raise ValueError(f"the tape {self.path} cannot be used: {error}") from None

    def models(self, role: str = "policy") -> list[str]:
        """The names of the models that recorded here; two models may have one name."""
        return [row[2] for row in self._rows("SELECT * FROM models WHERE role = ?", (role,))]

    def add_run(self, settings: Mapping[str, Any]) -> None:
        """Store the settings of a run that records here, so that a replay can report how its own settings differ."""
        text = json.dumps(settings, sort_keys=True)
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?)", (text, _checksum(text)))

    def runs(self) -> list[dict[str, Any]]:
        """The settings of all runs that recorded here. Errors: ValueError where they are no settings."""
        try:
            runs = [json.loads(text) for (text,) in self._rows("SELECT * FROM runs ORDER BY settings")]
        except (ValueError, RecursionError):
            runs = [None]
        if not all(isinstance(run, dict) for run in runs):
            raise ValueError(f"the tape {self.path} is damaged: the settings of a run cannot be read")
        return runs

    def add_problems(self, problems: Mapping[str, str]) -> None:
        """Store questions with their answers ("" where the answer is unknown)."""
        rows = [(*row, _checksum(*row)) for row in problems.items()]
        with self._transaction():
            self._db.executemany("INSERT OR IGNORE INTO problems VALUES (?, ?, ?)", rows)

    def problems(self) -> dict[str, str]:
        """The answers by question, in the order they were stored."""
        return dict(self._rows("SELECT * FROM problems ORDER BY rowid"))

    def check(self) -> None:
        """Read the structure of the whole file. Errors: ValueError where it is damaged."""
        try:
            found = str(self._db.execute("PRAGMA quick_check(1)").fetchone()[0])
        except BROKEN as error:
            found = str(error)
        if found != "ok":
            raise ValueError(f"the tape {self.path} is damaged: {' '.join(found.split())}")

    def _rows(self, query: str, parts: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
        """The rows without their checksums. Errors: ValueError for a wrong one and for a damaged file."""
        try:
            rows = self._db.execute(query, parts).fetchall()
        except BROKEN as error:
            raise ValueError(f"the tape {self.path} is damaged: {error}") from None
        if not all(map(_intact, rows)):
            raise ValueError(f"the tape {self.path} is damaged: a checksum is wrong")
        return [row[:-1] for row in rows]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._failures("written"):
            # a transaction that starts with a read cannot wait for another writer, one that starts with a write can
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite itself has rolled back where the disk is full
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _failures(self, what: str) -> Iterator[None]:
        try:
            yield
        except BROKEN as error:
            raise TapeFailed(f"the tape {self.path} cannot be {what}: {error}") from error

    def _open(self) -> sqlite3.Connection:
        db = _connect(str(self.path))
        # the tables are made before the write-ahead log, so that the header of the file tells at once what it is
        db.execute("BEGIN IMMEDIATE")
        if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            for statement in _TABLES.split(";")[:-1]:
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION}")
            db.execute(f"PRAGMA user_version = {FORMAT}")
        db.execute("COMMIT")
        mode = _run_pragma(db, "PRAGMA journal_mode = WAL")
        if mode != "wal":
            raise sqlite3.OperationalError(f"the file system gives journal mode {mode} in place of wal")
        # the write-ahead log survives the death of the process; only a power failure may lose the last records
        db.execute("PRAGMA synchronous = NORMAL")
        return db

    def _open_read_only(self) -> sqlite3.Connection:
        address = self.path.resolve().as_uri()
        try:
            db = _connect(f"{address}?mode=ro")
            db.execute("SELECT 1 FROM sqlite_master")
            return db
        except sqlite3.OperationalError:  # where no lock files can be created, no other process can write either
            return _connect(f"{address}?immutable=1")

    def _check_header(self) -> None:
        """Errors: ValueError for an existing file that is no tape or one of another format; it is only read."""
        if self.path.exists() and not self.path.is_file():
            raise ValueError(f"{self.path} cannot be used as a tape: it is no file")
        if not self.path.is_file() or not self.path.stat().st_size:
            return
        with self.path.open("rb") as file:
            header = file.read(HEADER)
        if not header.startswith(MAGIC) or len(header) < HEADER:
            raise ValueError(f"{self.path} cannot be used as a tape: file is not a database")
        if int.from_bytes(header[APPLICATION_AT]) != APPLICATION:
            raise ValueError(f"{self.path} is a database, but no tape; a tape of format {FORMAT} is needed")
        version = int.from_bytes(header[VERSION_AT])
        if version < FORMAT:
            raise ValueError(
                f"{self.path} is a tape of format {version}, which is older than format {FORMAT} of this version; "
                "make a new tape with the command that made this one"
            )
        if version > FORMAT:
            raise ValueError(
                f"{self.path} is a tape of format {version}, which is newer than this version; it reads format "
                f"{FORMAT} only"
            )


def _checksum(*parts: object) -> bytes:
    digest = hashlib.blake2b(digest_size=CHECKSUM)
    for part in parts:
        content = part if isinstance(part, bytes) else str(part).encode(errors="surrogatepass")
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.digest()


def _intact(row: tuple[Any, ...]) -> bool:
    """Whether a row, whose last part is its checksum, is as it was written."""
    return bool(row[-1] == _checksum(*row[:-1]))


def _connect(address: str) -> sqlite3.Connection:
    return sqlite3.connect(
        address, timeout=LOCK_TIMEOUT, isolation_level=None, check_same_thread=False, uri=address.startswith("file:")
    )


def _run_pragma(db: sqlite3.Connection, pragma: str) -> str:
    """Run a pragma that SQLite does not repeat by itself while the database is locked."""
    end = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            return str(db.execute(pragma).fetchone()[0])
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)
