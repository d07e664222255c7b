"""`forethought bench engine`: tokens per second of a tree search, of its own requests, and of independent sampling.

The requests are those that the search sent, sent again at once without it; independent sampling is whole solutions of
as many tokens without a critic. All take turns on one engine in alternating order, so that drifts in the machine's
speed affect them alike. Ratios are means over repeats with a 95 % t interval. Seconds are of the processor where this
process computes on one thread, since these exclude other programs, and of wall time elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy import stats

from ...llm.load import load_text_model
from ..cli_common import write_json
from ..errors import BadInput
from ..planners import TextSettings, check_names, planner_named, planners_for_text
from ..records.summary import versions
from ..tasks.stories import Stories
from .engine_shapes import write_shape
from .engine_workloads import Measurement, Workloads

CRITICS = ("self", "rating", "logprob", "none")
"""The critics that need no model besides the measured one."""

WORKLOADS = {"search": "tree search", "requests": "its own requests", "sampling": "independent sampling"}
"""The workloads and their names in the table."""


def ratio(ratios: Sequence[float]) -> dict[str, float | None]:
    """The mean with its 95 % t interval, of which there is none for a single ratio."""
    mean, low, high = float(np.mean(ratios)), None, None
    if len(ratios) > 1:
        half = float(stats.sem(ratios) * stats.t.ppf(0.975, len(ratios) - 1))
        low, high = mean - half, mean + half
    return {"ratio": mean, "low": low, "high": high}


def summarize(repeats: list[dict[str, Measurement]]) -> dict[str, Any]:
    """Totals and rates of each workload, and the search's generated tokens per second over its own."""
    rows: dict[str, Any] = {}
    for name in WORKLOADS:
        found, seconds = [each[name] for each in repeats], sum(each[name].seconds for each in repeats)
        tokens = {kind: sum(one.tokens[kind] for one in found) for kind in ("generated", "prompt", "cached")}
        rows[name] = {**tokens, "requests": sum(len(one.calls) for one in found), "seconds": seconds}
        rows[name] |= {f"{kind}_per_second": total / seconds for kind, total in tokens.items()}
        rows[name]["repeats"] = [one.tokens["generated"] / one.seconds for one in found]
        rows[name]["against"] = ratio(np.divide(rows["search"]["repeats"], rows[name]["repeats"]).tolist())
    return {"rows": rows}


def run(workloads: Workloads, repeats: int, console: Console) -> list[dict[str, Measurement]]:
    """Each workload measured `repeats` times; the progress is shown on stderr."""
    replace(workloads, questions=workloads.questions[:4], nodes=8).measure_all()  # compiles and warms up
    found: list[dict[str, Measurement]] = []
    progress = Console(stderr=True, quiet=console.quiet)
    for number in track(range(repeats), "measuring", console=progress, transient=True, auto_refresh=False):
        found.append(workloads.measure_all(found[-1]["search"] if number % 2 else None))
    return found


def main(
    out: Path | None = None, *, engine: str = "transformers", model: str = "builtin", dummy_weights: bool = False,
    problems: int = 64, rounds: int = 4, nodes: int = 16, planner: str = "bfs", value: str = "self", repeats: int = 5,
    device: str = "cpu", machine: str | None = None, console: Console | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Measure, print, and write JSON to `out` if given; a folder gets a file with a descriptive name.

    problems: searched concurrently. rounds: the total number of problems as a multiple of that, so that the end of the
    run, when fewer are in flight, has little weight. machine: the name of the device in the result, by default torch's.
    Errors: BadInput.
    """
    console = console or Console()
    check_names([engine], ("transformers", "vllm"), "engine")
    check_names([planner], planners_for_text(), "planner")
    check_names([value], CRITICS, "value")
    one_thread = engine == "transformers" and device == "cpu" and torch.get_num_threads() == 1
    with tempfile.TemporaryDirectory(prefix="forethought-shape-") as folder:
        try:
            source = write_shape(model, Path(folder)) if dummy_weights else model
            weights = "dummy" if dummy_weights else "auto"
            text = load_text_model(source, engine, value, device=device, max_batch=problems, load_format=weights)
        except (ValueError, OSError, ImportError) as error:
            raise BadInput(" ".join(str(error).split())) from error
        except (RuntimeError, AssertionError) as error:  # no such device, or a torch without it
            raise BadInput(
                f"{model} cannot be started on --device {device}: {' '.join(str(error).split())[:300]}"
            ) from error
        questions = [problem.question for problem in Stories().problems(problems * rounds)]
        clock = time.process_time if one_thread else time.perf_counter
        made = planner_named(planner).for_text(TextSettings(4, text.max_steps)).planner
        try:
            found = run(Workloads(text, made, questions, nodes, problems, clock), repeats, console)
        finally:
            asyncio.run(text.engine.close())
    cuda = device != "cpu" and torch.cuda.is_available()
    result = {
        "engine": engine, "model": Path(model).name, "dummy_weights": dummy_weights,
        "parameters": text.engine.flops.parameters, "planner": planner, "value": value, "problems": problems,
        "rounds": rounds, "nodes": nodes, "repeats": repeats, "clock": "processor" if one_thread else "wall",
        "device": machine or (torch.cuda.get_device_name() if cuda else f"{os.cpu_count()} cores CPU"),
        "threads": torch.get_num_threads(), "versions": versions(), **summarize(found),
    }  # fmt: skip
    show(result, console)
    if out is not None and out.suffix != ".json":
        out = out / f"engine-{engine}-{result['model']}-{planner}-{value}.json"
    write_json(result, out, console)
    return result


def show(result: dict[str, Any], console: Console) -> None:
    """Print the table of workloads, within 80 columns."""
    size, count = f"{result['parameters'] / 1e6:,.1f} million parameters", result["problems"] * result["rounds"]
    heading = f"{result['model']} ({size}), {result['planner']}, {result['nodes']} nodes, {count} problems"
    console.print(heading, highlight=False, markup=False)
    table = Table(box=None, pad_edge=False, title=f"{result['engine']}, tokens per second of {result['clock']} time")
    for name in ("workload", "generated", "prompt", "cached", "search against it"):
        table.add_column(name, justify="left" if name == "workload" else "right")
    for name, row in result["rows"].items():
        figures = [f"{row[f'{kind}_per_second']:,.0f}" for kind in ("generated", "prompt", "cached")]
        table.add_row(WORKLOADS[name], *figures, _interval(**row["against"]) if name != "search" else "")
    console.print(table)


def _interval(ratio: float, low: float | None, high: float | None) -> str:
    return f"{ratio:.3f}" if low is None else f"{ratio:.3f} ({low:.3f} to {high:.3f})"
