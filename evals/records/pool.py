"""`forethought pool RUN ...`: pooled analysis of runs that differ in their seed, optionally beside another group.

One run of 400 problems hardly distinguishes two planners whose accuracies differ by 0.05. About half of that noise is
the sampling of the search, which averages out over runs with different `--seed`s. This holds for tasks whose problems
do not depend on the seed; the episodes of a control task do.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from ..cli_common import write_json
from ..console import Column, say, show_table
from ..errors import BadInput
from .run_store import read_run
from .statistics import LEVEL, Paired, holm, paired
from .summary import power

Scores = dict[tuple[str, int], dict[str, list[float]]]
"""Per planner and budget each problem's scores, one for each run."""

MOST_LINES = 5
"""Clear differences that are printed; the JSON has all pairs."""

SAME = ("task", "data", "unit")
"""Settings that both groups of runs must share."""


def scores_of(runs: Sequence[Path]) -> tuple[dict[str, Any], Scores]:
    """The settings of the first run and the scores of all.

    Errors: BadInput for runs that differ in more than their seed or not even in it, and for unfinished ones.
    """
    loaded = [read_run(run) for run in runs]
    first = loaded[0][0]
    for run, (settings, _) in zip(runs, loaded):
        _check_same(settings, first, sorted((settings.keys() | first.keys()) - {"seed"}), run, runs[0])
    if len({json.dumps(settings.get("seed")) for settings, _ in loaded}) < len(runs):
        raise BadInput("two of the runs have the same seed, hence the same samples")
    tables: list[Scores] = []
    for _, rows in loaded:
        tables.append({})
        for (planner, budget, problem), row in rows.items():
            tables[-1].setdefault((planner, budget), {})[problem] = [float(row["score"])]
    shared = common_cells(tables, runs)
    return first, {cell: {p: [x for t in tables for x in t[cell][p]] for p in tables[0][cell]} for cell in shared}


def _check_same(
    settings: Mapping[str, Any], others: Mapping[str, Any], names: Sequence[str], run: Path, other: Path
) -> None:
    differ = [name for name in names if settings.get(name) != others.get(name)]
    if differ:
        raise BadInput(f"{run} cannot be pooled or compared with {other}: it has another {', '.join(differ)}")


def common_cells(tables: Sequence[Scores], names: Sequence[Path]) -> list[tuple[str, int]]:
    """The planners and budgets that all runs have; the row at equal tokens may have another budget in each run.

    Errors: BadInput where a planner or some of its problems are missing, as in an unfinished run.
    """
    shared = [cell for cell in tables[0] if all(cell in table for table in tables)]
    problems = tables[0][shared[0]].keys() if shared else set()
    absent = {planner for table in tables for planner, _ in table} - {planner for planner, _ in shared}
    for name, table in zip(names, tables):
        short = sorted(absent | {cell[0] for cell in shared if table[cell].keys() != problems})
        if short or not shared:
            planners = f" of {', '.join(short)}" if short else ""
            raise BadInput(
                f"{name} and the others do not have the same problems{planners}; is a run unfinished, or of control?"
            )
    return shared


def compared(scores: Scores, one: tuple[str, int], two: tuple[str, int]) -> Paired:
    """The difference of cell `one` from cell `two`, paired over the problems' means over runs."""
    pairs = [(np.mean(each), np.mean(scores[two][problem])) for problem, each in scores[one].items()]
    return paired(*map(np.array, zip(*pairs)))


def sign_of(gap: float) -> int:
    """-1, 0 or 1; rounded, since equal means over several runs rarely agree to the last bit."""
    return int(np.sign(round(gap, 9)))


def differences(cells: Sequence[tuple[str, int]], groups: Sequence[Scores]) -> list[dict[str, Any]]:
    """Every pair of planners at the largest budget that both have, the one that is better in the first group first.

    differences: in each group. contradictory: whether the interval excludes zero in one group while the other group's
    difference has another sign or is zero. p: in each group, by Holm's correction over all pairs.
    """
    found = []
    for one, two in itertools.combinations(dict.fromkeys(planner for planner, _ in cells), 2):
        budgets = {b for p, b in cells if p == one} & {b for p, b in cells if p == two}
        if not budgets:
            continue
        first, second = (one, max(budgets)), (two, max(budgets))
        if sign_of(mean_of(groups[0][first]) - mean_of(groups[0][second])) < 0:
            first, second = second, first
        each_group = [compared(group, first, second) for group in groups]
        signs = {sign_of(each.difference) for each in each_group}
        contradictory = len(signs) > 1 and any(each.clear for each in each_group)
        names = {"one": first[0], "two": second[0], "budget": first[1]}
        found.append({**names, "differences": each_group, "contradictory": contradictory})
    corrected = [holm([each.p for each in group]) for group in zip(*(pair["differences"] for pair in found))]
    for pair, ps in zip(found, zip(*corrected)):
        pair["p"] = ps
    return found


def mean_of(scores: Mapping[str, Sequence[float]]) -> float:
    """The mean over problems and runs."""
    return float(np.mean([*scores.values()]))


def main(
    runs: Sequence[Path],
    compare_with: Sequence[Path] = (),
    *,
    against: str | None = None,
    out: Path | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Print the pooled results and write them as JSON to `out` if given.

    compare_with: a second group of runs, such as on another engine.
    against: the reference planner, by default greedy, or else the first planner.
    Errors: BadInput for runs that cannot be pooled or compared.
    """
    console = console or Console()
    folders = [group for group in (runs, compare_with) if group]
    settings, groups = zip(*map(scores_of, folders))
    _check_same(settings[-1], settings[0], SAME, folders[-1][0], runs[0])
    cells = common_cells(groups, [group[0] for group in folders])
    planners = [*dict.fromkeys(planner for planner, _ in cells)]
    against = against or ("greedy" if "greedy" in planners else planners[0])
    if against not in planners:
        raise BadInput(f"the runs have no planner {against!r}; they have {', '.join(planners)}")
    rows = [_row(cell, groups, (against, cell[1])) for cell in cells]
    pairs = differences(cells, groups)
    _show(rows, pairs, len(runs), len(compare_with), against, len(groups[0][cells[0]]), console)
    plain = [{**pair, "differences": [asdict(each) for each in pair["differences"]]} for pair in pairs]
    result = {"rows": rows, "pairs": plain, "contradictory": sum(pair["contradictory"] for pair in pairs)}
    write_json(result, out, console)
    return result


def _row(cell: tuple[str, int], groups: Sequence[Scores], reference: tuple[str, int]) -> dict[str, Any]:
    """Planner, budget, and for each group the mean of every run, their mean, and the gain over the reference."""
    found = []
    for group in groups:
        means = np.mean([*group[cell].values()], axis=0).tolist()
        gain = asdict(compared(group, cell, reference)) if reference in group and reference != cell else None
        found.append({"runs": means, "score": mean_of(group[cell]), "gain": gain})
    return {"planner": cell[0], "budget": cell[1], "groups": found}


def _show(
    rows: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]], runs: int, others: int, against: str,
    problems: int, console: Console,
) -> None:  # fmt: skip
    headings = [f"{runs} run{'s' * (runs > 1)}, over {against}"]
    headings += [f"compared with {others} run{'s' * (others > 1)}"] if others else []
    columns = [Column("planner", right=False), Column("budget"), *(Column(name, right=False) for name in headings)]
    cells = [[row["planner"], f"{row['budget']:,}", *map(_group_cell, row["groups"])] for row in rows]
    show_table(console, columns, cells, keys=2)
    clear = [pair for pair in pairs if any(each.clear for each in pair["differences"])]
    clear.sort(key=lambda pair: (not pair["contradictory"], min(pair["p"])))
    for pair in clear[:MOST_LINES]:
        each = zip(pair["differences"], pair["p"])
        text = ", compared with ".join(f"{_interval(asdict(one))} p {p:.2g}" for one, p in each)
        mark = "  <- other sign" if pair["contradictory"] else ""
        line = f"{pair['one']} over {pair['two']} at {pair['budget']:,}: {text}{mark}"
        say(console, line, wrap=True)
    if len(clear) > MOST_LINES:
        say(console, f"{len(clear) - MOST_LINES} more pairs differ clearly: see --json or the file of --out")
    if text := power(problems, binary=False)["text"]:
        say(console, text, wrap=True)
    sure = [pair for pair in clear if min(pair["p"]) < 1 - LEVEL]
    count, after = (sum(pair["contradictory"] for pair in some) for some in (clear, sure))
    text = f"{len(clear)} of {len(pairs)} pairs of planners differ clearly, {len(sure)} after Holm's correction"
    text += f"; {count} of the former and {after} of the latter have another sign in the other group" if others else ""
    say(console, text, wrap=True)


def _group_cell(group: Mapping[str, Any]) -> str:
    return f"{group['score']:.3f}" + ("" if group["gain"] is None else f" {_interval(group['gain'])}")


def _interval(found: Mapping[str, Any]) -> str:
    return f"{found['difference']:+.3f} [{found['low']:.3f}, {found['high']:.3f}]"
