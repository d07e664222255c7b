"""A tape may come from a stranger, or from a disk that flips bits: nothing of it is run, and nothing wrong is used."""

import asyncio
import io
import json
import shutil
import sqlite3
import stat
import zipfile
from functools import cache

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forethought.llm.engines.base import EngineGone
from forethought.llm.importing import import_trees as importing
from forethought.llm.load import load_text_model
from forethought.llm.tape.recorded_model import MAX_BYTES, unpack_files
from forethought.llm.tape.records import FORMAT, unpack_score, unpack_step
from forethought.llm.tape.sqlite import TapeFailed, TapeFile, _checksum

torch.set_num_threads(1)
LOG = [
    {"problem": f"What is {i} + 1?", "path": [k], "step": f"#### {i + k}", "value": 0.5, "correct": k == 1}
    for i in range(3)
    for k in range(2)
]


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """A tape made from a log of three trees."""
    folder = tmp_path_factory.mktemp("tape")
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in LOG))
    asyncio.run(importing.import_trees(folder / "log.jsonl", folder / "a.tape"))
    return folder / "a.tape"


@pytest.fixture
def tape(imported, tmp_path):
    shutil.copy(imported, tmp_path / "a.tape")
    return tmp_path / "a.tape"


async def values(path):
    """What a replay finds of the log, and how many requests it lacks."""
    text = load_text_model("", "replay", "recorded", tape=path)
    told = []
    for question in dict.fromkeys(row["problem"] for row in LOG):
        (root,), _ = await text.start([question])
        states, expansion = await text.expand([root, root], [0, 1])
        told += [(text.text(state), value) for state, value in zip(states, expansion.value.tolist())]
    return told, text.engine.missing, text.tape.damaged


def archive(entries):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries:
            file.writestr(name, content)
    return buffer.getvalue()


def with_files(path, files):
    """Put an archive on the tape, with the checksum that a stranger can compute as well."""
    db = sqlite3.connect(path)
    row = (*db.execute("SELECT fingerprint, role, name, context FROM models").fetchone(), files)
    db.execute("UPDATE models SET files = ?, checksum = ?", (files, _checksum(*row)))
    db.commit()
    db.close()


def link():
    entry = zipfile.ZipInfo("tokenizer.json")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    "entries",
    [
        [("../evil", "x")], [("/tmp/forethought-evil", "x")], [("a/tokenizer.json", "x")], [("..\\evil", "x")],
        [("tokenizer.py", "raise SystemExit")], [("tokenizer.pkl", "x")], [("config.json", "{}")],
        [("model.safetensors", "x")], [(link(), "/etc/passwd")],
        [("tokenizer.json", "{}"), ("tokenizer.json", "{}")], [(f"{i}.json", "{}") for i in range(30)],
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_other_files_on_a_tape_are_refused_and_written_nowhere(tape, tmp_path, entries):
    with_files(tape, archive(entries))
    (tmp_path / "inside").mkdir()
    with pytest.raises(ValueError, match=r"a\.tape cannot be used: it holds"):
        TapeFile(tape, read_only=True).model()
    made = {path.name for path in tmp_path.iterdir()} - {"a.tape-shm", "a.tape-wal"}  # SQLite's own locks
    assert made == {"a.tape", "inside"}


def test_an_archive_that_unpacks_to_too_much_is_refused():
    bomb = bytearray(archive([("vocab.txt", b"0" * 10_000_000)]))
    assert len(bomb) < 100_000 and unpack_files(bytes(bomb))
    size = (MAX_BYTES + 1).to_bytes(4, "little")
    at = bomb.rindex(b"PK\x01\x02")
    bomb[at + 24 : at + 28] = size
    with pytest.raises(ValueError, match="larger than 256 MiB"):
        unpack_files(bytes(bomb))
    bomb[at + 24 : at + 28] = (5).to_bytes(4, "little")  # says less than it holds
    with pytest.raises(ValueError, match=r"larger than the archive says|damaged"):
        unpack_files(bytes(bomb))


def test_a_tokenizer_on_a_tape_never_runs_code(tape, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("builtins.input", lambda *text: asked.append(text) or "y")
    with zipfile.ZipFile(io.BytesIO(archive_of(tape))) as file:
        files = {name: file.read(name) for name in file.namelist()}
    config = json.loads(files["tokenizer_config.json"])
    config |= {"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}, "tokenizer_class": "Evil"}
    files["tokenizer_config.json"] = json.dumps(config).encode()
    with_files(tape, archive(files.items()))
    with pytest.raises(ValueError, match=r"the tokenizer on the tape .*a\.tape cannot be used") as told:
        load_text_model("", "replay", "recorded", tape=tape)
    assert not asked and "\n" not in str(told.value)


def archive_of(path):
    return sqlite3.connect(path).execute("SELECT files FROM models").fetchone()[0]


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("kind", ["other", "newer", "older", "text", "half", "wal"])
def test_a_refused_file_keeps_every_byte(tmp_path, kind, read_only):
    path = tmp_path / "x"
    if kind == "text":
        path.write_text("notes\n" * 100)
    elif kind == "half":
        path.write_bytes(b"SQLite format 3\0" + b"\0" * 20)
    else:
        db = sqlite3.connect(path)
        db.execute("CREATE TABLE mine(x)")
        if kind == "wal":
            db.execute("PRAGMA journal_mode = WAL")
        elif kind != "other":
            db.execute("PRAGMA application_id = 0x466F5470")
            db.execute(f"PRAGMA user_version = {FORMAT + (1 if kind == 'newer' else -1)}")
        db.commit()
        db.close()
    before = path.read_bytes()
    with pytest.raises(ValueError, match={"newer": "newer than this version", "older": "older than"}.get(kind, "x")):
        TapeFile(path, read_only=read_only)
    assert path.read_bytes() == before and [each.name for each in tmp_path.iterdir()] == ["x"]


def flip(path, table, column, at=-1):
    """Flip a bit in the middle of a stored value."""
    db = sqlite3.connect(path)
    rows = db.execute(f"SELECT {column} FROM {table} ORDER BY 1").fetchall()
    (old,) = rows[len(rows) // 2]
    if isinstance(old, bytes):
        new = bytearray(old)
        new[at] ^= 1
        new = bytes(new)
    else:
        new = old[:-1] + chr(ord(old[-1]) ^ 1)
    db.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (new, old))
    db.commit()
    db.close()


@pytest.mark.parametrize("at", [0, 8, 9, 13, 20, -1])
async def test_a_flipped_bit_of_a_record_is_missing_and_told(tape, at):
    right, missing, damaged = await values(tape)
    assert (sum(missing.values()), damaged) == (0, 0)
    flip(tape, "records", "record", at)
    before = tape.read_bytes()
    found, missing, damaged = await values(tape)
    assert sum(missing.values()) > 0 and damaged == 1 and tape.read_bytes() == before
    same = [a == b or b[1] != b[1] for a, b in zip(right, found)]
    assert same.count(False) <= 1 and len(found) == len(right)


@pytest.mark.parametrize(
    ("table", "column"), [("models", "name"), ("models", "files"), ("problems", "answer"), ("problems", "question")]
)
def test_a_flipped_bit_elsewhere_is_told(tape, table, column):
    if column == "answer":
        db = sqlite3.connect(tape)
        db.execute("UPDATE problems SET answer = '12'")  # without the checksum that belongs to it
        db.commit()
        db.close()
    else:
        flip(tape, table, column, 100)
    with pytest.raises(ValueError, match=r"a\.tape is damaged: a checksum is wrong"):
        file = TapeFile(tape, read_only=True)
        file.problems() if table == "problems" else file.model()


async def test_a_damaged_record_is_asked_again_and_healed(stepping_llama, tmp_path):
    path = tmp_path / "a.tape"

    async def walk():
        text = load_text_model(stepping_llama, tape=path)
        (root,), _ = await text.start(["How many?"])
        states, expansion = await text.expand([root] * 3, [0, 1, 2])
        found = [state.tokens for state in states], expansion.value.tolist()
        damaged, requests = text.tape.damaged, text.engine.counters.requests
        await text.close()
        text.tape.close()
        return found, damaged, requests

    first, _, asked = await walk()
    flip(path, "records", "record")
    again, damaged, requests = await walk()
    assert again == first and damaged == 0 and 0 < requests < asked
    assert (await walk()) == (first, 0, 0), "the healed record is on the tape"


@pytest.mark.parametrize("unpack", [unpack_step, unpack_score])
def test_a_record_with_a_right_checksum_and_wrong_content_counts_as_missing(unpack):
    for record in (b"", b"x", b"\xff" * 40, (b"\0" + (1 << 31).to_bytes(4, "little") + b"\0" * 40)):
        with pytest.raises(ValueError, match="not the record"):
            unpack(record)


def test_a_full_disk_stops_with_the_reason(tmp_path):
    file = TapeFile(tmp_path / "a.tape")
    file.put({b"k" * 16: b"x"})
    pages = file._db.execute("PRAGMA page_count").fetchone()[0]
    file._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(TapeFailed, match=r"a\.tape cannot be written: database or disk is full"):
        file.put({bytes([i] * 16): b"x" * 4000 for i in range(20)})
    assert issubclass(TapeFailed, EngineGone), "which ends a run, so that the model is not paid for nothing"
    assert file.get(b"k" * 16) == b"x" and len(file) == 1


def test_an_import_that_is_stopped_leaves_no_tape(tmp_path, monkeypatch):
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in LOG))
    record, done = importing._record, []

    async def cut(*parts):
        if done:
            raise KeyboardInterrupt
        done.append(await record(*parts))

    monkeypatch.setattr(importing, "_record", cut)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(importing.import_trees(tmp_path / "log.jsonl", tmp_path / "a.tape"))
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["log.jsonl"]


@cache
def right_values(path):
    return asyncio.run(values(path))[0]


@given(st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_damaged_tape_gives_the_right_values_or_says_so(imported, tmp_path_factory, data):
    """Bytes are replaced or cut off anywhere; what is found is right, missing and counted, or a one-line error."""
    content = bytearray(imported.read_bytes())
    if data.draw(st.booleans(), "cut"):
        del content[data.draw(st.integers(0, len(content) - 1), "size") :]
    for _ in range(data.draw(st.integers(1, 3), "bytes")):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "a.tape"
    path.write_bytes(content)
    try:
        found, missing, _ = asyncio.run(values(path))
    except (ValueError, TapeFailed) as error:
        assert "a.tape" in str(error) and len(str(error).splitlines()) == 1
    else:
        right = right_values(imported)
        wrong = [b for a, b in zip(right, found) if a != b and b[0] and b[1] == b[1]]
        assert not wrong and (found == right or sum(missing.values()) > 0)
    assert path.read_bytes() == bytes(content)


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_damaged_log_is_imported_whole_or_refused_by_line(tmp_path_factory, data):
    """A value is replaced by one of any JSON type, or a byte by another; there is a tape of all nodes or none."""
    folder = tmp_path_factory.mktemp("log")
    rows = [dict(row) for row in LOG]
    row = rows[data.draw(st.integers(0, len(rows) - 1), "line")]
    leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400)
    value = st.recursive(leaf, lambda inner: st.lists(inner, max_size=2), max_leaves=3)
    row[data.draw(st.sampled_from(sorted(row)), "name")] = data.draw(value, "value")
    written = bytearray("".join(json.dumps(row) + "\n" for row in rows).encode())
    if data.draw(st.booleans(), "flip"):
        written[data.draw(st.integers(0, len(written) - 1), "at")] ^= 1 << data.draw(st.integers(0, 7), "bit")
    (folder / "log.jsonl").write_bytes(written)
    try:
        found = asyncio.run(importing.import_trees(folder / "log.jsonl", folder / "a.tape"))
    except ValueError as error:
        assert "log.jsonl" in str(error) and len(str(error).splitlines()) == 1
        assert [path.name for path in folder.iterdir()] == ["log.jsonl"]
    else:
        assert found.nodes == len(rows) and TapeFile(folder / "a.tape", read_only=True).problems()
