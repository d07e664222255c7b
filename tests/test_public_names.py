"""README, pages and examples use the public names of the four packages and nothing else of the package."""

import ast
import re
from importlib import import_module
from inspect import isroutine
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("planning", "control", "llm", "evals")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def python_texts():
    """(where, source) of every Python block of the pages and of every example."""
    for page in PAGES:
        found = re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
        yield from ((f"{page.name}, block {number}", text) for number, text in enumerate(found, 1))
    yield from ((path.name, path.read_text(encoding="utf-8")) for path in sorted((ROOT / "examples").glob("*.py")))


def names_used(source):
    """(package, name) of what a text takes from `forethought`; the name is "" for a package that is imported whole."""
    tree, aliases = ast.parse(source), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "forethought":
            assert node.module != "forethought" or not node.level
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "forethought":
                    assert alias.asname, f"import {alias.name} needs a short name"
                    aliases[alias.asname] = alias.name
                    yield alias.name, ""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
            yield aliases[node.value.id], node.attr


def test_names_are_found_in_imports_and_as_attributes_of_a_package():
    source = "import forethought.planning as fp\nfrom forethought.llm import Tape as T\nfp.plan(fp.MCTS())\nx.y"
    assert sorted(names_used(source)) == [
        ("forethought.llm", "Tape"), ("forethought.planning", ""), ("forethought.planning", "MCTS"),
        ("forethought.planning", "plan"),
    ]  # fmt: skip


@pytest.mark.parametrize("where, source", [pytest.param(*each, id=each[0]) for each in python_texts()])
def test_a_block_imports_public_names_only(where, source):
    for package, name in names_used(source):
        assert package in {f"forethought.{each}" for each in PACKAGES}, f"{where} imports from {package}"
        public = import_module(package)
        assert not name or name in public.__all__, f"{where}: {package} exports no {name}"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_exists_and_is_listed_once(package):
    module = import_module(f"forethought.{package}")
    assert len(set(module.__all__)) == len(module.__all__) > 0
    assert not [name for name in module.__all__ if not hasattr(module, name)]


def own_docstring(value):
    """The docstring of a class or function itself; "" where a class inherits it or a dataclass has made it."""
    text = vars(value).get("__doc__") if isinstance(value, type) else value.__doc__
    return "" if not text or (isinstance(value, type) and text.startswith(f"{value.__name__}(")) else text


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_class_and_function_has_a_docstring_of_its_own(package):
    module = import_module(f"forethought.{package}")
    values = {name: getattr(module, name) for name in module.__all__}
    described = {name: value for name, value in values.items() if isinstance(value, type) or isroutine(value)}
    assert described
    assert not [name for name, value in described.items() if not own_docstring(value)]
