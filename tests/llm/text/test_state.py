"""What two text states have in common when they are equal, and the parts of their tokens."""

from __future__ import annotations

from dataclasses import replace

import pytest

from forethought.llm.text.state import TextState

STATE = TextState(
    (5, 6, 7, 8, 9), "answer", prompt_length=2, step_start=4, stream=3, depth=2, step_logprobs=((-1.0, -2.0), (-3.0,))
)


@pytest.mark.parametrize(
    "other",
    [
        {"prompt_length": 1},
        {"step_start": 3},
        {"stream": 4},
        {"depth": 1},
        {"to_end": True},
        {"step_logprobs": ()},
        {"question": "How many?"},
    ],
)
def test_states_with_the_same_tokens_and_end_are_equal_however_they_were_reached(other: dict) -> None:
    assert replace(STATE, **other) == STATE and hash(replace(STATE, **other)) == hash(STATE)


@pytest.mark.parametrize("other", [{"tokens": (5, 6, 7, 8)}, {"ended": ""}])
def test_other_tokens_or_another_end_are_another_state(other: dict) -> None:
    assert replace(STATE, **other) != STATE


def test_a_state_s_tokens_are_its_prompt_its_solution_and_its_last_step() -> None:
    assert STATE.solution == (7, 8, 9) and STATE.step == (9,)
    assert STATE.logprobs == (-1.0, -2.0, -3.0)


def test_a_state_of_tokens_alone_has_no_prompt_and_one_step() -> None:
    state = TextState((5, 6))
    assert state.solution == state.step == (5, 6) and state.depth == 0 and not state.to_end and state.logprobs == ()
