"""`--data FILE --grade NAME`: answers in many layouts are read as a person reads them, and wrong lines are named."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from forethought.evals.cli.main import app
from forethought.evals.errors import BadInput
from forethought.evals.tasks import DataFile, make_task
from forethought.evals.tasks.graders import GRADERS, normalised, read_choice, read_exact

QUESTION = "Which city is the capital of France?\n(A) London\n(B) Paris\n(C) Rome\n(D) Bern"


@pytest.mark.parametrize(
    "text, letter",
    [
        ("#### B", "B"),
        ("#### (B)", "B"),
        ("#### b", "B"),
        ("#### B. Paris", "B"),
        ("#### B) Paris", "B"),
        ("#### **B**", "B"),
        ("#### Option B", "B"),
        ("#### The answer is B", "B"),
        ("####B", "B"),
        ("The answer is (B).", "B"),
        ("The answer is B.", "B"),
        ("The answer is B", "B"),
        ("The answer is: B", "B"),
        ("the answer is b.", "B"),
        ("The answer is **(B)** Paris", "B"),
        ("The correct answer is B because Paris is in France.", "B"),
        ("The correct option is (C)", "C"),
        ("Answer: D", "D"),
        ("**Answer:** D", "D"),
        ("Answer: \\text{(D)}", "D"),
        ("So \\boxed{B}", "B"),
        ("So \\boxed{\\text{B}}", "B"),
        ("So $\\boxed{(B)}$.", "B"),
        ("So \\boxed{\\textbf{(C) } Rome}", "C"),
        ("The answer is (A). No, the answer is (B).", "B"),
        ("The answer is (A), as \\boxed{A} shows. Wait: \\boxed{C}", "C"),
        ("The answer is (A)\n#### B", "B"),
        ("#### A\nWait.\n#### B", "B"),
        ("(A) is in England, (C) in Italy, so it is (B)", "B"),
        ("Paris.\nB", "B"),
        ("Paris.\nB.", "B"),
        ("B) Paris", "B"),
        ("B\n\nParis is the capital of France.", "B"),
        ("The answer is A", "A"),
        ("The answer is A.", "A"),
        ("The answer is A because it is.", "A"),
        ("A", "A"),
        ("The answer is a city in France, so (B)", "B"),
        ("The answer is A city in France. (B)", "B"),
        ("I think so.", None),
        ("A dog.", None),
        ("The answer is Paris", None),
        ("The answer is (A) or (B)", None),
        ("The answer is (A) and (B).", None),
        ("#### (Z)", None),
        ("Bern", None),
        ("Because of Paris", None),
        ("", None),
    ],
)
def test_a_letter_is_read_from_many_layouts(text, letter):
    answer, marked = read_choice(text, QUESTION)
    assert answer == letter and marked == (letter is not None and "####" in text)


def test_letters_beyond_the_options_of_the_question_are_no_answers():
    assert read_choice("(B) beats (X)", QUESTION)[0] == "B" and read_choice("(B) beats (X)", "Which?")[0] == "X"
    listed = "Which?\nA. one\nB. two"
    assert read_choice("The answer is C", listed)[0] is None and read_choice("The answer is B", listed)[0] == "B"


@pytest.mark.parametrize(
    "text, answer",
    [
        ("#### New York", "new york"),
        ("####   New \t York.  ", "new york"),
        ("The answer is New York.", "new york"),
        ("The answer is: **New York**", "new york"),
        ("Answer: 'new york'", "new york"),
        ("So \\boxed{\\text{New York}}.", "new york"),
        ("It is large.\nNEW YORK\n\n", "new york"),
        ("The answer is Boston.\n#### New York", "new york"),
        ("#### Boston\n#### New York", "new york"),
        ("#### \nNew York", "new york"),
        ("#### 12", "12"),
        ("#### ｎｅｗ　ｙｏｒｋ", "new york"),
        ("#### Zürich", "zürich"),
        ("yes.", "yes"),
        ("", None),
        ("  \n ", None),
    ],
)
def test_a_text_is_read_without_regard_to_case_and_white_space(text, answer):
    assert read_exact(text)[0] == answer


def test_texts_that_differ_stay_different():
    assert len({normalised(text) for text in ("new york", "newyork", "new-york", "york", "3.5", "35", "-3.5")}) == 7


def task_of(tmp_path, grade, *rows):
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return make_task(None, data=path, grade=grade)


def test_the_three_grades(tmp_path):
    for grade, gold, right, wrong in (
        ("number", "#### 1,200", "So 1200", "1201"),
        ("number", 42, "#### 42.0", "#### 4"),
        ("choice", "(b)", "The answer is B", "The answer is C"),
        ("choice", "B. Paris", "#### B", "#### A"),
        ("exact", "Paris", "#### paris.", "#### Pari"),
        ("exact", "Yes", "yes", "no"),
    ):
        task = task_of(tmp_path, grade, {"question": QUESTION, "answer": gold})
        (problem,) = task.problems()
        assert problem.id == "mine-0" and task.name == "mine" and task.kind == "text"
        assert task.grade(problem, right).correct and not task.grade(problem, wrong).correct
        assert not task.grade(problem, None).correct and task.grade(problem, None).answer is None


@pytest.mark.parametrize(
    "grade, gold, told",
    [
        ("number", "3 or 4", "mine.jsonl, problem 2: the answer is not one number: '3 or 4'"),
        ("number", "twelve", "problem 2: the answer is not one number"),
        ("choice", "Paris", "problem 2: the answer is not the letter of an option: 'Paris'"),
        ("choice", "AB", "not the letter of an option"),
        ("exact", "####  ", "problem 2: the answer is empty"),
        ("exact", "", "line 2: needs 'answer' as non-empty text"),
        ("exact", None, "line 2: needs 'answer' as non-empty text"),
        ("exact", True, "line 2: needs 'answer' as non-empty text"),
    ],
)
def test_a_gold_answer_of_another_kind_is_refused_with_its_line(tmp_path, grade, gold, told):
    first = {"number": 1, "choice": "A", "exact": "x"}[grade]
    rows = {"question": QUESTION, "answer": first}, {"question": QUESTION, "answer": gold}
    with pytest.raises(BadInput, match=r"mine\.jsonl") as error:
        task_of(tmp_path, grade, *rows).problems()
    assert told in str(error.value)


def test_an_unknown_grade_lists_those_there_are(tmp_path):
    with pytest.raises(BadInput, match="no grade 'fuzzy'; there are number, choice, exact"):
        DataFile(tmp_path / "x.jsonl", "fuzzy")
    assert list(GRADERS) == ["number", "choice", "exact"]


@pytest.mark.parametrize("piece", ["####", "\\boxed{", "answer is ", "(A", "(", "A ", "\\text{", "option ", " \n", "*"])
def test_the_last_answer_is_found_behind_a_hundred_thousand_characters(piece):
    text = piece * (100_000 // len(piece))
    assert read_choice(f"{text}\n#### B", QUESTION) == ("B", True)
    assert read_exact(f"{text}\n#### Paris") == ("paris", True)
    assert read_choice("#### B", text + QUESTION) == ("B", True)
    read_choice(text, QUESTION), read_exact(text)  # a pattern that backtracks would not come to an end


def test_a_file_runs_to_a_report_without_code(tmp_path, monkeypatch):
    from forethought.llm.builtin.stories import held_out

    monkeypatch.chdir(tmp_path)
    stories = held_out("test", lengths=(2,))[:3]
    rows = [{"question": one.question, "answer": one.answer} for one in stories]
    Path("mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = ["--planner", "greedy,bfs", "--budgets", "12", "--quiet"]
    found = CliRunner().invoke(app, ["eval", "--data", "mine.jsonl", "--grade", "number", *flags])
    assert found.exit_code == 0, found.output
    summary = json.loads(Path("runs/mine/summary.json").read_text())
    assert summary["task"] == "mine" and all(row["n"] == 3 and row["failed"] == 0 for row in summary["rows"])
    assert 0 < max(row["score"] for row in summary["rows"]) <= 1
    Path("mine.jsonl").write_text(json.dumps(rows[0] | {"answer": 7}) + "\n")
    found = CliRunner().invoke(app, ["eval", "--data", "mine.jsonl", "--grade", "number", *flags])
    assert found.exit_code == 2 and "begun with other settings: data was" in found.output
