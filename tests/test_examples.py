"""Every script of examples/ and every Python block of docs/ runs to its end, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PAGES = [page for page in sorted((ROOT / "docs").glob("*.md")) if "```python" in page.read_text(encoding="utf-8")]

RUN_BLOCKS = """
import re, sys
from pathlib import Path
for page in map(Path, sys.argv[1:]):
    for number, text in enumerate(re.findall(r"^```python\\n(.*?)^```", page.read_text(), re.M | re.S), 1):
        name = f"{page.name}, block {number}"
        exec(compile(text, name, "exec"), {"__name__": "__main__"})
        print(name)
"""
"""Runs each block of each page with names of its own, in one process, since imports take longest."""


def name_of(path):
    return path.stem


def run(arguments, folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_there_are_five_short_examples():
    assert len(EXAMPLES) == 5
    assert not [path.name for path in EXAMPLES if len(path.read_text(encoding="utf-8").splitlines()) > 40]


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_an_example_runs(path, tmp_path):
    assert run([str(path)], tmp_path)


def test_the_python_blocks_of_the_pages_run(tmp_path):
    printed = run(["-c", RUN_BLOCKS, *map(str, PAGES)], tmp_path)
    assert printed.count(", block ") == sum(page.read_text(encoding="utf-8").count("```python") for page in PAGES) > 5


def test_every_example_begins_with_what_it_shows():
    for path in EXAMPLES:
        assert re.match(r'"""[A-Z][^"]{20,}', path.read_text(encoding="utf-8")), path.name
