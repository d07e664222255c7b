"""Every command line of the table is refused at once, in at most three lines that name what is wrong."""

from __future__ import annotations

import hashlib
import io
import json
import re
import sqlite3
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout

import pytest

from forethought.evals.cli.main import main

from .command_lines import LINES

LEAST = 0.99
SECONDS = 30
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A folder of files that are not what the command lines say."""
    folder = tmp_path_factory.mktemp("scratch")
    (folder / "text.txt").write_text("just a text\nof two lines\n")
    (folder / "binary").write_bytes(bytes(range(256)) * 8)
    (folder / "empty.jsonl").write_text("")
    (folder / "good.jsonl").write_text(json.dumps({"question": "What is 1 + 1?", "answer": "#### 2"}) + "\n")
    (folder / "empty").mkdir()
    for name, text in (
        ("foreign", "another program's\n"),
        ("damaged", '{"format": 2, "settings": {}}\n{"planner": 3}\n'),
    ):
        (folder / name).mkdir()
        (folder / name / "results.jsonl").write_text(text)
    with sqlite3.connect(folder / "other.sqlite") as other:
        other.execute("create table t (x)")
    other.close()
    return folder


def contents(folder):
    """A hash of the name and content of everything in a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(str(path).encode() + (path.read_bytes() if path.is_file() else b""))
    return found.hexdigest()


def run(words):
    """The exit code, what was printed, and the seconds of a command line in this process."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv, begun, code = ["forethought", *words], time.monotonic(), 0
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as error:
        code = error.code
    finally:
        sys.argv = before
    return code, ESCAPES.sub("", err.getvalue() + out.getvalue()), time.monotonic() - begun


def fault(line, code, told, seconds, changed):
    """What is wrong with how a command line was refused, "" where nothing is."""
    flat = "".join(told.split())
    named = [name.replace("{scratch}", "") for name in line.named]
    missing = [name for name in named if "".join(name.split()).casefold() not in flat.casefold()]
    sentences = told.strip().split("error: ")
    checks = {
        "exit code": code != line.code,
        "traceback": "Traceback" in told,
        "lines": len(sentences) != 2 or len(told) > 3 * 240,
        f"does not name {missing}": bool(missing),
        "files changed": changed,
        "seconds": seconds > SECONDS,
    }
    return ", ".join(name for name, wrong in checks.items() if wrong)


def test_hostile_command_lines_are_refused_by_name(scratch, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(scratch)
    assert len({line.words for line in LINES}) == len(LINES) >= 300
    wrong, before = [], contents(scratch)
    for line in LINES:
        words = [word.replace("{scratch}", str(scratch)) for word in line.words]
        try:
            code, told, seconds = run(words)
        except Exception as error:  # what a user would see as a traceback
            code, told, seconds = 1, f"Traceback {type(error).__name__}: {error}", 0.0
        after = contents(scratch)
        if found := fault(line, code, told, seconds, after != before):
            wrong.append(f"{' '.join(line.words)[:100]!r}: {found}: code {code}, {told.strip()[-300:]!r}")
        before = after
    assert len(wrong) <= (1 - LEAST) * len(LINES), "\n".join([f"{len(wrong)} of {len(LINES)}:", *wrong])


def test_a_real_process_refuses_alike(scratch, monkeypatch):
    """Some lines, spread over the table, as a user runs them."""
    monkeypatch.chdir(scratch)
    for line in LINES[:: len(LINES) // 3]:
        words = [word.replace("{scratch}", str(scratch)) for word in line.words]
        done = subprocess.run(
            [sys.executable, "-m", "forethought.evals.cli.main", *words], capture_output=True, text=True
        )
        told = ESCAPES.sub("", done.stderr)
        flat = "".join(told.split()).casefold()
        assert done.returncode == line.code and len(told.splitlines()) <= 10 and "Traceback" not in told, told
        assert all("".join(name.split()).casefold() in flat for name in line.named)
