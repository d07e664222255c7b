"""Steps of continuations, names of noise streams, and the states that steps lead to."""

import hashlib

import pytest
from fakes import Letters

from forethought.llm.engines.base import Generation, Sampling
from forethought.llm.text.state import HASHED_TOKENS, TextState
from forethought.llm.text.steps import noise_stream, split_generation, token_bytes
from forethought.planning.interface import ModelError


@pytest.mark.parametrize(
    "steps, ended, limit, wanted",
    [
        (["ab\n", "cd\n"], "stop", 9, ["ab\n|stop", "cd\n|stop"]),
        (["ab\n", "####\n"], "end", 9, ["ab\n|stop", "####\n|end"]),
        (["ab\n"], "end", 9, ["ab\n|stop", "|end"]),
        (["ab\n", "c"], "end", 9, ["ab\n|stop", "c|end"]),
        (["ab\n", "cdefg\n"], "stop", 3, ["ab\n|stop", "cde|length"]),
        (["abc"], "end", 3, ["abc|length"]),
        (["ab\n"], "length", 3, ["ab\n|stop"]),
        ([], "end", 3, ["|end"]),
    ],
)
def test_a_long_request_is_split_into_the_steps_of_single_requests(steps, ended, limit, wanted):
    tokens = [tuple(map(ord, step)) for step in steps]
    made = Generation(tokens, [(0.0,) * len(step) for step in tokens], ended, seconds=2.0)
    found = split_generation(made, Sampling(max_tokens=limit, ends=("####",)), 99, Letters().decode)
    assert [Letters().decode(step.tokens) + "|" + step.ended for step in found] == wanted
    assert all(len(step.logprobs) == len(step.tokens) for step in found)


@pytest.mark.parametrize("broken", [Generation([(1,)], [()], "stop"), Generation([(1,)], [(0.0,)], "done")])
def test_an_engine_that_breaks_its_contract_is_named(broken):
    with pytest.raises(ModelError, match="Generation"):
        split_generation(broken, Sampling(max_tokens=9), 99, Letters().decode)


def test_a_step_that_fills_the_context_is_cut_where_its_room_ends():
    """Each step takes from the room what it is long: 5 tokens leave 2 of the second step's 3."""
    made = Generation([tuple(b"ab\n"), tuple(b"cd\n")], [(0.0,) * 3, (-1.0,) * 3], "stop", seconds=6.0)
    first, second = split_generation(made, Sampling(max_tokens=9), 5, Letters().decode)
    assert (first.tokens, first.ended, first.seconds) == (tuple(b"ab\n"), "stop", 3.0)
    assert (second.tokens, second.logprobs, second.ended) == (tuple(b"cd"), (-1.0, -1.0), "length")


@pytest.mark.parametrize("logprobs", [[(0.0,), ()], [(0.0, 0.0)]])
def test_log_probabilities_of_another_length_are_a_broken_contract(logprobs):
    with pytest.raises(ModelError, match="logprobs must match steps: lengths"):
        split_generation(Generation([(1,)], logprobs, "stop"), Sampling(max_tokens=9), 99, Letters().decode)


def test_a_stream_is_named_by_the_seed_the_slot_and_the_tokens_before():
    """The definition: 63 bits of BLAKE2b of the seed, the slot and the token ids, in little-endian order."""
    head = (7).to_bytes(8, "little", signed=True) + (3).to_bytes(8, "little", signed=True)
    ids = b"".join(token.to_bytes(4, "little") for token in (1, 70_000))
    digest = hashlib.blake2b(head + ids, digest_size=8, person=b"stream").digest()
    assert token_bytes((1, 70_000)) == ids
    assert noise_stream(7, (1, 70_000), 3) == int.from_bytes(digest, "little") >> 1 < 2**63
    names = {noise_stream(seed, (1, n), slot) for seed in range(5) for slot in range(5) for n in range(5)}
    assert len(names) == 125


def test_the_parts_of_a_state_lie_where_it_says():
    state = TextState((1, 2, 3, 4, 5), prompt_length=2, step_start=4, step_logprobs=((-0.1, -0.2), (-0.3,)))
    assert (state.solution, state.step, state.logprobs) == ((3, 4, 5), (5,), (-0.1, -0.2, -0.3))
    root = TextState((1, 2), prompt_length=2, step_start=2)
    assert (root.solution, root.step, root.logprobs) == ((), (), ())


def test_states_are_equal_by_their_tokens_and_how_they_ended():
    long = tuple(range(2 * HASHED_TOKENS))
    one, other = TextState(long, stream=1, depth=3), TextState(long, stream=2, to_end=True)
    assert one == other and hash(one) == hash(other) and len({one, other}) == 1
    earlier = TextState((9, *long[1:]))
    assert earlier != one and hash(earlier) == hash(one), "told apart although only their last tokens are hashed"
    assert TextState(long, "end") != one != TextState(long[:-1])
