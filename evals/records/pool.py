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

from ..cli_common import write
from ..tasks.base import BadInput
from .run_store import read_run
from .statistics import LEVEL, Paired, holm, paired

Scores = dict[tuple[str, int], dict[str, list[float]]]
"""Per planner and budget each problem's score in every run."""

SAME = ("task", "data", "unit")
"""Settings that the runs beside share with the others."""


def scores_of(runs: Sequence[Path]) -> tuple[dict[str, Any], Scores]:
    """Settings of the first, and scores of all of these runs, which differ in their seed alone. Errors: BadInput for
    others, and for unfinished ones."""
    told = [read_run(run) for run in runs]
    first = told[0][0]
    for run, (settings, _) in zip(runs, told):
        _same(settings, first, sorted((settings.keys() | first.keys()) - {"seed"}), run, runs[0])
    if len({settings.get("seed") for settings, _ in told}) < len(runs):
        raise BadInput("two of the runs have one seed, so they are the same draw")
    tables: list[Scores] = []
    for _, rows in told:
        tables.append({})
        for (planner, budget, problem), row in rows.items():
            tables[-1].setdefault((planner, budget), {})[problem] = [float(row["score"])]
    shared = common(tables, runs)
    return first, {cell: {p: [x for t in tables for x in t[cell][p]] for p in tables[0][cell]} for cell in shared}


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


def sign_of(gap: float) -> int:
    """-1, 0 or 1; a tie of means over draws is one to the last bit but seldom."""
    return int(np.sign(round(gap, 9)))


def differences(cells: Sequence[tuple[str, int]], sides: Sequence[Scores]) -> list[dict[str, Any]]:
    """Every two planners at the largest budget that both have, the better on the first side first.

    told: the difference on each side. contrary: whether it is clear of zero on one of them and of another sign, or
    none, on the other. p: of each, by Holm's correction over all pairs.
    """
    found = []
    for one, two in itertools.combinations(dict.fromkeys(planner for planner, _ in cells), 2):
        budgets = {b for p, b in cells if p == one} & {b for p, b in cells if p == two}
        if not budgets:
            continue
        first, second = (one, max(budgets)), (two, max(budgets))
        if sign_of(mean_of(sides[0][first]) - mean_of(sides[0][second])) < 0:
            first, second = second, first
        told = [compared(side, first, second) for side in sides]
        contrary = len({sign_of(each.difference) for each in told}) > 1 and any(each.clear for each in told)
        named = {"one": first[0], "two": second[0], "budget": first[1]}
        found.append({**named, "told": told, "contrary": contrary})
    corrected = [holm([each.p for each in side]) for side in zip(*(pair["told"] for pair in found))]
    for pair, ps in zip(found, zip(*corrected)):
        pair["p"] = ps
    return found


def mean_of(told: Mapping[str, Sequence[float]]) -> float:
    """Over problems and runs."""
    return float(np.mean([*told.values()]))


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
    groups = [group for group in (runs, beside) if group]
    settings, sides = zip(*map(scores_of, groups))
    _same(settings[-1], settings[0], SAME, groups[-1][0], runs[0])
    cells = common(sides, [group[0] for group in groups])
    planners = [*dict.fromkeys(planner for planner, _ in cells)]
    against = against or ("greedy" if "greedy" in planners else planners[0])
    if against not in planners:
        raise BadInput(f"the runs have no planner {against!r}; they have {', '.join(planners)}")
    rows = [_row(cell, sides, (against, cell[1])) for cell in cells]
    pairs = differences(cells, sides)
    _show(rows, pairs, len(runs), len(beside), against, console)
    told = [{**pair, "told": [asdict(each) for each in pair["told"]]} for pair in pairs]
    result = {"rows": rows, "pairs": told, "contrary": sum(pair["contrary"] for pair in pairs)}
    write(result, out, console)
    return result


def _row(cell: tuple[str, int], sides: Sequence[Scores], reference: tuple[str, int]) -> dict[str, Any]:
    """Planner, budget, and for each side the means of every run, their mean, and the gain over the reference."""
    found = []
    for side in sides:
        means = np.mean([*side[cell].values()], axis=0).tolist()
        gain = asdict(compared(side, cell, reference)) if reference in side and reference != cell else None
        found.append({"runs": means, "score": mean_of(side[cell]), "gain": gain})
    return {"planner": cell[0], "budget": cell[1], "sides": found}


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
