"""The tasks: which problems they give, in what order, and how they grade."""

import json
import sys
from types import SimpleNamespace

import pytest

from forethought.evals.errors import BadInput
from forethought.evals.tasks import make_task
from forethought.evals.tasks.base import Problem, interleave_groups, problems_fingerprint, read_json_lines
from forethought.evals.tasks.gsm8k import Gsm8k
from forethought.evals.tasks.numeric import grade_numeric, number_of
from forethought.evals.tasks.recorded import RecordedTrees
from forethought.evals.tasks.stories import Stories
from forethought.llm.builtin.checker import check_solution
from forethought.llm.builtin.stories import held_out
from forethought.llm.importing.import_trees import import_trees
from forethought.llm.load import load_text_model


def write(path, *rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_groups_take_turns_so_that_any_beginning_holds_each_equally_often():
    problems = [Problem(str(i), "", "", group) for i, group in enumerate("aaabbc")]
    assert [p.group for p in interleave_groups(problems, None)] == ["a", "b", "c", "a", "b", "a"]
    assert [p.id for p in interleave_groups(problems, 4)] == ["0", "3", "5", "1"]


def test_the_stories_of_every_length_take_turns_and_their_own_solutions_are_right():
    task = Stories()
    problems = task.problems()
    assert len(problems) == len({p.id for p in problems}) == 400
    assert [p.group for p in problems[:8]] == ["2", "3", "4", "5"] * 2 and task.problems(3, seed=9) == problems[:3]
    own = {story.question: story for story in held_out("test", 5)}
    for problem in problems[:20]:
        story = own[problem.question]
        solution = "\n".join(story.steps)
        assert check_solution(story, solution) and len(story.steps) == int(problem.group) + 1
        found = task.grade(problem, solution)
        assert (found.answer, found.correct, found.format_ok) == (problem.answer, True, True)
        wrong = solution.replace(f"#### {problem.answer}", f"#### {int(problem.answer) + 1}")
        assert not task.grade(problem, wrong).correct
    with pytest.raises(BadInput, match="no split 'train'; there are test, validation, hard"):
        Stories("train")


@pytest.mark.parametrize(
    ("text", "answer", "correct", "format_ok"),
    [
        ("So it is 5.\n#### 12", "12", True, True),
        ("So it is 12", "12", True, False),
        ("12 at first, then 5", "5", False, False),
        ("#### twelve", None, False, False),
        ("", None, False, False),
        (None, None, False, False),
    ],
)
def test_numbers_are_graded_by_the_marked_or_else_the_last_one(text, answer, correct, format_ok):
    found = grade_numeric(text, "12")
    assert (found.answer, found.correct, found.format_ok) == (answer, correct, format_ok)
    assert text is None or number_of(text) == answer


def test_questions_of_a_file_keep_its_order_and_the_answer_after_the_mark(tmp_path):
    rows = [{"question": f"What is {i}?", "answer": f"{i} and\n#### {i},000"} for i in range(1, 4)]
    task = make_task("gsm8k", data=write(tmp_path / "few.jsonl", *rows))
    problems = task.problems(2)
    assert [(p.id, p.question, p.answer) for p in problems] == [
        ("few-0", "What is 1?", "1,000"), ("few-1", "What is 2?", "2,000")
    ]  # fmt: skip
    assert task.grade(problems[1], "#### 2000").correct and not task.grade(problems[1], "#### 2").correct
    assert len(task.problems()) == 3


def test_an_answer_without_a_number_names_the_problem(tmp_path):
    path = write(tmp_path / "q.jsonl", {"question": "a?", "answer": "#### 1"}, {"question": "b?", "answer": "#### one"})
    with pytest.raises(BadInput, match=r"q.jsonl, problem 2: the answer has no number after ####, found 'one'"):
        Gsm8k(path).problems()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", r"line 2: not JSON \(.* at column"),
        ("[1]", "line 2: expected an object with question and answer, found list"),
        ({"question": "a?"}, "line 2: needs 'answer' as non-empty text, found None"),
        ({"question": " ", "answer": "1"}, "line 2: needs 'question' as non-empty text, found ' '"),
        ('{"question": "\\ud800", "answer": "1"}', "line 2: 'question' holds half a surrogate pair"),
    ],
)
def test_a_broken_line_of_a_file_is_named(tmp_path, line, told):
    path = write(tmp_path / "q.jsonl", {"question": "fine?", "answer": "#### 1"}, line)
    with pytest.raises(BadInput, match=told):
        read_json_lines(path, ("question", "answer"))


def test_files_that_hold_no_lines_of_text_are_named(tmp_path):
    with pytest.raises(BadInput, match="no data file"):
        read_json_lines(tmp_path / "none.jsonl", ())
    with pytest.raises(BadInput, match="holds no problems"):
        read_json_lines(write(tmp_path / "empty.jsonl", "", " "), ())
    (tmp_path / "latin.jsonl").write_bytes(b'{"a": "\xe9"}\n')
    with pytest.raises(BadInput, match="line 1: not UTF-8"):
        read_json_lines(tmp_path / "latin.jsonl", ())


def test_a_byte_order_mark_and_line_separators_inside_texts_are_read(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + '{"a": "one\u2028two"}\n'.encode())
    assert read_json_lines(path, ("a",)) == [{"a": "one\u2028two"}]


def test_gsm8k_without_a_file_comes_from_the_hub_or_says_what_to_do(monkeypatch):
    rows = [{"question": "a?", "answer": "#### 3"}]
    hub = SimpleNamespace(load_dataset=lambda name, config, split: rows if split == "train" else 1 / 0)
    monkeypatch.setitem(sys.modules, "datasets", hub)
    assert [(p.id, p.answer) for p in Gsm8k(split="train").problems()] == [("train-0", "3")]
    with pytest.raises(BadInput, match=r"cannot load openai/gsm8k \(division by zero\); pass a file"):
        Gsm8k().problems()
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(BadInput, match="pip install datasets"):
        Gsm8k().problems()


async def test_recorded_trees_are_graded_by_the_labels_in_their_log(tmp_path):
    rows = [
        {"problem": "Which way?", "path": [0], "step": "To the left", "correct": False},
        {"problem": "Which way?", "path": [1], "step": "The answer is 7", "correct": True},
    ]
    tape = tmp_path / "a.tape"
    await import_trees(write(tmp_path / "log.jsonl", *rows), tape)
    task = make_task("recorded", tape=tape)
    (problem,) = task.problems()
    assert problem.question == "Which way?" and task.problems(0) == []
    text = load_text_model("", "replay", "recorded", tape=tape)
    (root,), _ = await text.start([problem.question])
    states, _ = await text.expand([root, root], [0, 1])
    wrong, right = (task.grade(problem, text.text(state)) for state in states)
    assert (wrong.answer, wrong.correct) == ("To the left", False) and (right.answer, right.correct) == ("7", True)
    assert task.grade(problem, None).answer is None


def test_a_tape_that_is_none_of_imported_trees_is_refused(tmp_path):
    with pytest.raises(BadInput, match="recorded needs a tape of imported trees"):
        RecordedTrees(None)
    with pytest.raises(BadInput, match=r"no\.tape"):
        RecordedTrees(tmp_path / "no.tape")


def test_episodes_are_numbered_by_their_seeds():
    task = make_task("cartpole")
    assert [p.id for p in task.problems(seed=7)] == ["7", "8", "9", "10", "11"] and len(task.problems(2)) == 2
    with pytest.raises(BadInput, match="no task 'maze'; there are stories, gsm8k, recorded, pendulum"):
        make_task("maze")


def test_a_fingerprint_changes_with_any_question_or_answer():
    one = [Problem("a", "q", "1"), Problem("b", "r", "2")]
    others = [one[:1], [*one[:1], Problem("b", "r", "3")], [*one[:1], Problem("b", "s", "2")], one[::-1]]
    prints = {problems_fingerprint(each) for each in (one, *others)}
    assert len(prints) == 5 and problems_fingerprint(list(one)) in prints
