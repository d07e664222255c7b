"""`forethought bench engine`: tokens per second of tree search against independent sampling on the same engine.

A run measures the search, its own requests sent again without a search, and whole solutions of as many tokens; the
Python time of the search; the prefix cache, predicted and measured; a second planner with the first one's tape; and
beam search against best-of-N. Seconds are wall seconds on a GPU and processor seconds on a CPU, which exclude other
programs on the machine.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from ...llm.engines.base import Generation
from ...planning import BestOfN, PathSettings, Planner
from ..cli_common import Console, write_json
from ..planners import TEXT_PLANNERS, check_names
from ..records.summary import versions
from ..tasks.base import BadInput
from ..tasks.stories import Stories
from .engine_calls import predicted_cache_hits
from .engine_harness import EngineHarness, Measurement
from .engine_interleaved import compare_in_flight
from .engine_overhead import search_overhead, second_planner
from .engine_workloads import (
    WORKLOADS,
    SearchWorkload,
    gap_breakdown,
    in_flight_ratio,
    mean_solution_length,
    median_round,
    prefill_cost,
    run_round,
    throughput_ratio,
)

CRITICS = ("self", "rating", "logprob", "none")
"""The critics that need no model besides the measured one."""

PAIRS_PER_REPEAT = 2
"""Comparisons of a search with its requests in flight, per repeat."""

SAMPLES = 16
"""Solutions of best-of-N, and the width of the beam search that is compared with it."""


def run(
    harness: EngineHarness, *, problems: int, rounds: int, nodes: int, planner: str, value: str, repeats: int
) -> dict[str, Any]:
    """All figures of one engine; see the module's docstring."""
    clock = "processor" if harness.device == "cpu" else "wall"
    questions = [problem.question for problem in Stories().problems(problems * rounds)]
    workload = SearchWorkload(_planner(planner, harness, 4), questions, nodes, value, problems)
    length = mean_solution_length(harness, questions)
    run_round(harness, replace(workload, questions=questions[:4], nodes=8), length)  # compiles and warms up
    measured = [run_round(harness, workload, length) for _ in range(repeats)]
    pairs = [compare_in_flight(harness, workload, measured[-1].search) for _ in range(PAIRS_PER_REPEAT * repeats)]
    other = "bfs" if planner == "mcts" else "mcts"
    with_other = replace(workload, planner=_planner(other, harness, 4))
    median = median_round(measured, clock)
    return {
        "clock": clock, "rows": {name: row(median.named(name), clock) for name in WORKLOADS},
        "against": {name: throughput_ratio(measured, name, clock) for name in WORKLOADS if name != "search"},
        "in_flight": in_flight_ratio(pairs, median.search.generated, clock),
        "gap": gap_breakdown(median, prefill_cost(harness, clock), clock),
        "cache": cache(harness, median.search),
        "overhead": search_overhead(harness, workload, max(3, repeats)),
        "second_planner": {"planner": other, **second_planner(harness, workload, with_other)},
        "beam": beam(harness, questions[: -(-problems // 2)], value, clock, repeats),
    }  # fmt: skip


def row(measured: Measurement, clock: str) -> dict[str, float]:
    """The figures of one workload."""
    return {
        "tokens_per_second": measured.timing.tokens_per_second(clock), "requests": len(measured.calls),
        "generated": measured.generated, "computed_per_token": measured.computed / max(1, measured.generated),
        "seconds": measured.timing.seconds(clock), "wall": measured.wall, "idle": measured.idle,
    }  # fmt: skip


def cache(harness: EngineHarness, search: Measurement) -> dict[str, float]:
    """The share of prompt tokens found in the prefix cache, predicted from the requests and measured."""
    prompt_tokens = max(1, sum(len(call.prompt) for call in search.calls))
    predicted = predicted_cache_hits(search.calls, harness.tokenizer, harness.block)
    return {
        "predicted": predicted / prompt_tokens, "measured": search.cached / prompt_tokens, "block": harness.block,
    }  # fmt: skip


def beam(harness: EngineHarness, questions: Sequence[str], value: str, clock: str, repeats: int) -> dict[str, float]:
    """Seconds per generated token of beam search of width 16 over those of best-of-16 with as many nodes."""
    best_of_n = BestOfN(population=SAMPLES, paths=PathSettings(parallel=SAMPLES))
    sampling = SearchWorkload(best_of_n, questions, SAMPLES * harness.format.max_steps, value)
    pairs = []
    for _ in range(repeats):
        best = sampling.measure(harness)
        steps = sum(len(call.answer.steps) for call in best.calls if isinstance(call.answer, Generation))
        nodes = max(1, steps // len(questions))
        wide = SearchWorkload(_planner("beam", harness, SAMPLES), questions, nodes, value).measure(harness)
        pairs.append((best.timing.tokens_per_second(clock), wide.timing.tokens_per_second(clock)))
    best_rate, beam_rate = pairs[-1]
    return {
        "times_best_of_n": statistics.median(best / max(1e-9, wide) for best, wide in pairs),
        "problems": len(questions), "nodes": nodes,
        "best_of_n_tokens_per_second": best_rate, "beam_tokens_per_second": beam_rate,
    }  # fmt: skip


def targets(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The targets of the benchmark: name, measured value, target, and whether it is met."""
    against, overhead = result["against"], result["overhead"]["search_and_driver"]
    in_flight, repeated = result["in_flight"]["ratio"], result["second_planner"]["repeated"]
    times_best_of_n = result["beam"]["times_best_of_n"]
    found = [
        ("search against its requests at once", against["requests"], "at least 0.95", against["requests"] >= 0.95),
        ("the same while all are in flight", in_flight, "at least 0.95", in_flight >= 0.95),
        ("search and driver, us per node", overhead, "at most 50", overhead <= 50),
        ("repeated requests of a second planner", repeated, "0", not repeated),
        ("beam 16 against best-of-16, seconds per token", times_best_of_n, "at most 1.5", times_best_of_n <= 1.5),
    ]
    if result["clock"] == "wall" and result["value"] == "none":
        ratio = against["whole_solutions"]
        found.append(("search against whole solutions", ratio, "at least 0.9", ratio >= 0.9))
    return [dict(zip(("name", "value", "target", "met"), each)) for each in found]


def _planner(name: str, harness: EngineHarness, width: int) -> Planner:
    return TEXT_PLANNERS[name](width, harness.format.max_steps).planner


def main(
    out: Path | None = None,
    *,
    engine: str = "transformers",
    model: str = "builtin",
    dummy_weights: bool = False,
    problems: int = 64,
    rounds: int = 4,
    nodes: int = 16,
    planner: str = "bfs",
    value: str = "self",
    repeats: int = 3,
    device: str = "cpu",
    machine: str | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Measure, print, and write JSON to `out` if given; a folder gets a file with a descriptive name.

    problems: searched concurrently. rounds: the total number of problems as a multiple of that, so that the end of the
    run, when fewer are in flight, has little weight. machine: the name of the device in the result, by default torch's.
    Errors: BadInput.
    """
    console = console or Console()
    check_names([planner], list(TEXT_PLANNERS), "planner")
    check_names([value], CRITICS, "value")
    try:
        harness = EngineHarness(engine, model, dummy=dummy_weights, device=device, rows=problems)
    except (ValueError, OSError, ImportError) as error:
        raise BadInput(" ".join(str(error).split())) from error
    with harness:
        found = run(
            harness, problems=problems, rounds=rounds, nodes=nodes, planner=planner, value=value, repeats=repeats
        )  # fmt: skip
    head = {
        "engine": engine, "model": Path(model).name, "dummy_weights": dummy_weights, "planner": planner, "value": value,
        "problems": problems, "rounds": rounds, "nodes": nodes, "repeats": repeats,
        "device": machine or harness.device_name(),
        "threads": torch.get_num_threads(), "versions": versions(),
    }  # fmt: skip
    result = {**head, **found}
    result["targets"] = targets(result)
    show(result, console)
    if out is not None and out.suffix != ".json":
        out = out / f"engine-{engine}-{head['model']}-{planner}-{value}.json"
    write_json(result, out, console)
    return result


def show(result: dict[str, Any], console: Console) -> None:
    """Print the table of workloads, the gap, and the targets."""
    heading = f"{result['engine']}, {result['model']}, {result['planner']} over {result['problems']} problems in flight"
    table = Table(title=f"{heading}, {result['clock']} seconds", box=None, pad_edge=False)
    for name in ("workload", "tokens/s", "requests", "computed/token", "search against it"):
        table.add_column(name, justify="left" if name == "workload" else "right")
    for name, one in result["rows"].items():
        against = f"{result['against'][name]:.2f}" if name in result["against"] else ""
        figures = f"{one['tokens_per_second']:,.0f}", f"{one['requests']:,}", f"{one['computed_per_token']:.2f}"
        table.add_row(WORKLOADS[name], *figures, against)
    console.print(table)
    parts = ", ".join(f"{name} {figure:.0f}" for name, figure in result["gap"].items())
    in_flight, found, overhead = result["in_flight"], result["cache"], result["overhead"]
    share = overhead["seconds"] / result["rows"]["search"]["seconds"]
    lines = [
        f"time of the search beyond whole solutions, us per token: {parts}",
        f"while all are in flight ({in_flight['share']:.0%} of the search): {in_flight['search']:,.0f} tokens/s, its "
        f"requests at once {in_flight['requests']:,.0f}",
        f"prefix cache: {found['predicted']:.1%} predicted, {found['measured']:.1%} measured; Python outside the "
        f"engine: {overhead['with_tape']:.0f} us per node, {share:.1%} of the search",
    ]
    for each in result["targets"]:
        missed = "" if each["met"] else ", not met"
        lines.append(f"{each['name']}: {each['value']:.3g} (target {each['target']}){missed}")
    for line in lines:
        console.print(line, highlight=False)
