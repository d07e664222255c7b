"""The structure of the package: imports only go down, no import circles, documented folders, a wheel that works."""

import ast
import os
import re
import subprocess
import sys
import zipfile
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


def modules_of(package):
    """Dotted module name -> path, of all modules of a package; a folder's name is that of its `__init__`."""
    names = {}
    for path in sources(package):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def statements_on_import(tree):
    """All statements that run on import or under TYPE_CHECKING, which excludes the bodies of functions."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from statements_on_import(node)


def imports_on_load(path, modules):
    """The modules of the same package that a module imports outside functions, under TYPE_CHECKING included."""
    here = path.relative_to(ROOT).with_suffix("").parts
    for node in statements_on_import(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join([*here[: len(here) - node.level], *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in modules else base


def strongly_connected(graph):
    """Tarjan's strongly connected components of {node: successors}, those with more than one node."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for following in graph[node]:
            if following not in index:
                visit(following)
            if following in stack:
                low[node] = min(low[node], low[following])
        if low[node] == index[node]:
            at = stack.index(node)
            component, stack[at:] = sorted(stack[at:]), []
            if len(component) > 1:
                found.append(component)

    for node in graph:
        if node not in index:
            visit(node)
    return found


def test_strongly_connected_components_are_the_circles_of_a_graph():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set(), "f": {"g"}, "g": {"f"}}
    assert sorted(strongly_connected(graph)) == [["a", "b", "c"], ["f", "g"]]


@pytest.mark.parametrize("package", FLOORS)
def test_modules_do_not_import_each_other_in_a_circle(package):
    modules = modules_of(package)
    graph = {name: set(imports_on_load(path, modules)) & modules.keys() - {name} for name, path in modules.items()}
    assert not strongly_connected(graph)


EVALS_LAYERS = (
    {"errors"},
    {"plugins"},
    {"tasks"},
    {"console"},
    {"progress", "planners", "own_critics", "cli_common", "threads"},
    {"settings", "baselines"},
    {"records"},
    {"report"},
    {"runners"},
    {"api", "studies", "bench"},
    {"cli"},
)
"""Each part of evals may import those of earlier rows, and itself."""


def test_parts_of_evals_import_only_earlier_layers():
    layer = {name: number for number, names in enumerate(EVALS_LAYERS) for name in names}
    for path in sources("evals"):
        part = path.relative_to(ROOT / "evals").with_suffix("").parts[0]
        for name in imported(path):
            other = name.split(".")[1] if name.startswith("evals.") else part
            allowed = other == part or part == "__init__" or layer[other] < layer[part]
            assert allowed, f"{path.relative_to(ROOT)} imports {name}"


def package_folders():
    return {path.parent.relative_to(ROOT).as_posix() for top in FLOORS for path in sources(top)}


def test_the_readme_lists_every_top_level_folder():
    block = re.search(r"<!-- tree -->\n```\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert block, "README.md has no tree between <!-- tree --> and the end of its code block"
    named = set()
    for line in block[1].splitlines():
        name, _, comment = line.partition("  ")
        assert comment.strip(), f"no comment: {line}"
        named.add(name.split("/")[0])
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert named == folders - {"build", "dist", "runs", "__pycache__"}


@pytest.mark.parametrize("folder", sorted(package_folders()))
def test_the_docstring_of_a_folder_names_every_module_in_it(folder):
    text = ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text())) or ""
    modules = {path.name for path in (ROOT / folder).glob("*.py")} - {"__init__.py"}
    missing = sorted(name for name in modules if not re.search(rf"(?<![\w]){re.escape(name)}", text))
    assert not missing, f"{folder}/__init__.py does not name {', '.join(missing)}"


def test_no_package_hides_files_at_its_root():
    for floor in FLOORS:
        assert (ROOT / floor / "__init__.py").exists()
        assert (ROOT / "src" / "forethought" / floor).resolve() == ROOT / floor


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


def test_a_wheel_holds_no_picture_and_nothing_large_but_the_weights_of_the_built_in_models(wheel):
    files = {Path(each.filename): each.file_size for each in zipfile.ZipFile(wheel).infolist()}
    weights = {Path("forethought/llm/builtin", name, "model.safetensors") for name in ("reasoner", "prm")}
    assert weights <= set(files)
    assert {path for path, size in files.items() if size > 1_000_000} <= weights
    pictures = {".png", ".svg", ".jpg", ".jpeg", ".gif", ".webp", ".pdf"}
    assert not {path for path in files if path.suffix.lower() in pictures}


def test_a_wheel_works_away_from_the_checkout(wheel, tmp_path):
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
    [
        {"interface", "messages", "spaces", "usage", "noise", "compiled", "exp2", "fingerprint", "settings_checks"},
        {"files"},
        {"differences"},
        {"redaction"},
    ],
    [{"tensor_file"}],
    [{"states", "budget", "rollout", "scoring", "event_log", "journal"}],
    [{"vectors"}],
    [{"shooting_settings"}],
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


def test_each_sub_package_has_a_folder_of_tests():
    packages = [path.parent.relative_to(ROOT) for name in FLOORS for path in (ROOT / name).glob("*/__init__.py")]
    assert len(packages) > 20
    assert [str(path) for path in packages if not list((ROOT / "tests" / path).glob("test_*.py"))] == []
