"""The text model on a fake engine (streams, `to_end`, dead ends, critics, usage), then on tiny real models."""

import asyncio
import math
import random
import shutil

import numpy as np
import pytest
from fakes import LINES, LineEngine
from text_walks import QUESTION, column, model, solve, told

from forethought.llm.builtin.stories import held_out
from forethought.llm.concurrency import gather_or_cancel
from forethought.llm.critics import LogProb, NoCritic, SelfCritique, make_critic
from forethought.llm.load import BUILTIN, load_text_model
from forethought.llm.step_result import UsageRow
from forethought.llm.tape.tape import Tape
from forethought.llm.text.formats import ChatFormat, PlainFormat
from forethought.llm.text.state import TextState
from forethought.llm.text.steps import noise_stream
from forethought.llm.text_model import TextModel
from forethought.planning.interface import UNITS


async def test_slots_of_the_root_and_later_slots_open_streams_and_slot_zero_inherits():
    text = model(LineEngine(("a+b\n", "c\n")))
    (root,), _ = await text.start([QUESTION])
    (first,), _ = await text.expand([root], [0])
    (second,), _ = await text.expand([root], [1])
    assert first.stream == noise_stream(0, root.tokens, 0) and second.stream == noise_stream(0, root.tokens, 1)
    assert 0 <= first.stream < 2**63 and first.stream != second.stream
    (on, aside), _ = await text.expand([second, second], [0, 1])
    assert on.stream == second.stream and aside.stream == noise_stream(0, second.tokens, 1)
    assert noise_stream(1, root.tokens, 0) != first.stream and noise_stream(0, root.tokens[:-1], 0) != first.stream


async def test_a_child_is_its_parents_tokens_and_new_ones():
    text = model()
    for parent, child in zip(walk := [s for s, _ in await solve(text)], walk[1:]):
        assert child.tokens[: child.step_start] == parent.tokens and child.depth == parent.depth + 1
        assert len(child.logprobs) == len(child.solution) and child.prompt_length == parent.prompt_length
        assert text.text(child) == text.text(parent) + text.step_text(child)
    assert text.step_text(walk[0]) == "" == text.text(walk[0])


@pytest.mark.parametrize("lines", [LINES, (*LINES, None), ("ab\n", "abcdefghijklmnopqrstuvwxyz\n", None), ("abc\n",)])
@pytest.mark.parametrize("most", [3, 4, 7, 20])
async def test_generating_to_the_end_equals_generating_step_by_step(lines, most):
    for slot in range(12):
        alone, to_end = LineEngine(lines), LineEngine(lines)
        one = await solve(model(alone, SelfCritique(), most=most), slot)
        other = await solve(model(to_end, SelfCritique(), most=most), slot, to_end=True)
        assert told(one) == told(other)
        for unit in ("nodes", "generated_tokens", "prompt_tokens", "value_tokens"):
            assert column([e.usage for _, e in one], unit) == column([e.usage for _, e in other], unit)
        assert len(to_end.generated) == 1 == column([e.usage for _, e in other], "model_calls")
        assert len(alone.generated) == len(one) - 1 == column([e.usage for _, e in one], "model_calls")


async def test_charged_usage_depends_neither_on_the_tape_nor_on_the_order_of_requests():
    walks = [(slot, to_end) for slot in range(4) for to_end in (False, True)]

    async def charged(order, tape):
        text = model(value=SelfCritique(), tape=tape)
        return {one: [e.usage.tolist() for _, e in await solve(text, one[0], one[1])] for one in order}

    cold = {one: (await charged([one], Tape()))[one] for one in walks}
    shared = Tape()
    assert await charged(walks, shared) == cold
    assert await charged(walks[::-1], shared) == cold
    assert await charged(random.Random(0).sample(walks, len(walks)), Tape()) == cold


def amounts(usage):
    """The units of a single row that are not 0."""
    (row,) = usage.tolist()
    return {unit: amount for unit, amount in zip(UNITS, row) if amount}


async def test_charged_and_spent_unit_by_unit():
    text = model(LineEngine(("ab\n",)), SelfCritique(), max_steps=2)
    (_, start), (first, one), (_, two) = await solve(text)
    prompt = len(QUESTION) + 1
    assert amounts(start.usage) == {"prompt_tokens": prompt} and not start.spent.any()
    written = {"nodes": 1, "model_calls": 1, "generated_tokens": 3}
    assert amounts(one.usage) == written | {"cached_tokens": prompt, "value_tokens": 3}
    assert amounts(one.spent) == written | {"prompt_tokens": prompt, "value_tokens": 3}
    assert amounts(two.usage) == written | {"cached_tokens": prompt + 3}, "no critic is asked about a dead end"
    (_, _), (_, again), _ = await solve(text)
    assert again.usage.tolist() == one.usage.tolist() and amounts(again.spent) == {"nodes": 1}
    _, to_end = await text.expand([first], [0], to_end=True)
    assert column(to_end.usage, "model_calls") == 1, "its parent was not reached by a followed request"


async def test_a_request_to_the_end_is_spent_at_once_and_charged_step_by_step():
    (_, _), (_, one), (_, two) = await solve(model(LineEngine(("ab\n",)), max_steps=2), to_end=True)
    assert column(one.spent, "generated_tokens") == 6 and column(two.spent, "generated_tokens") == 0
    assert column(one.usage, "generated_tokens") == 3 == column(two.usage, "generated_tokens")
    assert column(two.usage, "cached_tokens") == 0 == column(two.usage, "model_calls")


@pytest.mark.parametrize(
    "lines, ended",
    [
        (("c\n",), "depth"),
        ((None,), "end"),
        (("#### 1234567890123456789\n",), "length"),
        (("no end of words",), "length"),
    ],
)
@pytest.mark.parametrize("evaluate", ["all", "finished", "none"])
async def test_a_dead_end_is_no_answer_and_has_the_lowest_score(lines, ended, evaluate):
    engine = LineEngine(lines)
    text = model(engine, SelfCritique(), max_steps=3, most=12)
    *_, (state, expansion) = await solve(text, evaluate=evaluate)
    assert state.ended == ended and not text.answered(state) and text.answer(state) is None
    assert (expansion.reward[0], expansion.discount[0], expansion.value[0]) == (0, 0, 0) and expansion.dead_end[0]
    assert len(engine.scored) == (state.depth - 1 if evaluate == "all" else 0)


async def test_no_room_in_the_context_is_a_dead_end_without_a_request():
    for to_end in (False, True):
        engine = LineEngine(("abcd\n",), context=len(QUESTION) + 1 + 3 + 10)
        walk = await solve(model(engine), to_end=to_end)
        assert [s.ended for s, _ in walk] == ["", "", "", "length"]
        assert walk[-1][0].step == () and len(engine.generated) == (1 if to_end else 2)
        assert all(len(prompt) + 3 < engine.context for prompt, _, _ in engine.generated)
        assert column([walk[-1][1].usage], "model_calls") == 0 and column([walk[-1][1].usage], "nodes") == 1


async def test_a_question_longer_than_the_context_names_both_lengths():
    with pytest.raises(ValueError, match=r"10 tokens.*3.*holds 12"):
        await model(LineEngine(context=12)).start([QUESTION])
    with pytest.raises(ValueError, match="not empty"):
        await model().start([" "])


async def test_finished_solutions_are_rewarded_with_the_critics_score():
    engine = LineEngine(("#### 7\n",))
    text = model(engine, SelfCritique())
    (root,), start = await text.start([QUESTION])
    (state,), expansion = await text.expand([root], [0])
    assert text.answered(state) and text.answer(state) == 7 and start.value[0] == 0.5 and expansion.dead_end is None
    score = await engine.score(state.tokens + tuple(map(ord, "ok?")), ())
    assert expansion.reward[0] == pytest.approx(math.exp(score.logprobs[0]), abs=1e-6)
    assert expansion.value[0] == 0 == expansion.discount[0] and engine.scored[0] == engine.scored[1]


@pytest.mark.parametrize("evaluate, opened, finished", [("all", 1, 1), ("finished", 0, 1), ("none", 0, 0)])
async def test_the_critic_runs_only_when_asked(evaluate, opened, finished):
    for line, calls in (("c\n", opened), ("#### 7\n", finished)):
        engine = LineEngine((line,))
        text = model(engine, SelfCritique())
        (root,), _ = await text.start([QUESTION])
        assert not engine.scored
        _, expansion = await text.expand([root], [0], evaluate=evaluate)
        assert len(engine.scored) == calls and column(expansion.usage, "value_tokens") == 3 * calls
        assert (expansion.reward[0] + expansion.value[0] > 0) == bool(calls)


async def test_siblings_with_the_same_text_are_equal_and_both_charged():
    text = model(LineEngine(("c\n",)), SelfCritique())
    (root,), _ = await text.start([QUESTION])
    (one, two), expansion = await text.expand([root, root], [0, 1])
    assert one == two and hash(one) == hash(two) and one.stream != two.stream
    assert expansion.value[0] == expansion.value[1] and column(expansion.usage, "nodes") == 2
    assert one != TextState(one.tokens, "end") and one != root


async def test_an_ended_state_stays_what_it_is_at_no_cost():
    engine = LineEngine(("#### 7\n",))
    text = model(engine)
    (root,), _ = await text.start([QUESTION])
    (state,), _ = await text.expand([root], [0])
    (again,), expansion = await text.expand([state], [0])
    assert again is state and not expansion.usage.any() and len(engine.generated) == 1
    assert (expansion.reward[0], expansion.discount[0]) == (0, 0)


async def test_edges_are_expanded_concurrently_and_answers_do_not_depend_on_their_order():
    text, again = model(value=SelfCritique()), model(value=SelfCritique())
    roots, _ = await text.start([QUESTION, "And now?", "Why?"])
    states, together = await text.expand(roots * 2, [0, 0, 0, 1, 1, 1])
    backwards, apart = await again.expand(roots[::-1] * 2, [1, 1, 1, 0, 0, 0])
    assert states == backwards[::-1] and together.value.tolist() == apart.value.tolist()[::-1]
    assert together.reward.dtype == np.float32 and together.usage.shape == (6, len(UNITS)) == together.spent.shape
    nothing, empty = await text.expand([], [])
    assert nothing == [] and empty.usage.shape == (0, len(UNITS)) and len(empty.value) == 0


async def test_an_error_in_one_call_cancels_the_others():
    ended = []

    async def walk(number):
        try:
            await asyncio.sleep(0.01 * number if number else 60)
            raise ValueError(number)
        finally:
            ended.append(number)

    with pytest.raises(ValueError, match="1"):
        await gather_or_cancel([walk(1), walk(0)])
    with pytest.raises(ValueError, match="2"):
        await gather_or_cancel([walk(2), walk(0), walk(0)])
    assert sorted(ended) == [0, 0, 0, 1, 2], "nothing is left running"


def test_a_row_of_usage_has_the_units_in_their_order():
    assert UsageRow._fields == UNITS and sum(UsageRow()) == 0


async def test_greedy_is_one_path_whatever_the_slot_and_shares_the_tape():
    text = model()
    greedy = text.at(temperature=0.0)
    (root,), _ = await greedy.start([QUESTION])
    (one, two), _ = await greedy.expand([root, root], [0, 5])
    assert one == two and len(text.engine.generated) == 1 and greedy.tape is text.tape and text.sampling.temperature
    assert text.seeded(4).seed == 4 and text.seeded(4).tape is text.tape


async def test_values_of_log_probabilities_and_of_no_critic():
    engine = LineEngine(("c\n", "#### 7\n"))
    walk = await solve(model(engine, LogProb()))
    for state, expansion in walk[1:]:
        mean = sum(state.logprobs) / len(state.logprobs)
        assert expansion.value[0] + expansion.reward[0] == pytest.approx(math.exp(mean))
    assert [float(e.value[0] + e.reward[0]) for _, e in await solve(model(engine))] == [0.5] * (len(walk) - 1) + [1.0]
    assert not engine.scored and isinstance(make_critic("none"), NoCritic)


def test_errors_for_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match="no value 'gut'; there are self, logprob, none"):
        make_critic("gut")
    with pytest.raises(ValueError, match="no engine 'x'; there are transformers"):
        load_text_model(engine="x")
    with pytest.raises(ValueError, match="no model folder"):
        load_text_model("./nowhere")
    with pytest.raises(ValueError, match="max_steps"):
        model(max_steps=0)


async def test_wrong_arguments_of_expand_are_named():
    text = model()
    roots, _ = await text.start([QUESTION])
    for slots, settings in (([0, 1], {}), ([-1], {}), ([0], {"evaluate": "some"})):
        with pytest.raises(ValueError):
            await text.expand(roots, slots, **settings)


def test_a_model_folder_without_a_tokenizer_says_so(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="tokenizer"):
        load_text_model(tmp_path)


@pytest.fixture(params=["tiny_llama", "tiny_qwen2"])
def tiny(request):
    """A folder with a small random model; one of them has a chat template."""
    return request.getfixturevalue(request.param)


def short(tokenizer):
    """A format whose prompts fit the tiny models' 128 tokens."""
    if tokenizer.chat_template:
        return ChatFormat(tokenizer, system="Go", critique="Ok?", max_step_tokens=24, max_steps=3)
    return PlainFormat(tokenizer, max_step_tokens=24, max_steps=3)


async def test_generating_to_the_end_equals_generating_step_by_step_on_a_real_engine(tiny):
    from forethought.llm.engines.transformers.engine import TransformersEngine

    engines = [TransformersEngine(tiny) for _ in range(2)]
    one, other = (TextModel(engine, short(engine.tokenizer), SelfCritique()) for engine in engines)
    slots = range(6)
    alone = [await solve(one, slot) for slot in slots]
    together = await asyncio.gather(*(solve(other, slot, to_end=True) for slot in slots))
    assert {s.ended for walk in alone for s, _ in walk} >= {"", "length"}
    for a, b in zip(alone, together):
        assert [(s.tokens, s.ended) for s, _ in a] == [(s.tokens, s.ended) for s, _ in b]
        worth = [[(e.reward[0], e.value[0]) for _, e in walk] for walk in (a, b)]
        np.testing.assert_allclose(*worth, atol=1e-5)
        for unit in ("nodes", "generated_tokens", "prompt_tokens", "value_tokens"):
            assert column([e.usage for _, e in a], unit) == column([e.usage for _, e in b], unit)


async def test_a_folder_is_loaded_with_the_format_of_its_settings(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "model")
    (folder / "forethought.json").write_text(
        '{"format_version": 1, "format": "plain", "yes": "y", "no": "n", "max_steps": 2}'
    )
    text = load_text_model(folder, value="logprob", temperature=0, max_step_tokens=9, seed=3)
    assert (text.max_steps, text.most_tokens, text.seed, text.sampling.temperature) == (2, 9, 3, 0)
    *_, (state, expansion) = await solve(text)
    assert state.ended and expansion.discount[0] == 0 and len(state.solution) <= 18
    with pytest.raises(ValueError, match=r"longer than the context.*holds 128"):
        await text.start(["why " * 100])


def test_the_built_in_model_solves_a_story_in_its_own_format():
    if not (BUILTIN / "config.json").is_file():
        pytest.skip("the built-in model is not trained yet")
    text = load_text_model()
    question = held_out("validation", 1, (4,))[0].question
    (root,), _ = asyncio.run(text.start([question]))
    assert text.engine.tokenizer.decode(root.tokens).startswith(question) and len(text.format.critique_tokens) == 1
    (states, expansion) = asyncio.run(text.expand([root] * 4, range(4), to_end=True))
    opened = [i for i, state in enumerate(states) if not state.ended]
    assert opened and all(text.step_text(states[i]).endswith("\n") for i in opened)
    assert ((expansion.value[opened] > 0) & (expansion.value[opened] < 1)).all()
