"""Files of strangers and damaged files: every command says in one line what is wrong, and changes nothing."""

import json
import re
import shutil
import sqlite3
import subprocess
from functools import partial

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console as PlainConsole
from safetensors.torch import save_file
from typer.testing import CliRunner

from forethought.control.world_models.load import load_model
from forethought.evals.cli.main import app
from forethought.evals.cli_common import check_output
from forethought.evals.console import say, visible
from forethought.evals.errors import BadInput
from forethought.evals.records.pool import scores_of
from forethought.evals.records.run_store import RunStore, read_run
from forethought.evals.records.tree_records import COLUMNS
from forethought.evals.report.report import write_report
from forethought.evals.report.terminal import show
from forethought.evals.runners.evaluate import run_evaluation
from forethought.evals.settings import EvalSettings
from forethought.llm.builtin.tokenizer import story_tokenizer
from forethought.planning.files import csv_cell, whole_file, whole_folder, write_whole
from forethought.planning.interface import UNITS
from forethought.planning.redaction import redact
from forethought.planning.tensor_file import BrokenTensorFile, load_tensors, save_tensors

BYTES = {
    "nothing": b"", "text": b"some notes\nof mine\n", "null": b"null", "list": b"[]\n", "number": b"1\n",
    "other": b'{"a": 1}\n',
    "future": b'{"format":99,"settings":{}}\n', "past": b'{"format":1,"settings":{}}\n', "bytes": bytes(range(256)),
    "deep": b"[" * 50_000 + b"\n", "zip": b"PK\x03\x04" + b"\0" * 60, "pickle": b"\x80\x04\x95\x00.",
    "sqlite": b"SQLite format 3\0" + b"\0" * 200, "surrogate": b'{"problem": "\\ud800", "path": [0], "step": "x"}\n',
    "huge": b'{"problem": "q", "path": [0], "step": "x", "value": 1' + b"0" * 400 + b"}\n",
    "escape": b'{"problem": "q", "path": "\x1b[31m\\u001b[2J", "step": "x"}\n',
}  # fmt: skip
TARGETS = {
    "log": ("import", "{}", "--out", "made.tape"),
    "tape": ("eval", "recorded", "--engine", "replay", "--tape", "{}"),
    "written tape": ("eval", "stories", "--tape", "{}", "--limit", "1", "--budgets", "1", "--planner", "greedy"),
    "questions": ("eval", "gsm8k", "--data", "{}", "--planner", "greedy"),
    "model file": ("eval", "stories", "--model", "./{}", "--planner", "greedy"),
    "out file": ("eval", "pendulum", "--out", "{}", "--planner", "cem", "--budgets", "8", "--limit", "1"),
    "results.jsonl": ("eval", "pendulum", "--out", "it", "--planner", "cem", "--budgets", "8", "--limit", "1"),
    "pooled results.jsonl": ("pool", "it"),
    "config.json": ("eval", "pendulum", "--model", "it", "--planner", "cem", "--budgets", "8", "--limit", "1"),
    "progress.safetensors": ("train", "pets", "--steps", "40", "--first", "30", "--out", "it"),
    "state.safetensors": ("train", "reasoner", "--steps", "8", "--out", "it"),
    "state.pt": ("train", "reasoner", "--steps", "8", "--out", "it"),
}
SLOW = {"written tape": ("text", "sqlite", "future"), "model file": ("text", "pickle", "nothing")}
"""Commands that take seconds to load what comes before their file are given fewer files."""

ALLOWED = {("nothing", "results.jsonl"), ("nothing", "written tape")}
"""An empty file is one that was just made."""


def content(folder):
    """Every file that is no lock of SQLite's, by name."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal")))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("target", TARGETS)
def test_a_hostile_file_is_refused_in_a_line_and_nothing_is_changed(tmp_path, monkeypatch, target):
    monkeypatch.setattr("forethought.llm.builtin.train.story_tokenizer", partial(story_tokenizer, 20))
    for name, written in BYTES.items():
        if (name, target) in ALLOWED or name not in SLOW.get(target, BYTES):
            continue
        folder = tmp_path / name
        (folder / "it").mkdir(parents=True)
        monkeypatch.chdir(folder)
        file = folder / "it" / target.split()[-1] if "." in target else folder / "x"
        file.write_bytes(written)
        before = content(folder)
        found = CliRunner().invoke(app, [word.format("x") for word in TARGETS[target]])
        told = found.stderr
        assert found.exit_code in (1, 2) and isinstance(found.exception, SystemExit), (name, found.exception, told)
        assert told.startswith("error: ") and len(told.splitlines()) <= 3 and len(told) < 1200, (name, told)
        assert visible(told) == told.replace("\r", ""), (name, told)
        assert file.name in told or "it" in told.split() or "./x" in told, (name, told)
        assert content(folder) == before, name


def good_row(planner, budget, problem):
    usage = dict.fromkeys(UNITS, 1.0)
    return {
        "problem": problem, "group": "", "planner": planner, "budget": budget, "answer": "4", "correct": True,
        "format_ok": True, "score": 1.0, "ledger": {"charged": usage, "spent": usage, "completion": usage},
        "finished": [{"node": 1, "answer": "4", "correct": True, "score": 0.5, "visits": 1}],
        "by_rule": {"best": {"answer": "4", "correct": True}}, "failed": None, "seconds": 0.1,
    }  # fmt: skip


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_damaged_results_are_read_right_or_refused_and_unchanged(tmp_path_factory, data):
    """A value is replaced by one of any JSON type, a byte by another, or the file is cut."""
    folder = tmp_path_factory.mktemp("run")
    lines = [{"format": 2, "settings": {"seed": 0}}, *(good_row("bfs", 8, f"p{i}") for i in range(3))]
    target = lines[data.draw(st.integers(0, 3), "line")]
    while True:  # down to a value
        name = data.draw(st.sampled_from(sorted(target)), "name")
        if not isinstance(target[name], dict) or data.draw(st.booleans(), "here"):
            break
        target = target[name]
    target[name] = data.draw(VALUES, "value")
    written = bytearray("".join(json.dumps(line) + "\n" for line in lines).encode())
    if data.draw(st.booleans(), "cut"):
        del written[data.draw(st.integers(0, len(written)), "size") :]
    if written and data.draw(st.booleans(), "flip"):
        written[data.draw(st.integers(0, len(written) - 1), "at")] ^= 1 << data.draw(st.integers(0, 7), "bit")
    (folder / "results.jsonl").write_bytes(written)
    for read in (read_run, lambda place: RunStore(place, {"seed": 0}).close(), lambda place: scores_of([place])):
        try:
            read(folder)
        except BadInput as error:
            assert len(str(error).splitlines()) == 1 and str(folder) in str(error)
    left = (folder / "results.jsonl").read_bytes()
    assert left == bytes(written) or bytes(written).startswith(left) or b'"settings":{' in left


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_damaged_tree_is_numbers_or_refused(tmp_path_factory, data):
    """What the report draws are numbers and one text a node, whatever was put into the file."""
    folder = tmp_path_factory.mktemp("trees")
    nodes = [[i, i - 1, 0, 1, 0.5, 0.5, 0, 1, i, f"step {i}", 3, -1, 0] for i in range(3)]
    tree = {"problem": "p", "planner": "bfs", "budget": 8, "path": [0, 1], "columns": list(COLUMNS), "nodes": nodes}
    if data.draw(st.booleans(), "cell"):
        cell = st.integers(0, len(COLUMNS) - 1)
        nodes[data.draw(st.integers(0, 2), "node")][data.draw(cell, "column")] = data.draw(VALUES, "value")
    else:
        tree[data.draw(st.sampled_from(sorted(tree)), "name")] = data.draw(VALUES, "value")
    with RunStore(folder, {}) as store:
        reference = store.add_tree(tree)
        try:
            found = store.read_tree(reference)
        except BadInput as error:
            assert "trees.jsonl" in str(error) and len(str(error).splitlines()) == 1
            return
    text = COLUMNS.index("text")
    for node in found["nodes"]:
        assert [isinstance(cell, str) for cell in node] == [i == text for i in range(len(COLUMNS))]
        assert not any(isinstance(cell, bool) or cell is None for cell in node)
    ids = [node[0] for node in found["nodes"]]
    assert found["nodes"][0][1] == -1 and all(node[1] in ids for node in found["nodes"][1:])


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_damaged_tensor_files_are_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("state") / "state.safetensors"
    save_tensors(path, {"a": torch.arange(12.0).reshape(3, 4), "b": torch.tensor([1, 2])}, {"step": 3})
    written = bytearray(path.read_bytes())
    if data.draw(st.booleans(), "cut"):
        del written[data.draw(st.integers(0, len(written) - 1), "size") :]
    else:
        written[data.draw(st.integers(0, len(written) - 1), "at")] ^= 1 << data.draw(st.integers(0, 7), "bit")
    path.write_bytes(written)
    try:
        tensors, header = load_tensors(path)
    except BrokenTensorFile as error:
        assert "state.safetensors is damaged" in str(error)
    else:  # a blank of the header's padding
        assert header == {"step": 3} and torch.equal(tensors["a"], torch.arange(12.0).reshape(3, 4))


def test_a_tensor_file_without_our_header_or_with_nan_is_refused(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "x.safetensors")
    with pytest.raises(BrokenTensorFile, match="was not written by this version"):
        load_tensors(tmp_path / "x.safetensors")
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"w holds infinite numbers or NaN, so the training diverged"):
            save_tensors(tmp_path / "y.safetensors", {"w": torch.tensor([1.0, bad])}, {})
    assert not (tmp_path / "y.safetensors").exists()


def test_a_trained_model_with_other_settings_or_weights_is_refused(tmp_path):
    from forethought.control.world_models.mlp.model import MLPModel
    from forethought.control.world_models.mlp.net import MLPNet
    from forethought.control.world_models.spaces import config_for

    config = config_for("Pendulum-v1", hidden=8)
    MLPModel(config, MLPNet(config)).save(tmp_path / "it")
    load_model(tmp_path / "it")
    good = json.loads((tmp_path / "it" / "config.json").read_text())
    for changes in (
        {"gamma": 0.5}, {"gamma": "x"}, {"config": None}, {"config": {}}, {"config": good["config"] | {"hidden": "8"}},
        {"config": good["config"] | {"hidden": 16}}, {"config": good["config"] | {"evil": 1}}, {"kind": "ensemble"},
        {"kind": []}, {"format": 99}, {"format": "3"}, {"config": good["config"] | {"env_id": "\x1b[31m"}},
    ):  # fmt: skip
        (tmp_path / "it" / "config.json").write_text(json.dumps(good | changes))
        with pytest.raises(ValueError, match=r"config\.json|/it") as told:
            load_model(tmp_path / "it")
        assert len(str(told.value).splitlines()) == 1


def test_files_are_written_whole_or_not_at_all(tmp_path):
    write_whole(tmp_path / "a.txt", "first")
    with pytest.raises(RuntimeError), whole_file(tmp_path / "a.txt") as beside:
        beside.write_text("half")
        raise RuntimeError
    assert content(tmp_path) == {"a.txt": b"first"}
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "model", last="config.json") as beside:
        (beside / "weights").write_text("half")
        raise RuntimeError
    assert content(tmp_path) == {"a.txt": b"first"}
    for text in ("one", "two"):
        with whole_folder(tmp_path / "model", last="config.json") as beside:
            (beside / "weights").write_text(text)
            (beside / "config.json").write_text(text)
    assert content(tmp_path / "model") == {"weights": b"two", "config.json": b"two"}
    write_whole("/dev/null", "x")


@pytest.mark.parametrize("place", ["/proc/x", "/proc/1/x/y", "file", "file/below", "x" * 300, "/dev/null/x"])
def test_an_output_that_cannot_be_written_is_found_before_the_work(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    commands = [
        ["study", "horizon"], ["bench", "mpc"], ["bench", "search"], ["bench", "certificates"], ["bench", "engine"],
        ["demo"], ["train", "mlp"], ["train", "ensemble"], ["train", "pets"], ["train", "residual"], ["train", "prm"],
        ["train", "reasoner"], ["train", "baseline", "sac"], ["eval", "pendulum"], ["pool", "."],
    ]  # fmt: skip
    monkeypatch.setattr("pathlib.Path.write_bytes", forbidden)  # the work would end in writing
    for command in commands:
        if place == "file" and command[0] in ("bench", "pool"):
            continue  # these write a file
        found = CliRunner().invoke(app, [*command, "--out", place])
        assert found.exit_code == 2 and isinstance(found.exception, SystemExit), (
            command,
            found.exception,
            found.stderr,
        )
        assert found.stderr.startswith("error: --out ") and len(found.stderr.splitlines()) == 1, (command, found.stderr)
    monkeypatch.undo()
    assert content(tmp_path) == {"file": b"mine"}


def forbidden(path, content):
    raise AssertionError(f"{path} is written")


def test_a_check_of_an_output_leaves_nothing(tmp_path):
    check_output(tmp_path / "a" / "b")
    check_output(tmp_path / "a" / "b.json", file=True)
    check_output(None)
    assert list(tmp_path.iterdir()) == []


ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202eabc\r"


def test_a_terminal_is_sent_no_escapes_of_foreign_text(tmp_path, summary_of):
    with (tmp_path / "log").open("w") as log:
        show(summary_of(model=ESCAPES, notes=[ESCAPES]) | {"failures": {ESCAPES: 1}}, PlainConsole(file=log, width=200))
        say(PlainConsole(file=log, width=200, force_terminal=True), ESCAPES, style="red")
    text = (tmp_path / "log").read_bytes().decode()
    assert text.count("\\x1b[2J") == 4 and "\x1b[2J" not in text and "\x07" not in text and "\u202e" not in text
    assert "\x1b[31m" in text, "our own colours are kept"


def test_csv_cells_are_no_formulas(tmp_path):
    assert [csv_cell(x) for x in ("=1+1", "+a", "-a", "@a", "\ta", "a=b", -1.5, 3)] == [
        "'=1+1", "'+a", "'-a", "'@a", "'\ta", "a=b", -1.5, 3,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("no server at http://me:hunter22@host:1/v1", "hunter22"), ("Authorization: Bearer abc123def", "abc123def"),
        ('{"authorization": "Bearer abc123def"}', "abc123def"), ("api_key=abcd1234", "abcd1234"),
        ("Incorrect API key provided: sk-abcdefghijkl", "abcdefghijkl"), ("it is my-secret-value.", "my-secret-value"),
    ],
)  # fmt: skip
def test_secrets_are_hidden(monkeypatch, text, hidden):
    monkeypatch.setenv("OPENAI_API_KEY", "my-secret-value")
    assert hidden not in redact(text) and "***" in redact(text)
    assert redact("Tom has 3 apples at http://host:1/v1; the key is in the door") == (
        "Tom has 3 apples at http://host:1/v1; the key is in the door"
    )


def test_secrets_of_a_failure_are_neither_stored_nor_shown(questions, tmp_path, faked, fake_engine, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "my-secret-value")

    async def echo(*_):
        raise ValueError("400: you sent Authorization: Bearer my-secret-value to http://me:hunter22@host")

    flags = ["--data", str(questions), "--planner", "greedy", "--budgets", "4", "--limit", "2", "--quiet"]
    faked[1]["broken"] = "never"
    monkeypatch.setattr(fake_engine, "generate", echo)
    found = CliRunner().invoke(app, ["eval", "gsm8k", *flags, "--out", str(tmp_path / "out")])
    kept = b"".join(content(tmp_path / "out").values()) + found.output.encode() + found.stderr.encode()
    assert b"my-secret-value" not in kept and b"hunter22" not in kept and b"you sent" in kept
    assert found.exit_code == 1 and "every result of greedy at 4 failed" in found.stderr


def test_a_row_of_failures_alone_has_no_interval(questions, tmp_path, faked):
    faked[1]["broken"] = "What"
    flags = {"limit": 3, "quiet": True, "data": questions, "out": tmp_path / "out"}
    with (tmp_path / "log").open("w") as log:
        settings = EvalSettings(task="gsm8k", planners="greedy,bfs", budgets="4", **flags)
        console = PlainConsole(file=log, width=150)
        found = run_evaluation(settings, console)
        show(found, console)
    assert all(row["low"] is None and row["high"] is None and row["paired"] is None for row in found["rows"])
    assert found["comparisons"] == []
    assert "Every result failed" in found.report.read_text()
    table = [line.split() for line in (tmp_path / "log").read_text().splitlines() if line.startswith(("greedy", "bfs"))]
    assert [row[:3] for row in table] == [["greedy", "4", "-"], ["bfs", "4", "-"]]


@pytest.fixture
def imported(tmp_path):
    """A tape made from a log of six trees."""
    rows = [
        {"problem": f"What is {i} + 1?", "path": [k], "step": f"#### {i + k}", "value": 0.5 + k / 4, "correct": k == 1}
        for i in range(6)
        for k in range(2)
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = CliRunner().invoke(app, ["import", str(tmp_path / "log.jsonl"), "--out", str(tmp_path / "a.tape")])
    assert found.exit_code == 0, found.stderr
    return tmp_path / "a.tape"


def replay(tape, out, *more):
    words = [
        "eval",
        "recorded",
        "--engine",
        "replay",
        "--tape",
        tape,
        "--planner",
        "bfs",
        "--budgets",
        "2",
        "--width",
        "2",
    ]
    return CliRunner().invoke(app, [*map(str, words), "--quiet", "--out", str(out), *more])


def test_a_replay_of_a_damaged_tape_ends_with_1_and_says_so(imported, tmp_path):
    whole = replay(imported, tmp_path / "whole")
    assert whole.exit_code == 0, whole.stderr
    db = sqlite3.connect(imported)
    key, record = db.execute("SELECT key, record FROM records ORDER BY key").fetchall()[3]
    db.execute("UPDATE records SET record = ? WHERE key = ?", (record[:-1] + bytes([record[-1] ^ 1]), key))
    db.commit()
    db.close()
    damaged = replay(imported, tmp_path / "damaged")
    assert damaged.exit_code == 1 and "1 records of the tape are damaged and were taken for missing" in damaged.stderr
    assert "1 records of the tape are damaged" in (tmp_path / "damaged" / "report.html").read_text()


def test_a_corrupt_tape_is_one_line(imported, tmp_path):
    written = bytearray(imported.read_bytes())
    for start in range(4096, len(written), 4096):  # the header of every page but the first
        written[start : start + 100] = b"\xff" * 100
    imported.write_bytes(written)
    found = replay(imported, tmp_path / "out")
    assert found.exit_code == 2 and "a.tape" in found.stderr and len(found.stderr.splitlines()) == 1


def test_a_tape_on_a_full_disk_stops_the_run_with_the_reason(questions, tmp_path, faked, monkeypatch):
    from forethought.llm.tape.sqlite import TapeFailed
    from forethought.llm.tape.tape import MemoryStore

    def full(*_):
        raise TapeFailed("the tape a.tape cannot be written: database or disk is full")

    monkeypatch.setattr(MemoryStore, "put", full)
    flags = ["--data", str(questions), "--planner", "bfs", "--budgets", "4", "--in-flight", "1", "--quiet"]
    found = CliRunner().invoke(app, ["eval", "gsm8k", *flags, "--out", str(tmp_path / "out")])
    assert found.exit_code == 1 and found.stderr.startswith("stopped: the tape a.tape cannot be written: database or")
    assert "23 were not started" in found.stderr and faked[0][-1].requests <= 2, "nothing more is paid for"


@pytest.fixture
def hostile_report(made_up, summary_of, tmp_path):
    """A report whose trees, model and problems hold scripts."""
    rows, _, problems, trees = made_up
    script = "<img src=x onerror=\"document.title='OWNED'\"><script>document.title='OWNED'</script>"
    for tree in trees.values():
        tree["nodes"][1][3:6] = [script] * 3
        tree["nodes"][1][8] = script
    path = tmp_path / "report.html"
    write_report(path, summary_of(model=script, notes=[script]), list(rows.values()), problems, trees)
    return path


def test_a_page_runs_its_own_scripts_alone(hostile_report):
    text = hostile_report.read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert "default-src &#39;none&#39;" in policy and "script-src &#39;sha256-" in policy
    assert "unsafe-inline" not in policy.split("style-src")[0] and "unsafe-eval" not in policy


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium to open the page with")
def test_a_browser_draws_the_page_and_runs_no_foreign_script(hostile_report, tmp_path):
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += [f"--user-data-dir={tmp_path / 'chromium'}", "--virtual-time-budget=5000", "--dump-dom"]
    page = subprocess.run([*command, hostile_report.as_uri()], capture_output=True, text=True, check=True).stdout
    assert "<title>forethought: stories</title>" in page and "OWNED</title>" not in page
    assert page.count("<polyline") >= 3 and "<option" in page and 'class="node"' in page
