"""Process reward models trained on a policy's own steps: their labels, lessons, training and use."""

import json
import random

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from forethought.llm.embedded.checker import check_lines, final_answer
from forethought.llm.embedded.corrupt import corrupt_step
from forethought.llm.embedded.data import Tree, Words
from forethought.llm.embedded.evaluate import auc
from forethought.llm.embedded.net import Shape, build_model
from forethought.llm.embedded.stories import held_out
from forethought.llm.embedded.tokenizer import story_tokenizer
from forethought.llm.embedded.train import export_model
from forethought.llm.load import BUILTIN_REWARD, load_text_model
from forethought.llm.prm import lessons as reading
from forethought.llm.prm.evaluate import Judge, chosen, soft_auc
from forethought.llm.prm.feed import Plan
from forethought.llm.prm.labels import Exact, Rollouts
from forethought.llm.prm.lessons import Lesson, branches, packs
from forethought.llm.prm.problems import Problem, held_out_stories, repeated, stories, story_problem
from forethought.llm.prm.sums import hang_sums
from forethought.llm.prm.train import Run, export, train
from forethought.llm.prm.writers import EngineWriter, FastWriter, Solution
from forethought.llm.steps import TextState
from forethought.llm.tape import Taped
from forethought.llm.values.reward_formats import REWARD_FORMATS

torch.set_num_threads(1)

STORIES = held_out("validation", 3)


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


def solution_of(story, seed=0):
    """The story's solution with a wrong line for about one in three of its lines."""
    rng, lines = random.Random(seed), []
    for i, line in enumerate(story.steps):
        wrong = corrupt_step(story, i, rng) if rng.random() < 0.35 else None
        lines.append(wrong or line)
    return Solution(story.question, "\n".join(lines) + "\n", tuple(lines), True)


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


def seven(question="Why?"):
    return Problem(question, lambda text: final_answer(text) == 7)


def test_exact_labels_are_the_checkers_word_on_all_lines_so_far():
    problems = [story_problem(story) for story in STORIES]
    solutions = [solution_of(story, i) for i, story in enumerate(STORIES)]
    labels = Exact().label(problems, solutions, 0)
    for story, solution, found in zip(STORIES, solutions, labels):
        verdicts = check_lines(story, solution.lines)
        assert found == [float(all(verdicts[: i + 1])) for i in range(len(verdicts))]
    assert {0.0, 1.0} == {label for found in labels for label in found}
    with pytest.raises(ValueError, match="want a checker of steps"):
        Exact().label([seven()], [Solution("Why?", "a\n", ("a",), False)], 0)


def test_rollout_labels_are_the_share_of_ways_on_that_end_right():
    class Ways:
        """After n lines, n of the ways on end in 7."""

        asked = 0

        def finish(self, starts, times, seed):
            self.asked += len(starts)
            return [["#### 7\n" if k < count else "#### 8\n" for k in range(times)] for _, count in starts]

    ways = Ways()
    open_one = Solution("Why?", "a\nb\nc\n", ("a", "b", "c"), False)
    right = Solution("Why?", "a\nb\n#### 7\n", ("a", "b", "#### 7"), True)
    wrong = Solution("Why?", "#### 8\n", ("#### 8",), True)
    labels = Rollouts(ways, 4).label([seven()] * 3, [open_one, right, wrong], 0)
    assert labels == [[0.25, 0.5, 0.75], [0.25, 0.5, 1.0], [0.0]]
    assert ways.asked == 3, "equal beginnings are finished once"
    with pytest.raises(ValueError, match="at least 1 completion of each step, got 0"):
        Rollouts(ways, 0)


@pytest.mark.parametrize("kind", [FastWriter, EngineWriter])
def test_shares_are_those_of_a_policy_whose_chances_are_known(chain_llama, kind):
    loaded = LlamaForCausalLM.from_pretrained(chain_llama), AutoTokenizer.from_pretrained(chain_llama)
    writer = FastWriter(*loaded, 1.0) if kind is FastWriter else EngineWriter(chain_llama, 1.0)
    solutions = [one for one in writer.write(["Why?"] * 8, 1) if one.lines and not one.ended]
    solutions += [one for one in writer.write(["Why?"] * 8, 1) if len(one.lines) > 1 and one.ended]
    assert solutions and writer.write(["Why?"] * 8, 1) == writer.write(["Why?"] * 8, 1)
    problems = [seven()] * len(solutions)
    found = Rollouts(writer, 200).label(problems, solutions, 2)
    for solution, shares in zip(solutions, found):
        opened = shares[: len(shares) - solution.ended]
        assert opened == pytest.approx([0.75] * len(opened), abs=0.12)
    assert found == Rollouts(writer, 200).label(problems, solutions, 2)
    assert found != Rollouts(writer, 200).label(problems, solutions, 3)


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
        found = await text.value.score(Taped(text.engine, text.tape), text.format, state)
        assert found.value == pytest.approx(wanted[i], abs=1e-5)
        assert found.computed <= len(step) + 1 + (0 if before else len(prompt))
        before = len(tokens)
    await text.close()


def test_the_soft_area_under_the_curve_counts_shares():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 9, 60) / 8, rng.random(60) < 0.4
    assert soft_auc(scores, labels) == pytest.approx(auc(scores, labels))
    shares = rng.integers(0, 5, 60) / 4
    pairs = [(a, b, p * (1 - q)) for a, p in zip(scores, shares) for b, q in zip(scores, shares)]
    brute = sum(w * ((a > b) + (a == b) / 2) for a, b, w in pairs) / sum(w for _, _, w in pairs)
    assert soft_auc(scores, shares) == pytest.approx(brute)
    assert np.isnan(soft_auc([0.1, 0.2], [1, 1]))


def test_the_finished_sample_with_the_best_last_line_is_chosen():
    one, two = (Solution("Why?", "", ("a",), ended) for ended in (False, True))
    assert chosen([one, two, two], [[0.9], [0.2, 0.4], [0.8, 0.3]]) == 1
    assert chosen([one, one], [[0.1], [0.9]]) == 0


def test_problems_are_new_and_lists_come_round():
    drawn = [stories()(i) for i in range(20)]
    assert len({one.question for one in drawn}) == 20 and stories()(3).question == drawn[3].question
    assert [one.group for one in held_out_stories(8)] == ["2", "2", "3", "3", "4", "4", "5", "5"]
    source = repeated([seven(str(i)) for i in range(4)])
    for turn in range(3):
        assert {source(4 * turn + i).question for i in range(4)} == set("0123")
    with pytest.raises(ValueError, match="no problems"):
        repeated([])


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
