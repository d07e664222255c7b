"""The workloads that are compared on one engine, and the parts of the gap between search and independent sampling.

The workloads are a search; its own requests sent at once; the same, each sent when its prompt has been generated; those
in order without the critic's; and whole solutions of as many tokens, one request each. A round measures each of them
once, so that drifts in the machine's speed affect all alike.

When requests are sent at once, a prompt may contain text that its parent request has yet to generate. An engine that
computes no token twice then prefills a line in one forward pass instead of decoding it token by token. With as many
batch rows as problems in flight, most parents have ended by then, and search and requests need equally many passes.
"""

from __future__ import annotations

import asyncio
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...llm.engines.base import Engine, Generation, Sampling
from ...planning import Budget, Planner
from ...planning.driver import Outcome, aplan
from .engine_calls import Call, prompt_sources, resend, resend_in_order
from .engine_harness import EngineHarness, Measurement, Timing

WORKLOADS = {
    "search": "tree search",
    "requests": "its requests at once",
    "requests_in_order": "its requests in order",
    "generations_in_order": "those in order, no critic",
    "whole_solutions": "whole solutions",
}
"""The fields of a `WorkloadRound` and their names in tables."""

PILOT_SOLUTIONS = 8
"""Solutions from which the mean length of a whole solution is estimated."""


@dataclass(frozen=True)
class SearchWorkload:
    """A planner on questions with `nodes` each and a critic.

    value: the name of the critic. in_flight: how many questions are searched concurrently; None for all.
    """

    planner: Planner
    questions: Sequence[str]
    nodes: int
    value: str = "self"
    in_flight: int | None = None

    async def run(self, model: Any, on_drain: Callable[[], None] = lambda: None) -> list[Outcome[Any]]:
        """One outcome per question. on_drain: called when the last question is started."""
        budget, gate = Budget(nodes=self.nodes), asyncio.Semaphore(self.in_flight or len(self.questions))

        async def search(key: int, question: str) -> Outcome[Any]:
            async with gate:
                if key == len(self.questions) - 1:
                    on_drain()
                return await aplan(self.planner, model, question, budget, key=key)

        return await asyncio.gather(*[search(i, question) for i, question in enumerate(self.questions)])

    def measure(self, harness: EngineHarness) -> Measurement:
        """Measure the search."""
        return harness.measure(lambda engine: self.run(harness.model(engine, self.value), engine.on_drain))


@dataclass(frozen=True)
class WorkloadRound:
    """One measurement of each workload; `WORKLOADS` names them."""

    search: Measurement
    requests: Measurement
    requests_in_order: Measurement
    generations_in_order: Measurement
    whole_solutions: Measurement

    def named(self, name: str) -> Measurement:
        """The measurement of a workload of `WORKLOADS`."""
        found: Measurement = getattr(self, name)
        return found


def run_round(harness: EngineHarness, workload: SearchWorkload, length: float) -> WorkloadRound:
    """Measure each workload once. length: the mean tokens of a whole solution."""
    search = workload.measure(harness)
    generations = [call for call in search.calls if isinstance(call.answer, Generation)]
    requests = harness.measure(lambda engine: resend(engine, search.calls, harness.rows, engine.on_drain))
    in_order = _measure_in_order(harness, search.calls)
    no_critic = _measure_in_order(harness, generations) if len(generations) < len(search.calls) else in_order
    per_question = max(1, round(search.generated / length / len(workload.questions)))
    whole = measure_whole_solutions(harness, workload.questions, per_question)
    return WorkloadRound(search, requests, in_order, no_critic, whole)


def _measure_in_order(harness: EngineHarness, calls: Sequence[Call]) -> Measurement:
    after = prompt_sources(calls)
    return harness.measure(lambda engine: resend_in_order(engine, calls, after))


def measure_whole_solutions(harness: EngineHarness, questions: Sequence[str], each: int) -> Measurement:
    """Measure whole solutions, `each` for every question, all sent at once and without a critic."""
    format, draw = harness.format, random.Random(0)
    sampling = Sampling(
        0.8, 1.0, format.max_step_tokens * format.max_steps, format.max_steps, format.delimiter, format.ends
    )
    prompts = [format.prompt_tokens(question) for _ in range(each) for question in questions]
    unanswered = Generation([], [], "stop")
    calls = [Call(prompt, sampling, draw.getrandbits(63), (), unanswered, 0.0, 0.0) for prompt in prompts]
    return harness.measure(lambda engine: resend(engine, calls))


def mean_solution_length(harness: EngineHarness, questions: Sequence[str]) -> float:
    """Mean tokens of a few whole solutions; this also warms up the engine."""
    few = measure_whole_solutions(harness, questions[:PILOT_SOLUTIONS], 1)
    return max(1.0, few.generated / len(few.calls))


def prefill_cost(harness: EngineHarness, clock: str, requests: int = 64) -> float:
    """Seconds per prompt token: the additional time of long prompts over as many short ones, none of them cached."""
    short, long = 16, min(256, harness.context - 1)
    seconds = []
    for tokens in (short, long):
        draw = random.Random(tokens)
        prompts = [tuple(draw.randrange(harness.vocabulary) for _ in range(tokens)) for _ in range(requests)]
        measured = harness.measure(lambda engine, prompts=prompts: _score_all(engine, prompts))  # type: ignore[misc]
        seconds.append(measured.timing.seconds(clock))
    return max(0.0, seconds[1] - seconds[0]) / (requests * (long - short))


async def _score_all(engine: Engine, prompts: Sequence[tuple[int, ...]]) -> None:
    await asyncio.gather(*[engine.score(prompt, (0,)) for prompt in prompts])


def gap_breakdown(measured: WorkloadRound, prefill: float, clock: str) -> dict[str, float]:
    """Microseconds per generated token that the search needs beyond whole solutions, in parts that add up to `gap`.

    idle: of the search beyond its own requests in order. critic: of these beyond the same without the critic's.
    prefill: of the additional prompt tokens per generated token, at `prefill` seconds each. requests: the rest, which
    is due to the many short requests.
    """
    in_order, whole = measured.generations_in_order, measured.whole_solutions
    workloads = (measured.search, measured.requests_in_order, in_order, whole)
    search, requests, generations, solutions = (
        1e6 * each.timing.seconds(clock) / max(1, each.generated) for each in workloads
    )
    prompt_tokens = [each.prefilled / max(1, each.generated) for each in (in_order, whole)]
    prefill_part = 1e6 * prefill * (prompt_tokens[0] - prompt_tokens[1])
    parts = {"idle": search - requests, "critic": requests - generations, "prefill": prefill_part}
    return parts | {"requests": generations - solutions - prefill_part, "gap": search - solutions}


def throughput_ratio(rounds: Sequence[WorkloadRound], against: str, clock: str) -> float:
    """Tokens per second of the search over those of the workload `against`, the median over rounds."""
    return statistics.median(
        each.search.timing.tokens_per_second(clock) / each.named(against).timing.tokens_per_second(clock)
        for each in rounds
    )


def in_flight_ratio(pairs: Sequence[tuple[Timing, Timing]], generated: int, clock: str) -> dict[str, float]:
    """The ratio of tokens per second of pairs (search, its requests).

    ratio: median over pairs. search, requests: tokens per second of the last pair. share: of the search's tokens in
    the `generated` tokens of a whole run.
    """
    search, requests = pairs[-1]
    ratios = [one.tokens_per_second(clock) / other.tokens_per_second(clock) for one, other in pairs]
    return {
        "ratio": statistics.median(ratios), "search": search.tokens_per_second(clock),
        "requests": requests.tokens_per_second(clock), "share": search.generated / max(1, generated),
    }  # fmt: skip


def median_round(rounds: Sequence[WorkloadRound], clock: str) -> WorkloadRound:
    """For each workload the measurement of median seconds."""
    half = (len(rounds) - 1) // 2
    found = {
        name: sorted((each.named(name) for each in rounds), key=lambda one: one.timing.seconds(clock))[half]
        for name in WORKLOADS
    }
    return replace(rounds[0], **found)
