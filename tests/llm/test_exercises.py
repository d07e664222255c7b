"""Small exercises beside solutions: what copies teach is the story's own text, what sums teach is arithmetic."""

import random
import re

import pytest

from forethought.llm.builtin.data import IGNORE, Tree, Words, gold_tree
from forethought.llm.builtin.exercises import hang_copies, hang_drills
from forethought.llm.builtin.relations import evaluate
from forethought.llm.builtin.stories import generate
from forethought.llm.builtin.tokenizer import story_tokenizer


@pytest.fixture(scope="module")
def words():
    return Words(story_tokenizer(300))


def lines(tree, words):
    """Every node's text from the root, with the node."""
    texts = []
    for token, parent in zip(tree.tokens, tree.parents):
        texts.append((texts[parent] if parent >= 0 else "") + words.tokenizer.decode([token]))
    return list(zip(texts, range(len(texts))))


def test_a_copy_teaches_words_of_the_story_and_no_token_that_a_solution_does_not_go_on_with(words):
    taught = 0
    for i in range(40):
        story, tree = generate(3, i, 2 + i % 4, i % 2 == 1), Tree()
        hang_copies(tree, story, 3, words, random.Random(i))
        known = story.values()
        right = [words.encode(story.question + "\n" + r.step(story.verb, known) + "\n") for r in story.relations]
        for node, goal in enumerate(tree.goals):
            if goal != IGNORE:
                path, at = [goal], node
                while at >= 0:
                    path.append(tree.tokens[at])
                    at = tree.parents[at]
                path.reverse()
                taught += 1
                assert any(line[: len(path)] == path for line in right)
    assert taught > 300


def test_a_judged_sum_is_right_exactly_where_it_comes_to_what_it_says(words):
    tree, verdicts = Tree(), []
    hang_drills(tree, 300, words, random.Random(0), judged=0.5)
    for text, node in lines(tree, words):
        if tree.tokens[node] == words.critique:
            formula, said, again = re.fullmatch(
                r": \w+ [a-z]+ (\d+ . \d+) = (\d+) so \w+ [a-z]+ (\d+)\nRight\?", text
            ).groups()
            right = evaluate(formula.split()) == int(said)
            assert said == again and tree.goals[node] == (words.yes if right else words.no)
            verdicts.append(right)
    assert verdicts.count(True) > 100 and verdicts.count(False) > 100


def test_what_a_sum_teaches_to_write_is_its_result(words):
    tree, ends = Tree(), 0
    hang_drills(tree, 100, words, random.Random(1), judged=0.5)
    for text, node in lines(tree, words):
        if tree.goals[node] != IGNORE and tree.tokens[node] != words.critique:
            formula, begun = text.split(" = ") if " = " in text else (text.removesuffix(" ="), "")
            result = str(evaluate(formula.split()[-3:]))
            wanted = words.tokenizer.decode([tree.goals[node]]).strip()
            assert result.startswith(begun + wanted) or (begun == result and wanted == "so")
            ends += wanted == "so"
    assert ends > 90


def test_a_slip_stands_beside_every_derivation_and_differs_in_its_result_alone(words):
    for i in range(20):
        story = generate(7, i, 2 + i % 3, False)
        tree = gold_tree(story, words, random.Random(i), wrong=0.0, astray=0.0, slips=1.0)
        texts = {text for text, node in lines(tree, words) if tree.goals[node] == words.no}
        for k, line in enumerate(story.steps[:-1]):
            head = "\n".join([story.question, *story.steps[:k], line.split(" = ")[0] + " = "])
            beside = [text for text in texts if text.startswith(head) and text.count("\n") == k + 2]
            assert len(beside) == 1 and not beside[0].startswith(
                "\n".join([story.question, *story.steps[: k + 1]]) + "\n"
            )
