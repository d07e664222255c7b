"""The house stands: imports only go down, the README's tree is the disk's, a wheel works away from the checkout."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {"planning": set(), "control": {"planning"}, "llm": {"planning"}, "evals": {"planning", "control", "llm"}}
UNKNOWN_BELOW = {"planning": {"gymnasium", "transformers", "vllm", "datasets", "tokenizers"}}


def sources(folder):
    return sorted(p for p in (ROOT / folder).rglob("*.py") if "__pycache__" not in p.parts)


def imported(path):
    """Absolute dotted names that a file imports, relative imports resolved against the root of the repository."""
    here = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ([module] if node.module else [f"{module}.{alias.name}".lstrip(".") for alias in node.names])


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_only_go_down(floor):
    for path in sources(floor):
        for name in imported(path):
            top = name.removeprefix("forethought.").split(".")[0]
            allowed = top not in FLOORS or top == floor or top in FLOORS[floor]
            assert allowed, f"{path.relative_to(ROOT)} imports {name}: {floor} may import only {FLOORS[floor]}"
            assert top not in UNKNOWN_BELOW.get(floor, ()), f"{path.relative_to(ROOT)} imports {name}"


def test_the_tree_in_the_readme_is_the_tree_on_disk():
    block = re.search(r"<!-- tree -->\n```\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert block, "README.md has no tree between <!-- tree --> and the end of its code block"
    named, folder = set(), ""
    for line in block[1].splitlines():
        name, _, comment = line.strip().partition("  ")
        assert comment.strip(), f"no comment: {line}"
        if not line.startswith(" "):
            folder = name if name.endswith("/") else ""
            named |= {name} if not folder else set()
        else:
            named.add(folder + name)
    tracked = {str(p.relative_to(ROOT)) for f in FLOORS for p in sources(f) if p.name != "__init__.py"}
    assert {n for n in named if n.endswith(".py")} == tracked


def test_no_package_hides_files_at_its_root():
    for floor in FLOORS:
        assert (ROOT / floor / "__init__.py").exists()
        assert (ROOT / "src" / "forethought" / floor).resolve() == ROOT / floor


def test_a_wheel_works_away_from_the_checkout(tmp_path):
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    code = (
        "import forethought, forethought.planning as p, forethought.control, forethought.llm, forethought.evals;"
        "from pathlib import Path; from forethought.llm.load import BUILTIN;"
        "assert Path(BUILTIN, 'model.safetensors').exists(); print(p.__file__)"
    )
    environment = {**os.environ, "PYTHONPATH": str(site)}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert Path(found.stdout.strip()).is_relative_to(site)
    assert {p.name for p in site.iterdir() if not p.name.endswith(".dist-info")} - {"bin"} == {"forethought"}
