"""Small exercises beside solutions: what copies teach is the story's own text, what sums teach is arithmetic."""

import random
import re

import pytest

from forethought.llm.builtin.data import IGNORE, StoryTree, StoryVocabulary, solution_tree
from forethought.llm.builtin.exercises import attach_copies, attach_drills
from forethought.llm.builtin.relations import evaluate
from forethought.llm.builtin.stories import generate
from forethought.llm.builtin.tokenizer import story_tokenizer


@pytest.fixture(scope="module")
def vocab():
    return StoryVocabulary(story_tokenizer(300))


def lines(tree, vocab):
    """Every node's text from the root, with the node."""
    texts = []
    for token, parent in zip(tree.tokens, tree.parents):
        texts.append((texts[parent] if parent >= 0 else "") + vocab.tokenizer.decode([token]))
    return list(zip(texts, range(len(texts))))


def test_a_copy_teaches_words_of_the_story_and_no_token_that_a_solution_does_not_go_on_with(vocab):
    taught = 0
    for i in range(40):
        story, tree = generate(3, i, 2 + i % 4, i % 2 == 1), StoryTree()
        attach_copies(tree, story, 3, vocab, random.Random(i))
        known = story.values()
        right = [vocab.encode(story.question + "\n" + r.line(story.verb, known) + "\n") for r in story.relations]
        for node, goal in enumerate(tree.targets):
            if goal != IGNORE:
                path, at = [goal], node
                while at >= 0:
                    path.append(tree.tokens[at])
                    at = tree.parents[at]
                path.reverse()
                taught += 1
                assert any(line[: len(path)] == path for line in right)
    assert taught > 300


def test_a_judged_sum_is_right_exactly_where_it_comes_to_what_it_says(vocab):
    tree, verdicts = StoryTree(), []
    attach_drills(tree, 300, vocab, random.Random(0), judged=0.5)
    for text, node in lines(tree, vocab):
        if tree.tokens[node] == vocab.critique:
            formula, said, again = re.fullmatch(
                r": \w+ [a-z]+ (\d+ . \d+) = (\d+) so \w+ [a-z]+ (\d+)\nRight\?", text
            ).groups()
            right = evaluate(formula.split()) == int(said)
            assert said == again and tree.targets[node] == (vocab.yes if right else vocab.no)
            verdicts.append(right)
    assert verdicts.count(True) > 100 and verdicts.count(False) > 100


def test_what_a_sum_teaches_to_write_is_its_result(vocab):
    tree, ends = StoryTree(), 0
    attach_drills(tree, 100, vocab, random.Random(1), judged=0.5)
    for text, node in lines(tree, vocab):
        if tree.targets[node] != IGNORE and tree.tokens[node] != vocab.critique:
            formula, begun = text.split(" = ") if " = " in text else (text.removesuffix(" ="), "")
            result = str(evaluate(formula.split()[-3:]))
            wanted = vocab.tokenizer.decode([tree.targets[node]]).strip()
            assert result.startswith(begun + wanted) or (begun == result and wanted == "so")
            ends += wanted == "so"
    assert ends > 90


def test_a_slip_stands_beside_every_derivation_and_differs_in_its_result_alone(vocab):
    for i in range(20):
        story = generate(7, i, 2 + i % 3, False)
        tree = solution_tree(story, vocab, random.Random(i), wrong=0.0, continued=0.0, arithmetic=1.0)
        texts = {text for text, node in lines(tree, vocab) if tree.targets[node] == vocab.no}
        for k, line in enumerate(story.steps[:-1]):
            head = "\n".join([story.question, *story.steps[:k], line.split(" = ")[0] + " = "])
            beside = [text for text in texts if text.startswith(head) and text.count("\n") == k + 2]
            assert len(beside) == 1 and not beside[0].startswith(
                "\n".join([story.question, *story.steps[: k + 1]]) + "\n"
            )
