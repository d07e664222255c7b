"""Where steps end: one rule, whatever the tokenizer makes of the text, and the same token by token and at once."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forethought.llm.engines.base import Generation, Sampling
from forethought.llm.engines.step_splitter import StepEnds, StepSplitter, decode, step_length
from forethought.llm.text.answers import AnswerAfterMark
from forethought.llm.text.steps import split_generation


class Pieces:
    """A tokenizer whose tokens are the given texts."""

    def __init__(self, *texts):
        self.texts = list(texts)

    def __len__(self):
        return len(self.texts)

    def decode(self, ids, **options):
        return "".join(self.texts[i] for i in ids)

    def batch_decode(self, rows, **options):
        return [self.decode(row) for row in rows]

    def ids(self, text):
        """Token ids of a text, the longest piece first."""
        found = []
        while text:
            piece = max((one for one in self.texts if text.startswith(one)), key=len)
            found.append(self.texts.index(piece))
            text = text[len(piece) :]
        return found


LETTERS = [*"abcdefghijklmnopqrstuvwxyzABCD0123456789.!?#$=+ \t\n"]
TOKENIZERS = {"letters": Pieces(*LETTERS), "blank lines": Pieces(*LETTERS, "\n\n", "\n\n\n", " \n", ".\n\n", "ab")}


def steps_of(text, cut, tokenizer="letters", max_steps=None, ended="end", **settings):
    pieces = TOKENIZERS[tokenizer]
    sampling = Sampling(stop="\n", cut=cut, max_steps=max_steps, max_tokens=10**6, **settings)
    split = StepSplitter(StepEnds(pieces, len(pieces), "\n", cut), sampling)
    for token in pieces.ids(text):
        if split.append(token, -0.5):
            break
    split.finish(ended)
    assert [len(step) for step in split.steps] == [len(part) for part in split.logprobs]
    return [pieces.decode(step) for step in split.steps], split


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize(
    ("cut", "text", "right"),
    [
        ("line", "a\nb\n", ["a\n", "b\n"]),
        ("line", "a\n\n\nb", ["a\n\n\n", "b"]),
        ("line", "a\n \t\nb\n", ["a\n \t\n", "b\n"]),
        ("line", "\n\na\n\nb", ["\n\na\n\n", "b"]),
        ("line", "a\n  b\n", ["a\n", "  b\n"]),
        ("paragraph", "a\nb\n\nc\n\n\nd", ["a\nb\n\n", "c\n\n\n", "d"]),
        ("paragraph", "a\nb\n", ["a\nb\n"]),
        ("sentence", "He has 3.5 m. So 4 more! ok? #### 7", ["He has 3.5 m. ", "So 4 more! ", "ok? ", "#### 7"]),
        ("sentence", "1. Add them. 2. Stop.", ["1. Add them. ", "2. Stop."]),
        ("sentence", "a\n\nb. c", ["a\n\n", "b. ", "c"]),
    ],
)
def test_steps(cut, text, right, tokenizer):
    text = text.replace("H", "A").replace("S", "B")
    right = [step.replace("H", "A").replace("S", "B") for step in right]
    assert steps_of(text, cut, tokenizer)[0] == right


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text("ab. \n#1", max_size=40), st.sampled_from(["line", "paragraph", "sentence"]), st.booleans())
def test_no_step_is_blank_and_none_is_lost(text, cut, pairs):
    found, _ = steps_of(text, cut, "blank lines" if pairs else "letters")
    assert "".join(found) == text
    assert all(step.strip() for step in found) or not text.strip()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text("ab. \n", max_size=40), st.sampled_from(["line", "paragraph", "sentence"]))
def test_steps_do_not_depend_on_how_many_are_asked_for(text, cut):
    whole, _ = steps_of(text, cut)
    one_by_one, rest = [], text
    for _ in whole:
        step, split = steps_of(rest, cut, max_steps=1)
        one_by_one += step
        rest = rest[len("".join(step)) :]
        assert split.ended in ("stop", "end") and (split.dropped > 0) == (split.ended == "stop")
    assert one_by_one == whole


def test_a_step_that_is_not_wanted_is_dropped_and_counted():
    found, split = steps_of("a\n\nbcd\n", "line", max_steps=1)
    assert (found, split.ended, split.dropped) == (["a\n\n"], "stop", 1)


def test_a_whole_step_at_the_limit_is_complete():
    found, split = steps_of("a\n", "line", max_steps=1, ended="length")
    assert (found, split.ended) == (["a\n"], "stop")
    found, split = steps_of("ab", "line", max_steps=1, ended="length")
    assert (found, split.ended) == (["ab"], "length")


def test_the_last_step_may_run_to_the_end():
    found, split = steps_of("a\nb\nc\n", "line", max_steps=2, last_to_end=True)
    assert (found, split.ended) == (["a\n", "b\nc\n"], "end")
    assert steps_of("a\nb\nc\n", "line", max_steps=1, last_to_end=True)[0] == ["a\nb\nc\n"]


def test_a_solution_ends_where_an_answer_follows_the_marker():
    rule = {"ends": ("####",), "answered": AnswerAfterMark()}
    found, split = steps_of("#### a 1\nb\n#### 7\nc\n", "line", **rule)
    assert (found, split.ended) == (["#### a 1\n", "b\n", "#### 7\n"], "end")
    assert steps_of("#### a 1\nb\n", "line", ends=("####",))[0] == ["#### a 1\n"]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text("ab \n", min_size=1, max_size=30), st.integers(1, 12), st.integers(1, 4), st.booleans())
def test_a_long_request_is_split_as_single_requests_would_have_been(text, limit, most, last_to_end):
    """`split_generation` on a request for several steps gives what one request for each of them gives."""
    pieces = TOKENIZERS["letters"]
    ids = pieces.ids(text)
    ends = StepEnds(pieces, len(pieces), "\n", "line")
    one = Sampling(stop="\n", cut="line", max_tokens=limit, max_steps=1)

    def written(start, max_tokens, max_steps, to_end):
        sampling = Sampling(stop="\n", cut="line", max_tokens=max_tokens, max_steps=max_steps, last_to_end=to_end)
        split = StepSplitter(ends, sampling)
        for count, token in enumerate(ids[start:], 1):
            if split.append(token, 0.0):
                break
            if count == max_tokens:
                split.finish("length")
                break
        split.finish("end")
        return Generation(split.steps, split.logprobs, split.ended)

    last = most if last_to_end else None
    many = split_generation(written(0, limit * most, most, last_to_end), one, 10**6, pieces.decode, last)
    start = 0
    for number, step in enumerate(many, 1):
        (alone,) = split_generation(
            written(start, limit, 1, number == last), one, 10**6, pieces.decode, 1 if number == last else None
        )
        assert (alone.tokens, alone.ended) == (step.tokens, step.ended)
        start += len(step.tokens)
        if step.ended != "stop":
            break


def test_a_delimiter_of_one_s_own_is_exact():
    rng = random.Random(0)
    pieces = TOKENIZERS["letters"]
    ends = StepEnds(pieces, len(pieces), "=b", "text")
    text = "".join(rng.choice("ab=") for _ in range(200))
    split = StepSplitter(ends, Sampling(stop="=b", max_steps=None, max_tokens=10**6))
    for token in pieces.ids(text):
        split.append(token, 0.0)
    split.finish("end")
    right = [part + "=b" for part in text.split("=b")]
    right = right[:-1] + ([text.rsplit("=b", 1)[1]] if text.rsplit("=b", 1)[1] else [])
    assert [decode(pieces, step) for step in split.steps] == right


def test_a_step_of_which_more_may_come_is_not_over():
    assert step_length("a\n", "line") == 0 and step_length("a\n", "line", closed=True) == 2
    assert step_length("a\n  ", "line") == 0 and step_length("a\n  b", "line") == 2
