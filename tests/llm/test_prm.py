"""Process reward models trained on a policy's own steps: their lessons, training and use."""

import json
import random
import shutil

import numpy as np
import pytest
import torch
from solutions import STORIES, solution_of
from transformers import AutoModelForCausalLM, AutoTokenizer

from forethought.llm.builtin.checker import check_lines
from forethought.llm.builtin.data import Tree, Words
from forethought.llm.builtin.net import Shape, build_model
from forethought.llm.builtin.tokenizer import story_tokenizer
from forethought.llm.builtin.train import export_model
from forethought.llm.critics.reward_formats import REWARD_FORMATS
from forethought.llm.load import BUILTIN_REWARD, load_text_model
from forethought.llm.prm import examples as reading
from forethought.llm.prm.arithmetic_drills import hang_sums, slips_of, teach_result
from forethought.llm.prm.batches import Plan
from forethought.llm.prm.evaluate import Judge
from forethought.llm.prm.examples import Lesson, branches, packs
from forethought.llm.prm.labels import Exact
from forethought.llm.prm.problems import stories, story_problem
from forethought.llm.prm.samplers import Solution
from forethought.llm.prm.train import Run, export, fingerprint, train
from forethought.llm.tape.cached_engine import CachedEngine
from forethought.llm.text.steps import TextState

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tokenizer():
    return story_tokenizer(300)


@pytest.fixture(scope="module")
def policy(tokenizer, tmp_path_factory):
    """A folder: a small random reasoner."""
    folder = tmp_path_factory.mktemp("policies") / "small"
    export_model(small(tokenizer), tokenizer, folder)
    return folder


def small(tokenizer):
    torch.manual_seed(0)
    return build_model(Shape(32, 2, 2, 64), len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)


class Written:
    """A writer of stories' solutions with wrong lines in them, as fast as they can be made."""

    def __init__(self):
        self.stories = {}

    def source(self, index):
        problem = stories()(index)
        self.stories[problem.question] = problem.story
        return problem

    def write(self, questions, seed, greedy=False):
        return [solution_of(self.stories[question], f"{seed}/{i}") for i, question in enumerate(questions)]


def lessons_of(tokenizer, name="builtin"):
    reads = REWARD_FORMATS[name](tokenizer)
    made = []
    for i, story in enumerate(STORIES):
        lesson = Lesson()
        for seed in range(3):
            solution = solution_of(story, f"{i}/{seed}")
            label = Exact().label([story_problem(story)], [solution], 0)[0]
            lesson.add(reads, solution, label, 512)
        made.append(lesson)
    return made


def test_packed_trees_and_plain_sequences_read_alike(tokenizer):
    model, lessons = small(tokenizer), lessons_of(tokenizer)
    assert packs(model)
    with torch.no_grad():
        packed, apart = reading._packed(model, lessons, 0)[0], reading._apart(model, lessons, 0)[0]
    torch.testing.assert_close(packed, apart, atol=1e-4, rtol=1e-4)
    for lesson in lessons:
        marks = [node for _, found in branches(lesson) for node, _ in found]
        assert sorted(marks) == sorted(lesson.marks)
    for story, lesson in zip(STORIES, lessons):
        assert sum(count for _, count in lesson.marks.values()) == 3 * len(story.steps)


def test_a_wrong_sum_is_sound_up_to_the_digit_that_differs(tokenizer):
    words = Words(tokenizer)
    for seed in range(20):
        tree = Tree()
        hang_sums(tree, 1, words, random.Random(seed))
        wrong = [node for node, sound in enumerate(tree.sound) if sound == 0]
        right = [node for node, sound in enumerate(tree.sound) if sound == 1]
        assert wrong and right and all(tree.goals[node] == -100 for node in wrong)
        assert tree.parents[wrong[0]] in [*right, right[0] - 1] and wrong[0] > right[-1]


def test_a_slip_is_a_right_line_with_another_result_after_right_lines(tokenizer):
    words = Words(tokenizer)
    for story in STORIES:
        problem, gold = story_problem(story), Solution(story.question, "", tuple(story.steps), True)
        found = list(slips_of(problem, gold, 1.0, random.Random(0)))
        assert len(found) >= len(story.steps) - 2  # the answer has no sum, and reversed digits may be the same number
        for slip, line in found:
            assert check_lines(story, slip.lines) == [True] * (len(slip.lines) - 1) + [False]
            assert line == story.steps[len(slip.lines) - 1] and slip.lines[-1].split(" = ")[0] == line.split(" = ")[0]
            tree = Tree()
            teach_result(tree, slip, line, words)
            goals = [goal for goal in tree.goals if goal != -100]
            assert tokenizer.decode(goals).split()[0] == line.split(" = ")[1].split()[0]
    off = Solution(story.question, "", ("nonsense", *story.steps), True)
    assert not list(slips_of(problem, off, 1.0, random.Random(0)))
    assert not list(slips_of(problem, gold, 0.0, random.Random(0)))


def test_a_slip_is_labelled_wrong_beside_the_right_line_and_sound_up_to_its_result(tokenizer, tmp_path):
    run = run_in(tmp_path, tokenizer, slips=1.0, sums=0)
    lessons = run.feed.lessons(0)
    plain = run_in(tmp_path, tokenizer, slips=0.0, sums=0).feed.lessons(0)
    for lesson, bare in zip(lessons, plain):
        texts, before = (
            {tokenizer.decode(text_of(one.tree, node)): one.marks[node] for node in one.marks} for one in (lesson, bare)
        )
        added = {text: mark for text, mark in texts.items() if text not in before}
        assert added and all(total == 0 for total, _ in added.values())
        assert {text: mark for text, mark in texts.items() if text in before} == before
        assert len([goal for goal in lesson.tree.goals if goal != -100]) > 0


def text_of(tree, node):
    path = []
    while node >= 0:
        path.append(tree.tokens[node])
        node = tree.parents[node]
    return path[::-1]


def run_in(out, tokenizer, **changes):
    writer = Written()
    plan = Plan(**{"steps": 6, "problems": 2, "samples": 2, "group": 2, "warmup": 2, "checkpoint_every": 2} | changes)
    return Run(small(tokenizer), tokenizer, writer, Exact(), writer.source, plan, out)


def test_a_training_that_was_stopped_goes_on_exactly(tokenizer, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(run_in(whole, tokenizer), print)
    train(run_in(parts, tokenizer), print, stop_at=3)
    assert run_in(parts, tokenizer).step == 3
    train(run_in(parts, tokenizer), print)
    states = [torch.load(folder / "state.pt", weights_only=True) for folder in (whole, parts)]
    assert states[0]["step"] == states[1]["step"] == 6
    for name, weight in states[0]["model"].items():
        assert torch.equal(weight, states[1]["model"][name]), name
    with pytest.raises(ValueError, match="seed 0, now 1"):
        run_in(parts, tokenizer, seed=1)


def test_a_policy_is_known_wherever_it_lies(policy, tokenizer, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(policy, moved)
    here, there = (AutoModelForCausalLM.from_pretrained(folder) for folder in (policy, moved))
    assert fingerprint(here) == fingerprint(there)
    with torch.no_grad():
        next(there.parameters())[0, 0] += 1
    assert fingerprint(here) != fingerprint(there)


def test_labels_are_learned(tokenizer, tmp_path):
    run = run_in(tmp_path, tokenizer, steps=40, rate=3e-3)
    losses = [run.advance() for _ in range(40)]
    first, last = losses[0], np.mean(losses[-10:], 0)
    assert last[0] < first[0] / 2 and 0 < last[1] < first[1]
    assert not any(weight.isnan().any() for weight in run.model.state_dict().values())


async def test_a_trained_folder_judges_steps_as_they_come(policy, tokenizer, tmp_path):
    run = run_in(tmp_path, tokenizer)
    folder = train(run, print)
    text = load_text_model(policy, value="prm", reward_model=folder, reward_format="builtin", temperature=1.0)
    story = STORIES[0]
    right = Solution(story.question, "", story.steps, True)
    wanted = Judge(run.model, run.reads).scores([[right]])[0][0]
    prompt = text.format.prompt_tokens(story.question)
    tokens, before = prompt, 0
    for i, line in enumerate(story.steps):
        step = tuple(tokenizer.encode(line + "\n"))
        tokens += step
        ended = "answer" if i == len(story.steps) - 1 else ""
        state = TextState(tokens, ended, len(prompt), len(tokens) - len(step), question=story.question)
        found = await text.value.score(CachedEngine(text.engine, text.tape), text.format, state)
        assert found.value == pytest.approx(wanted[i], abs=1e-5)
        assert found.computed <= len(step) + 1 + (0 if before else len(prompt))
        before = len(tokens)
    await text.close()


def test_what_cannot_be_learned_is_named(tokenizer, tmp_path):
    with pytest.raises(ValueError, match="no reward format 'qwen' to train in; there are builtin, math_shepherd"):
        run_in(tmp_path, tokenizer, reward_format="qwen")
    with pytest.raises(ValueError, match="no token 'ки'"):
        run_in(tmp_path, tokenizer, reward_format="math_shepherd")

    class Mute(Written):
        def write(self, questions, seed, greedy=False):
            return [Solution(question, "a", (), False) for question in questions]

    run = run_in(tmp_path, tokenizer)
    run.feed.writer = Mute()
    with pytest.raises(ValueError, match="hardly a whole line"):
        run.advance()


@pytest.mark.skipif(not (BUILTIN_REWARD / "config.json").is_file(), reason="no built-in reward model in this checkout")
def test_the_shipped_reward_model_is_small_and_keeps_its_promise():
    assert sum(path.stat().st_size for path in BUILTIN_REWARD.iterdir()) <= 12e6
    card = json.loads((BUILTIN_REWARD / "card.json").read_text())
    assert card["table"]["all"]["auc_exact"] >= 0.9 and card["auc_rollouts"] is not None
    text = load_text_model("builtin", value="prm")
    assert text.value.name == "prm" and packs(AutoModelForCausalLM.from_pretrained(BUILTIN_REWARD))


def test_what_is_written_is_a_model_folder(tokenizer, tmp_path):
    folder = export(run_in(tmp_path, tokenizer))
    assert AutoTokenizer.from_pretrained(folder).encode("Right?") == tokenizer.encode("Right?")
