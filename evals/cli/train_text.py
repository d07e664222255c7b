"""`forethought train reasoner` and `forethought train prm`."""

from __future__ import annotations

import shutil
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from rich.console import Console

from ...planning.files import whole_folder
from ..cli_common import printer, training_errors
from ..errors import BadInput
from ..progress import step_progress


def reasoner(out: Path, *, seed: int = 0, steps: int | None = None, console: Console | None = None) -> Path:
    """Train the built-in language model, or continue the training in `out`; return the folder of the model.

    An installation without the built-in model gets the trained one in its place.
    """
    from ...llm.builtin.train import train
    from ...llm.load import BUILTIN

    console = console or Console()
    show, model = printer(console), out / "model"
    with training_errors(out, steps), step_progress("train reasoner", console) as watch:
        train(out, seed=seed, steps=steps, log=show, watch=watch)
    _install_if_missing(model, BUILTIN)
    show(f"saved in {model}; use it with --model {model}")
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
    """Train a process reward model for a policy, or continue the training in `out`; return its folder.

    held_out: problems for its evaluation, 0 for none. An installation without the built-in reward model gets the
        trained one in its place after a training of the default length.
    """
    from ...llm.load import BUILTIN_REWARD, source_of
    from ...llm.prm.pipeline import schedule_for, train_reward_model

    console = console or Console()
    show = printer(console)
    with training_errors(out, steps), step_progress("train prm", console) as watch:
        if rate is not None and not 0 < rate < inf:
            raise BadInput(f"--rate must be a positive number, got {rate:g}")
        learning_task, source = _learning_task(task, data, held_out, seed), source_of(model)
        schedule = schedule_for(source, seed=seed, steps=steps, learning_rate=rate, reward_format=reward_format)
        folder = train_reward_model(
            source, learning_task, out, labels=labels, rollouts=rollouts, schedule=schedule, device=device, log=show,
            watch=watch,
        )  # fmt: skip
    if (model, task, labels, steps) == ("builtin", "stories", "exact", None):
        _install_if_missing(folder, BUILTIN_REWARD)
    flags = f"--value prm --reward-model {folder} --reward-format {reward_format}"
    show(f"saved in {folder}; use it with {flags}")
    return folder


def _install_if_missing(folder: Path, place: Path) -> None:
    """Copy a finished model to the place of the built-in one, unless there is one."""
    if not (place / "config.json").is_file():
        with whole_folder(place, last="config.json") as beside:
            shutil.copytree(folder, beside, dirs_exist_ok=True)


def _learning_task(name: str, data: Path | None, held_out: int, seed: int) -> Any:
    """The training problems, the held-out problems and the grader that a reward model is trained with."""
    from ...llm.prm.pipeline import RewardTask
    from ...llm.prm.problems import PolicyProblem, held_out_stories, repeating_source, story_source
    from ..tasks import CONTROL, make_task

    if name in CONTROL or name == "recorded":
        raise BadInput(f"a reward model is trained on text, and {name} has no training problems; use stories or gsm8k")
    if name == "stories":
        return RewardTask(name, story_source(seed), held_out_stories(held_out) if held_out else (), fast=True)
    task: Any = make_task(name, data=data, split="train")
    problems = [
        PolicyProblem(one.question, partial(_is_correct, task, one), group=one.group)
        for one in task.problems(None, seed)
    ]
    kept = min(held_out, len(problems) // 5)
    return RewardTask(name, repeating_source(problems[kept:], seed), problems[:kept])


def _is_correct(task: Any, problem: Any, text: str) -> bool:
    return bool(task.grade(problem, text).correct)
