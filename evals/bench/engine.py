"""`forethought bench engine`: nodes and tokens a second of tree searches against independent sampling.

Three workloads over the same questions, each on an engine with an empty cache: whole solutions, one request each; trees
that grow one step at a time from random earlier nodes; the same trees with the critic's question after every step.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ...llm.embedded.stories import held_out
from ...llm.engines.base import Sampling, Tokens
from ...llm.engines.transformers import TransformersEngine
from ...llm.formats import Format, format_for
from ...llm.load import BUILTIN
from ..summary import versions

LEAVES = 4
"""Leaves in flight per tree."""
CHILDREN = 4
"""The most steps written from one node."""

Workload = Callable[[TransformersEngine, Format, Tokens, int], Awaitable[int]]


async def solutions(engine: TransformersEngine, format: Format, question: Tokens, nodes: int) -> int:
    """Whole solutions, `LEAVES` in flight, until they hold `nodes` steps; gives the number of steps written."""
    whole = _sampling(format, format.max_steps)
    written, stream = 0, random.Random(0)
    while written < nodes:
        found = await asyncio.gather(*[engine.generate(question, whole, stream.getrandbits(63)) for _ in range(LEAVES)])
        written += sum(len(solution.steps) for solution in found)
    return written


async def tree(engine: TransformersEngine, format: Format, question: Tokens, nodes: int, critic: bool = False) -> int:
    """A tree of `nodes` steps, each written from a random open node; gives the number of steps written."""
    choose, step = random.Random(0), _sampling(format, 1)
    open_nodes: list[list[Any]] = [[question, 0]]  # tokens, children asked for
    written = 0

    async def leaf() -> None:
        nonlocal written
        while written < nodes and open_nodes:
            written += 1
            parent = choose.choice(open_nodes)
            parent[1] += 1
            if parent[1] == CHILDREN and len(open_nodes) > 1:
                open_nodes.remove(parent)
            found = await engine.generate(parent[0], step, choose.getrandbits(63))
            if not found.steps:
                continue
            reached = (*parent[0], *found.steps[0])
            if critic:
                await engine.score((*reached, *format.critique(found.steps[0])), (*format.yes, *format.no))
            if found.ended == "stop" and len(reached) + format.max_step_tokens < engine.context:
                open_nodes.append([reached, 0])

    await asyncio.gather(*[leaf() for _ in range(LEAVES)])
    return written


async def criticised(engine: TransformersEngine, format: Format, question: Tokens, nodes: int) -> int:
    """As `tree`, and every step is scored by the critic before it may be continued."""
    return await tree(engine, format, question, nodes, critic=True)


WORKLOADS: dict[str, Workload] = {"whole solutions": solutions, "tree": tree, "tree with critic": criticised}


def run(
    model_dir: str | Path = BUILTIN, problems: int = 32, nodes: int = 32, max_batch: int = 64, device: str = "cpu"
) -> dict[str, Any]:
    """Each workload on `problems` stories with about `nodes` steps each, all in flight together.

    Rates are per second of wall time and of processor time (of all threads; on a busy machine the fairer one).
    """
    measure(model_dir, solutions, 4, 4, max_batch, device)  # compiles and warms up
    rows = {name: measure(model_dir, work, problems, nodes, max_batch, device) for name, work in WORKLOADS.items()}
    base = rows["whole solutions"]["nodes_per_cpu_second"]
    for row in rows.values():
        row["against_whole"] = row["nodes_per_cpu_second"] / base
    return {
        "model": Path(model_dir).name, "device": device, "max_batch": max_batch, "problems": problems,
        "versions": versions(), "rows": rows,
    }  # fmt: skip


def measure(
    model_dir: str | Path, work: Workload, problems: int, nodes: int, max_batch: int, device: str
) -> dict[str, float]:
    """Rates and counters of one workload on a fresh engine."""
    engine = TransformersEngine(model_dir, device=device, max_batch=max_batch)
    format = format_for(engine.tokenizer, model_dir)
    stories = held_out("test", per_length=-(-problems // 4))[:problems]
    questions = [format.prompt_tokens(story.question) for story in stories]
    wall, cpu = time.perf_counter(), time.process_time()
    written = asyncio.run(_all(work, engine, format, questions, nodes))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    counters = engine.counters
    return {
        "nodes": written,
        "nodes_per_second": written / wall,
        "nodes_per_cpu_second": written / cpu,
        "tokens_per_cpu_second": counters.generated / cpu,
        "tokens_per_node": counters.generated / written,
        "computed_per_token": counters.computed / counters.generated,
        "computed_per_token_without_questions": (counters.computed - sum(map(len, questions))) / counters.generated,
    }


async def _all(work: Workload, engine: Any, format: Format, questions: list[Tokens], nodes: int) -> int:
    return sum(await asyncio.gather(*[work(engine, format, question, nodes) for question in questions]))


def _sampling(format: Format, steps: int) -> Sampling:
    return Sampling(0.8, 1.0, format.max_step_tokens * steps, steps, format.delimiter, format.ends)


def main(out: Path | None = None, model_dir: str | Path = BUILTIN, console: Console | None = None) -> dict[str, Any]:
    """Measure, print the table, and write it to `out` as JSON."""
    console = console or Console()
    result = run(model_dir)
    table = Table(
        title=f"{result['problems']} questions in flight, {result['max_batch']} rows", box=None, pad_edge=False
    )
    names = ("nodes/s", "nodes/cpu s", "tok/cpu s", "tok/node", "computed/tok", "w/o questions", "ratio")
    for name in ("workload", *names):
        table.add_column(name, justify="left" if name == "workload" else "right")
    for name, row in result["rows"].items():
        _, *figures = row.values()
        table.add_row(name, *(f"{figure:.2f}" if figure < 10 else f"{figure:.0f}" for figure in figures))
    console.print(table)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n")
        console.print(f"written to {out}", highlight=False)
    return result


if __name__ == "__main__":
    main()
