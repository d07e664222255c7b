"""Every call of the table raises the package's own kind of error, in at most three lines that name what is wrong."""

from __future__ import annotations

import time
from pathlib import Path

from .calls import CALLS, Call

LEAST, SECONDS, MOST_LINES = 0.99, 30, 3


def fault(call: Call) -> str:
    """What is wrong with the error that a call raises, "" where nothing is."""
    begun = time.monotonic()
    try:
        call.work()
    except call.errors as error:
        told = str(error)
        if call.word.casefold() not in told.casefold():
            return f"the message lacks {call.word!r}: {told[:200]!r}"
        return f"{MOST_LINES} lines are exceeded" if len(told.splitlines()) > MOST_LINES else ""
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]!r}"
    finally:
        slow = time.monotonic() - begun > SECONDS
    return "it took too long" if slow else "no error"


def test_hostile_calls_raise_errors_that_name_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len({call.name for call in CALLS}) == len(CALLS) >= 300
    wrong = [f"{call.name}: {found}" for call in CALLS if (found := fault(call))]
    assert len(wrong) <= (1 - LEAST) * len(CALLS), "\n".join([f"{len(wrong)} of {len(CALLS)}:", *wrong])
    assert list(Path().iterdir()) == []
