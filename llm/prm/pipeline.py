"""From a policy's folder to a process reward model's: load, train, evaluate, and write the card beside the weights."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ...planning.files import write_whole
from .batches import Schedule
from .evaluate import SAMPLES, RewardScorer, label_samples, measure, rollout_auc, sample_held_out
from .examples import can_pack
from .labels import ExactLabels, Labels, RolloutLabels
from .problems import PolicyProblem, ProblemSource
from .samplers import BuiltinSampler, EngineSampler, PolicySampler
from .train import RewardTraining, train

LABELS = ("exact", "rollouts")
ROLLOUT_PROBLEMS = 100  # held-out problems whose lines are labelled by completions too
ROLLOUT_SAMPLES = 4  # of each of these
FINE_TUNING_RATE = 1e-5  # the learning rate for models that were not trained by this package


@dataclass(frozen=True)
class RewardTask:
    """Problems to train on and to evaluate on. fast: whether the built-in reasoner's own sampler fits its format."""

    name: str
    source: ProblemSource
    held_out: Sequence[PolicyProblem] = ()
    fast: bool = False


def train_reward_model(
    policy: str | Path,
    task: RewardTask,
    out: Path,
    *,
    labels: str = "exact",
    rollouts: int = 8,
    schedule: Schedule | None = None,
    stop_at: int | None = None,
    device: str = "cpu",
    log: Callable[[str], None] = print,
    watch: Callable[[int, int], None] | None = None,
) -> Path:
    """Train a process reward model for the policy in a folder, or resume the training in `out`.

    labels: one of `LABELS`; rollouts: completions of each line, for the labels of that name and for the card. Returns
    `out/model`, with `card.json` in it if the training has ended and there are held-out problems; an existing card is
    kept. watch: called after every step with the steps made and the steps in all.

    Errors: ValueError for labels that the task cannot have, for a policy that is no causal language model, and for a
    checkpoint in `out` that belongs to another training or has an older format.
    """
    _check(labels, task)
    torch.set_num_threads(1)
    model, tokenizer = _load(policy, device)
    sampler = _sampler(policy, task, model, device)
    rollout_labels = RolloutLabels(sampler, rollouts)
    training_labels: Labels = ExactLabels() if labels == "exact" else rollout_labels
    schedule = schedule or schedule_for(policy)
    training = RewardTraining(model, tokenizer, sampler, training_labels, task.source, schedule, out)
    card_file = out / "model" / "card.json"
    if training.step < schedule.steps:
        card_file.unlink(missing_ok=True)  # of a shorter training, which this one continues
    folder = train(training, log, stop_at, watch)
    if training.step == schedule.steps and task.held_out and not card_file.is_file():
        untrained = RewardScorer(_load(policy, device)[0].eval(), training.reward_format, training.pad)
        card = make_card(training, task, rollout_labels, untrained)
        write_whole(card_file, json.dumps(card, indent=1) + "\n")
        log(_summary(card))
    return folder


def _check(labels: str, task: RewardTask) -> None:
    if labels not in LABELS:
        raise ValueError(f"no labels {labels!r}; there are {', '.join(LABELS)}")
    if labels == "exact" and task.source(0).check_lines is None:
        raise ValueError(f"{task.name} has no checker of steps for exact labels; estimate them with --labels rollouts")


def schedule_for(
    policy: str | Path, *, steps: int | None = None, learning_rate: float | None = None, **changes: Any
) -> Schedule:
    """The schedule for a policy in a folder or on the hub.

    learning_rate: by default smaller for a policy that was not trained by this package. changes: fields of `Schedule`.
    """
    schedule = replace(Schedule(), **changes)
    default_rate = schedule.learning_rate if _has_builtin_prompt(policy) else FINE_TUNING_RATE
    return replace(
        schedule,
        steps=schedule.steps if steps is None else steps,
        learning_rate=default_rate if learning_rate is None else learning_rate,
    )


def make_card(
    training: RewardTraining, task: RewardTask, rollout_labels: RolloutLabels, untrained: RewardScorer
) -> dict[str, Any]:
    """The figures of a finished training, and those of the `untrained` policy's own verdicts for comparison."""
    began = time.perf_counter()
    sampled = sample_held_out(training.sampler, task.held_out)
    scorer = RewardScorer(training.model, training.reward_format, training.pad)
    scores, scores_before = scorer.scores(sampled.solutions), untrained.scores(sampled.solutions)
    table, table_before = measure(sampled, scores), measure(sampled, scores_before)
    rows = _spread(len(sampled.problems))
    labels = label_samples(sampled, rollout_labels, rows, ROLLOUT_SAMPLES)
    return {
        "task": task.name, "schedule": training.settings(),
        "parameters": sum(p.numel() for p in training.model.parameters()),
        "held_out": len(task.held_out), "samples": SAMPLES, "table": table,
        "auc_rollouts": rollout_auc(scores, rows, labels), "rollouts": rollout_labels.times,
        "untrained": {name: table_before["all"].get(name) for name in ("auc_exact", f"best_of_{SAMPLES}")}
        | {"auc_rollouts": rollout_auc(scores_before, rows, labels)},
        "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip


def _spread(count: int) -> list[int]:
    """At most `ROLLOUT_PROBLEMS` indices, spread evenly over all."""
    if count <= ROLLOUT_PROBLEMS:
        return list(range(count))
    return sorted({i * count // ROLLOUT_PROBLEMS for i in range(ROLLOUT_PROBLEMS)})


def _summary(card: dict[str, Any]) -> str:
    figures = card["table"]["all"]
    parts = [f"{name} {figures[name]}" for name in ("auc_exact", "greedy", f"best_of_{SAMPLES}") if name in figures]
    return f"held out: {', '.join(parts)}, auc_rollouts {card['auc_rollouts']}"


def _load(policy: str | Path, device: str = "cpu") -> tuple[Any, Any]:
    """A causal model in float32 and its tokenizer, from a folder or the hub."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        model: Any = AutoModelForCausalLM.from_pretrained(policy, dtype=torch.float32, trust_remote_code=False)
        return model.to(device), AutoTokenizer.from_pretrained(policy, trust_remote_code=False)
    except Exception as error:  # a damaged file raises what its parser raises
        raise ValueError(f"there is no causal language model in {policy}: {type(error).__name__}: {error}") from error


def _sampler(policy: str | Path, task: RewardTask, model: Any, device: str) -> PolicySampler:
    if task.fast and can_pack(model) and _has_builtin_prompt(policy):
        model, tokenizer = _load(policy)
        return BuiltinSampler(model.eval(), tokenizer)
    return EngineSampler(policy, device=device)


def _has_builtin_prompt(policy: str | Path) -> bool:
    """Whether the folder's `forethought.json` has the built-in reasoner's prompt. ValueError for an older file."""
    from ..builtin.train import REASONER_SETTINGS
    from ..text.formats import SETTINGS_FILE, read_settings

    path = Path(policy) / SETTINGS_FILE
    return path.is_file() and read_settings(path).get("prompt") == REASONER_SETTINGS["prompt"]
