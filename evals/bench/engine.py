"""`forethought bench engine`: tokens a second of tree search against independent sampling on the same engine.

One run has the search, its own requests sent again without a search, and whole solutions of as many tokens; what the
search's Python takes by itself; the prefix cache, foretold and counted; a second planner over the first one's tape; and
beam search against best-of-N. Seconds are wall seconds on a GPU; on a CPU they are processor seconds, of which other
programs on the machine take nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from ...planning.shooting import BestOfN
from ...planning.shooting_settings import PathSettings
from ..cli_common import write
from ..planners import METHODS, check_names
from ..records.summary import versions
from ..tasks.base import BadInput
from ..tasks.stories import Stories
from .engine_bed import Bed, Taken
from .engine_calls import predicted_hits
from .engine_own import own_costs, second_planner
from .engine_pairs import flying
from .engine_work import (
    WORKLOADS,
    Plans,
    in_flight,
    length_of_solutions,
    middle,
    price_of_prefill,
    rate,
    ratio,
    split,
    turn,
)

CRITICS = ("self", "rating", "logprob", "none")
"""Those that need nothing beside the model that is measured."""

PAIRS = 2
"""Comparisons in flight a repeat."""

SAMPLES = 16
"""Best-of-N's solutions, and the width of the beam that is set against it."""


def run(bed: Bed, *, problems: int, rounds: int, nodes: int, planner: str, value: str, repeats: int) -> dict[str, Any]:
    """All figures of one engine; see the head of the file."""
    clock = "processor" if bed.device == "cpu" else "wall"
    questions = [problem.question for problem in Stories().problems(problems * rounds)]
    plans = Plans(_planner(planner, bed, 4), questions, nodes, value, problems)
    length = length_of_solutions(bed, questions)
    turn(bed, replace(plans, questions=questions[:4], nodes=8), length)  # compiles and warms up
    turns = [turn(bed, plans, length) for _ in range(repeats)]
    pairs = [flying(bed, plans, turns[-1].search) for _ in range(PAIRS * repeats)]
    other = "bfs" if planner == "mcts" else "mcts"
    usual = middle(turns, clock)
    return {
        "clock": clock, "rows": {name: row(getattr(usual, name), clock) for name in WORKLOADS},
        "against": {name: ratio(turns, name, clock) for name in WORKLOADS if name != "search"},
        "in_flight": in_flight(pairs, usual.search.generated, clock),
        "gap": split(usual, price_of_prefill(bed, clock), clock),
        "cache": cache(bed, usual.search),
        "own": own_costs(bed, plans, max(3, repeats)),
        "second": {"planner": other, **second_planner(bed, plans, replace(plans, planner=_planner(other, bed, 4)))},
        "beam": beam(bed, questions[: -(-problems // 2)], value, clock, repeats),
    }  # fmt: skip


def row(taken: Taken, clock: str) -> dict[str, float]:
    """The figures of one workload."""
    return {
        "tokens_per_second": rate(taken, clock), "requests": len(taken.calls), "generated": taken.generated,
        "computed_per_token": taken.computed / max(1, taken.generated), "seconds": getattr(taken, clock),
        "wall": taken.wall, "idle": taken.idle,
    }  # fmt: skip


def cache(bed: Bed, search: Taken) -> dict[str, float]:
    """Share of the prompts' tokens found in the prefix cache, foretold from the requests alone and counted."""
    asked = max(1, sum(len(call.prompt) for call in search.calls))
    foretold = predicted_hits(search.calls, bed.tokenizer, bed.block)
    return {"predicted": foretold / asked, "measured": search.cached / asked, "block": bed.block}


def beam(bed: Bed, questions: Sequence[str], value: str, clock: str, repeats: int) -> dict[str, float]:
    """Beam search of width 16 in seconds per generated token against best-of-16, with as many nodes as that had."""
    samples = BestOfN(population=SAMPLES, paths=PathSettings(parallel=SAMPLES))
    many = Plans(samples, questions, SAMPLES * bed.format.max_steps, value)
    pairs = []
    for _ in range(repeats):
        best = many.on(bed)
        nodes = sum(len(getattr(call.answer, "steps", ())) for call in best.calls) // len(questions)
        pairs.append((best, Plans(_planner("beam", bed, SAMPLES), questions, max(1, nodes), value).on(bed)))
    ratios = [rate(best, clock) / max(1e-9, rate(wide, clock)) for best, wide in pairs]
    best, wide = pairs[-1]
    return {
        "times_best_of_n": statistics.median(ratios), "problems": len(questions), "nodes": nodes,
        "best_of_n_tokens_per_second": rate(best, clock), "beam_tokens_per_second": rate(wide, clock),
    }  # fmt: skip


def bars(result: dict[str, Any]) -> list[tuple[str, float, str, bool]]:
    """What was asked for: its name, the figure, the bar, and whether it is met."""
    against, own = result["against"], result["own"]["search_and_driver"]
    full = result["in_flight"]["ratio"]
    met = [
        ("search against its requests at once", against["requests"], "at least 0.95", against["requests"] >= 0.95),
        ("the same while all are in flight", full, "at least 0.95", full >= 0.95),
        ("search and driver, us a node", own, "at most 50", own <= 50),
        ("second planner, requests made again", result["second"]["repeated"], "0", not result["second"]["repeated"]),
        ("beam 16 against best-of-16, seconds a token", result["beam"]["times_best_of_n"], "at most 1.5",
         result["beam"]["times_best_of_n"] <= 1.5),
    ]  # fmt: skip
    if result["clock"] == "wall" and result["value"] == "none":
        met.append(("search against whole solutions", against["whole"], "at least 0.9", against["whole"] >= 0.9))
    return met


def _planner(name: str, bed: Bed, width: int) -> Any:
    return METHODS[name](width, bed.format.max_steps).planner


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
    """Measure, print, and write JSON to `out` if given; a folder gets a file named for what was measured.

    problems: searched at a time; rounds: how many times as many there are in all, so that the last ones, with nothing
    beside them, weigh little. machine: how the result names the device, by default as torch names it.
    Errors: BadInput.
    """
    console = console or Console()
    check_names([planner], list(METHODS), "planner")
    check_names([value], CRITICS, "value")
    try:
        bed = Bed(engine, model, dummy=dummy_weights, device=device, rows=problems)
    except (ValueError, OSError, ImportError) as error:
        raise BadInput(" ".join(str(error).split())) from error
    with bed:
        found = run(
            bed, problems=problems, rounds=rounds, nodes=nodes, planner=planner, value=value, repeats=repeats
        )  # fmt: skip
    head = {
        "engine": engine, "model": Path(model).name, "dummy_weights": dummy_weights, "planner": planner, "value": value,
        "problems": problems, "rounds": rounds, "nodes": nodes, "repeats": repeats, "device": machine or bed.named(),
        "threads": torch.get_num_threads(), "versions": versions(),
    }  # fmt: skip
    result = {**head, **found}
    result["bars"] = [dict(zip(("name", "figure", "bar", "met"), each)) for each in bars(result)]
    show(result, console)
    if out is not None and out.suffix != ".json":
        out = out / f"engine-{engine}-{head['model']}-{planner}-{value}.json"
    write(result, out, console)
    return result


def show(result: dict[str, Any], console: Console) -> None:
    """Tables of the workloads, of the gap and of the bars."""
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
    console.print(f"more than whole solutions take, us a token: {parts}", highlight=False)
    full = result["in_flight"]
    console.print(
        f"while all are in flight ({full['share']:.0%} of the search): {full['search']:,.0f} tokens/s, its requests "
        f"at once {full['requests']:,.0f}", highlight=False,
    )  # fmt: skip
    seen, own = result["cache"], result["own"]
    console.print(
        f"prefix cache: {seen['predicted']:.1%} foretold, {seen['measured']:.1%} measured; all Python but the engine: "
        f"{own['over_tape']:.0f} us a node, {own['seconds'] / result['rows']['search']['seconds']:.1%} of the search",
        highlight=False,
    )
    for bar in result["bars"]:
        line = f"{bar['name']}: {bar['figure']:.3g} ({bar['bar']}){'' if bar['met'] else ', not met'}"
        console.print(line, highlight=False)
