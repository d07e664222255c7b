"""`forethought bench engine` on a model with random weights: recorded and summed quantities, no timings."""

import asyncio
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from forethought.evals.bench.engine import main, ratio, run, show, summarize
from forethought.evals.bench.engine_shapes import SHAPES, write_shape
from forethought.evals.bench.engine_workloads import Call, Measurement, RecordingEngine, Workloads
from forethought.evals.errors import BadInput
from forethought.llm.engines.base import Generation, Sampling, Score
from forethought.llm.engines.flops import flops_of_folder
from forethought.llm.engines.step_splitter import decode
from forethought.llm.load import load_text_model
from forethought.planning import MCTS, BestOfN, Expansion, SampledActions
from forethought.planning.interface import UNITS
from forethought.planning.trees.beam import Beam
from forethought.planning.trees.mcts import WideningSettings

QUESTIONS = ["Tom has 3 apples and buys 4 more. How many has he?", "Ann walks 2 miles a day. How many in a week?"]
PLANNERS = pytest.mark.parametrize(
    "planner", [MCTS(widening=WideningSettings(width=4)), Beam(), Beam(beam=4, children=4)], ids=["mcts", "bfs", "beam"]
)
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_shape("tiny", tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def texts(folder):
    """Text models over one tiny model by the name of their critic."""
    made = load_text_model(folder, value="self", max_batch=8, load_format="dummy")
    without = load_text_model(folder, value="none", max_batch=8, load_format="dummy")
    return {"self": made, "none": without}


@pytest.fixture
def workloads(texts):
    return Workloads(texts["self"], Beam(), QUESTIONS, 8)


@PLANNERS
def test_resent_requests_give_the_same_answers(workloads, planner):
    search = replace(workloads, planner=planner).search()
    assert any(isinstance(call.answer, Score) for call in search.calls)
    assert any(isinstance(call.answer, Generation) for call in search.calls)
    again = workloads.requests(search)
    assert [told(call.answer) for call in again.calls] == [told(call.answer) for call in search.calls]


@PLANNERS
@pytest.mark.parametrize("value", ["self", "none"])
def test_the_cached_tokens_are_those_of_an_unlimited_prefix_cache(texts, planner, value):
    workloads = Workloads(texts[value], planner, QUESTIONS, 10)
    predicting = PredictingEngine(texts[value].engine)

    async def search():
        await texts[value].engine.clear_cache()
        await workloads.run(workloads.model(predicting))

    asyncio.run(search())
    assert predicting.hits == workloads.search().tokens["cached"] > 0


def test_at_most_in_flight_questions_are_searched_concurrently(workloads):
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
        counted = replace(
            workloads, planner=BestOfN(population=1), questions=["a question"] * 6, nodes=1, in_flight=in_flight
        )
        asyncio.run(counted.run(model))
        assert model.most == most


def test_all_workloads_have_the_same_questions_and_tokens(workloads):
    few = replace(workloads, in_flight=2)
    found = few.measure_all()
    search, requests, sampling = found["search"], found["requests"], found["sampling"]
    assert search.tokens["generated"] == requests.tokens["generated"] > 0
    assert search.tokens["prompt"] == requests.tokens["prompt"]
    assert sorted(map(content, search.calls)) == sorted(map(content, requests.calls))
    prompts = {workloads.text.format.prompt_tokens(question) for question in QUESTIONS}
    assert {call.prompt for call in sampling.calls} == prompts
    assert len({call.stream for call in sampling.calls}) == len(sampling.calls), "no solution is sampled twice"
    tokens = [sum(map(len, call.answer.steps)) for call in sampling.calls]
    assert sum(tokens) >= search.tokens["generated"] > sum(tokens) - sum(sorted(tokens)[-2:]), "two are in flight"


def test_a_workload_begins_with_an_empty_cache(workloads):
    assert [workloads.search().tokens["cached"] for _ in range(2)] == [workloads.search().tokens["cached"]] * 2
    prompt = workloads.text.format.prompt_tokens(QUESTIONS[0])
    asked = lambda engine: engine.score(prompt, (0,))  # noqa: E731
    assert [workloads.measure(asked).tokens["cached"] for _ in range(2)] == [0, 0]


def test_seconds_are_those_of_the_clock_without_emptying_the_cache(workloads):
    ticks = iter([3.0, 10.0])
    measured = replace(workloads, clock=lambda: next(ticks)).search()
    assert measured.seconds == 7.0


def test_the_requests_come_first_in_every_second_repeat(workloads):
    order, done = [], Measurement([Call((1,), Sampling(), 0, (), Generation([(1,)], [], "stop"))], 1.0)

    class Noted(Workloads):
        def search(self):
            order.append("search")
            return done

        def requests(self, search):
            assert search is done
            order.append("requests")
            return done

        def sampling(self, tokens):
            assert tokens == 1
            return done

    found = run(Noted(workloads.text, Beam(), QUESTIONS, 8), 3, QUIET)
    warm_up, measured = order[:2], order[2:]
    assert warm_up == ["search", "requests"]
    assert measured == ["search", "requests", "requests", "search", "search", "requests"]
    assert [set(each) for each in found] == [{"search", "requests", "sampling"}] * 3


def test_the_error_of_a_failing_search_is_raised(workloads):
    class Broken(Exception):
        pass

    class Planner:
        def begin(self, *args, **kwargs):
            raise Broken

    with pytest.raises(Broken):
        replace(workloads, planner=Planner()).search()


def test_the_ratio_is_the_mean_of_repeats_with_students_interval():
    low, high = stats.ttest_1samp([0.9, 1.0, 0.8, 0.95], 0).confidence_interval()
    assert ratio([0.9, 1.0, 0.8, 0.95]) == pytest.approx({"ratio": 0.9125, "low": low, "high": high})
    assert ratio([0.5]) == {"ratio": 0.5, "low": None, "high": None}


def test_rates_are_sums_over_repeats_and_ratios_are_of_pairs():
    def taken(tokens, seconds):
        call = Call((1,) * 20, Sampling(), 0, (), Generation([(1,) * tokens], [], "stop", 5))
        return Measurement([call, Call((1, 2), None, 0, (3,), Score((0.0,), 1))], seconds)

    one = {"search": taken(30, 1.0), "requests": taken(60, 1.0), "sampling": taken(10, 2.0)}
    two = {"search": taken(60, 1.0), "requests": taken(60, 1.0), "sampling": taken(20, 3.0)}
    rows = summarize([one, two])["rows"]
    assert {name: row["generated_per_second"] for name, row in rows.items()} == {
        "search": 45.0, "requests": 60.0, "sampling": 6.0,
    }  # fmt: skip
    assert rows["sampling"]["prompt_per_second"] == 44 / 5 and rows["sampling"]["cached_per_second"] == 12 / 5
    assert rows["requests"]["against"]["ratio"] == 0.75 and rows["requests"]["requests"] == 4
    assert rows["sampling"]["against"]["ratio"] == pytest.approx((30 / 5 + 60 / (20 / 3)) / 2)
    assert rows["search"]["against"] == {"ratio": 1, "low": 1, "high": 1}


def test_a_second_planner_repeats_no_request_of_the_first(workloads):
    """A property of the tape, which every run with several planners relies on."""
    workloads = replace(workloads, nodes=12)
    for second, requests in ((MCTS(widening=WideningSettings(width=4)), True), (Beam(), False)):
        asyncio.run(workloads.text.engine.clear_cache())
        engine = RecordingEngine(workloads.text.engine)
        model = workloads.model(engine)
        asyncio.run(workloads.run(model))
        known = set(map(content, engine.calls))
        before = len(engine.calls)
        outcomes = asyncio.run(replace(workloads, planner=second).run(model))
        later = engine.calls[before:]
        assert not known & set(map(content, later)) and bool(later) == requests
        nodes = sum(float(outcome.charged[0, UNITS.index("nodes")]) for outcome in outcomes)
        assert sum(call.sampling is not None for call in later) < nodes


def test_shapes_have_the_sizes_of_the_models_they_are_named_for(tmp_path):
    found = {name: flops_of_folder(str(write_shape(name, tmp_path / name))).parameters for name in SHAPES}
    assert found["small-30m"] == pytest.approx(30e6, rel=0.02)
    assert found["qwen2.5-1.5b"] == pytest.approx(1.54e9, rel=0.01)
    assert found["qwen2.5-7b"] == pytest.approx(7.07e9, rel=0.01)
    with pytest.raises(ValueError, match=r"no shape 'huge'; there are tiny, small-30m, qwen2\.5-1\.5b"):
        write_shape("huge", tmp_path)


def test_a_model_of_random_weights_ends_its_lines_and_its_solutions(texts):
    workloads = Workloads(texts["none"], MCTS(widening=WideningSettings(width=4)), QUESTIONS, 24)
    ends = [call.answer.ended for call in workloads.search().calls]
    assert ends.count("stop") > ends.count("end") > 0
    assert len(texts["none"].engine.tokenizer) == texts["none"].engine.vocabulary == SHAPES["tiny"][-2]


def test_the_command_writes_every_figure_and_names_the_device(tmp_path):
    asked = {"model": "tiny", "dummy_weights": True, "problems": 2, "rounds": 1, "nodes": 4, "repeats": 1}
    main(tmp_path, **asked, planner="mcts", machine="a quiet one", console=QUIET)
    result = json.loads((tmp_path / "engine-transformers-tiny-mcts-self.json").read_text())
    assert result["device"] == "a quiet one" and result["clock"] == "processor"
    assert set(result["rows"]) == {"search", "requests", "sampling"}
    assert result["rows"]["search"]["generated"] == result["rows"]["requests"]["generated"]
    assert result["rows"]["requests"]["against"]["low"] is None


def test_the_table_fits_80_columns_and_shows_the_intervals():
    row = {f"{kind}_per_second": 123456.7 for kind in ("generated", "prompt", "cached")}
    interval = {"ratio": 0.9125, "low": 0.8765, "high": 0.9485}
    rows = {name: {**row, "against": interval} for name in ("search", "requests", "sampling")}
    head = {"engine": "transformers", "model": "qwen2.5-1.5b", "parameters": 1_540_000_000, "clock": "processor"}
    console = Console(width=80, record=True, file=io.StringIO())
    show({**head, "planner": "best_of_n", "nodes": 64, "problems": 64, "rounds": 4, "rows": rows}, console)
    lines = console.export_text().splitlines()
    assert max(map(len, map(str.rstrip, lines))) <= 80 and len(lines) == 6
    assert lines[0] == "qwen2.5-1.5b (1,540.0 million parameters), best_of_n, 64 nodes, 256 problems"
    assert [line.count("0.912 (0.876 to 0.949)") for line in lines[3:]] == [0, 1, 1]


@pytest.mark.parametrize(
    "wrong", [{"model": "huge", "dummy_weights": True}, {"engine": "openai"}, {"planner": "dfs"}, {"value": "prm"}]
)
def test_what_cannot_be_measured_is_refused(wrong):
    with pytest.raises(BadInput, match=r"no (shape|engine|planner|value)"):
        main(**wrong, console=QUIET)


def told(answer):
    return (answer.steps, answer.ended) if isinstance(answer, Generation) else answer.logprobs


def content(call):
    """What makes two calls the same request, in a form that can be sorted."""
    return call.prompt, repr(call.sampling), call.stream, call.choices


class PredictingEngine(RecordingEngine):
    """Counts the prompt tokens that an unlimited prefix cache finds, from a set of all prefixes computed so far."""

    def __init__(self, engine):
        super().__init__(engine)
        self.known, self.hits = {()}, 0

    def sent(self, prompt):
        prompt = tuple(prompt)
        self.hits += max(end for end in range(len(prompt) + 1) if prompt[:end] in self.known)
        self.known |= {prompt[:end] for end in range(len(prompt) + 1)}

    async def generate(self, prompt, sampling, stream):
        self.sent(prompt)
        done = await super().generate(prompt, sampling, stream)
        written = tuple(token for step in done.steps for token in step)
        closed = sampling.stop is not None and done.steps and sampling.stop in decode(self.tokenizer, done.steps[-1])
        if done.ended != "end" or closed:
            written = written[:-1]  # the last token is not computed, unless an end of sequence was sampled next
        text = tuple(prompt) + written
        self.known |= {text[:end] for end in range(len(prompt), len(text) + 1)}
        return done

    async def score(self, prompt, choices):
        self.sent(prompt)
        return await super().score(prompt, choices)
