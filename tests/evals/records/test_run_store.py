"""The files of a run can be used again after a stop at any moment."""

import json
import re

import pytest

from forethought.evals.errors import BadInput
from forethought.evals.records.run_store import RunStore, read_run
from forethought.evals.records.tree_records import COLUMNS
from forethought.planning.interface import UNITS

SETTINGS = {"model": "m", "seed": 0, "planners": {"bfs": "BFS()"}}


USAGE = dict.fromkeys(UNITS, 0.0)


def row(problem, budget=8):
    return {
        "problem": problem, "group": "", "planner": "bfs", "budget": budget, "answer": "é4", "correct": True,
        "format_ok": True, "score": 1.0, "ledger": {"charged": USAGE, "spent": USAGE, "completion": USAGE},
        "finished": [], "by_rule": {}, "failed": None, "seconds": 0.1,
    }  # fmt: skip


def tree(text):
    nodes = [[0, -1, 0, 1, 0.5, 0.5, 0, 1, 0, text, 0, -1, 0]]
    return {"problem": "p", "planner": "bfs", "budget": 8, "path": [0], "columns": list(COLUMNS), "nodes": nodes}


def fill(folder, count=3):
    with RunStore(folder, SETTINGS) as store:
        for i in range(count):
            store.add_row(row(f"p{i}") | {"tree": store.add_tree(tree(f"text {i}"))})


def test_rows_and_trees_come_back(tmp_path):
    fill(tmp_path)
    with RunStore(tmp_path, SETTINGS) as store:
        assert list(store.rows) == [("bfs", 8, f"p{i}") for i in range(3)]
        assert store.read_tree(store.rows["bfs", 8, "p2"]["tree"]) == tree("text 2")


def test_every_truncation_loses_at_most_the_row_it_cuts(tmp_path):
    fill(tmp_path / "whole")
    content = (tmp_path / "whole" / "results.jsonl").read_bytes()
    for size in range(len(content)):
        folder = tmp_path / f"cut{size}"
        folder.mkdir()
        (folder / "results.jsonl").write_bytes(content[:size])
        (folder / "trees.jsonl").write_bytes((tmp_path / "whole" / "trees.jsonl").read_bytes()[:-5])
        with RunStore(folder, SETTINGS) as store:
            assert len(store.rows) == max(0, content[:size].count(b"\n") - 1)
            store.add_row(row("new") | {"tree": store.add_tree(tree("new"))})
            assert store.read_tree(store.rows["bfs", 8, "new"]["tree"]) == tree("new")
        with RunStore(folder, SETTINGS) as store:
            assert ("bfs", 8, "new") in store.rows


def test_a_long_partial_line_is_removed(tmp_path):
    fill(tmp_path)
    with (tmp_path / "results.jsonl").open("ab") as file:
        file.write(b'{"planner":"' + b"x" * 200_000)
    with RunStore(tmp_path, SETTINGS) as store:
        assert len(store.rows) == 3
    assert (tmp_path / "results.jsonl").stat().st_size < 10_000


def test_other_settings_are_named(tmp_path):
    fill(tmp_path)
    with pytest.raises(BadInput, match="seed was 0, is 1"):
        RunStore(tmp_path, SETTINGS | {"seed": 1})
    with pytest.raises(BadInput, match=r"top_p was null, is 0\.9"):
        RunStore(tmp_path, SETTINGS | {"top_p": 0.9})
    RunStore(tmp_path, SETTINGS).close()


@pytest.mark.parametrize("line", ['{"problem": "\\ud800"}', "not json", '["a list"]', '{"planner": "bfs"}'])
def test_a_broken_line_is_named_by_file_and_number(tmp_path, line):
    fill(tmp_path)
    path = tmp_path / "results.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], line, *lines[1:]]) + "\n")
    with pytest.raises(BadInput, match=r"results\.jsonl, line 2"):
        RunStore(tmp_path, SETTINGS)


def test_a_foreign_file_is_refused(tmp_path):
    (tmp_path / "results.jsonl").write_text(json.dumps({"format": 99, "settings": {}}) + "\n")
    with pytest.raises(BadInput, match="newer format 99; this version reads the header of format 2"):
        RunStore(tmp_path, SETTINGS)


@pytest.mark.parametrize("read", [lambda folder: RunStore(folder, SETTINGS), read_run])
def test_a_run_of_an_older_format_is_refused(tmp_path, read):
    (tmp_path / "results.jsonl").write_text(json.dumps({"format": 1, "settings": SETTINGS}) + "\n")
    with pytest.raises(BadInput, match=r"older format 1, which cannot be continued or read .* another --out"):
        read(tmp_path)


def test_two_runs_cannot_write_one_folder(tmp_path):
    pytest.importorskip("fcntl")
    with RunStore(tmp_path, SETTINGS), pytest.raises(BadInput, match="another run"):
        RunStore(tmp_path, SETTINGS)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"name": "a log of another program, one line without an end"}', "not a header of format 2"),
        (b'{"format":99,"settings":{}}', "newer format 99"),
        (b'{"format":1,"settings":{}}', "older format 1"),
        (b"some notes\nof mine", "line 1: not a JSON object"),
        (b"\xff\xfe\x00", "line 1: not a JSON object"),
        (b"[" * 100_000, "line 1: not a JSON object"),
        (b'{"format":2,"settings":[]}\n', "not a header of format 2"),
    ],
)
def test_files_of_others_keep_every_byte(tmp_path, content, told):
    (tmp_path / "results.jsonl").write_bytes(content)
    (tmp_path / "trees.jsonl").write_bytes(b"half a line")
    with pytest.raises(BadInput, match=told):
        RunStore(tmp_path, SETTINGS)
    assert (tmp_path / "results.jsonl").read_bytes() == content
    assert (tmp_path / "trees.jsonl").read_bytes() == b"half a line"


@pytest.mark.parametrize("name", ["trees.jsonl", "summary.json", "report.html"])
def test_a_folder_with_such_files_and_no_run_is_refused(tmp_path, name):
    (tmp_path / name).write_text("mine\n")
    with pytest.raises(BadInput, match=name):
        RunStore(tmp_path, SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "mine\n"


def test_the_settings_that_differ_are_named_with_what_differs(tmp_path):
    long = "MCTS(" + ", ".join(f"setting_{i}={i}" for i in range(20)) + ", c_init={})"
    before = {"planners": {"bfs": "BFS()", "mcts": long.format(1.25)}, "seed": 0}
    RunStore(tmp_path, before).close()
    with pytest.raises(BadInput) as told:
        RunStore(tmp_path, before | {"planners": {"bfs": "BFS()", "mcts": long.format(2.5)}})
    (change,) = re.findall(r"planners\.mcts was (.*), is (.*)\. Use another", str(told.value))
    assert "c_init=1.25" in change[0] and "c_init=2.5" in change[1] and "bfs" not in str(told.value)


WRONG = [
    ("score", "1"), ("score", None), ("score", float("nan")), ("score", 1e400), ("budget", 0), ("budget", True),
    ("budget", "8"), ("planner", 3), ("problem", ["p"]), ("ledger", {}), ("ledger", None), ("ledger", {"charged": 1}),
    ("ledger", {"charged": USAGE | {"nodes": "1"}, "spent": USAGE, "completion": USAGE}), ("finished", None),
    ("finished", [{"node": 1}]), ("by_rule", []), ("failed", 7), ("group", 1), ("answer", 4), ("tree", "x"),
    ("tree", "trees.jsonl#-1"), ("decisions", "200"), ("format_ok", 1), ("seconds", -1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_row_of_other_types_is_one_line_with_file_and_line(tmp_path, name, value):
    fill(tmp_path)
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write(json.dumps(row("p9") | {name: value}) + "\n")
    before = (tmp_path / "results.jsonl").read_bytes()
    with pytest.raises(BadInput, match=r"results\.jsonl, line 5: not a row of results") as told:
        RunStore(tmp_path, SETTINGS)
    assert name in str(told.value) and "\n" not in str(told.value)
    assert (tmp_path / "results.jsonl").read_bytes() == before


def test_a_row_without_a_part_is_one_line(tmp_path):
    for name in set(row("p")) - {"by_rule"}:
        folder = tmp_path / name
        fill(folder, 1)
        with (folder / "results.jsonl").open("a") as file:
            file.write(json.dumps({key: value for key, value in row("p9").items() if key != name}) + "\n")
        if name not in ("answer", "correct"):
            with pytest.raises(BadInput, match=f"line 3: not a row of results .*{name}"):
                RunStore(folder, SETTINGS)


@pytest.mark.parametrize(
    "changes",
    [
        {"nodes": []}, {"nodes": [[0]]}, {"nodes": "x"}, {"columns": ["node"]}, {"path": ["0"]}, {"path": [7]},
        {"planner": 1}, {"nodes": [["<img onerror=alert(1)>", -1, 0, 1, 0, 0, 0, 1, 0, "", 0, -1, 0]]},
        {"nodes": [[0, 0, 0, 1, 0, 0, 0, 1, 0, "", 0, -1, 0]]}, {"nodes": [[0, -1, 0, 1, 0, 0, 0, 1, 0, 5, 0, -1, 0]]},
    ],
)  # fmt: skip
def test_a_tree_of_other_types_is_one_line(tmp_path, changes):
    with RunStore(tmp_path, SETTINGS) as store:
        reference = store.add_tree(tree("fine") | changes)
        with pytest.raises(BadInput, match=r"trees\.jsonl, byte 0: not a tree"):
            store.read_tree(reference)
