"""Steps of a model that ends its own turn: blank lines, the answer after the marker, and a last step that runs on."""

from __future__ import annotations

import pytest
from fakes import Letters

from forethought.llm.engines.base import Engine, EngineCounters, Generation, Sampling, Score
from forethought.llm.engines.step_splitter import StepEndsCache, StepSplitter
from forethought.llm.text.answers import AnswerAfterMark
from forethought.llm.text.formats import PlainFormat
from forethought.llm.text_model import TextModel
from forethought.planning.usage import GENERATED_TOKENS

SOLUTION = "Add 3 and 4.\n\nThat is 7.\n \nAs you wished, I end with #### n.\n#### 7\nDone.\n"


class Words(Letters):
    """Letters with the rest of what engines need of a tokenizer."""

    def __len__(self):
        return 128

    def batch_decode(self, rows, **options):
        return [self.decode(row) for row in rows]


class Scripted(Engine):
    """Writes a fixed text after a question of one line, and then ends its turn."""

    tokenizer, fingerprint, context = Words(), "scripted", 4000

    def __init__(self, text):
        self.text, self.counters, self.requests = text, EngineCounters(), 0
        self._ends = StepEndsCache(self.tokenizer)

    async def generate(self, prompt, sampling, stream):
        self.requests += 1
        written = self.tokenizer.decode(prompt).partition("\n")[2]
        assert self.text.startswith(written)
        split = StepSplitter(self._ends(sampling), sampling)
        for count, letter in enumerate(self.text[len(written) :], 1):
            if split.append(ord(letter), -0.1):
                break
            if count == sampling.max_tokens:
                split.finish("length")
                break
        split.finish("end")
        return Generation(split.steps, split.logprobs, split.ended, 0, len(prompt), 0.0, split.dropped)

    async def score(self, prompt, choices):
        return Score((-0.1,) * len(choices))


class ChatLike(PlainFormat):
    """A plain format of a model that ends its own turn."""

    eos_answers = last_to_end = True


def model_of(text, max_steps=40, cut="line", max_tokens=500):
    engine = Scripted(text)
    form = ChatLike(
        engine.tokenizer, critique="ok?", yes="y", no="n", cut=cut, answered=AnswerAfterMark(), max_steps=max_steps
    )
    return TextModel(engine, form, None, Sampling(temperature=0, max_tokens=max_tokens)), engine


async def walk(model, to_end):
    states, _ = await model.start(["How many?"])
    found, spent = [], 0.0
    while not states[0].ended:
        states, expansion = await model.expand(states, [0], to_end=to_end)
        found.append(model.step_text(states[0]))
        spent += float(expansion.spent[0][GENERATED_TOKENS])
    return found, states[0], spent


@pytest.mark.parametrize("to_end", [True, False])
async def test_no_step_is_blank_and_an_answer_after_the_marker_ends_the_solution(to_end):
    model, _ = model_of(SOLUTION)
    steps, state, spent = await walk(model, to_end)
    assert steps == ["Add 3 and 4.\n\n", "That is 7.\n \n", "As you wished, I end with #### n.\n", "#### 7\n"]
    assert state.ended == "answer" and model.answer(state) == 7
    kept = sum(map(len, steps))
    assert spent == kept + (1 if to_end else len(steps)), "the first token of a step that was not asked for is spent"


@pytest.mark.parametrize("to_end", [True, False])
async def test_the_last_step_runs_to_the_end_of_the_turn(to_end):
    model, _ = model_of("One.\nTwo.\nThree 5.\nFour.\n", max_steps=2)
    steps, state, _ = await walk(model, to_end)
    assert steps == ["One.\n", "Two.\nThree 5.\nFour.\n"]
    assert state.ended == "answer" and model.answer(state) == 5


async def test_what_ends_without_an_answer_is_a_dead_end_of_its_kind():
    assert (await walk(model_of("Nothing.\nAt all.\n")[0], True))[1].ended == "end"
    assert (await walk(model_of("Nothing.\nAt all.\n", max_tokens=4)[0], True))[1].ended == "length"
    assert (await walk(model_of("No.\nNo.\nThe answer is 4.\n", max_tokens=20)[0], True))[1].ended == "answer"


async def test_a_walk_by_steps_finds_what_a_walk_to_the_end_recorded():
    model, engine = model_of(SOLUTION)
    await walk(model, True)
    requests = engine.requests
    steps, state, spent = await walk(model, False)
    assert (engine.requests, spent, len(steps), state.ended) == (requests, 0, 4, "answer")


@pytest.mark.parametrize(("cut", "count"), [("paragraph", 3), ("sentence", 5)])
async def test_other_kinds_of_steps(cut, count):
    text = "Add 3. Add 4.\nStill.\n\nThat is 7.\n\n#### 7\nDone.\n"
    steps, state, _ = await walk(model_of(text, cut=cut)[0], False)
    assert "".join(steps) == text[: sum(map(len, steps))] and len(steps) == count and state.ended == "answer"
