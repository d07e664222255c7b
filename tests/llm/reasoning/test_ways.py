"""Step formats on a scripted engine whose every word is known, then on tiny real models and in searches."""

import asyncio
import hashlib
import json

import numpy as np
import pytest
from fakes import Letters, letters_format

from forethought.evals.errors import BadInput
from forethought.evals.planners import ANSWER_RULES
from forethought.evals.runners.evaluate import run_evaluation
from forethought.evals.settings import EvalSettings
from forethought.llm.critics import LogProb, NoCritic, SelfCritique, make_critic
from forethought.llm.engines.base import Engine, EngineCounters, Generation, Sampling, Score
from forethought.llm.engines.flops import DecoderFlops
from forethought.llm.load import load_text_model
from forethought.llm.reasoning import REASONING, ProposeModel, RapModel, reasoning_named
from forethought.llm.reasoning.propose import QUESTION as LIST
from forethought.llm.reasoning.propose import list_items
from forethought.llm.tape.tape import Tape
from forethought.llm.text.formats import ChatFormat
from forethought.planning import MCTS, BestOfN, Budget, aplan
from forethought.planning.interface import UNITS
from forethought.planning.trees.beam import Beam
from forethought.planning.trees.rebase import Rebase
from forethought.planning.usage import GENERATED_TOKENS, MODEL_CALLS

FLOPS = DecoderFlops(parameters=10, layers=1, width=2)


class Scripted(Engine):
    """Answers a prompt that ends in a key of `script` with its lines; a list of replies is drawn from by the stream.

    A reply is (lines, how it ended). Whatever is asked for is kept.
    """

    tokenizer, context, fingerprint, flops = Letters(), 2000, "script", FLOPS

    def __init__(self, script, ended="stop"):
        self.script, self.ended, self.counters = script, ended, EngineCounters()
        self.prompts, self.streams = [], []

    def reply(self, prompt, stream):
        text = self.tokenizer.decode(prompt)
        key = max((key for key in self.script if text.endswith(key)), key=len)
        replies = self.script[key]
        if isinstance(replies, tuple):
            draw = hashlib.blake2b(str(stream).encode(), digest_size=4).digest()
            return replies[int.from_bytes(draw, "little") % len(replies)]
        return replies

    async def generate(self, prompt, sampling, stream):
        self.prompts.append(self.tokenizer.decode(prompt))
        self.streams.append(stream)
        await asyncio.sleep(0)
        lines, steps, ended = self.reply(prompt, stream).splitlines(keepends=True), [], self.ended
        room = sampling.max_tokens
        for line in lines[: sampling.max_steps]:
            step = tuple(map(ord, line))
            steps.append(step[:room])
            if any(end in line for end in sampling.ends):
                ended = "end"
            if len(step) > room:
                ended = "length"
            room -= len(step)
            if ended != "stop" and (ended != self.ended or line is lines[-1]):
                break
        if len(lines) < (sampling.max_steps or 1) and ended == "stop":
            ended = "end"
        return Generation(steps, [(-0.5,) * len(s) for s in steps], ended, 0, len(prompt), 0.0)

    async def score(self, prompt, choices):
        await asyncio.sleep(0)
        return Score((-0.25, -1.5), computed=3)

    async def close(self):
        pass


def made(way, script, value=None, seed=0, most=80, steps=6, temperature=0.8, **engine):
    engine = Scripted(script, **engine)
    sampling = Sampling(temperature=temperature, max_tokens=most)
    return reasoning_named(way)(engine, letters_format(engine), value or NoCritic(), sampling, seed, steps, Tape())


def row(expansion, i=0, spent=False):
    return dict(zip(UNITS, (expansion.spent if spent else expansion.usage)[i].tolist()))


ASKED = LIST.format(n=4)
LISTED = "1. 3 + 4 = 7\n2) 3 - 4 = -1\n1. 3 + 4 = 7\n- 3 * 4 = 12\n"


async def test_a_slot_is_an_item_of_one_list_and_repeats_are_one_item():
    text = made("propose", {ASKED: LISTED})
    (root,), _ = await text.start(["How many?"])
    states, _ = await text.expand([root] * 4, [0, 1, 2, 3])
    assert [text.step_text(s) for s in states] == ["3 + 4 = 7\n", "3 - 4 = -1\n", "3 * 4 = 12\n", "3 + 4 = 7\n"]
    assert states[0] == states[3] and len({*states}) == 3, "a list that is too short begins again"
    assert text.engine.prompts == ["How many?\n" + ASKED], "one call lists them all"
    assert all(s.tokens == root.tokens + s.step and s.depth == 1 and not s.ended for s in states)


async def test_the_list_is_paid_once_by_its_first_item_to_the_token():
    text = made("propose", {ASKED: LISTED})
    (root,), start = await text.start(["How many?"])
    _, expansion = await text.expand([root] * 4, [3, 0, 1, 2])
    prompt, asked, listed = len(root.tokens), len(ASKED), len(LISTED)
    assert row(expansion, 1) == {
        "nodes": 1, "model_calls": 1, "generated_tokens": listed, "prompt_tokens": asked, "cached_tokens": prompt,
        "value_tokens": 0, "seconds": 0, "flops": FLOPS.of_tokens(prompt, asked + listed),
    }  # fmt: skip
    for i in (0, 2, 3):
        assert row(expansion, i) == dict.fromkeys(UNITS, 0) | {"nodes": 1}
    assert sum(row(expansion, i, spent=True)["generated_tokens"] for i in range(4)) == listed
    assert sum(row(expansion, i, spent=True)["model_calls"] for i in range(4)) == 1
    assert row(start)["flops"] == FLOPS.of_tokens(0, prompt)


async def test_slots_beyond_the_list_ask_for_another_of_another_stream():
    text = made("propose", {ASKED: LISTED})
    (root,), _ = await text.start(["How many?"])
    _, first = await text.expand([root], [0])
    _, second = await text.expand([root], [4])
    assert len(text.engine.prompts) == 2 and len({*text.engine.streams}) == 2
    assert row(second)["prompt_tokens"] == 0, "the tree has computed the prompt with its first list"
    assert row(second)["cached_tokens"] == len(root.tokens) + len(ASKED)
    assert row(second)["generated_tokens"] == row(first)["generated_tokens"] == len(LISTED)


async def test_a_proposed_step_is_paid_by_whoever_reads_it_first():
    for value, read in ((SelfCritique(), True), (NoCritic(), False), (LogProb(), False)):
        text = made("propose", {ASKED: LISTED}, value)
        (root,), _ = await text.start(["How many?"])
        (child, _), expansion = await text.expand([root] * 2, [1, 2])
        step = len("3 - 4 = -1\n")
        assert row(expansion)["prompt_tokens"] == (step if read else 0)
        assert row(expansion)["value_tokens"] == (3 if read else 0)
        flops = FLOPS.of_tokens(len(root.tokens), step) + FLOPS.of_tokens(len(root.tokens) + step, 3)
        assert row(expansion)["flops"] == (flops if read else 0)
        _, below = await text.expand([child], [0])
        # the list below, and its own first item where the critic reads that
        own = len("3 + 4 = 7\n") if read else 0
        assert row(below)["prompt_tokens"] == len(ASKED) + (0 if read else step) + own
        assert row(below)["cached_tokens"] + len(ASKED) + (0 if read else step) == len(child.tokens) + len(ASKED)


async def test_a_line_cut_by_the_token_limit_is_no_item_but_is_charged():
    text = made("propose", {ASKED: "1. short\n2. " + "x" * 90 + "\n"}, most=20)
    (root,), _ = await text.start(["How many?"])
    states, expansion = await text.expand([root] * 2, [0, 1])
    assert [text.step_text(s) for s in states] == ["short\n", "short\n"]
    assert row(expansion)["generated_tokens"] == 80 == text.most_tokens
    text = made("propose", {ASKED: "1. short\n2. " + "x" * 40 + "\n"}, most=20)
    states, _ = await text.expand((await text.start(["How many?"]))[0] * 2, [0, 1])
    assert [(s.ended, len(s.step)) for s in states] == [("", 6), ("length", 20)], "an item longer than a step may be"


async def test_a_list_without_an_item_is_a_dead_end():
    text = made("propose", {ASKED: "\n\n"}, SelfCritique())
    (root,), _ = await text.start(["How many?"])
    (state,), expansion = await text.expand([root], [0])
    assert state.ended == "end" and expansion.dead_end[0] and row(expansion)["generated_tokens"] == 2
    assert row(expansion)["value_tokens"] == 0


async def test_an_item_with_a_final_text_ends_the_solution_and_the_list_goes_on_behind_it():
    text = made("propose", {ASKED: "1. #### 7\n2. 3 + 4 = 7\n"}, SelfCritique())
    (root,), _ = await text.start(["How many?"])
    (one, two), expansion = await text.expand([root] * 2, [0, 1])
    assert text.answered(one) and text.answer(one) == 7 and not two.ended
    assert expansion.discount.tolist() == [0, 1] and expansion.reward[0] > 0 == expansion.reward[1]


def test_items_lose_their_numbers_and_preambles_are_no_items():
    assert list_items(["Here are some:\n", "1. a b\n", "(2) c\n", " - 3 + 4\n", "* d\n"], "\n") == [
        "a b", "c", "3 + 4", "d",
    ]  # fmt: skip
    assert list_items(["3 + 4 = 7\n", "\n", "3 + 4 = 7\n"], "\n") == ["3 + 4 = 7"]
    assert list_items(["1. \n", "2.5 is it\n"], "\n") == ["1.", "2.5 is it"], "a number is not the item's number"


ONE = {"Question 1:": " How many in all?\n", "Question 2:": " And then?\n"}
ANSWERS = (" 3 + 4 = 7\n", " It is 7.\n", " 3 + 5 = 8\n")


def rap(value=None, answers=ANSWERS, **settings):
    return made("rap", ONE | {"Answer 1:": answers, "Answer 2:": " #### 7\n"}, value, **settings)


async def test_a_step_is_a_sub_question_and_its_most_frequent_answer():
    text = rap()
    (root,), _ = await text.start(["How many?"])
    (state,), expansion = await text.expand([root], [0])
    drawn = [text.engine.reply(tuple(map(ord, "Answer 1:")), stream) for stream in text.engine.streams[1:]]
    sevens = [told for told in drawn if "7" in told]
    kept = sevens[0] if len(sevens) > 1 else drawn[0]
    assert text.text(state) == "Question 1: How many in all?\nAnswer 1:" + kept
    agreeing = len(sevens) if len(sevens) > 1 else (2 if drawn.count(" 3 + 5 = 8\n") == 2 else 1)
    agreeing = 3 if len({*drawn}) == 1 else agreeing
    assert expansion.value[0] == pytest.approx(agreeing / 3) and state.agreements == (agreeing / 3,)
    assert len(text.engine.prompts) == 4 and len({*text.engine.streams}) == 4


async def test_agreement_is_over_numbers_by_counts_known_in_advance():
    for seed in range(12):
        text = rap(seed=seed)
        (root,), _ = await text.start(["How many?"])
        (state,), expansion = await text.expand([root], [0])
        drawn = [text.engine.reply(tuple(map(ord, "Answer 1:")), stream) for stream in text.engine.streams[1:]]
        eights = drawn.count(" 3 + 5 = 8\n")
        assert expansion.value[0] == pytest.approx(max(eights, 3 - eights) / 3)
        assert ("= 8" in text.text(state)) == (eights > 1)


async def test_a_sub_question_and_its_answers_are_charged_to_the_token():
    text = rap(answers=" 3 + 4 = 7\n", value=SelfCritique())
    (root,), _ = await text.start(["How many?"])
    _, expansion = await text.expand([root], [0])
    prompt, lead, asked, answer = len(root.tokens), len("Question 1:"), len(ONE["Question 1:"]), len(" 3 + 4 = 7\n")
    before, second = prompt + lead + asked, len("Answer 1:")
    flops = FLOPS.of_tokens(prompt, lead + asked) + FLOPS.of_tokens(before, second + answer)
    flops += 2 * FLOPS.of_tokens(before + second, answer) + FLOPS.of_tokens(before + second + answer, 3)
    assert row(expansion) == {
        "nodes": 1, "model_calls": 4, "generated_tokens": asked + 3 * answer, "prompt_tokens": lead + second,
        "cached_tokens": prompt + 3 * before + 2 * second, "value_tokens": 3, "seconds": 0, "flops": flops,
    }  # fmt: skip
    spent = row(expansion, spent=True)
    assert spent["model_calls"] == 4 and spent["generated_tokens"] == asked + 3 * answer
    _, again = await text.expand([root], [0])
    assert row(again) == row(expansion) and row(again, spent=True) == dict.fromkeys(UNITS, 0) | {"nodes": 1}


async def test_the_worth_is_the_mean_agreement_and_with_a_critic_the_geometric_mean():
    yes = float(np.exp(-0.25) / (np.exp(-0.25) + np.exp(-1.5)))
    for value, worth in ((NoCritic(), lambda a: a), (SelfCritique(), lambda a: (a * yes) ** 0.5)):
        text = rap(value)
        (root,), _ = await text.start(["How many?"])
        (state,), first = await text.expand([root], [0])
        (over,), last = await text.expand([state], [0])
        assert text.answered(over) and text.answer(over) == 7 and over.agreements[1] == 1
        assert first.value[0] == pytest.approx(worth(state.agreements[0])) and first.reward[0] == 0
        assert last.reward[0] == pytest.approx(worth((state.agreements[0] + 1) / 2)) and last.value[0] == 0
        _, bare = await text.expand([state], [0], evaluate="none")
        assert bare.reward[0] == 0 and bare.discount[0] == 0


async def test_at_temperature_zero_one_answer_is_asked_for():
    text = rap(temperature=0.0)
    (root,), _ = await text.start(["How many?"])
    (state,), expansion = await text.expand([root], [0])
    assert row(expansion)["model_calls"] == 2 and state.agreements == (1.0,)


async def test_answers_that_are_cut_agree_with_nothing_and_alone_are_a_dead_end():
    text = rap(answers=(" 7\n", " " + "x" * 90 + "\n"), seed=1)
    (root,), _ = await text.start(["How many?"])
    (state,), _ = await text.expand([root], [0])
    split_generation = [len(text.engine.reply(tuple(map(ord, "Answer 1:")), s)) > 80 for s in text.engine.streams[1:]]
    assert (
        0 < sum(split_generation) < 3
        and state.agreements == pytest.approx(((3 - sum(split_generation)) / 3,))
        and not state.ended
    )
    text = rap(answers=" " + "x" * 90 + "\n")
    (state,), expansion = await text.expand((await text.start(["How many?"]))[0], [0])
    assert state.ended == "length" and expansion.dead_end[0] and not text.answered(state)


async def test_a_sub_question_that_ends_it_all_is_answered_by_nobody():
    text = made("rap", {"Question 1:": " #### 9\n"})
    (state,), expansion = await text.expand((await text.start(["How many?"]))[0], [0])
    assert text.answer(state) == 9 and row(expansion)["model_calls"] == 1 and state.agreements == (1 / 3,)
    text = made("rap", {"Question 1:": ""}, ended="end")
    (state,), expansion = await text.expand((await text.start(["How many?"]))[0], [0])
    assert state.ended == "end" and expansion.dead_end[0]


@pytest.mark.parametrize("way", ["propose", "rap"])
async def test_no_room_is_a_dead_end_that_asks_nobody(way):
    text = made(way, {})
    text.engine.context = 20
    (root,), _ = await text.start(["How many?"])
    text.engine.context = 14
    (state,), expansion = await text.expand([root], [0])
    assert state.ended == "length" and not text.engine.prompts and row(expansion)["model_calls"] == 0
    (again,), free = await text.expand([state], [0])
    assert again == state and not free.usage.any()


@pytest.mark.parametrize("way", ["propose", "rap"])
async def test_copies_at_another_temperature_or_seed_keep_the_way(way):
    text = made(way, {})
    assert type(text.at(0.0)) is type(text.seeded(3)) is type(text) is REASONING[way]
    assert text.at(0.0).sampling.temperature == 0 and text.seeded(3).seed == 3 and text.seed == 0
    assert text.at(0.0).tape is text.tape


def test_unknown_ways_are_named():
    with pytest.raises(ValueError, match="there are steps, propose, rap"):
        reasoning_named("dance")


@pytest.fixture(scope="module", params=["propose", "rap"])
def small(request, stepping_llama):
    """A tiny random Llama that thinks one way; its lists and answers are babble."""
    text = load_text_model(stepping_llama, value="self", reasoning=request.param)
    assert isinstance(text, ProposeModel | RapModel)
    yield text
    asyncio.run(text.close())


@pytest.mark.parametrize("planner", [MCTS(), Beam(), Rebase(), BestOfN(), Beam(beam=2, children=3)])
async def test_searches_run_on_small_random_models_within_exact_budgets(small, planner):
    outcome = await aplan(planner, small, "How many is 3 and 4?", Budget(nodes=14), close=False)
    charged = dict(zip(UNITS, outcome.charged[0]))
    assert 0 < charged["nodes"] <= 14 and charged["model_calls"] > 0
    again = await aplan(planner, small.seeded(0), "How many is 3 and 4?", Budget(nodes=14), close=False)
    same = [UNITS.index(unit) for unit in UNITS if unit != "seconds"]
    assert (again.charged[:, same] == outcome.charged[:, same]).all() and again.spent[0, GENERATED_TOKENS] == 0
    tokens = await aplan(planner, small, "How many is 3 and 4?", Budget(generated_tokens=900), close=False)
    assert tokens.charged[0, GENERATED_TOKENS] <= 900


async def test_what_is_charged_is_what_a_fresh_engine_generates(small, stepping_llama):
    fresh = load_text_model(stepping_llama, value="none", reasoning=small.reasoning)
    outcome = await aplan(MCTS(), fresh, "How many is 3 and 4?", Budget(nodes=12), close=False)
    assert fresh.engine.counters.generated == outcome.charged[0, GENERATED_TOKENS] == outcome.spent[0, GENERATED_TOKENS]
    assert fresh.engine.counters.requests == outcome.charged[0, MODEL_CALLS] == outcome.spent[0, MODEL_CALLS]
    await fresh.close()


@pytest.mark.parametrize("way", ["propose", "rap"])
async def test_a_chat_model_is_asked_in_turns(way, tiny_qwen2):
    text = load_text_model(tiny_qwen2, value="none", reasoning=way, examples=())
    assert isinstance(text.format, ChatFormat) and text.reasoning == way
    await text.close()


def test_the_values_a_sum_reads_with_the_own_model_are_known():
    from forethought.llm.reasoning.propose import reads_with_policy

    assert (
        reads_with_policy(make_critic("self+logprob"))
        and not reads_with_policy(make_critic("logprob"))
        and reads_with_policy(make_critic("rating"))
    )


@pytest.mark.parametrize("way", ["propose", "rap"])
def test_a_run_from_the_command_line_goes_to_the_report_and_another_way_is_another_run(way, stepping_llama, tmp_path):
    data = tmp_path / "questions.jsonl"
    data.write_text(json.dumps({"question": "How many is 3 and 4?", "answer": "#### 7"}) + "\n")

    def run(reasoning):
        request = EvalSettings(
            task="gsm8k",
            planners="bfs,mcts",
            budgets="5",
            data=data,
            model=str(stepping_llama),
            out=tmp_path / "out",
            quiet=True,
            reasoning=reasoning,
        )
        return run_evaluation(request)

    summary = run(way)
    assert summary["reasoning"] == way and [row["failed"] for row in summary["rows"]] == [0, 0]
    for row in summary["rows"]:
        assert 0 < row["charged"]["nodes"] <= 5 and row["charged"]["flops"] > 0
        assert set(row["by_rule"]) == {*ANSWER_RULES}
    row = json.loads((tmp_path / "out" / "results.jsonl").read_text().splitlines()[1])
    assert row["ledger"]["charged"]["flops"] > 0 < row["ledger"]["spent"]["flops"]
    with pytest.raises(BadInput, match=f'reasoning was "{way}", is "steps"'):
        run("steps")
