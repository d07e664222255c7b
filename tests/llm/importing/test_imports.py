"""Trees searched elsewhere, written down as text, walked by our planners from a tape."""

import json
import math

import pytest

from forethought.llm.importing.import_trees import import_trees
from forethought.llm.load import load_text_model
from forethought.planning import MCTS, Beam, BestOfN, Budget, aplan
from forethought.planning.trees.mcts import WideningSettings

TWO = "What is 2 + 3 * 4?"
ROWS = [
    {"problem": TWO, "path": [0, 1], "step": "#### 14", "value": 0.9, "correct": True},
    {"problem": TWO, "path": [0], "step": "3 * 4 = 12", "value": 0.8, "answer": "14"},
    {"problem": TWO, "path": [1], "step": "2 + 3 = 5", "value": 0.2},
    {"problem": TWO, "path": [0, 0], "step": "So it is 2 + 12,\nwhich is 14.", "value": 0.0},
    {"problem": TWO, "path": [0, 0, 0], "step": "#### 14", "correct": True},
    {"problem": TWO, "path": [1, 0], "step": "5 * 4 = 20, naïvely ½", "value": 1},
    {"problem": TWO, "path": [1, 0, 0], "step": "#### 20", "value": 0.3, "correct": False},
    {"problem": "And 1 + 1?", "path": [0], "step": "The answer is 2", "value": 0.5, "correct": True},
]


@pytest.fixture
def log(tmp_path):
    def write(rows):
        path = tmp_path / "log.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture
def replay(log, tmp_path):
    async def make(rows=ROWS):
        await import_trees(log(rows), tmp_path / "log.tape")
        return load_text_model("", "replay", "recorded", tape=tmp_path / "log.tape")

    return make


async def test_every_node_is_found_at_its_path_with_its_text_and_value(replay):
    text = await replay()
    for row in ROWS:
        (state,), _ = await text.start([row["problem"]])
        for slot in row["path"]:
            assert not state.ended
            (state,), expansion = await text.expand([state], [slot])
        step = text.step_text(state)
        assert step.removesuffix("\n").removesuffix("<|right|>").removesuffix("<|wrong|>") == row["step"]
        assert text.answered(state) == ("correct" in row) and ("<|right|>" in step) == row.get("correct", False)
        found = expansion.reward[0] if text.answered(state) else expansion.value[0]
        assert found == pytest.approx(row["value"]) if "value" in row else math.isnan(found)
    assert text.engine.missing == {"steps": 0, "scores": 1}, "one node has no value"
    (state,), _ = await text.start([TWO])
    (missing,), expansion = await text.expand([state], [2])
    assert missing.ended == "length" and expansion.dead_end[0] and text.engine.missing["steps"] == 1


@pytest.mark.parametrize(
    "planner, answer", [(Beam(beam=2, children=2), 14), (MCTS(widening=WideningSettings(width=2)), 14), (BestOfN(), 20)]
)
async def test_planners_find_the_best_solution_on_their_way(replay, planner, answer):
    text = await replay()
    outcome = await aplan(planner, text, TWO, Budget(nodes=12))
    assert text.answer(outcome.ends[0]) == answer, (
        "best-of-N follows first slots, where 20 is the only one with a value"
    )
    assert ("<|right|>" in text.text(outcome.ends[0])) == (answer == 14)


async def test_what_was_imported_is_told_and_values_are_mapped_to_one_scale(log, tmp_path):
    found = await import_trees(log(ROWS), tmp_path / "a.tape")
    assert (found.problems, found.nodes, found.finished, found.scale) == (2, 8, 4, None)
    far = [row | {"value": 10 * row.get("value", 0.5)} for row in ROWS]
    assert (await import_trees(log(far), tmp_path / "b.tape")).scale == (0, 10)
    with pytest.raises(ValueError, match="exists already"):
        await import_trees(log(ROWS), tmp_path / "a.tape")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("{", "line 2: not JSON"),
        ([1], "line 2: expected an object"),
        ({"path": [0], "step": "x"}, "line 2: needs 'problem' as non-empty text"),
        ({"problem": "p", "path": [0], "step": " "}, "line 2: needs 'step'"),
        ({"problem": "p", "path": [], "step": "x"}, "line 2: needs 'path' as a list of child numbers"),
        ({"problem": "p", "path": [-1], "step": "x"}, "line 2: needs 'path'"),
        ({"problem": "p", "path": [True], "step": "x"}, "line 2: needs 'path'"),
        ({"problem": "p", "path": [0, 1], "step": "x"}, r"line 2: \[0, 1\] has no parent \[0\]"),
        ({"problem": "p", "path": [0], "step": "x", "value": "high"}, "line 2: 'value' is a finite number"),
        ({"problem": "p", "path": [0], "step": "x", "correct": 1}, "line 2: 'correct' is true or false"),
        ({"problem": "first", "path": [0], "step": "x"}, "line 2: the node .* stands in line 1 already"),
        ({"problem": "first", "path": [0, 0], "step": "x"}, r"line 2: \[0, 0\] follows a finished solution"),
    ],
)
async def test_a_line_that_is_wrong_is_named(row, told, tmp_path):
    path = tmp_path / "log.jsonl"
    first = {"problem": "first", "path": [0], "step": "x", "correct": True}
    path.write_text(json.dumps(first) + "\n" + (row if isinstance(row, str) else json.dumps(row)) + "\n")
    with pytest.raises(ValueError, match=told):
        await import_trees(path, tmp_path / "out.tape")
    assert not (tmp_path / "out.tape").exists()


async def test_a_file_without_nodes_is_named(tmp_path):
    (tmp_path / "empty").write_text("\n")
    for name, told in (("empty", "holds no nodes"), ("none", "there is no file")):
        with pytest.raises(ValueError, match=told):
            await import_trees(tmp_path / name, tmp_path / "out.tape")
