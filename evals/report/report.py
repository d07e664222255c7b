"""`report.html`: one file that opens without a network, with curves, the table and a viewer of all trees."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ...planning.files import write_whole
from ..records.run_store import Row
from ..records.summary import all_failed, total
from ..tasks.base import Problem

HERE = Path(__file__).parent
AXES = ("nodes", "tokens", "seconds", "flops")
SCRIPTS = ("report.js", "tree.js")
MAX_TREE_BYTES = 24_000_000
Trees = Mapping[tuple[str, int, str], Mapping[str, Any]]


def write_report(
    path: Path, summary: Mapping[str, Any], rows: Sequence[Row], problems: Sequence[Problem], trees: Trees
) -> None:
    """Write the report of a run.

    rows: those of the summary's cells. trees: by planner, budget and problem; those beyond 24 MB are left out, and the
    report says how many.
    """
    packed, left_out = _pack(problems, trees)
    data = {
        "summary": summary,
        "axes": {f"{row['planner']}|{row['budget']}": _axes(row) for row in summary["rows"]},
        "problems": [
            {"id": problem.id, "group": problem.group, "question": problem.question, "reference": problem.answer}
            for problem in problems
        ],
        "outcomes": [_outcome(row) for row in rows],
    }
    pages = _environment()
    scripts = [pages.get_template(name).render() for name in SCRIPTS]
    text: str = pages.get_template("report.html.j2").render(
        summary=summary, data=_embed(data), trees=packed, left_out=left_out, lede=lede(summary), scripts=scripts,
        policy=content_security_policy(scripts),
    )  # fmt: skip
    write_whole(path, text)


def content_security_policy(scripts: Sequence[str]) -> str:
    """A policy under which a page runs these inline scripts, no others, and loads nothing from anywhere."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def lede(summary: Mapping[str, Any]) -> str:
    """One sentence that answers the title: what the best planner gained over its smallest budget."""
    table = summary["rows"]
    if not table:
        return "No problem has been solved yet."
    names = "episodes" if summary.get("kind") == "control" else "problems"
    table = [row for row in table if not all_failed(row)]
    if not table:
        return f"Every result failed; there is nothing to report on the {names} of {summary['task']}."
    best = max(table, key=lambda row: (row["score"], -row["budget"]))
    if summary.get("kind") != "control" and best["score"] == 0:
        return f"Nothing here: none of {best['n']:,} {names} of {summary['task']} was solved by any planner."
    own = sorted((row for row in table if row["planner"] == best["planner"]), key=lambda row: row["budget"])
    text = f"On {best['n']:,} {names} of {summary['task']}, {best['planner']} does best: "
    return text + _gain(own[0], best, _unit(summary)) + _lead(best)


def _unit(summary: Mapping[str, Any]) -> str:
    return str(summary.get("unit", "nodes")) + (" a decision" if summary.get("kind") == "control" else "")


def _gain(first: Mapping[str, Any], best: Mapping[str, Any], unit: str) -> str:
    start, end = _figure(first["score"]), _figure(best["score"])
    if first is best:
        return f"{end} at {best['budget']:,} {unit}, its smallest budget."
    return f"{start} at {first['budget']:,} {unit}, {end} at {best['budget']:,}."


def _lead(best: Mapping[str, Any]) -> str:
    """The difference of the best row from the planner that all are compared with."""
    pair = best["paired"]
    if not pair:
        return ""
    gap, low, high = (f"{pair[name]:+.3g}" for name in ("difference", "low", "high"))
    clear = "" if pair["clear"] else ", which shows no difference"
    return f" That is {gap} [{low}, {high}] against {pair['against']}{clear}."


def _figure(score: float) -> str:
    return f"{score:.3f}" if abs(score) <= 1 else f"{score:,.1f}"


def _axes(row: Mapping[str, Any]) -> dict[str, float]:
    """The x coordinates of a point in the curves, per problem or per control decision."""
    return {axis: total(row, axis) / max(1.0, row.get("decisions") or 1.0) for axis in AXES}


def _outcome(row: Row) -> list[Any]:
    return [row["problem"], row["planner"], row["budget"], row["score"], row["answer"], row["failed"], row["format_ok"]]


def _pack(problems: Sequence[Problem], trees: Trees) -> tuple[dict[str, str], int]:
    """Per problem the gzipped, base64-encoded JSON of its trees, and how many trees were left out."""
    by_problem: dict[str, list[Mapping[str, Any]]] = {}
    for (_, _, name), tree in trees.items():
        by_problem.setdefault(name, []).append(tree)
    packed: dict[str, str] = {}
    size = left_out = 0
    for problem in problems:
        if problem.id not in by_problem:
            continue
        blob = _blob(by_problem[problem.id])
        size += len(blob)
        if size > MAX_TREE_BYTES:
            left_out += len(by_problem[problem.id])
        else:
            packed[problem.id] = blob
    return packed, left_out


def _blob(trees: Sequence[Mapping[str, Any]]) -> str:
    """The trees of one problem; a text that several of them share is stored once."""
    texts: dict[str, int] = {}
    slim = []
    for tree in trees:
        text_column = list(tree["columns"]).index("text")
        nodes = [
            [texts.setdefault(cell, len(texts)) if i == text_column else _finite(cell) for i, cell in enumerate(node)]
            for node in tree["nodes"]
        ]
        slim.append({**{k: tree[k] for k in ("planner", "budget", "path", "columns")}, "nodes": nodes})
    content = json.dumps({"texts": list(texts), "trees": slim}, separators=(",", ":"))
    return base64.b64encode(gzip.compress(content.encode(), mtime=0)).decode()


def _finite(cell: Any) -> Any:
    """The cell, None for NaN and infinities, which JSON lacks."""
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def _embed(data: Any) -> str:
    """JSON that cannot close the script element that contains it."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return text.replace("</", "<\\/").replace("<!--", "<\\u0021--")


def _environment() -> Environment:
    return Environment(loader=FileSystemLoader(HERE / "pages"), autoescape=True, undefined=StrictUndefined)
