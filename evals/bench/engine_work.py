"""The workloads that are set against each other on one engine, and what the gap between two of them is made of.

A search; its own requests sent at once; the same, each when its prompt has been written; those in turn without the
critic's; whole solutions of as many tokens, a request each. All are measured in turns, so that a machine's moods fall
on all alike.

Sent at once, requests know what a search must wait for: a prompt may hold what its parent is still to write. An engine
that computes no token twice then reads a line in one forward instead of writing it token by token. With as many rows as
problems in flight, parents are mostly over by then, and search and requests take the engine equally many forwards.
"""

from __future__ import annotations

import asyncio
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...llm.engines.base import Generation, Sampling
from ...planning import Budget
from ...planning.driver import aplan
from .engine_bed import Bed, Stretch, Taken
from .engine_calls import Call, replay, replay_in_turn, writers

WORKLOADS = {
    "search": "tree search",
    "requests": "its requests at once",
    "in_turn": "its requests in turn",
    "writing": "those in turn, no critic",
    "whole": "whole solutions",
}
"""What the workloads of a `Turn` are called."""

PILOT = 8
"""Whole solutions from which the mean length of one is taken."""


@dataclass(frozen=True)
class Plans:
    """What is searched: a planner over questions, `nodes` each, judged by a critic's name.

    flying: how many questions are searched at a time, the next beginning where one ends, as an evaluation does; None:
        all.
    """

    planner: Any
    questions: Sequence[str]
    nodes: int
    value: str = "self"
    flying: int | None = None

    async def run(self, model: Any, thinner: Callable[[], None] = lambda: None) -> list[Any]:
        """The outcomes, one a question. thinner: called when the last question begins."""
        budget, places = Budget(nodes=self.nodes), asyncio.Semaphore(self.flying or len(self.questions))

        async def search(key: int, question: str) -> Any:
            async with places:
                if key == len(self.questions) - 1:
                    thinner()
                return await aplan(self.planner, model, question, budget, key=key)

        return await asyncio.gather(*[search(i, question) for i, question in enumerate(self.questions)])

    def on(self, bed: Bed) -> Taken:
        """The search, measured."""
        return bed.measured(lambda engine: self.run(bed.model(engine, self.value), engine.thinner))


@dataclass(frozen=True)
class Turn:
    """Each workload once; see above."""

    search: Taken
    requests: Taken
    in_turn: Taken
    writing: Taken
    whole: Taken


def turn(bed: Bed, plans: Plans, length: float) -> Turn:
    """Each workload once; length: the mean tokens of a whole solution."""
    search = plans.on(bed)
    writing = [call for call in search.calls if isinstance(call.answer, Generation)]
    requests = bed.measured(lambda engine: replay(engine, search.calls, bed.rows, engine.thinner))
    in_turn = _in_turn(bed, search.calls)
    alone = _in_turn(bed, writing) if len(writing) < len(search.calls) else in_turn
    whole = samples(bed, plans.questions, max(1, round(search.generated / length / len(plans.questions))))
    return Turn(search, requests, in_turn, alone, whole)


def _in_turn(bed: Bed, calls: Sequence[Call]) -> Taken:
    after = writers(calls)
    return bed.measured(lambda engine: replay_in_turn(engine, calls, after))


def samples(bed: Bed, questions: Sequence[str], each: int) -> Taken:
    """Whole solutions, `each` of every question, all sent at once and judged by nobody."""
    format, draw = bed.format, random.Random(0)
    sampling = Sampling(
        0.8, 1.0, format.max_step_tokens * format.max_steps, format.max_steps, format.delimiter, format.ends
    )
    prompts = [format.prompt_tokens(question) for _ in range(each) for question in questions]
    now = Generation([], [], "stop")
    calls = [Call(prompt, sampling, draw.getrandbits(63), (), now, 0.0, 0.0) for prompt in prompts]
    return bed.measured(lambda engine: replay(engine, calls))


def length_of_solutions(bed: Bed, questions: Sequence[str]) -> float:
    """Mean tokens of a whole solution, by a few; it also warms the engine up."""
    few = samples(bed, questions[:PILOT], 1)
    return max(1.0, few.generated / len(few.calls))


def price_of_prefill(bed: Bed, clock: str, requests: int = 64) -> float:
    """Seconds per position of a prompt: what long prompts take more than short ones, as many of each, none cached."""
    short, long = 16, min(256, bed.context - 1)
    taken = []
    for tokens in (short, long):
        draw = random.Random(tokens)
        prompts = [tuple(draw.randrange(bed.vocabulary) for _ in range(tokens)) for _ in range(requests)]
        taken.append(bed.measured(lambda engine, prompts=prompts: _scored(engine, prompts)))  # type: ignore[misc]
    few, many = (getattr(each, clock) for each in taken)
    return max(0.0, many - few) / (requests * (long - short))


async def _scored(engine: Any, prompts: Sequence[tuple[int, ...]]) -> None:
    await asyncio.gather(*[engine.score(prompt, (0,)) for prompt in prompts])


def split(once: Turn, price: float, clock: str) -> dict[str, float]:
    """Microseconds per generated token that the search takes more than whole solutions, in parts that add up to `gap`.

    idle: what the search takes beyond its own requests in turn. critic: what these take beyond those without the
    critic's. prefill: what positions of prompts, more per token than whole solutions have, take at `price` seconds.
    requests: the rest, which is that there are many short ones.
    """
    search, in_turn, writing, whole = (
        1e6 * getattr(each, clock) / max(1, each.generated)
        for each in (once.search, once.in_turn, once.writing, once.whole)
    )
    positions = [each.prefilled / max(1, each.generated) for each in (once.writing, once.whole)]
    prefill = 1e6 * price * (positions[0] - positions[1])
    parts = {"idle": search - in_turn, "critic": in_turn - writing, "prefill": prefill}
    return parts | {"requests": writing - whole - prefill, "gap": search - whole}


def rate(taken: Taken | Stretch, clock: str) -> float:
    """Generated tokens per second."""
    return taken.generated / max(1e-9, getattr(taken, clock))


def ratio(turns: Sequence[Turn], against: str, clock: str) -> float:
    """The search's tokens per second over those of the workload `against`, median over turns."""
    return statistics.median(rate(each.search, clock) / rate(getattr(each, against), clock) for each in turns)


def in_flight(pairs: Sequence[tuple[Stretch, Stretch]], written: int, clock: str) -> dict[str, float]:
    """Of pairs (search, its requests) the median `ratio` of tokens per second, both rates of the last, and the search's
    share of the `written` tokens of a whole run."""
    search, requests = pairs[-1]
    return {
        "ratio": statistics.median(rate(one, clock) / rate(other, clock) for one, other in pairs),
        "search": rate(search, clock), "requests": rate(requests, clock), "share": search.generated / max(1, written),
    }  # fmt: skip


def middle(turns: Sequence[Turn], clock: str) -> Turn:
    """Of every workload the run of median seconds."""
    half = (len(turns) - 1) // 2
    found = {
        name: sorted((getattr(each, name) for each in turns), key=lambda one: getattr(one, clock))[half]
        for name in WORKLOADS
    }
    return replace(turns[0], **found)
