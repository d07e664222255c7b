"""Critics on a scripted engine: what they ask, what they make of the answer, what that costs."""

import asyncio
import math
import re

import pytest
from fakes import Letters, text_model

from forethought.llm.critics import (
    ClosableCritic,
    CriticDeps,
    Judgement,
    Oracle,
    Rollout,
    Weighted,
    make_critic,
    parse_critics,
)
from forethought.llm.critics.rating import rating_tokens
from forethought.llm.engines.base import Engine, EngineCounters, Generation, Score
from forethought.planning import MCTS, Beam, BestOfN, Budget, aplan
from forethought.planning.interface import UNITS
from forethought.planning.usage import NODES

QUESTION = "How many?"


class Numerals(Letters):
    """A token per character, and one for 10 if wanted."""

    all_special_ids = ()

    def __init__(self, ten=False):
        self.ten = ten

    def encode(self, text, add_special_tokens=True):
        return [1000] if self.ten and text == "10" else super().encode(text)


class Scripted(Engine):
    """Writes the line that `line(text so far, stream)` names; scores a next letter as `chance(prompt, letter)` says."""

    context, fingerprint = 3000, "scripted"

    def __init__(self, line=None, chance=None, ten=False):
        self.tokenizer, self.counters = Numerals(ten), EngineCounters()
        self.line, self.chance = line or (lambda text, stream: f"{stream % 10}\n"), chance
        self.prompts = []

    async def generate(self, prompt, sampling, stream):
        await asyncio.sleep(0)
        steps, text, ended = [], self.tokenizer.decode(prompt), "stop"
        while len(steps) != sampling.max_steps and ended == "stop":
            line = self.line(text, stream)
            steps.append(tuple(map(ord, line)))
            text += line
            ended = "end" if any(end in line for end in sampling.ends) else "stop"
        return Generation(steps, [(-0.1,) * len(step) for step in steps], ended, computed=len(prompt))

    async def score(self, prompt, choices):
        await asyncio.sleep(0)
        text = self.tokenizer.decode(prompt)
        self.prompts.append(text)
        letters = ["10" if token == 1000 else chr(token) for token in choices]
        chances = [self.chance(text, letter) for letter in letters]
        return Score(tuple(math.log(x) if x > 0 else -math.inf for x in chances), computed=7, seconds=0.5)

    async def close(self):
        pass


def model(engine, value, **settings):
    return text_model(engine, value, max_steps=4, max_tokens=60, **settings)


async def children(text, slots=(0, 1, 2), **how):
    roots, _ = await text.start([QUESTION])
    return await text.expand(roots * len(slots), list(slots), **how)


def column(usage, unit):
    return usage[:, UNITS.index(unit)].tolist()


def digits(weights):
    """Chances of next letters from a dictionary."""
    return lambda text, letter: weights.get(letter, 0.0)


async def test_a_rating_is_the_expected_number_over_the_logits():
    engine = Scripted(chance=digits({"2": 0.1, "7": 0.3, "10": 0.1}), ten=True)
    states, expansion = await children(model(engine, make_critic("rating")), (0,))
    mean = (2 * 0.1 + 7 * 0.3 + 10 * 0.1) / 0.5
    assert expansion.value[0] == pytest.approx((mean - 1) / 9)
    assert len(engine.prompts) == 1 and engine.prompts[0].startswith(QUESTION + "\n" + chr(states[0].tokens[-2]))
    assert engine.prompts[0].endswith("Rating: ")
    suffix = len(engine.prompts[0]) - len(states[0].tokens)
    assert column(expansion.usage, "value_tokens") == [suffix] and column(expansion.spent, "value_tokens") == [7]


async def test_a_ten_of_two_tokens_is_a_one_followed_by_a_zero():
    def chance(text, letter):
        return 0.75 if letter == "0" and text.endswith("Rating: 1") else {"1": 0.4, "5": 0.6}.get(letter, 0.0)

    engine = Scripted(chance=chance)
    states, expansion = await children(model(engine, make_critic("rating")), (0,))
    assert expansion.value[0] == pytest.approx((10 * 0.3 + 1 * 0.1 + 5 * 0.6 - 1) / 9)
    assert column(expansion.usage, "value_tokens") == [len(engine.prompts[0]) + 1 - len(states[0].tokens)]
    assert column(expansion.spent, "value_tokens") == [14]


async def test_a_critic_without_an_opinion_or_room_says_nan():
    silent = Scripted(chance=digits({}))
    for name in ("rating", "self"):
        _, expansion = await children(model(silent, make_critic(name)), (0,))
        assert math.isnan(expansion.value[0])
    silent.context = 60
    _, expansion = await children(model(silent, make_critic("rating")), (0,))
    assert math.isnan(expansion.value[0]) and len(silent.prompts) == 3


def test_a_tokenizer_that_knows_no_numbers_is_refused():
    class Blind(Numerals):
        def encode(self, text, add_special_tokens=True):
            return [7]

    with pytest.raises(ValueError, match="does not tell the numbers"):
        rating_tokens(Blind())


def ballot(text, letter):
    """Votes for candidates by the digit they hold, whatever number they are listed under."""
    listed = dict(re.findall(r"^(\d)\. (\d)$", text, re.M))
    return int(listed.get(letter, 0)) / 100


def by_slot(text, stream):
    """A line of one digit; slots 0, 1, 2, 3 of the root write what the test puts here."""
    return f"{by_slot.told[stream]}\n"


@pytest.fixture
def told(monkeypatch):
    """Sets what each slot writes, at every node."""

    def tell(*lines):
        monkeypatch.setattr("forethought.llm.text_model.noise_stream", lambda seed, tokens, slot: slot)
        by_slot.told = lines

    return tell


async def test_a_vote_shares_the_worth_among_siblings_and_is_one_call(told):
    told("8", "2", "6")
    engine = Scripted(by_slot, ballot)
    text = model(engine, make_critic("vote"))
    _, expansion = await children(text)
    assert expansion.value.tolist() == pytest.approx([0.5, 0.125, 0.375])
    assert len(engine.prompts) == 1 and "1. 2\n2. 6\n3. 8\n" in engine.prompts[0]
    suffix = len(engine.prompts[0]) - len(QUESTION) - 1
    assert column(expansion.usage, "value_tokens") == [0, 0, suffix]
    _, again = await children(text, (2, 0, 1))
    assert again.value.tolist() == pytest.approx([0.375, 0.5, 0.125]) and len(engine.prompts) == 1, "a sorted group"


async def test_equal_siblings_share_a_vote_and_dead_ones_have_none(told):
    told("8", "8", "2", "x" * 99)
    _, expansion = await children(model(Scripted(by_slot, ballot), make_critic("vote")), (0, 1, 2, 3))
    assert expansion.value.tolist() == pytest.approx([0.8, 0.8, 0.2, 0]) and expansion.dead_end.tolist()[3]
    assert sum(column(expansion.usage, "value_tokens")) == column(expansion.usage, "value_tokens")[2] > 0
    told("8", "x" * 99)
    _, expansion = await children(model(Scripted(by_slot, ballot), make_critic("vote")), (0, 1))
    assert expansion.value.tolist() == [1, 0], "without a rival"


async def test_a_later_draw_is_compared_with_the_siblings_before_it(told):
    told("8", "2", "6")
    engine = Scripted(by_slot, ballot)
    text = model(engine, make_critic("vote"))
    await children(text, (0, 1))
    _, expansion = await children(text, (2,))
    assert expansion.value[0] == pytest.approx(0.375) and column(expansion.usage, "nodes") == [1]
    assert column(expansion.usage, "model_calls") == [1] and text.tape.misses == 3 + 2


async def test_who_asks_for_one_child_at_a_time_cannot_vote():
    engine = Scripted(lambda text, stream: f"{stream % 97}\n", lambda text, letter: 0.1)
    text = model(engine, make_critic("0.5*vote+logprob"))
    for planner in (MCTS(), BestOfN(), Beam()):
        with pytest.raises(ValueError, match="compares siblings and is for searches that ask"):
            await aplan(planner, text, QUESTION, Budget(nodes=12))
    with pytest.raises(ValueError, match="a single state has no value"):
        await text.value.score(None, None, None)
    outcome = await aplan(Beam(beam=2, children=3), text, QUESTION, Budget(nodes=30), close=False)
    assert outcome.charged[0, NODES] > 6


async def test_a_child_that_the_budget_left_alone_is_of_unknown_worth(told):
    told("8", "2", "6")
    text = model(Scripted(by_slot, ballot), make_critic("vote"))
    states, _ = await children(text, (0, 1))
    _, expansion = await text.expand(states[1:], [0])
    assert math.isnan(expansion.value[0])


async def test_a_search_with_a_vote_may_be_closed(told):
    engine = Scripted(solver, lambda text, letter: 0.1)
    text = model(engine, make_critic("vote"))
    outcome = await aplan(Beam(beam=1, children=2), text, QUESTION, Budget(nodes=3))
    assert outcome.completion.sum() > 0 and text.answer(outcome.ends[0]) is not None


async def test_more_than_nine_siblings_are_too_many(told):
    told(*"0123456789")
    with pytest.raises(ValueError, match="at most 9 siblings"):
        await children(model(Scripted(by_slot, ballot), make_critic("vote")), range(10))


def solver(text, stream):
    """Two steps and an answer: 7 on even streams, the stream itself on odd ones."""
    lines = text.removeprefix(QUESTION + "\n").count("\n")
    return "think\n" if lines < 2 else f"#### {7 if stream % 2 == 0 else stream}\n"


async def test_a_rollout_is_the_share_of_completions_that_agree(told, monkeypatch):
    told()
    engine = Scripted(solver)
    text = model(engine, None)
    text.value = Rollout(model(engine, None), times=4)
    (root,), _ = await text.start([QUESTION])
    (one,), expansion = await text.expand([root], [0])
    assert expansion.value[0] == 0.5, "streams 1 to 4 answer 1, 7, 3, 7"
    assert column(expansion.usage, "value_tokens") == [4 * len("think\n#### 7\n")]
    (two,), _ = await text.expand([one], [0])
    (right, wrong), expansion = await text.expand([two, two], [0, 1])
    assert (text.answer(right), text.answer(wrong)) == (7, 1)
    assert expansion.reward.tolist() == [0.5, 0.25]
    silent = Scripted(lambda text, stream: "think\n")
    lost = model(silent, Rollout(model(silent, None), times=3))
    _, expansion = await children(lost, (0,))
    assert expansion.value[0] == 0, "no completion ends in an answer"


async def test_rollouts_leave_the_searchs_tree_alone():
    engine = Scripted(solver)
    text = model(engine, None)
    plain, _ = await children(text)
    text.value = Rollout(text.seeded(99), times=2)
    assert (await children(text))[0] == plain


async def test_the_oracle_knows_finished_solutions_only():
    text = model(Scripted(solver), Oracle(lambda question, told: question == QUESTION and told.endswith("#### 7\n")))
    (state,), expansion = await children(text, (0,))
    assert expansion.value[0] == 0.5
    worth = []
    for slot in range(8):
        (state,), _ = await children(text, (slot,), evaluate="none")
        while not state.ended:
            (state,), expansion = await text.expand([state], [0])
        worth.append((text.answer(state) == 7, expansion.reward[0]))
    assert {*worth} == {(True, 1.0), (False, 0.0)}


class Constant(ClosableCritic):
    low, high = 0.0, 1.0

    def __init__(self, value, name="constant"):
        self.value, self.name, self.closed = value, name, False

    async def score(self, cached, format, state):
        return Judgement(self.value, 2, 0.25, 3, 0.125)

    async def close(self):
        self.closed = True


async def test_a_sum_of_critics_is_their_weighted_mean_and_costs_what_all_cost():
    parts = Constant(0.5), Constant(1.0)
    text = model(Scripted(), Weighted([(1, parts[0]), (3, parts[1])]))
    _, expansion = await children(text, (0,))
    assert expansion.value[0] == pytest.approx(0.875) and column(expansion.usage, "value_tokens") == [4]
    await text.close()
    assert parts[0].closed and parts[1].closed
    with pytest.raises(ValueError, match="positive weights"):
        Weighted([(0, parts[0])])


async def test_a_sum_with_a_vote_compares(told):
    told("8", "2", "6")
    text = model(Scripted(by_slot, ballot), make_critic("vote+3*logprob"))
    _, expansion = await children(text)
    alone = math.exp(-0.1)
    assert expansion.value.tolist() == pytest.approx([(v + 3 * alone) / 4 for v in (0.5, 0.125, 0.375)])
    assert text.value.name == "1*vote+3*logprob"


def test_names_and_weights_are_read():
    assert parse_critics("self") == [(1, "self")]
    assert parse_critics(" 0.3*self + .7 * prm") == [(0.3, "self"), (0.7, "prm")]
    for wrong, told in (
        ("self+gut", "no value 'gut'; there are self, logprob"),
        ("", "no value ''"),
        ("0*self+none", "positive weights"),
        ("self+self", "different ones"),
        ("-1*self", "no value"),
    ):
        with pytest.raises(ValueError, match=re.escape(told)):
            parse_critics(wrong)


@pytest.mark.parametrize(
    "name, told", [("prm", "reward model"), ("orm", "reward model"), ("oracle", "truth"), ("rollout", "text model")]
)
def test_a_critic_whose_means_are_missing_says_which(name, told):
    with pytest.raises(ValueError, match=told):
        make_critic(name, CriticDeps())
