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


PLANNING = [  # a module imports from its own line or from lines above; between sets of one line nothing is imported
    [{"interface", "messages", "spaces", "usage", "noise", "compiled"}],
    [{"states", "budget", "rollout", "scoring", "event_log", "journal"}],
    [{"vectors"}],
    [{"sampling"}, {"trajopt"}, {"trees"}],
    [{"shooting", "chained", "policy_prior"}],
    [{"wrappers"}],
    [{"driver"}],
    [{"testing"}],
]
"""The modules and sub-packages of planning."""

PLACE = {name: (line, i) for line, sets in enumerate(PLANNING) for i, names in enumerate(sets) for name in names}


def planning_part(name):
    """The sub-package or module of planning that an absolute dotted name lies in, "" for the package itself."""
    parts = name.removeprefix("forethought.").split(".")
    return (parts[1] if len(parts) > 1 else "") if parts[0] == "planning" else None


def may_import(part, other):
    """Whether a part of planning may import from another one; the package's own `__init__` may from all."""
    return part in (other, "__init__") or PLACE[other][0] < PLACE[part][0] or PLACE[other] == PLACE[part]


def test_the_parts_of_planning_import_from_those_above_them_alone():
    wrong = []
    for path in sources("planning"):
        part = path.relative_to(ROOT / "planning").with_suffix("").parts[0]
        assert part == "__init__" or part in PLACE, f"planning/{part} has no place in PLANNING"
        for name in imported(path):
            other = planning_part(name)
            if other is not None and (other not in PLACE or not may_import(part, other)):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_no_module_of_planning_imports_itself_by_way_of_others():
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sources("planning")}
    edges = {}
    for module, path in modules.items():
        found = {name.removeprefix("forethought.") for name in imported(path)}
        edges[module] = sorted(name for name in found if name in modules and name != module)
    reached = {module: set(below) for module, below in edges.items()}
    for middle in modules:
        for module in modules:
            if middle in reached[module]:
                reached[module] |= reached[middle]
    circles = sorted(module for module in modules if module in reached[module])
    assert not circles, f"these import each other in a circle: {', '.join(circles)}"
