"""The pages of docs/ name files, classes, functions and methods that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
LIVES = [ROOT / "docs" / name for name in ("life_of_a_decision.md", "life_of_a_question.md")]
PACKAGES = ("planning", "control", "llm", "evals")
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


def page_name(path):
    return path.name


def code_spans(page):
    """The texts in backticks outside code blocks, with line breaks as spaces."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


def entries(page):
    """(file, name) of every entry of the form `path/file.py: name`; files of a reader's own have no path."""
    return [tuple(span.split(": ", 1)) for span in code_spans(page) if re.search(r"/\w+\.py:", span)]


@cache
def defined(path):
    """The functions and classes that a file defines at its top level, and the methods as `Class.method`."""
    names, blocks = set(), [ast.parse((ROOT / path).read_text(encoding="utf-8")).body]
    while blocks:
        for node in blocks.pop():
            if isinstance(node, FUNCTION | ast.ClassDef):
                names.add(node.name)
            if isinstance(node, ast.ClassDef):
                names |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, FUNCTION)}
            if isinstance(node, ast.If | ast.Try):
                blocks += [node.body, node.orelse]
    return names


@cache
def class_names():
    """The classes of the package, and the names that its modules assign at their top level."""
    names = set()
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
            names |= {node.name} if isinstance(node, ast.ClassDef) else {t.id for t in targets if hasattr(t, "id")}
    return names


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_entry_of_a_page_is_defined_in_its_file(page):
    for entry in entries(page):
        assert len(entry) == 2, f"{page.name}: `{entry[0]}` is not of the form `path/file.py: name`"
        file, name = entry
        assert (ROOT / file).is_file(), f"{page.name} names {file}, which does not exist"
        assert name in defined(file), f"{page.name}: {file} defines no {name}"


@pytest.mark.parametrize("page", LIVES, ids=page_name)
def test_a_life_has_at_least_twenty_entries_which_are_numbered_from_one(page):
    assert len(set(entries(page))) >= 20
    parts = re.split(r"^## One iteration of CEM$", page.read_text(encoding="utf-8"), flags=re.M)
    for part in parts:
        numbers = [int(number) for number in re.findall(r"^(\d+)\. `", part, re.M)]
        assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_file_that_a_page_names_exists(page):
    missing = [span for span in code_spans(page) if re.search(r"\.(py|md)$", span) and not (ROOT / span).is_file()]
    assert not missing, f"{page.name} names {', '.join(missing)}"


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_class_that_a_page_names_exists(page):
    spans = [span for span in code_spans(page) if not re.search(r"\.(py|md)$|FILE\.py", span)]
    words = {span.partition("(")[0].partition(".")[0] for span in spans}
    named = {word for word in words if re.fullmatch(r"[A-Z]+[a-z]\w*|[A-Z]{2,}", word)}
    assert not named - class_names(), f"{page.name} names {', '.join(sorted(named - class_names()))}"
