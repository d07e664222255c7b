"""The tape in memory: identical requests are one call, and other settings are another record."""

import asyncio

from fakes import LineEngine
from text_walks import QUESTION, column, model, solve, told

from forethought.llm.critics import SelfCritique
from forethought.llm.tape.tape import MemoryStore, Tape


async def test_a_solution_generated_to_the_end_is_recorded_step_by_step():
    engine = LineEngine()
    text = model(engine)
    followed = await solve(text, 2, to_end=True)
    assert told(await solve(text, 2)) == told(followed) and len(engine.generated) == 1


async def test_another_seed_temperature_or_model_is_another_record():
    tape = Tape()
    for settings in ({}, {"seed": 1}, {"temperature": 0.5}, {"top_p": 0.9}, {"most": 19}):
        await solve(model(tape=tape, **settings), to_end=True)
    await solve(model(LineEngine(fingerprint="other"), tape=tape), to_end=True)
    assert tape.misses == 6


async def test_identical_requests_in_flight_are_one_call():
    engine = LineEngine()
    text = model(engine, SelfCritique())
    (root,), _ = await text.start([QUESTION])
    _, expansion = await text.expand([root] * 5, [3] * 5)
    assert len(engine.generated) == 1 == len(engine.scored)
    assert column(expansion.usage, "model_calls") == 5 and column(expansion.spent, "model_calls") == 1
    assert text.tape.misses == 2 and text.tape.merged + text.tape.hits == 8


async def test_a_request_that_joined_a_cancelled_call_makes_the_call_itself():
    engine = LineEngine()
    text = model(engine)
    (root,), _ = await text.start([QUESTION])
    first, second = (asyncio.create_task(text.expand([root], [0])) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    (state,), _ = await second
    assert state.step and len(engine.generated) == 2 and first.cancelled()


async def test_a_failed_call_fails_all_requests_that_joined_it_and_may_be_repeated():
    class Failing(LineEngine):
        async def generate(self, prompt, sampling, stream):
            if not self.generated:
                self.generated.append(prompt)
                await asyncio.sleep(0)
                raise OSError("gone")
            return await super().generate(prompt, sampling, stream)

    text = model(Failing())
    (root,), _ = await text.start([QUESTION])
    failed = await asyncio.gather(*(text.expand([root], [0]) for _ in range(2)), return_exceptions=True)
    assert [str(error) for error in failed] == ["gone", "gone"]
    (state,), _ = await text.expand([root], [0])
    assert state.step


def test_one_tape_serves_several_event_loops():
    text = model()
    first, second = asyncio.run(solve(text)), asyncio.run(solve(text))
    assert told(first) == told(second) and text.tape.hits == len(first) - 1 and len(text.tape) == len(first) - 1


def test_the_first_record_stays_and_sizes_are_counted():
    store = MemoryStore()
    store.put({b"k": b"first"})
    store.put({b"k": b"second"})
    assert store.get(b"k") == b"first" and store.size == 5 and len(store) == 1 and store.get(b"other") is None
