"""Hostile command lines: what is typed, and the words that the message must hold.

Every line must be refused before any work begins. `{scratch}` is a folder with the files of `test_command_lines.py`.
"""

from __future__ import annotations

from typing import NamedTuple

NOT_INTEGERS = [
    "x",
    "1.5",
    "nan",
    "inf",
    "",
    "1e3",
    "0x10",
    "१२x",
    "[red]3[/red]",
    "$(id)",
    "1;ls",
    "1 2",
    "--",
    "None",
]
NOT_NUMBERS = ["x", "", "1,5", "[b]1[/b]", "`id`", "1 2", "None", "0x1"]
UNKNOWN = [
    "nope",
    "",
    " ",
    "[red]x[/red]",
    "../../etc/passwd",
    "$(id)",
    "a\nb",
    "\x1b[31mred",
    "日本",
    "x" * 300,
    "'; DROP TABLE",
]


class Line(NamedTuple):
    """words: the arguments after `forethought`. named: each must be in the message. code: the exit code."""

    words: tuple[str, ...]
    named: tuple[str, ...]
    code: int = 2


def line(text: str, *named: str, code: int = 2) -> Line:
    """A command line that is split at blanks."""
    return Line(tuple(text.split()), named, code)


def option(command: str, name: str, values: list[str], *named: str) -> list[Line]:
    """One line for each value of an option; the message must name the option."""
    return [Line((*command.split(), f"{name}={value}"), (name, *named)) for value in values]


EVAL, PENDULUM, SOLVE = "eval stories --quiet", "eval pendulum --quiet", "solve Why?"

INTEGERS = [
    *[row for name in ("--limit", "--width", "--in-flight", "--replicas", "--max-steps", "--max-step-tokens")
      for row in option(EVAL, name, [*NOT_INTEGERS[:6], "0", "-1"])],
    *option(EVAL, "--seed", ["x", "1.5", "", "-1", "9223372036854775808", "1e3"]),
    *option(EVAL, "--shots", ["x", "-1", "5", "1.5", "1000000"]),
    *option(PENDULUM, "--action-repeat", ["x", "0", "-3", "2.5", ""]),
    *option(PENDULUM, "--limit", ["x", "0", "-1", "1e9"]),
    *option(SOLVE, "--budget", ["x", "0", "-1", "1.5", "nan", ""]),
    *option(SOLVE, "--width", ["x", "0", "1.5"]),
    *[row for kind in ("mlp", "ensemble", "pets", "residual")
      for row in option(f"train {kind} --out {{scratch}}/m", "--steps", ["x", "0", "-5", "1.5", "", "3", "nan"])],
    *[row for kind in ("mlp", "residual") for row in option(f"train {kind} --out {{scratch}}/m", "--seed", ["x",
      "1.5", "", "-1"])],
    *[row for kind in ("ensemble", "residual", "pets") for row in option(f"train {kind} --out {{scratch}}/m",
      "--members", ["x", "0", "-1", "1.5"])
      if kind != "residual"],
    *[row for name in ("--first", "--envs", "--nodes") for row in option("train pets --out {scratch}/m", name,
      ["x", "0", "-1", "1.5"])],
    *option("train reasoner --out {scratch}/m", "--steps", ["x", "0", "-1", "1.5", ""]),
    *option("train prm --out {scratch}/m", "--steps", ["x", "0", "-1", "1.5"]),
    *option("train prm --out {scratch}/m", "--rollouts", ["x", "0", "-1"]),
    *option("train baseline sac --out {scratch}/m", "--steps", ["x", "0", "-1"]),
    *[row for name in ("--candidates", "--horizon", "--repeats") for row in option("bench mpc", name, ["x", "0",
      "-1", "1.5"])],
    *[row for name in ("--nodes", "--seeds") for row in option("bench certificates", name, ["x", "0", "-1"])],
    *option("bench search", "--repeats", ["x", "0", "-1"]),
    *[row for name in ("--problems", "--rounds", "--nodes", "--repeats") for row in option("bench engine", name,
      ["x", "0", "-1"])],
    *option("study horizon", "--seed", ["x", "1.5"]),
]  # fmt: skip

NUMBERS = [
    *option(EVAL, "--temperature", [*NOT_NUMBERS, "nan", "inf", "-inf", "-0.1"]),
    *option(SOLVE, "--temperature", ["x", "nan", "-1"]),
    *option("train prm --out {scratch}/m", "--rate", ["x", "nan", "inf", "0", "-1"]),
    *option("train prm --out {scratch}/m", "--held-out", ["x", "nan", "-1", "1.5"]),
]

NAMES = [
    *[Line((*EVAL.split(), f"--planner={value}"), ("planner",)) for value in [*UNKNOWN, "bfs,bfs", "bfs,nope", ","]],
    *[Line((*PENDULUM.split(), f"--planner={value}"), (value.split(",")[0],)) for value in ("greedy",
      "self_consistency", "nope")],
    *[Line((*EVAL.split(), f"--budgets={value}"), ("budget",)) for value in ("x", "0", "-4", "1.5", "4,,x", "nan",
      "4;8", "1e3")],
    *[Line((*EVAL.split(), f"--unit={value}"), ("unit",)) for value in UNKNOWN[:8]],
    *[Line((*EVAL.split(), f"--engine={value}"), ("engine",)) for value in UNKNOWN[:8]],
    *[Line((*EVAL.split(), f"--reasoning={value}"), ("--reasoning",)) for value in UNKNOWN[:8]],
    *[Line((*EVAL.split(), f"--answer-by={value}"), ("--answer-by",)) for value in UNKNOWN[:8]],
    *[Line((*EVAL.split(), f"--value={value}"), ("value",)) for value in ("nope", "0.5*", "self+", "*self",
      "2*nope", "nan*self", "[b]")],
    *[Line((*EVAL.split(), "--value=prm", f"--reward-format={value}"), ("reward",)) for value in ("nope", "[red]",
      "日本")],
    *[Line((*EVAL.split(), "--value=prm", f"--aggregate={value}"), ("aggregate",)) for value in ("nope",
      "mean,min", "")],
    *[Line((*EVAL.split(), f"--split={value}"), ("split",)) for value in ("nope", "train", "")],
    *[Line((*EVAL.split(), f"--model={value}"), ("model",)) for value in ("/no/such/folder", "./nope",
      "{scratch}/empty", "{scratch}/text.txt", "[b]x[/b]")],
    *[Line((*EVAL.split(), f"--against={value}"), ("--against",)) for value in ("nope", "cem", "[red]")],
    *[Line(("eval", value), (value.strip().rpartition("/")[2][:12] or "task",)) for value in ("nope",
      "[red]x[/red]", "../../etc/passwd", "日本", "nope:Env-v0", "x.py:Y", "{scratch}/text.txt", "x" * 200)],
    *[Line(("list", value), ("list",)) for value in ("nope", "[red]x[/red]", "planner", "日本")],
    *[Line(("study", value), ("study",)) for value in ("nope", "[red]x[/red]", "日本")],
    *[Line(("train", "mlp", f"--env={value}", "--out={scratch}/m"), (value[:8] or "env",)) for value in ("Nope-v0",
      "[red]", "../x", "日本-v1", "nope:Env-v0", "x.py:Y")],
    *[Line(("train", "mlp", f"--wrapper={value}", "--out={scratch}/m"), ("wrapper",)) for value in ("Nope",
      "[red]")],
    *[Line(("train", "residual", f"--physics={value}", "--out={scratch}/m"), (value[:4],)) for value in ("mess=1",
      "mass=x", "mass")],
    *[Line(("train", "baseline", value, "--out={scratch}/m"), (value,)) for value in ("nope", "[red]")],
    *[Line((value,), (value.strip("-")[:8],)) for value in ("nope", "[red]x[/red]", "evaluate", "--nope", "日本")],
    *[Line((*command.split(), "--nope=1"), ("--nope",)) for command in (EVAL, SOLVE, "train mlp", "bench mpc",
      "study horizon", "doctor", "demo", "list planners", "pool x", "import x --out y")],
]  # fmt: skip

TOGETHER = [
    *[Line((*PENDULUM.split(), word), (word.split("=")[0],)) for word in (
        "--engine=vllm", "--device=cuda", "--device=bogus", "--temperature=0.5", "--tape={scratch}/t.sqlite",
          "--width=3",
        "--reasoning=rap", "--value=self", "--reward-model=builtin", "--reward-format=qwen", "--aggregate=min",
        "--answer-by=best", "--replicas=2", "--base-url=http://localhost", "--split=hard", "--shots=2",
          "--delimiter=line",
        "--max-steps=3", "--max-step-tokens=9", "--system=Hello", "--trust-remote-code")],
    *[Line((*EVAL.split(), word), (word.split("=")[0],)) for word in (
        "--action-repeat=2", "--terminal-value", "--wrapper=FlattenObservation", "--base-url=http://localhost",
        "--reward-model=builtin", "--reward-format=qwen", "--aggregate=min", "--delimiter=")],
    line(f"{PENDULUM} --unit tokens", "tokens"),
    line("eval cartpole --planner ilqr", "ilqr"),
    line("eval cartpole --planner gradient", "gradient"),
    line(f"{EVAL} --engine replay", "--tape"),
    line(f"{EVAL} --engine openai", "--base-url"),
    line(f"{EVAL} --engine openai --base-url http://localhost:9 --replicas 2", "replicas"),
    line(f"{EVAL} --engine replay --tape {{scratch}}/missing.sqlite", "missing.sqlite"),
    line(f"{EVAL} --engine replay --tape {{scratch}}/text.txt", "text.txt"),
    line(f"{EVAL} --engine replay --tape {{scratch}}/other.sqlite", "other.sqlite"),
    line(f"{EVAL} --tape {{scratch}}/other.sqlite", "other.sqlite"),
    line(f"{EVAL} --tape {{scratch}}/text.txt", "text.txt"),
    line(f"{EVAL} --tape {{scratch}}/empty", "empty"),
    line(f"{EVAL} --value vote --planner mcts", "vote"),
    line(f"{EVAL} --value vote --planner beam --width 1", "width"),
    line(f"{EVAL} --system @{{scratch}}/missing.txt", "--system"),
    line(f"{EVAL} --system Hello", "instruction"),
    line(f"{EVAL} --delimiter line", "delimiter"),
    line("eval recorded", "tape"),
    line("eval", "task"),
    line("eval stories --task gsm8k", "twice"),
    line("eval stories gsm8k", "gsm8k"),
    line("eval --data {scratch}/missing.jsonl --grade number", "missing.jsonl"),
    line("eval --data {scratch}/text.txt --grade number", "text.txt", "line 1"),
    line("eval --data {scratch}/empty.jsonl --grade number", "empty.jsonl"),
    line("eval --data {scratch}/good.jsonl --grade nope", "grade"),
    line("eval --data {scratch}/good.jsonl --grade choice", "good.jsonl"),
    line("eval --data {scratch}/good.jsonl", "--grade"),
    line("eval --grade number", "data"),
    line("eval --data {scratch}/binary --grade number", "binary"),
    line("eval --data {scratch}/empty --grade number", "empty"),
    *[line(f"eval stories --quiet --out {place}", place.rpartition("/")[2][:12])
      for place in ("/proc/forethought-out", "{scratch}/text.txt", "{scratch}/foreign", "/dev/null/forethought-out")],
    *[line(f"{command} --out {place}", place.rpartition("/")[2][:12])
      for command in ("train mlp", "train pets", "train reasoner", "train prm", "bench search", "bench mpc",
        "study horizon", "demo")
      for place in ("/proc/forethought-out", "/dev/null/forethought-out")],
    line("import {scratch}/missing.jsonl --out {scratch}/t.tape", "missing.jsonl"),
    line("import {scratch}/text.txt --out {scratch}/t.tape", "text.txt"),
    line("import {scratch}/good.jsonl --out {scratch}/t.tape", "good.jsonl"),
    line("import {scratch}/binary --out {scratch}/t.tape", "binary"),
    line("import {scratch}/empty --out {scratch}/t.tape", "empty"),
    line("import {scratch}/good.jsonl --out /proc/forethought.tape", "forethought.tape"),
    line("import {scratch}/good.jsonl", "--out"),
    line("import", "log"),
    line("pool {scratch}/missing", "missing"),
    line("pool {scratch}/empty", "empty"),
    line("pool {scratch}/text.txt", "text.txt"),
    line("pool {scratch}/foreign", "foreign"),
    line("pool {scratch}/damaged", "damaged"),
    line("pool", "runs"),
    line("solve", "question"),
    Line(("solve", ""), ("question",)),
    Line(("solve", "   "), ("question",)),
    line("solve Why? --planner nope", "planner"),
    line("solve Why? --planner cem,bfs", "planner"),
    line("solve Why? --engine nope", "engine"),
    line("solve Why? --model /no/such", "model"),
    line("solve Why? --value nope", "value"),
    line("solve Why? --unit hours", "unit"),
    line("bench engine --engine nope", "engine"),
    line("bench engine --model nope", "model"),
    line("bench engine --value nope", "value"),
    line("bench engine --planner nope", "planner"),
    line("bench engine --device bogus", "device"),
    line("train prm --labels nope --out {scratch}/m", "labels"),
    line("train prm --task nope --out {scratch}/m", "task"),
    line("train prm --model /no/such --out {scratch}/m", "model"),
    line("train prm --reward-format nope --out {scratch}/m", "format"),
    line("train prm --data {scratch}/missing.jsonl --task gsm8k --out {scratch}/m", "missing.jsonl"),
    line("train pets --steps 100 --first 200 --out {scratch}/m", "first"),
    line("train pets --steps 100 --first 19 --out {scratch}/m", "first"),
]  # fmt: skip

LINES: list[Line] = [*INTEGERS, *NUMBERS, *NAMES, *TOGETHER]
