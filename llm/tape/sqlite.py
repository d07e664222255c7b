"""A tape in a file: SQLite with a write-ahead log, so that several processes read and write it at once.

Besides the records it holds what a replay needs in place of the models: their tokenizers, contexts and settings. A
stored record survives the death of the process; an incomplete one is rolled back.
"""

from __future__ import annotations

import io
import json
import sqlite3
import tempfile
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engines.base import Engine
from ..text.formats import SETTINGS_FILE
from .records import FORMAT

APPLICATION = 0x466F5470
"""SQLite's application id of a tape ("FoTp"), which tells it from other programs' databases."""

LOCK_TIMEOUT = 30.0
"""Seconds to wait for another process's transaction, which takes milliseconds."""

_TABLES = """
CREATE TABLE IF NOT EXISTS records(key BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS models(
    fingerprint TEXT, role TEXT, name TEXT NOT NULL, context INTEGER NOT NULL, files BLOB NOT NULL,
    PRIMARY KEY(fingerprint, role));
CREATE TABLE IF NOT EXISTS runs(settings TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS problems(question TEXT PRIMARY KEY, answer TEXT NOT NULL);
"""


@dataclass(frozen=True)
class RecordedModel:
    """A model that recorded on a tape, without its weights. files: of its tokenizer and settings, by name."""

    name: str
    fingerprint: str
    context: int
    files: Mapping[str, bytes]

    def unpack(self, folder: Path) -> None:
        """Write the files to a folder that `AutoTokenizer` and `format_for` can read."""
        for name, content in self.files.items():
            (folder / name).write_bytes(content)


class TapeFile:
    """A `tape.Store` in the file `path`, created if it does not exist."""

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        """Open or create the file.

        read_only: write nothing; the file must exist and may be in a folder without write permission.

        Errors: ValueError for a file that is no tape, has another format, or lies where SQLite cannot share it.
        """
        self.path = Path(path)
        if read_only and not self.path.is_file():
            raise ValueError(f"there is no tape {self.path}")
        if not self.path.parent.is_dir():
            raise ValueError(f"the tape {self.path} cannot be made: there is no folder {self.path.parent}")
        try:
            self._db = self._open_read_only() if read_only else self._open()
            self._check_format()
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{self.path} cannot be used as a tape: {error}") from error

    def get(self, key: bytes) -> bytes | None:
        """The record of `key`, None if there is none."""
        row = self._db.execute("SELECT record FROM records WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def put(self, records: Mapping[bytes, bytes]) -> None:
        """Add records whose keys are new, all or none of them."""
        self._write("INSERT OR IGNORE INTO records VALUES (?, ?)", list(records.items()))

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM records").fetchone()[0])

    def add_model(self, engine: Engine, name: str, folder: str | Path | None, role: str = "policy") -> None:
        """Store what a replay needs in place of `engine`.

        folder: of the model's `forethought.json`, if it has one. role: "policy", or "reward" for a reward model.
        """
        known = "SELECT 1 FROM models WHERE fingerprint = ? AND role = ?"
        if self._db.execute(known, (engine.fingerprint, role)).fetchone() is None:
            files = _zip_files(engine.tokenizer, folder)
            row = (engine.fingerprint, role, name, engine.context, files)
            self._write("INSERT OR IGNORE INTO models VALUES (?, ?, ?, ?, ?)", [row])

    def model(self, name: str | None = None, role: str = "policy") -> RecordedModel:
        """The model of that name or fingerprint, or the only one there is; ValueError that lists them otherwise."""
        columns = "SELECT name, fingerprint, context, files FROM models WHERE role = ? ORDER BY name, fingerprint"
        rows = self._db.execute(columns, (role,)).fetchall()
        fitting = [row for row in rows if name is None or name in row[:2]]
        if len(fitting) != 1:
            there = ", ".join(f"{row[0]} ({row[1]})" for row in rows) or "none"
            wanted = f"no {role} model {name!r}" if not fitting and name else f"no single {role} model to choose"
            raise ValueError(f"the tape {self.path} holds {wanted}; there are: {there}")
        with zipfile.ZipFile(io.BytesIO(fitting[0][3])) as archive:
            files = {entry: archive.read(entry) for entry in archive.namelist()}
        return RecordedModel(fitting[0][0], fitting[0][1], fitting[0][2], files)

    def models(self, role: str = "policy") -> list[str]:
        """The names of the models that recorded here; two models may have one name."""
        return [row[0] for row in self._db.execute("SELECT name FROM models WHERE role = ?", (role,))]

    def add_run(self, settings: Mapping[str, Any]) -> None:
        """Store the settings of a run that records here, so that a replay can report how its own settings differ."""
        self._write("INSERT OR IGNORE INTO runs VALUES (?)", [(json.dumps(settings, sort_keys=True),)])

    def runs(self) -> list[dict[str, Any]]:
        """The settings of all runs that recorded here."""
        return [json.loads(row[0]) for row in self._db.execute("SELECT settings FROM runs ORDER BY settings")]

    def add_problems(self, problems: Mapping[str, str]) -> None:
        """Store questions with their answers ("" where the answer is unknown)."""
        self._write("INSERT OR IGNORE INTO problems VALUES (?, ?)", list(problems.items()))

    def problems(self) -> dict[str, str]:
        """The answers by question, in the order they were stored."""
        return dict(self._db.execute("SELECT question, answer FROM problems ORDER BY rowid"))

    def _write(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        # a transaction that starts with a read cannot wait for another writer, one that starts with a write can
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(statement, rows)
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def _open(self) -> sqlite3.Connection:
        db = _connect(str(self.path))
        mode = _run_pragma(db, "PRAGMA journal_mode = WAL")
        if mode != "wal":
            raise sqlite3.OperationalError(f"the file system gives journal mode {mode} in place of wal")
        # the write-ahead log survives the death of the process; only a power failure may lose the last records
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("BEGIN IMMEDIATE")
        if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            for statement in _TABLES.split(";")[:-1]:
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION}")
            db.execute(f"PRAGMA user_version = {FORMAT}")
        db.execute("COMMIT")
        return db

    def _open_read_only(self) -> sqlite3.Connection:
        address = self.path.resolve().as_uri()
        try:
            db = _connect(f"{address}?mode=ro")
            db.execute("SELECT 1 FROM sqlite_master")
            return db
        except sqlite3.OperationalError:  # where no lock files can be created, no other process can write either
            return _connect(f"{address}?immutable=1")

    def _check_format(self) -> None:
        application = self._db.execute("PRAGMA application_id").fetchone()[0]
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if application == APPLICATION and version == FORMAT:
            return
        self._db.close()
        if application != APPLICATION:
            raise ValueError(f"{self.path} is a database, but no tape; a tape of format {FORMAT} is needed")
        if version < FORMAT:
            raise ValueError(
                f"{self.path} is a tape of format {version}, which is older than format {FORMAT} of this version; "
                "make a new tape with the command that made this one"
            )
        raise ValueError(f"{self.path} is a tape of format {version}; this version reads format {FORMAT} only")


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


def _zip_files(tokenizer: Any, folder: str | Path | None) -> bytes:
    """The tokenizer's files and the folder's settings as a zip archive."""
    buffer = io.BytesIO()
    with tempfile.TemporaryDirectory() as made, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        tokenizer.save_pretrained(made)
        settings = Path(folder, SETTINGS_FILE) if folder is not None else None
        for path in [*sorted(Path(made).glob("*")), *([settings] if settings and settings.is_file() else [])]:
            if path.is_file():
                archive.write(path, path.name)
    return buffer.getvalue()
