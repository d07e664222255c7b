"""The files of a run can be used again after a stop at any moment."""

import json

import pytest

from forethought.evals.records.run_store import RunStore, read_run
from forethought.evals.tasks.base import BadInput

SETTINGS = {"model": "m", "seed": 0, "planners": {"bfs": "BFS()"}}


def row(problem, budget=8):
    return {"planner": "bfs", "budget": budget, "problem": problem, "score": 1.0, "answer": "é4"}


def fill(folder, count=3):
    with RunStore(folder, SETTINGS) as store:
        for i in range(count):
            store.add_row(row(f"p{i}") | {"tree": store.add_tree({"nodes": [[i, "text"]]})})


def test_rows_and_trees_come_back(tmp_path):
    fill(tmp_path)
    with RunStore(tmp_path, SETTINGS) as store:
        assert list(store.rows) == [("bfs", 8, f"p{i}") for i in range(3)]
        assert store.read_tree(store.rows["bfs", 8, "p2"]["tree"]) == {"nodes": [[2, "text"]]}


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
            store.add_row(row("new") | {"tree": store.add_tree({"nodes": []})})
            assert store.read_tree(store.rows["bfs", 8, "new"]["tree"]) == {"nodes": []}
        with RunStore(folder, SETTINGS) as store:
            assert ("bfs", 8, "new") in store.rows


def test_a_long_partial_line_is_removed(tmp_path):
    fill(tmp_path)
    with (tmp_path / "results.jsonl").open("ab") as file:
        file.write(b'{"planner":"' + b"x" * 200_000)
    with RunStore(tmp_path, SETTINGS) as store:
        assert len(store.rows) == 3
    assert (tmp_path / "results.jsonl").stat().st_size < 1000


def test_other_settings_are_named(tmp_path):
    fill(tmp_path)
    with pytest.raises(BadInput, match="seed was 0, is 1"):
        RunStore(tmp_path, SETTINGS | {"seed": 1})
    with pytest.raises(BadInput, match=r"top_p was null, is 0\.9"):
        RunStore(tmp_path, SETTINGS | {"top_p": 0.9})
    RunStore(tmp_path, SETTINGS).close()


@pytest.mark.parametrize("line", ["not json", '["a list"]', '{"planner": "bfs"}'])
def test_a_broken_line_is_named_by_file_and_number(tmp_path, line):
    fill(tmp_path)
    path = tmp_path / "results.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], line, *lines[1:]]) + "\n")
    with pytest.raises(BadInput, match=r"results\.jsonl, line 2"):
        RunStore(tmp_path, SETTINGS)


def test_a_foreign_file_is_refused(tmp_path):
    (tmp_path / "results.jsonl").write_text(json.dumps({"format": 99, "settings": {}}) + "\n")
    with pytest.raises(BadInput, match="header of format 2"):
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
