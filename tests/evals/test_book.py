"""The files of a run survive being stopped at any moment."""

import json

import pytest

from forethought.evals.records.run_store import Book
from forethought.evals.tasks.base import BadInput

SETTINGS = {"model": "m", "seed": 0, "planners": {"bfs": "BFS()"}}


def row(problem, budget=8):
    return {"planner": "bfs", "budget": budget, "problem": problem, "score": 1.0, "answer": "é4"}


def fill(folder, count=3):
    with Book(folder, SETTINGS) as book:
        for i in range(count):
            book.add(row(f"p{i}") | {"tree": book.keep({"nodes": [[i, "text"]]})})


def test_rows_and_trees_come_back(tmp_path):
    fill(tmp_path)
    with Book(tmp_path, SETTINGS) as book:
        assert list(book.rows) == [("bfs", 8, f"p{i}") for i in range(3)]
        assert book.tree(book.rows["bfs", 8, "p2"]["tree"]) == {"nodes": [[2, "text"]]}


def test_every_truncation_loses_at_most_the_row_it_cuts(tmp_path):
    fill(tmp_path / "whole")
    content = (tmp_path / "whole" / "results.jsonl").read_bytes()
    for size in range(len(content)):
        folder = tmp_path / f"cut{size}"
        folder.mkdir()
        (folder / "results.jsonl").write_bytes(content[:size])
        (folder / "trees.jsonl").write_bytes((tmp_path / "whole" / "trees.jsonl").read_bytes()[:-5])
        with Book(folder, SETTINGS) as book:
            assert len(book.rows) == max(0, content[:size].count(b"\n") - 1)
            book.add(row("new") | {"tree": book.keep({"nodes": []})})
            assert book.tree(book.rows["bfs", 8, "new"]["tree"]) == {"nodes": []}
        with Book(folder, SETTINGS) as book:
            assert ("bfs", 8, "new") in book.rows


def test_a_long_half_line_is_cut_off(tmp_path):
    fill(tmp_path)
    with (tmp_path / "results.jsonl").open("ab") as file:
        file.write(b'{"planner":"' + b"x" * 200_000)
    with Book(tmp_path, SETTINGS) as book:
        assert len(book.rows) == 3
    assert (tmp_path / "results.jsonl").stat().st_size < 1000


def test_other_settings_are_named(tmp_path):
    fill(tmp_path)
    with pytest.raises(BadInput, match="seed was 0, is 1"):
        Book(tmp_path, SETTINGS | {"seed": 1})
    with pytest.raises(BadInput, match=r"top_p was null, is 0\.9"):
        Book(tmp_path, SETTINGS | {"top_p": 0.9})
    Book(tmp_path, SETTINGS).close()


@pytest.mark.parametrize("line", ["not json", '["a list"]', '{"planner": "bfs"}'])
def test_a_broken_line_is_named_by_file_and_number(tmp_path, line):
    fill(tmp_path)
    path = tmp_path / "results.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], line, *lines[1:]]) + "\n")
    with pytest.raises(BadInput, match=r"results\.jsonl, line 2"):
        Book(tmp_path, SETTINGS)


def test_a_foreign_file_is_refused(tmp_path):
    (tmp_path / "results.jsonl").write_text(json.dumps({"format": 99, "settings": {}}) + "\n")
    with pytest.raises(BadInput, match="header of format 1"):
        Book(tmp_path, SETTINGS)


def test_two_runs_cannot_write_one_folder(tmp_path):
    pytest.importorskip("fcntl")
    with Book(tmp_path, SETTINGS), pytest.raises(BadInput, match="another run"):
        Book(tmp_path, SETTINGS)
