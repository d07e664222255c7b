"""`forethought pool RUN ...`: several draws of one comparison as one, and the same comparison elsewhere beside it.

One run of 400 problems hardly tells two planners apart that differ by five in a hundred. How a sampled search did on a
problem is half of that noise, and drawing it again with another `--seed` averages it out. That is for problems that
stay the same: the episodes of a control task begin anew with every seed.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from .bench.record import write
from .book import read_run
from .statistics import LEVEL, Paired, holm, paired
from .tasks.base import BadInput

Scores = dict[tuple[str, int], dict[str, list[float]]]
"""Per planner and budget each problem's score in every run."""


SAME = ("task", "data", "unit")
"""Settings that the runs beside share with the others."""


def scores_of(runs: Sequence[Path]) -> Scores:
    """The scores of runs that differ in their seed alone. Errors: BadInput for others, and for unfinished ones."""
    told = [read_run(run) for run in runs]
    for run, (settings, _) in zip(runs, told):
        _same(settings, told[0][0], sorted((settings.keys() | told[0][0].keys()) - {"seed"}), run, runs[0])
    if len({settings.get("seed") for settings, _ in told}) < len(runs):
        raise BadInput("two of the runs have one seed, so they are the same draw")
    tables: list[Scores] = []
    for _, rows in told:
        tables.append({})
        for (planner, budget, problem), row in rows.items():
            tables[-1].setdefault((planner, budget), {})[problem] = [float(row["score"])]
    shared = common(tables, runs)
    return {cell: {p: [x for t in tables for x in t[cell][p]] for p in tables[0][cell]} for cell in shared}


def _same(settings: Mapping[str, Any], others: Mapping[str, Any], names: Sequence[str], run: Path, other: Path) -> None:
    differ = [name for name in names if settings.get(name) != others.get(name)]
    if differ:
        raise BadInput(f"{run} does not belong with {other}: it has another {', '.join(differ)}")


def common(tables: Sequence[Scores], names: Sequence[Path]) -> list[tuple[str, int]]:
    """The planners and budgets that all have: a row at equal tokens may stand at another budget in every run. Errors:
    BadInput where a planner is missing, or problems of one, as while a run goes on."""
    shared = [cell for cell in tables[0] if all(cell in table for table in tables)]
    problems = tables[0][shared[0]].keys() if shared else set()
    absent = {planner for table in tables for planner, _ in table} - {planner for planner, _ in shared}
    for name, table in zip(names, tables):
        short = sorted(absent | {cell[0] for cell in shared if table[cell].keys() != problems})
        if short or not shared:
            told = f" of {', '.join(short)}" if short else ""
            raise BadInput(f"{name} and the rest have not the same problems{told}; is a run unfinished, or of control?")
    return shared


def compared(scores: Scores, one: tuple[str, int], two: tuple[str, int]) -> Paired:
    """How much better cell `one` is than `two`, by the problems' means over runs."""
    pairs = [(np.mean(told), np.mean(scores[two][problem])) for problem, told in scores[one].items()]
    return paired(*map(np.array, zip(*pairs)))


def sign_of(found: Paired) -> int:
    """-1, 0 or 1; a tie of means over draws is one to the last bit but seldom."""
    return int(np.sign(round(found.difference, 9)))


def differences(scores: Scores, beside: Scores | None) -> list[dict[str, Any]]:
    """Every two planners at the largest budget that both have, the better here first.

    told: the difference here and beside. contrary: whether it is clear of zero in one of them and of another sign, or
    none, in the other. p: of each, by Holm's correction over all pairs.
    """
    found = []
    cells = [cell for cell in scores if beside is None or cell in beside]
    for one, two in itertools.combinations(dict.fromkeys(planner for planner, _ in cells), 2):
        budgets = {b for p, b in cells if p == one} & {b for p, b in cells if p == two}
        if not budgets:
            continue
        first, second = (one, max(budgets)), (two, max(budgets))
        if sign_of(compared(scores, first, second)) < 0:
            first, second = second, first
        told = [compared(each, first, second) for each in (scores, beside) if each is not None]
        signs = {sign_of(each) for each in told}
        contrary = len(signs) > 1 and any(each.clear for each in told)
        named = {"one": first[0], "two": second[0], "budget": first[1]}
        found.append({**named, "told": told, "contrary": contrary})
    corrected = [holm([each.p for each in side]) for side in zip(*(pair["told"] for pair in found))]
    for pair, ps in zip(found, zip(*corrected)):
        pair["p"] = ps
    return found


def main(
    runs: Sequence[Path],
    beside: Sequence[Path] = (),
    *,
    against: str | None = None,
    out: Path | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Print what the pooled runs say, and write it as JSON to `out` if given.

    against: by default greedy, or else the first planner. Errors: BadInput for runs that do not belong together.
    """
    console = console or Console()
    scores = scores_of(runs)
    other = scores_of(beside) if beside else None
    if beside:
        _same(read_run(beside[0])[0], read_run(runs[0])[0], SAME, beside[0], runs[0])
    planners = [*dict.fromkeys(planner for planner, _ in scores)]
    against = against or ("greedy" if "greedy" in planners else planners[0])
    if against not in planners:
        raise BadInput(f"the runs have no planner {against!r}; they have {', '.join(planners)}")
    cells = [*scores] if other is None else common([scores, other], [runs[0], beside[0]])
    rows = [_row(cell, scores, other, against) for cell in cells]
    pairs = differences(scores, other)
    _show(rows, pairs, len(runs), len(beside), against, console)
    told = [{**pair, "told": [asdict(each) for each in pair["told"]]} for pair in pairs]
    result = {"rows": rows, "pairs": told, "contrary": sum(pair["contrary"] for pair in pairs)}
    write(result, out, console)
    return result


def _row(cell: tuple[str, int], scores: Scores, other: Scores | None, against: str) -> dict[str, Any]:
    """Planner, budget, and for each side the means of every run, their mean, and the gain over `against`."""
    sides = []
    for each in (scores, other):
        if each is not None:
            means = np.mean([*each[cell].values()], axis=0).tolist()
            reference = (against, cell[1])
            gain = asdict(compared(each, cell, reference)) if reference in each and reference != cell else None
            sides.append({"runs": means, "score": float(np.mean(means)), "gain": gain})
    return {"planner": cell[0], "budget": cell[1], "sides": sides}


def _show(
    rows: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]], runs: int, beside: int, against: str,
    console: Console,
) -> None:  # fmt: skip
    sides = [f"{runs} draw{'s' * (runs > 1)}, over {against}"]
    sides += [f"beside, {beside} draw{'s' * (beside > 1)}"] if beside else []
    table = Table("planner", "budget", *sides, box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for row in rows:
        table.add_row(row["planner"], f"{row['budget']:,}", *map(_words, row["sides"]))
    console.print(table)
    clear = [pair for pair in pairs if any(each.clear for each in pair["told"])]
    for pair in clear:
        told = ", beside ".join(f"{_interval(asdict(one))} p {p:.2g}" for one, p in zip(pair["told"], pair["p"]))
        mark = "  <- other sign" if pair["contrary"] else ""
        console.print(
            f"{pair['one']} over {pair['two']} at {pair['budget']:,}: {told}{mark}", highlight=False, soft_wrap=True
        )
    sure = [pair for pair in clear if min(pair["p"]) < 1 - LEVEL]
    count, kept = (sum(pair["contrary"] for pair in some) for some in (clear, sure))
    contrary = f"; {count} of them, and {kept} of these, have another sign on the other side" if beside else ""
    told = f"{len(clear)} of {len(pairs)} pairs of planners are clearly apart, by Holm's correction {len(sure)}"
    console.print(told + contrary, highlight=False, soft_wrap=True)


def _words(side: Mapping[str, Any]) -> str:
    return f"{side['score']:.3f}" + ("" if side["gain"] is None else f" {_interval(side['gain'])}")


def _interval(found: Mapping[str, Any]) -> str:
    return f"{found['difference']:+.3f} [{found['low']:.3f}, {found['high']:.3f}]"
