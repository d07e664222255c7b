"""The notes that accompany the figures of a run: when each of them is there, and what it counts."""

from types import SimpleNamespace

import pytest

from forethought.evals.report.caveats import BUILTIN_NOTE, REASONING_NOTE, VLLM_NOTE, caveats_of
from forethought.llm.critics.oracle import ORACLE_NOTE
from forethought.llm.importing.import_trees import import_trees
from forethought.llm.load import load_text_model

PLAIN = {"value": "self", "model": "builtin", "reasoning": "steps", "engine": "transformers", "tape": None}
MODEL = SimpleNamespace(engine=object(), tape=SimpleNamespace(damaged=0))


@pytest.mark.parametrize(
    ("task", "settings", "wanted"),
    [
        ("stories", {}, []),
        ("gsm8k", {}, [BUILTIN_NOTE]),
        ("gsm8k", {"model": "a/b"}, []),
        ("stories", {"value": "0.5*oracle+self"}, [ORACLE_NOTE]),
        ("stories", {"reasoning": "rap"}, [REASONING_NOTE]),
        ("stories", {"reasoning": "rap", "model": "a/b"}, []),
        ("stories", {"engine": "vllm"}, [VLLM_NOTE]),
        ("stories", {"engine": "vllm", "tape": "a.tape"}, []),
    ],
)
def test_each_note_is_there_where_it_applies(task, settings, wanted):
    assert caveats_of(SimpleNamespace(**PLAIN | settings), SimpleNamespace(name=task), MODEL) == wanted


async def test_a_replay_counts_what_the_tape_lacks(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"problem": "Which way?", "path": [0], "step": "Left", "value": 0.5}\n')
    await import_trees(log, tmp_path / "a.tape")
    text = load_text_model("", "replay", "recorded", tape=tmp_path / "a.tape")
    asked = SimpleNamespace(**PLAIN | {"model": "", "engine": "replay", "value": "recorded"})
    task = SimpleNamespace(name="recorded")
    (root,), _ = await text.start(["Which way?"])
    await text.expand([root], [0])
    (note,) = caveats_of(asked, task, text)
    assert note.startswith("replay: the tape answered all ")
    await text.expand([root] * 2, [5, 6])
    (note,) = caveats_of(asked, task, text)
    assert "lacks 2: 2 steps, each of which became a dead end, and 0 scores" in note
