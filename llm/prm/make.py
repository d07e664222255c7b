"""From a policy's folder to a process reward model's: load, train, measure, and write the card beside the weights."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from .batches import Plan
from .evaluate import SAMPLES, Judge, measure, rolled_auc, sample, shares_of
from .examples import packs
from .labels import Exact, Labels, Rollouts
from .problems import Problem, Source
from .samplers import EngineWriter, FastWriter, Writer
from .train import Run, train

LABELS = ("exact", "rollouts")
ROLLED = 100  # held-out problems whose lines are labelled by completions too
ROLLED_SAMPLES = 4
OTHER_RATE = 1e-5  # for models that were trained by others


@dataclass(frozen=True)
class Task:
    """What to learn from and what to measure on. fast: whether the built-in reasoner's own sampler fits its format."""

    name: str
    source: Source
    held_out: Sequence[Problem] = ()
    fast: bool = False


def make(
    policy: str | Path,
    task: Task,
    out: Path,
    *,
    labels: str = "exact",
    rollouts: int = 8,
    plan: Plan | None = None,
    stop_at: int | None = None,
    device: str = "cpu",
    log: Callable[[str], None] = print,
) -> Path:
    """Train a process reward model for the policy in a folder, or go on with the training in `out`.

    labels: see `LABELS`; rollouts: completions of each step, for the labels of that name and for the card. Returns
    `out/model`, with `card.json` in it where the training has ended and there are held-out problems; a card that is
    there stays.

    Errors: ValueError for labels the task cannot have, for a policy that no such model can be made of, and for a state
    in `out` that belongs to another training.
    """
    _check(labels, task)
    torch.set_num_threads(1)
    model, tokenizer = _load(policy, device)
    writer = _writer(policy, task, model, device)
    rolled = Rollouts(writer, rollouts)
    chosen: Labels = Exact() if labels == "exact" else rolled
    plan = plan or plan_for(policy)
    run = Run(model, tokenizer, writer, chosen, task.source, plan, out)
    folder = train(run, log, stop_at)
    if run.step == plan.steps and task.held_out and not (folder / "card.json").is_file():
        found = card(run, task, rolled, Judge(_load(policy, device)[0].eval(), run.reads, run.pad))
        (folder / "card.json").write_text(json.dumps(found, indent=1) + "\n")
        log(_told(found))
    return folder


def _check(labels: str, task: Task) -> None:
    if labels not in LABELS:
        raise ValueError(f"no labels {labels!r}; there are {', '.join(LABELS)}")
    if labels == "exact" and task.source(0).check is None:
        raise ValueError(f"{task.name} has no checker of steps for exact labels; estimate them with --labels rollouts")


def plan_for(policy: str | Path, *, steps: int | None = None, rate: float | None = None, **changes: Any) -> Plan:
    """The schedule for a policy in a folder or on the hub: by default gentler steps for one that others have trained.

    changes: fields of `Plan`. ValueError where there is no model.
    """
    plan = replace(Plan(), **changes)
    gentle = plan.rate if _in_our_format(policy) else OTHER_RATE
    return replace(plan, steps=plan.steps if steps is None else steps, rate=gentle if rate is None else rate)


def card(run: Run, task: Task, rolled: Rollouts, before: Judge) -> dict[str, Any]:
    """The figures of a finished run; those of the policy's own verdicts `before` the training beside them."""
    began = time.perf_counter()
    sampled = sample(run.writer, task.held_out)
    judge = Judge(run.model, run.reads, run.pad)
    scores, first = judge.scores(sampled.solutions), before.scores(sampled.solutions)
    table, untrained = measure(sampled, scores), measure(sampled, first)
    rows = _spread(len(sampled.problems))
    shares = shares_of(sampled, rolled, rows, ROLLED_SAMPLES)
    return {
        "task": task.name, "plan": run.settings(), "parameters": sum(p.numel() for p in run.model.parameters()),
        "held_out": len(task.held_out), "samples": SAMPLES, "table": table,
        "auc_rollouts": rolled_auc(scores, rows, shares), "rollouts": rolled.times,
        "untrained": {name: untrained["all"].get(name) for name in ("auc_exact", f"best_of_{SAMPLES}")}
        | {"auc_rollouts": rolled_auc(first, rows, shares)},
        "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip


def _spread(count: int) -> list[int]:
    """At most `ROLLED` problems, spread over all."""
    return sorted({i * count // ROLLED for i in range(ROLLED)}) if count > ROLLED else list(range(count))


def _told(found: dict[str, Any]) -> str:
    every = found["table"]["all"]
    parts = [f"{name} {every[name]}" for name in ("auc_exact", "greedy", f"best_of_{SAMPLES}") if name in every]
    return f"held out: {', '.join(parts)}, auc_rollouts {found['auc_rollouts']}"


def _load(policy: str | Path, device: str = "cpu") -> tuple[Any, Any]:
    """A causal model in float32 and its tokenizer, from a folder or the hub."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        model: Any = AutoModelForCausalLM.from_pretrained(policy, dtype=torch.float32)
        return model.to(device), AutoTokenizer.from_pretrained(policy)
    except (OSError, ValueError) as error:
        raise ValueError(f"there is no causal language model in {policy}: {error}") from error


def _writer(policy: str | Path, task: Task, model: Any, device: str) -> Writer:
    if task.fast and packs(model) and _in_our_format(policy):
        model, tokenizer = _load(policy)
        return FastWriter(model.eval(), tokenizer)
    return EngineWriter(policy, device=device)


def _in_our_format(policy: str | Path) -> bool:
    """Whether the folder says that its model writes as the built-in reasoner does."""
    from ..builtin.train import MANNERS
    from ..text.formats import SETTINGS

    path = Path(policy) / SETTINGS
    return path.is_file() and json.loads(path.read_text(encoding="utf-8")).get("prompt") == MANNERS["prompt"]
