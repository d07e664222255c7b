"""`forethought bench engine` on a model with random weights: recorded, predicted and summed quantities, no timings."""

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from forethought.evals.bench.engine import main
from forethought.evals.bench.engine_calls import Call, predicted_cache_hits, prompt_sources, resend, resend_in_order
from forethought.evals.bench.engine_harness import EngineHarness, Measurement, Timing, garbage_collector_frozen
from forethought.evals.bench.engine_interleaved import (
    STEPS_PER_TURN,
    EngineWorkload,
    Interleaved,
    measure_in_sequence,
    measure_interleaved,
)
from forethought.evals.bench.engine_overhead import MemoizedModel, search_overhead, second_planner
from forethought.evals.bench.engine_shapes import SHAPES, write_shape
from forethought.evals.bench.engine_workloads import (
    SearchWorkload,
    WorkloadRound,
    gap_breakdown,
    in_flight_ratio,
    run_round,
)
from forethought.evals.tasks.base import BadInput
from forethought.llm.engines.base import Generation, Sampling, Score
from forethought.llm.engines.flops import flops_of_folder
from forethought.planning import MCTS, BestOfN, Expansion, SampledActions
from forethought.planning.trees.beam import Beam
from forethought.planning.trees.mcts import WideningSettings

QUESTIONS = ["Tom has 3 apples and buys 4 more. How many has he?", "Ann walks 2 miles a day. How many in a week?"]
PLANNERS = pytest.mark.parametrize(
    "planner", [MCTS(widening=WideningSettings(width=4)), Beam(), Beam(beam=4, children=4)], ids=["mcts", "bfs", "beam"]
)


@pytest.fixture(scope="module")
def harness():
    with EngineHarness("transformers", "tiny", dummy=True, rows=8) as made:
        yield made


@PLANNERS
def test_resent_requests_give_the_same_answers(harness, planner):
    calls = SearchWorkload(planner, QUESTIONS, 8).measure(harness).calls
    assert any(isinstance(call.answer, Score) for call in calls)
    assert any(isinstance(call.answer, Generation) for call in calls)
    at_once = asyncio.run(resend(harness.fresh_engine(), calls))
    requests_in_order = asyncio.run(resend_in_order(harness.fresh_engine(), calls, prompt_sources(calls)))
    for again in (at_once, requests_in_order):
        assert [told(answer) for answer in again] == [told(call.answer) for call in calls]


@PLANNERS
@pytest.mark.parametrize("value", ["self", "none"])
def test_predicted_cache_hits_equal_the_measured_ones(harness, planner, value):
    search = SearchWorkload(planner, QUESTIONS, 10, value).measure(harness)
    assert predicted_cache_hits(search.calls, harness.tokenizer) == search.cached > 0


def test_at_most_in_flight_questions_are_searched_concurrently(harness):
    class Counting:
        actions, cost, most_tokens = SampledActions(), 1, 0
        now = most = 0

        async def start(self, problems):
            self.now += 1
            self.most = max(self.most, self.now)
            return problems, Expansion(*np.zeros((3, 1), np.float32))

        async def expand(self, states, slots, **how):
            await asyncio.sleep(0)
            self.now -= 1
            return [*states], Expansion(*np.zeros((3, 1), np.float32))

    for in_flight, most in ((2, 2), (64, 6)):
        model = Counting()
        asyncio.run(SearchWorkload(BestOfN(population=1), ["a question"] * 6, 1, in_flight=in_flight).run(model))
        assert model.most == most


def test_the_saturated_part_of_a_workload_ends_when_the_last_work_starts(harness):
    questions = [f"{question} {n}" for n in range(3) for question in QUESTIONS]
    few, together = (
        SearchWorkload(Beam(), questions, 6, in_flight=in_flight).measure(harness) for in_flight in (2, None)
    )
    assert together.saturated is None, "the last question begins with the first"
    last = harness.format.prompt_tokens(questions[-1])
    others = sum(len(call.written) for call in few.calls if call.prompt[: len(last)] != last)
    assert 0 < few.saturated.generated <= others < few.generated
    assert 0 < few.saturated.processor < few.processor and 0 < few.saturated.wall < few.wall
    again = harness.measure(lambda engine: resend(engine, few.calls, 3, engine.on_drain)).saturated
    longest = sorted(len(call.written) for call in few.calls)[-2:]
    assert few.generated - sum(longest) <= again.generated <= few.generated, "two requests are left"


def test_blocks_are_found_whole_and_never_the_last_token_of_a_prompt(harness):
    one = Generation([], [], "stop")
    calls = [Call(tuple(range(1, 9)), None, 0, (1,), one, begun, begun + 0.5) for begun in (0.0, 1.0)]
    assert [predicted_cache_hits(calls, harness.tokenizer, block) for block in (1, 3, 4, 8)] == [8, 6, 4, 0]


def test_prompt_sources_are_the_requests_that_generated_the_prompts():
    line, last = Generation([(7, 8)], [(0.0, 0.0)], "stop"), Generation([], [], "stop")
    calls = [
        Call((1, 2), Sampling(), 0, (), line, 0.0, 1.0),
        Call((1, 3), Sampling(), 0, (), line, 0.1, 1.0),
        Call((1, 2, 7, 8), Sampling(), 0, (), last, 2.0, 3.0),
        Call((1, 2, 7, 8, 9), None, 0, (4,), last, 2.0, 3.0),
        Call((1, 2, 7), None, 0, (4,), last, 2.0, 3.0),
    ]
    assert prompt_sources(calls) == [-1, -1, 0, 0, -1]


def test_the_parts_of_the_gap_add_up():
    def taken(tokens, seconds, cached):
        call = Call((1,) * 20, Sampling(), 0, (), Generation([(1,) * tokens], [], "stop", cached), 0.0, 1.0)
        return Measurement([call], seconds, 2 * seconds, 0.0, 0, 0)

    once = WorkloadRound(
        *(taken(*each) for each in [(10, 5.0, 0), (10, 3.0, 0), (10, 4.0, 0), (10, 3.5, 0), (8, 1.0, 10)])
    )
    parts = gap_breakdown(once, prefill=0.1, clock="wall")
    assert sum(parts[name] for name in ("idle", "critic", "prefill", "requests")) == pytest.approx(parts["gap"])
    assert parts == pytest.approx({"idle": 1e5, "critic": 0.5e5, "prefill": 0.75e5, "requests": 1.5e5, "gap": 3.75e5})
    assert gap_breakdown(once, prefill=0.1, clock="processor")["gap"] == pytest.approx(2 * parts["gap"])


def test_all_workloads_of_a_round_have_the_same_questions_and_tokens(harness):
    once = run_round(harness, SearchWorkload(Beam(), QUESTIONS, 8), length=60.0)
    assert (
        once.search.generated
        == once.requests.generated
        == once.requests_in_order.generated
        == once.generations_in_order.generated
    )
    assert (
        len(once.generations_in_order.calls)
        < len(once.requests_in_order.calls)
        == len(once.requests.calls)
        == len(once.search.calls)
    )
    assert {call.prompt for call in once.whole_solutions.calls} == {
        harness.format.prompt_tokens(question) for question in QUESTIONS
    }
    quiet = run_round(harness, SearchWorkload(Beam(), QUESTIONS, 4, "none"), length=60.0)
    assert quiet.generations_in_order is quiet.requests_in_order


def test_interleaved_search_and_requests_do_the_same_work_while_saturated(harness):
    questions = [f"{question} {n}" for n in range(6) for question in QUESTIONS]
    workload = SearchWorkload(Beam(), questions, 6, in_flight=2)
    once = workload.measure(harness)
    assert 0 < len(once.saturated_calls) < len(once.calls)
    later = [call for call in once.calls if call not in once.saturated_calls]
    assert all(call.begun <= late.begun for call in once.saturated_calls for late in later)
    search, requests = measure_interleaved(harness, workload, once.saturated_calls)
    assert search.generated == once.saturated.generated, "the same search, as long as something was left to begin"
    written = sum(len(call.written) for call in once.saturated_calls)
    assert written - harness.rows * harness.format.max_step_tokens <= requests.generated <= written
    assert min(search.wall, search.processor, requests.wall, requests.processor) > 0


def test_without_a_saturated_part_the_whole_runs_are_compared(harness):
    workload = SearchWorkload(Beam(), QUESTIONS, 8)
    once = workload.measure(harness)
    assert once.saturated is None and list(once.saturated_calls) == list(once.calls)
    search, requests = measure_interleaved(harness, workload, once.saturated_calls)
    assert search.generated == once.generated
    assert 0 < requests.generated <= once.generated
    assert in_flight_ratio([(search, requests)], once.generated, "wall")["share"] == 1


def test_in_sequence_the_search_keeps_its_measurement(harness):
    together = SearchWorkload(Beam(), QUESTIONS, 8).measure(harness)
    search, requests = measure_in_sequence(harness, together)
    assert search == together.timing and search.generated == requests.generated
    part = Timing(1.0, 2.0, 30)
    assert measure_in_sequence(harness, replace(together, saturated=part))[0] == part


def test_each_engine_is_timed_only_in_its_own_turns(harness):
    """The clock counts steps here: each side is charged its own steps, whatever the other does in between."""
    ticks = []
    counted = []
    for number in range(2):
        engine = harness.fresh_engine()
        tick = engine._scheduler.step
        engine._scheduler.step = lambda tick=tick, number=number: (ticks.append(number), tick())
        counted.append(engine)

    async def work(engine, on_drain):
        prompts = [harness.format.prompt_tokens(f"{question} {n}") for n in range(9) for question in QUESTIONS]
        await asyncio.gather(
            *(engine.generate(p, Sampling(max_tokens=40, stop=None), i) for i, p in enumerate(prompts))
        )

    async def run():
        sides = [EngineWorkload(engine, work) for engine in counted]
        turns = Interleaved(sides, clocks=lambda: (float(len(ticks)), 0.0))
        await turns.done.wait()
        return [side.timing.wall for side in sides]

    with garbage_collector_frozen():
        taken = asyncio.run(run())
    assert taken == [ticks.count(0), ticks.count(1)] and min(taken) > 2 * STEPS_PER_TURN
    assert ticks[: 2 * STEPS_PER_TURN + 1] == [0] * STEPS_PER_TURN + [1] * STEPS_PER_TURN + [0]


def test_the_error_of_a_failing_workload_is_raised(harness):
    class Broken(Exception):
        pass

    class Planner:
        def begin(self, *args, **kwargs):
            raise Broken

    with pytest.raises(Broken):
        measure_interleaved(
            harness,
            SearchWorkload(Planner(), QUESTIONS, 4),
            SearchWorkload(Beam(), QUESTIONS, 4).measure(harness).calls,
        )


def test_the_ratio_in_flight_is_the_median_of_pairs():
    pairs = [(Timing(1.0, 2.0, 30), Timing(1.0, 3.0, 60)), (Timing(1.0, 1.0, 60), Timing(1.0, 1.0, 60))] * 2
    found = in_flight_ratio([*pairs, pairs[0]], 60, "wall")
    assert found == {"ratio": 0.5, "search": 30.0, "requests": 60.0, "share": 0.5}
    assert in_flight_ratio(pairs[:1], 60, "processor")["ratio"] == 0.75


def test_a_second_planner_repeats_no_request_of_the_first(harness):
    bill = second_planner(
        harness,
        SearchWorkload(Beam(), QUESTIONS, 12),
        SearchWorkload(MCTS(widening=WideningSettings(width=4)), QUESTIONS, 12),
    )
    assert bill["repeated"] == 0
    assert 0 < bill["requests"] < bill["nodes"] and bill["generated"] < bill["tokens"]
    same = second_planner(harness, SearchWorkload(Beam(), QUESTIONS, 8), SearchWorkload(Beam(), QUESTIONS, 8))
    assert same["requests"] == same["scores"] == 0 < same["nodes"]


def test_a_memoized_model_repeats_a_search_without_its_model(harness):
    workload = SearchWorkload(MCTS(widening=WideningSettings(width=4)), QUESTIONS, 8)
    memoized = MemoizedModel(harness.model(harness.fresh_engine(), "self"))
    first = asyncio.run(workload.run(memoized))
    missed, memoized.model = memoized.missed, None
    again = asyncio.run(workload.run(memoized))
    assert memoized.missed == missed
    ways = [[[list(way) for way in one.plan.actions] for one in outcomes] for outcomes in (first, again)]
    assert ways[0] == ways[1]
    memoized.model = harness.model(harness.fresh_engine(), "self")
    assert set(search_overhead(harness, workload, 1)) == {"with_tape", "search_and_driver", "seconds"}


def test_shapes_have_the_sizes_of_the_models_they_are_named_for(tmp_path):
    found = {name: flops_of_folder(str(write_shape(name, tmp_path / name))).parameters for name in SHAPES}
    assert found["qwen2.5-1.5b"] == pytest.approx(1.54e9, rel=0.01)
    assert found["qwen2.5-7b"] == pytest.approx(7.07e9, rel=0.01)
    with pytest.raises(ValueError, match=r"no shape 'huge'; there are tiny, qwen2\.5-1\.5b"):
        write_shape("huge", tmp_path)


def test_a_model_of_random_weights_ends_its_lines_and_its_solutions(harness):
    search = SearchWorkload(MCTS(widening=WideningSettings(width=4)), QUESTIONS, 24, "none").measure(harness)
    ends = [call.answer.ended for call in search.calls]
    assert ends.count("stop") > ends.count("end") > 0
    assert len(harness.tokenizer) == harness.vocabulary == SHAPES["tiny"]["vocab_size"]


def test_the_command_writes_every_figure_and_names_the_device(tmp_path):
    asked = {"model": "tiny", "dummy_weights": True, "problems": 2, "nodes": 4, "planner": "mcts", "repeats": 1}
    main(tmp_path, **asked, machine="a quiet one", console=Console(quiet=True))
    result = json.loads((tmp_path / "engine-transformers-tiny-mcts-self.json").read_text())
    assert result["device"] == "a quiet one" and result["clock"] == "processor"
    assert set(result["rows"]) == {"search", "requests", "requests_in_order", "generations_in_order", "whole_solutions"}
    assert result["cache"]["predicted"] == result["cache"]["measured"]
    assert [target["name"] for target in result["targets"]][:1] == ["search against its requests at once"]


@pytest.mark.parametrize(
    "wrong", [{"model": "huge", "dummy_weights": True}, {"engine": "openai"}, {"planner": "dfs"}, {"value": "prm"}]
)
def test_what_cannot_be_measured_is_refused(wrong):
    with pytest.raises(BadInput, match=r"no (shape|engine|planner|value)"):
        main(**wrong, console=Console(quiet=True))


def told(answer):
    return (answer.steps, answer.ended) if isinstance(answer, Generation) else answer.logprobs
