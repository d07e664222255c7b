"""Imports inside `control` go one way, and each folder's docstring names its files."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "control"
LAYERS = [
    {"gym_spaces"}, {"dynamics", "nets", "policies"}, {"envs"}, {"recognition"}, {"data"}, {"world_models"}, {"values"},
    {"tasks"}, {"episodes"}, {"agents"}, {"__init__"},
]  # fmt: skip
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
FILES = sorted(path for path in ROOT.rglob("*.py") if "__pycache__" not in path.parts)


def imported(path):
    """Files of `control` that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        folder = path.parents[node.level - 1]
        target = folder.joinpath(*(node.module or "").split("."))
        if ROOT in target.parents or target == ROOT:
            yield target


def part_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_to_lower_layers_or_stay_in_their_part(path):
    here = part_of(path)
    for target in imported(path):
        there = part_of(target)
        assert here == there or RANK[there] < RANK[here], f"{here} imports {there}"


def test_no_two_files_import_each_other():
    edges = {
        path: {t.with_suffix(".py") if t.with_suffix(".py").exists() else t / "__init__.py" for t in imported(path)}
        for path in FILES
    }
    while leaves := [path for path, targets in edges.items() if not targets & edges.keys()]:
        for path in leaves:
            del edges[path]
    assert not edges


@pytest.mark.parametrize("init", [p for p in FILES if p.name == "__init__.py"], ids=lambda p: str(p.relative_to(ROOT)))
def test_a_folder_s_docstring_names_its_files_and_folders(init):
    doc = ast.get_docstring(ast.parse(init.read_text())) or ""
    beside = [p for p in init.parent.iterdir() if p.name not in ("__init__.py", "__pycache__")]
    missing = [p.name for p in beside if (p.suffix == ".py" or p.is_dir()) and p.name not in doc]
    assert not missing
