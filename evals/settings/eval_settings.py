"""`EvalSettings`: everything that decides an evaluation, from which the options of `forethought eval` are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from .values import as_budgets

TASK = "Task and data"
MODEL = "Model and engine"
PLANNING = "Planners and budgets"
VALUES = "Values of partial solutions"
CONTROL = "Control tasks"
RUN = "Run and output"
"""The panels of the help text."""

DEFAULT_PLANNERS = {
    "text": ("greedy", "self_consistency", "best_of_n", "bfs", "mcts"),
    "control": ("cem", "mppi", "mcts", "bfs", "best_of_n"),
}
DEFAULT_BUDGETS = {"text": (4, 8, 16, 32, 64), "control": (64, 256, 1024)}
DEFAULT_MODEL = {"text": "builtin", "control": "analytic"}


def option(panel: str, text: str, *names: str, **rules: Any) -> Any:
    """An option of the command line in a panel of the help text. names: by default `--` and the field's name."""
    return typer.Option(*names, help=text, rich_help_panel=panel, **rules)


@dataclass(frozen=True, kw_only=True)
class EvalSettings:
    """The settings of an evaluation, validated when they are made, before any model is loaded.

    Each field is an option of `forethought eval`, whose help text describes it. From Python, `task`, `model`, `value`
    and each of `planners` may also be an object: a `TextTask` or `ControlTask`, a `TextModel` or `Model`, a `Critic`,
    a `Planner`; `planners` may map names to them. parts: the objects that the fields name.

    Errors: BadInput for everything that can be found wrong without loading a model.
    """

    task: Annotated[
        Any,
        typer.Argument(
            metavar="[TASK]",
            help="stories, gsm8k, recorded, pendulum, cartpole, bouncer, swingup or reacher; FILE.py:Name or "
            "module:Name of a task or an environment; the id of an environment of gymnasium. None with --data and "
            "--grade.",
        ),
    ] = None
    data: Annotated[
        Path | None,
        option(TASK, "A JSON-lines file with question and answer, for gsm8k or with --grade."),
    ] = None
    grade: Annotated[
        str | None, option(TASK, "How answers to --data are graded: number, choice (a letter) or exact (a text).")
    ] = None
    split: Annotated[str, option(TASK, "stories: test, validation or hard.")] = "test"
    limit: Annotated[int | None, option(TASK, "Problems or episodes to run; by default all.")] = None

    model: Annotated[
        Any,
        option(
            MODEL, "Text: builtin, a folder or a hub id (default builtin); replay: a model on the tape. Control: "
            "analytic or a folder (default analytic).", metavar="MODEL",
        ),
    ] = None  # fmt: skip
    engine: Annotated[
        str, option(MODEL, "What runs a language model: transformers, vllm, openai (a server), replay (a tape).")
    ] = "transformers"
    device: Annotated[str, option(MODEL, "Device of the model, such as cpu or cuda.")] = "cpu"
    base_url: Annotated[str, option(MODEL, "openai: address of the server; several separated by commas.")] = ""
    replicas: Annotated[
        int, option(MODEL, "Engines, each in a process of its own, on this machine or a Ray cluster.", min=1)
    ] = 1
    temperature: Annotated[float, option(MODEL, "Temperature of sampling; greedy always uses 0.")] = 0.8
    system: Annotated[
        str | None,
        option(MODEL, "The instruction of a chat: a text, or @FILE. By default one for grade-school mathematics.",
               metavar="TEXT"),
    ] = None  # fmt: skip
    shots: Annotated[
        int | None, option(MODEL, "Worked examples in the prompt, 0 to 4; by default 4, of the built-in model none.")
    ] = None
    delimiter: Annotated[
        str | None,
        option(MODEL, "What a step is: line, paragraph, sentence, or what ends at a TEXT. By default a line.",
               metavar="KIND"),
    ] = None  # fmt: skip
    max_steps: Annotated[
        int | None, option(MODEL, "Steps of a solution, of which the last may run on; by default 40, built-in 10.")
    ] = None
    max_step_tokens: Annotated[
        int | None, option(MODEL, "Tokens of a step; by default 512, of the built-in model 64.")
    ] = None
    trust_remote_code: Annotated[
        bool, option(MODEL, "Run Python code that the model's folder or hub page contains.", "--trust-remote-code")
    ] = False
    tape: Annotated[
        Path | None, option(MODEL, "File that records every generation and score; a second run calls no model.")
    ] = None

    planners: Annotated[
        Any,
        option(
            PLANNING, "Names separated by commas, FILE.py:Name among them; see forethought list planners. Default for "
            f"text {','.join(DEFAULT_PLANNERS['text'])}, for control {','.join(DEFAULT_PLANNERS['control'])}.",
            "--planner", metavar="NAMES",
        ),
    ] = None  # fmt: skip
    budgets: Annotated[
        Any,
        option(PLANNING, "Numbers separated by commas. Default for text 4,8,16,32,64, for control 64,256,1024.",
               metavar="NUMBERS"),
    ] = None  # fmt: skip
    unit: Annotated[str, option(PLANNING, "What a budget counts: nodes, calls, tokens or seconds.")] = "nodes"
    width: Annotated[int, option(PLANNING, "Sampled continuations that a tree search considers at each node.")] = 4
    reasoning: Annotated[
        str,
        option(PLANNING, "What an action is: steps (the next line), propose (an item of a list of next steps) or rap "
               "(a sub-question with its answer)."),
    ] = "steps"  # fmt: skip

    value: Annotated[
        Any,
        option(
            VALUES, "The critic: self, logprob, none, rating, vote, rollout, prm, orm, recorded, oracle (knows the "
            "answers, for studies only), FILE.py:Name, or a sum such as 0.3*self+0.7*prm. Default self.",
            metavar="CRITIC",
        ),
    ] = None  # fmt: skip
    reward_model: Annotated[str | None, option(VALUES, "prm, orm: builtin, a folder or a hub id.")] = None
    reward_format: Annotated[str, option(VALUES, "prm, orm: builtin, math_shepherd, rlhflow, qwen or skywork.")] = ""
    aggregate: Annotated[str, option(VALUES, "prm: last, min, product or mean of the steps' scores.")] = "last"
    answer_by: Annotated[
        str | None,
        option(VALUES, "The rule that selects the scored answer: best, majority, weighted or visits. Default majority "
               "for self_consistency and best for the others."),
    ] = None  # fmt: skip

    wrapper: Annotated[
        list[str] | None,
        option(
            CONTROL, "A wrapper of the environment, given again for each further one: a name of gymnasium.wrappers, "
            "FILE.py:Name or module:Name.", metavar="NAME",
        ),
    ] = None  # fmt: skip
    action_repeat: Annotated[
        int | None, option(CONTROL, "Environment steps per action; by default the task's for the planner.")
    ] = None
    terminal_value: Annotated[
        bool | None, option(CONTROL, "Whether planned sequences end in the task's terminal value function.")
    ] = None

    out: Annotated[Path | None, option(RUN, "Folder to write to; by default runs/TASK.")] = None
    seed: Annotated[int, option(RUN, "Seed of sampling, of the planners and of the episodes.")] = 0
    in_flight: Annotated[int, option(RUN, "Problems that are run concurrently.")] = 64
    against: Annotated[str | None, option(RUN, "The planner that others are compared with.")] = None
    quiet: Annotated[bool, option(RUN, "No progress bar.", "--quiet")] = False

    parts: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        from .checks import (  # these load torch, and help texts do not
            check_settings,
            model_on_tape,
            with_builtin_reward,
        )
        from .parts import parts_of

        paths = {name: given for name in ("data", "tape", "out") if (given := vars(self)[name]) is not None}
        self._set(**{name: Path(given) for name, given in paths.items()})  # Python programs give texts
        parts, named = parts_of(self, DEFAULT_PLANNERS), self.model
        kind = parts.task.kind
        self._set(parts=parts, task=parts.name, value=parts.value, planners=tuple(parts.planners))
        self._set(budgets=DEFAULT_BUDGETS[kind] if self.budgets is None else as_budgets(self.budgets))
        self._set(model=parts.model_name or str(DEFAULT_MODEL[kind] if named is None else named))
        self._set(**with_builtin_reward(self))
        check_settings(self)
        if self.engine == "replay" and parts.model is None:
            self._set(model=model_on_tape(self.tape, named))

    def _set(self, **fields: object) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @property
    def kind(self) -> str:
        """ "control" or "text"."""
        return self.parts.task.kind

    @property
    def view(self) -> dict[str, Any]:
        """The fields of `control.tasks.View` that differ from the defaults of the planner."""
        given = {"action_repeat": self.action_repeat, "terminal_value": self.terminal_value}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def folder(self) -> Path:
        """The folder of the run's files."""
        return self.out or Path("runs") / self.task
