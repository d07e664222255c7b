"""A tape in a file: persistent, shared by processes, and sufficient to search the same tree without the model."""

import multiprocessing
import os
import signal
import sqlite3

import numpy as np
import pytest

from forethought.llm.load import load_text_model
from forethought.llm.tape.sqlite import TapeFailed, TapeFile
from forethought.planning.usage import NODES


def key(n):
    return n.to_bytes(16, "little")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.tape"


@pytest.fixture
def folder(stepping_llama):
    return stepping_llama


def small(folder, tape, engine="transformers", **settings):
    return load_text_model(folder, engine, tape=tape, **settings)


async def walk(text, slots=(0, 1, 2), to_end=False):
    """Every step and number of a small tree, and the total of what was spent on it."""
    roots, _ = await text.start(["How many?"])
    told, spent, states = [], 0.0, roots
    for _ in range(3):
        parents = [state for state in states for _ in slots]
        states, expansion = await text.expand(parents, list(slots) * len(states), to_end=to_end)
        told += [(s.tokens, s.ended) for s in states] + expansion.value.tolist() + expansion.reward.tolist()
        spent += np.delete(expansion.spent, NODES, axis=1).sum()
        states = states[:2]
    assert {state[1] for state in told if isinstance(state, tuple)} > {""}, "the tree has open states and dead ends"
    return told, spent


def test_records_are_found_again_and_the_first_stays(path):
    tape = TapeFile(path)
    tape.put({key(1): b"one", key(2): b""})
    tape.put({key(1): b"other", key(3): b"three"})
    tape.close()
    again = TapeFile(path, read_only=True)
    assert [again.get(key(n)) for n in range(5)] == [None, b"one", b"", b"three", None] and len(again) == 3
    with pytest.raises(TapeFailed, match="cannot be written: attempt to write a readonly database"):
        again.put({key(4): b"four"})


def test_all_records_of_one_call_are_kept_or_none(path):
    tape = TapeFile(path)
    tape._db.execute("CREATE TRIGGER two BEFORE INSERT ON records WHEN hex(NEW.key) LIKE '02%' "
                     "BEGIN SELECT RAISE(ABORT, 'no'); END")  # fmt: skip
    with pytest.raises(TapeFailed, match="cannot be written: no"):
        tape.put({key(1): b"one", key(2): b"two"})
    tape.put({key(3): b"three"})
    assert (tape.get(key(1)), tape.get(key(3)), len(tape)) == (None, b"three", 1)


def test_a_file_that_is_no_tape_is_refused_with_the_reason(path, tmp_path):
    with pytest.raises(ValueError, match="there is no tape"):
        TapeFile(path, read_only=True)
    with pytest.raises(ValueError, match="no folder"):
        TapeFile(tmp_path / "no" / "a.tape")
    path.write_text("This is a text, and long enough that SQLite looks at its header before it says what it thinks.")
    for read_only in (False, True):
        with pytest.raises(ValueError, match="cannot be used as a tape: file is not a database"):
            TapeFile(path, read_only=read_only)
    other = tmp_path / "other.sqlite"
    db = sqlite3.connect(other)
    db.execute("CREATE TABLE t(x)")
    db.close()
    with pytest.raises(ValueError, match="a database, but no tape"):
        TapeFile(other)
    TapeFile(newer := tmp_path / "newer.tape").close()
    db = sqlite3.connect(newer)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ValueError, match="a tape of format 99"):
        TapeFile(newer)


def test_a_tape_may_be_in_a_folder_without_write_permission(path):
    tape = TapeFile(path)
    tape.put({key(1): b"one"})
    tape.close()
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        assert TapeFile(path, read_only=True).get(key(1)) == b"one"
    finally:
        path.parent.chmod(0o755)


def write(path, me):
    tape = TapeFile(path)
    for n in range(200):
        tape.put({key(n): b"%d" % me, key(1000 + n): b"%d" % me})
        assert tape.get(key(n))
    if me == 3:
        os.kill(os.getpid(), signal.SIGKILL)


def test_several_processes_write_one_tape_and_the_records_of_a_killed_one_stay(path):
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=write, args=(path, n)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0, -signal.SIGKILL]
    tape = TapeFile(path)
    assert len(tape) == 400
    for n in range(200):
        assert tape.get(key(n)) == tape.get(key(1000 + n)), "records of one call are one writer's"


@pytest.mark.parametrize("value", ["self", "logprob", "rating", "vote", "rollout", "0.5*self+vote"])
async def test_a_second_run_calls_no_model_and_a_replay_needs_none(folder, path, value, monkeypatch):
    first, spent = await walk(small(folder, path, value=value))
    assert spent > 0
    second = small(folder, path, value=value)
    assert await walk(second) == (first, 0) and second.engine.counters.requests == 0
    monkeypatch.setattr("forethought.llm.engines.transformers.engine.load_model", None)
    for name in ("", str(folder), second.engine.fingerprint):
        third = small(name, path, "replay", value=value)
        assert await walk(third) == (first, 0) and third.engine.missing == {"steps": 0, "scores": 0}
        assert third.max_steps == 3 and third.format.ends == ("####",)


async def test_requests_missing_on_the_tape_are_counted_and_give_dead_ends(folder, path):
    _, spent = await walk(small(folder, path))
    before = path.read_bytes()
    text = small("", path, "replay")
    (root,), _ = await text.start(["How many?"])
    for _ in range(2):
        (known, unknown), expansion = await text.expand([root, root], [1, 7])
    assert (
        not known.ended
        and (unknown.ended, unknown.step) == ("length", ())
        and expansion.dead_end.tolist() == [False, True]
    )
    assert text.engine.missing == {"steps": 1, "scores": 0}, "each request is counted once"
    scoreless = small("", path, "replay", value="rating")
    _, expansion = await scoreless.expand([root], [1])
    assert np.isnan(expansion.value[0]) and scoreless.engine.missing["scores"] == 2
    assert path.read_bytes() == before and spent > 0


async def test_a_solution_generated_to_the_end_is_replayed_step_by_step(folder, path):
    text = small(folder, path)
    roots, _ = await text.start(["How many?"])
    await text.expand(roots, [3], to_end=True)
    replay = small("", path, "replay")
    (state,), _ = await replay.start(["How many?"])
    slot = 3
    while not state.ended:
        (state,), _ = await replay.expand([state], [slot], evaluate="none")
        slot = 0
    assert not any(replay.engine.missing.values())


def test_a_tape_without_the_model_lists_the_models_it_has(folder, path, tiny_qwen2):
    small(folder, path)
    with pytest.raises(ValueError, match=r"no policy model 'gpt'; there are: .*model \([0-9a-f]{16}\)"):
        load_text_model("gpt", "replay", tape=path)
    small(tiny_qwen2, path)
    with pytest.raises(ValueError, match=r"no single policy model to choose; there are: .*tiny_qwen2"):
        load_text_model("", "replay", tape=path)
    with pytest.raises(ValueError, match="needs a tape in a file"):
        load_text_model("", "replay")
    assert len(TapeFile(path).models()) == 2 and TapeFile(path).models("reward") == []
    assert sorted(run["temperature"] for run in TapeFile(path).runs()) == [0.8, 0.8]


def test_several_event_loops_and_models_share_one_tape_object(folder, path):
    import asyncio

    text = small(folder, path)
    told, _ = asyncio.run(walk(text))
    assert asyncio.run(walk(text.seeded(0))) == (told, 0)
    text.tape.close()


def test_a_tape_of_an_older_format_is_refused_with_how_to_make_a_new_one(path):
    TapeFile(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 1")
    db.close()
    for read_only in (False, True):
        with pytest.raises(ValueError, match=r"a tape of format 1, which is older than format 3 .* make a new tape"):
            TapeFile(path, read_only=read_only)
