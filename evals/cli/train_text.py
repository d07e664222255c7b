"""`forethought train`: the models that a user makes for himself."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from ..cli_common import teller, trainable
from ..tasks.base import BadInput


def reasoner(out: Path, *, seed: int = 0, steps: int | None = None, console: Console | None = None) -> Path:
    """Train the built-in language model, or go on with the training in `out`; returns the finished model's folder.

    A model that is missing from this installation is put in its place when the training has ended.
    """
    from ...llm.builtin.train import train
    from ...llm.load import BUILTIN

    tell, model = teller(console), out / "model"
    with trainable(out, steps):
        train(out, seed=seed, steps=steps, log=tell)
    _put_in_place(model, BUILTIN)
    tell(f"saved in {model}; use it with --model {model}")
    return model


def prm(
    model: str,
    task: str,
    out: Path,
    *,
    labels: str = "exact",
    rollouts: int = 8,
    reward_format: str = "builtin",
    steps: int | None = None,
    rate: float | None = None,
    held_out: int = 400,
    data: Path | None = None,
    device: str = "cpu",
    seed: int = 0,
    console: Console | None = None,
) -> Path:
    """Train a process reward model for a policy, or go on with the training in `out`; returns its folder.

    held_out: problems for the card, 0 for none. The built-in one that is missing from this installation is put in its
    place when a training of the usual length has ended.
    """
    from ...llm.load import BUILTIN_REWARD, source_of
    from ...llm.prm.pipeline import schedule_for, train_reward_model

    tell = teller(console)
    with trainable(out, steps):
        learned, source = _to_learn(task, data, held_out, seed), source_of(model)
        schedule = schedule_for(source, seed=seed, steps=steps, learning_rate=rate, reward_format=reward_format)
        folder = train_reward_model(
            source, learned, out, labels=labels, rollouts=rollouts, schedule=schedule, device=device, log=tell
        )
    if (model, task, labels, steps) == ("builtin", "stories", "exact", None):
        _put_in_place(folder, BUILTIN_REWARD)
    told = f"--value prm --reward-model {folder} --reward-format {reward_format}"
    tell(f"saved in {folder}; use it with {told}")
    return folder


def _put_in_place(folder: Path, place: Path) -> None:
    """Copies a finished model to where this installation looks for it, unless one is there."""
    if not (place / "config.json").is_file():
        shutil.copytree(folder, place, dirs_exist_ok=True)


def _to_learn(name: str, data: Path | None, held_out: int, seed: int) -> Any:
    """The task of that name as a reward model learns it: training problems, held-out ones, and the grader of both."""
    from ...llm.prm.pipeline import RewardTask
    from ...llm.prm.problems import PolicyProblem, held_out_stories, repeating_source, story_source
    from ..tasks import CONTROL, make_task

    if name in CONTROL or name == "recorded":
        raise BadInput(f"a reward model judges words, and {name} has no problems to learn from; take stories or gsm8k")
    if name == "stories":
        return RewardTask(name, story_source(seed), held_out_stories(held_out) if held_out else (), fast=True)
    task: Any = make_task(name, data=data, split="train")
    problems = [
        PolicyProblem(one.question, partial(_right, task, one), group=one.group) for one in task.problems(None, seed)
    ]
    kept = min(held_out, len(problems) // 5)
    return RewardTask(name, repeating_source(problems[kept:], seed), problems[:kept])


def _right(task: Any, problem: Any, text: str) -> bool:
    return bool(task.grade(problem, text).correct)
