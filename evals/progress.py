"""Progress of long work with the remaining time: a bar in a terminal, a line now and then in a log file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from .console import plain, say

LINE_SECONDS = 10.0
"""The least time between two lines where the console is no terminal."""

LINE_SHARE = 0.05
"""The least time between two lines as a share of the time that has passed, so that a log of hours stays short."""


class Advance(Protocol):
    """Called after each part of the work: how much of the total is done by it, and a text to show beside the bar."""

    def __call__(self, amount: float = 1.0, text: str = "") -> None: ...


StepWatch = Callable[[int, int], None]
"""Called after each step with the number of steps made and of steps in all."""


@contextmanager
def progress(total: float, label: str, console: Console | None, *, quiet: bool = False) -> Iterator[Advance]:
    """Show how much of the work inside the block is done and how long the rest will take.

    total: the sum of the amounts that the yielded function is called with, in any unit that is proportional to time.
    console: None, like `quiet`, shows nothing.
    """
    if quiet or console is None:
        yield _ignore
    elif console.is_terminal:
        with _bar(total, label, console) as advance:
            yield advance
    else:
        yield _lines(total, label, console)


@contextmanager
def step_progress(label: str, console: Console | None, *, quiet: bool = False) -> Iterator[StepWatch]:
    """The same for a training that counts its steps, which may continue an earlier one or begin again at step 1.

    Time counts from the first call on, since only then it is known how many steps an earlier call has made.
    """
    with ExitStack() as stack:
        advance: Advance = _ignore
        last = 0

        def watch(step: int, steps: int) -> None:
            nonlocal advance, last
            if not 0 < last < step:
                stack.close()
                advance = stack.enter_context(progress(steps - step, label, console, quiet=quiet or step >= steps))
            else:
                advance(step - last)
            last = step

        yield watch


def duration(seconds: float) -> str:
    """Seconds in a unit that fits: "40 s", "3 min", "2.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def remaining(done: float, total: float, seconds: float) -> float:
    """Seconds that the rest takes at the speed so far."""
    return seconds * max(0.0, total - done) / done if done > 0 else float("inf")


def _ignore(amount: float = 1.0, text: str = "") -> None:
    pass


class _Left(ProgressColumn):
    """The remaining time, which counts down between two updates."""

    def render(self, task: Task) -> Text:
        at = float(task.fields["at"])
        left = remaining(task.completed, task.total or 0.0, at) - ((task.elapsed or 0.0) - at)
        return plain(f"{duration(max(0.0, left))} left" if left < float("inf") else "")


@contextmanager
def _bar(total: float, label: str, console: Console) -> Iterator[Advance]:
    name, text_field = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[text]}", markup=False)
    share = TextColumn("{task.percentage:>3.0f} %", markup=False)
    with Progress(name, BarColumn(12), share, _Left(), text_field, console=console, transient=True) as bar:
        task = bar.add_task(label, total=total, text="", at=0.0)

        def advance(amount: float = 1.0, text: str = "") -> None:
            fields: dict[str, Any] = {"text": text} if text else {}
            if amount:
                fields["at"] = bar.tasks[0].elapsed or 0.0
            bar.update(task, advance=amount, **fields)

        yield advance


def _lines(total: float, label: str, console: Console) -> Advance:
    begun = printed = time.monotonic()
    done = 0.0

    def advance(amount: float = 1.0, text: str = "") -> None:
        nonlocal done, printed
        done += amount
        now = time.monotonic()
        if not amount or done >= total or now - printed < max(LINE_SECONDS, LINE_SHARE * (now - begun)):
            return
        printed = now
        left = duration(remaining(done, total, now - begun))
        say(console, f"{label}: {done / total:.0%}, about {left} left" + (f"  {text}" if text else ""))

    return advance
