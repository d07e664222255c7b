"""Every block of the README runs as pasted, and prints what stands below it."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


class Block(NamedTuple):
    """A code block with the heading above it, and the output that is shown below it, "" where none is."""

    heading: str
    language: str
    text: str
    output: str


def blocks():
    """The blocks in `sh` and `python`; a block in `text` is the output of the one before."""
    heading, found = "", []
    for title, language, text in re.findall(r"^#+ ([^\n]+)$|^```(\w+)\n(.*?)^```$", README, re.M | re.S):
        heading = title or heading
        if language == "text":
            found[-1] = found[-1]._replace(output=text)
        elif language:
            found.append(Block(heading, language, text, ""))
    return found


BLOCKS = blocks()
FILES = {found[1]: block.text for block in BLOCKS if (found := re.match(r"# (\w+\.py)\n", block.text))}
"""The blocks that the reader saves under the name in their first line."""


def command_lines(block):
    """The commands of a shell block that can run here; `make` sets up a machine and is what runs these tests."""
    lines = [line.partition("  #")[0].strip() for line in block.text.splitlines()]
    return [line for line in lines if block.language == "sh" and line and not line.startswith("make ")]


def run(command, folder):
    """What a command prints, on a terminal of 80 columns."""
    environment = {
        **os.environ, "COLUMNS": "80", "NO_COLOR": "1", "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def words(text):
    """The words of a text; numbers may differ between machines."""
    return set(re.findall(r"[A-Za-z_]{3,}", text))


def check_output(block, printed):
    missing = words(block.output) - words(printed)
    assert not missing, f"the README shows {', '.join(sorted(missing))}, the command printed:\n{printed}"
    assert len(printed.splitlines()) >= len([line for line in block.output.splitlines() if line.strip("… .")])


def test_the_readme_has_at_most_200_lines():
    assert len(README.splitlines()) <= 200


def test_the_readme_shows_four_tasks_with_their_outputs():
    for number in "1234":
        assert [block for block in BLOCKS if block.heading.startswith(f"{number}. ") and block.output]


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python"], ids=lambda block: block.heading)
def test_a_python_block_runs_in_an_empty_file(block, tmp_path):
    file = tmp_path / "block.py"
    file.write_text(block.text, encoding="utf-8")
    check_output(block, run([sys.executable, str(file)], tmp_path))


@pytest.mark.parametrize("block", [b for b in BLOCKS if command_lines(b)], ids=lambda block: block.heading)
def test_the_commands_of_a_block_run(block, tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    check_output(block, "".join(run(["bash", "-c", line], tmp_path) for line in command_lines(block)))


def test_every_file_that_the_readme_links_to_exists():
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(targets) > 10
    assert not [target for target in targets if not (ROOT / target).exists()]
