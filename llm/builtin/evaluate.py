"""The figures of the reasoner's card, from a model folder and the fixed held-out stories.

Run as `python -m forethought.llm.builtin.evaluate`; it takes about a quarter of an hour on one thread.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from ...planning.files import write_whole
from .checker import check_lines, check_solution, final_answer
from .data import StoryVocabulary
from .sample import critique_values, sample_solutions
from .stories import Story, held_out

FOLDER = Path(__file__).parent / "reasoner"
SAMPLES = 16
SELECTED_OF = 14
MAX_TOKENS = 220


def auc(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """Area under the ROC curve: the probability that a right one scores above a wrong one, ties counting half.

    NaN where one class is missing.
    """
    values, right = np.asarray(scores, float), np.asarray(labels, bool)
    if right.all() or not right.any():
        return float("nan")
    _, ranks_of, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[ranks_of]
    positives = right.sum()
    return float((ranks[right].sum() - positives * (positives + 1) / 2) / (positives * (~right).sum()))


def measure(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    stories: Sequence[Story],
    samples: int = SAMPLES,
    selected_of: int = SELECTED_OF,
    temperature: float = 0.8,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """The figures for each length of the stories and for `all` together.

    pass@1 is the share of right answers over all samples, pass@k the share of stories with at least one right answer in
    k samples. best_of is the accuracy of the finished solution with the highest critique value among the first
    `selected_of` samples. The two AUCs are over all lines of the samples: `auc_so_far` for the label that all lines up
    to it are right, `auc_step` for the label that the line itself is right.
    """
    torch.manual_seed(seed)
    greedy = sample_solutions(model, tokenizer, [story.question for story in stories], 0, MAX_TOKENS)
    repeated = [story.question for story in stories for _ in range(samples)]
    flat = sample_solutions(model, tokenizer, repeated, temperature, MAX_TOKENS)
    texts = [flat[i * samples : (i + 1) * samples] for i in range(len(stories))]
    values = critique_values(model, StoryVocabulary(tokenizer), stories, texts)
    rows = [_row(*parts, selected_of) for parts in zip(stories, greedy, texts, values)]
    table = {}
    for name in [*sorted({story.length for story in stories}), "all"]:
        table[str(name)] = _summary(
            [r for r, s in zip(rows, stories) if name in ("all", s.length)], samples, selected_of
        )
    return table


def _row(story: Story, greedy: str, texts: list[str], values: list[list[float]], selected_of: int) -> dict[str, Any]:
    right = [final_answer(text) == story.answer for text in texts]
    steps, so_far, scores = [], [], []
    for text, line_values in zip(texts, values):
        verdicts = check_lines(story, text.split("\n")[:-1])
        steps += verdicts
        so_far += list(np.logical_and.accumulate(verdicts)) if verdicts else []
        scores += line_values
    # An unfinished solution states no answer, so it is never preferred to a finished one.
    last_values = [v[-1] if v and final_answer(t) is not None else -1.0 for t, v in zip(texts, values)][:selected_of]
    return {
        "greedy": final_answer(greedy) == story.answer, "right": right, "steps": steps, "so_far": so_far,
        "scores": scores, "best": right[int(np.argmax(last_values))],
        "all_right": sum(check_solution(story, text) for text in texts),
    }  # fmt: skip


def _summary(rows: list[dict[str, Any]], samples: int, selected_of: int) -> dict[str, float]:
    scores = [x for row in rows for x in row["scores"]]
    return {
        "stories": len(rows),
        "pass@1": float(np.mean([row["right"] for row in rows])),
        "greedy": float(np.mean([row["greedy"] for row in rows])),
        f"pass@{samples}": float(np.mean([any(row["right"]) for row in rows])),
        f"best_of_{selected_of}": float(np.mean([row["best"] for row in rows])),
        "auc_so_far": auc(scores, [x for row in rows for x in row["so_far"]]),
        "auc_step": auc(scores, [x for row in rows for x in row["steps"]]),
        "step_accuracy": float(np.mean([x for row in rows for x in row["steps"]] or [0.0])),
        "all_lines_right": float(np.sum([row["all_right"] for row in rows]) / (samples * len(rows))),
    }


def as_text(table: dict[str, dict[str, Any]]) -> str:
    """The table as text, one row for each length."""
    headers = list(next(iter(table.values())))
    lines = ["steps  " + "  ".join(f"{head:>15}" for head in headers)]
    for name, row in table.items():
        cells = [f"{row[head]:>15.3f}" if isinstance(row[head], float) else f"{row[head]!s:>15}" for head in headers]
        lines.append(f"{name:>5}  " + "  ".join(cells))
    return "\n".join(lines)


def evaluate(folder: Path = FOLDER, per_length: int = 100, tail: int = 34, seed: int = 0) -> dict[str, Any]:
    """The card of the model in the folder: figures on the test stories and on the hard set of 6 to 8 steps.

    per_length, tail: stories of each length, in the test set and in the hard set.
    """
    torch.set_num_threads(1)
    began = time.perf_counter()
    model: Any = LlamaForCausalLM.from_pretrained(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    model.eval()
    table = measure(model, tokenizer, held_out("test", per_length), seed=seed)
    hard = measure(model, tokenizer, held_out("test", tail, lengths=(6, 7, 8)), seed=seed)
    return {
        "command": f"python -m forethought.llm.builtin.evaluate --per-length {per_length} --tail {tail} --seed {seed}",
        "stories": "held_out('test'): half with a distractor, all shuffled", "temperature": 0.8,
        "parameters": sum(p.numel() for p in model.parameters()),
        "test": _json_table(table), "hard_tail": _json_table(hard),
        "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip


def _json_table(table: dict[str, dict[str, float]]) -> dict[str, dict[str, float | None]]:
    """The table rounded to four decimals, with None for NaN, which JSON does not have."""
    return {name: {k: None if v != v else round(v, 4) for k, v in row.items()} for name, row in table.items()}


def main() -> None:
    """Print the tables and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--out", type=Path, default=None, help="where to write the card; FOLDER/card.json if left out")
    parser.add_argument("--per-length", type=int, default=100)
    parser.add_argument("--tail", type=int, default=34)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    card = evaluate(args.folder, args.per_length, args.tail, args.seed)
    write_whole(args.out or args.folder / "card.json", json.dumps(card, indent=1) + "\n")
    print(as_text(card["test"]), as_text(card["hard_tail"]), f"{card['seconds']} s", sep="\n")


if __name__ == "__main__":
    main()
