"""Process reward models trained on a policy's own steps: their examples, training and use."""

import json
import random
import shutil

import numpy as np
import pytest
import torch
from solutions import STORIES, solution_of
from transformers import AutoModelForCausalLM, AutoTokenizer

from forethought.llm.builtin.checker import check_lines
from forethought.llm.builtin.data import StoryTree, StoryVocabulary
from forethought.llm.builtin.net import Shape, build_model
from forethought.llm.builtin.tokenizer import story_tokenizer
from forethought.llm.builtin.train import export_model
from forethought.llm.critics.reward_formats import REWARD_FORMATS
from forethought.llm.load import BUILTIN_REWARD, load_text_model
from forethought.llm.prm import examples
from forethought.llm.prm.arithmetic_drills import add_right_result, attach_drills, corrupted_solutions
from forethought.llm.prm.batches import Schedule
from forethought.llm.prm.evaluate import RewardScorer
from forethought.llm.prm.examples import LabelledTree, branches, can_pack
from forethought.llm.prm.labels import ExactLabels
from forethought.llm.prm.problems import story_problem, story_source
from forethought.llm.prm.samplers import Solution
from forethought.llm.prm.train import RewardTraining, export, policy_fingerprint, train
from forethought.llm.tape.cached_engine import CachedEngine
from forethought.llm.text.state import TextState
from forethought.planning.tensor_file import load_tensors, save_tensors


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


class CorruptingSampler:
    """A sampler that returns stories' solutions with wrong lines in them, without a model."""

    def __init__(self):
        self.stories = {}

    def source(self, index):
        problem = story_source()(index)
        self.stories[problem.question] = problem.story
        return problem

    def sample(self, questions, seed, greedy=False):
        return [solution_of(self.stories[question], f"{seed}/{i}") for i, question in enumerate(questions)]


def trees_of(tokenizer, name="builtin"):
    reads = REWARD_FORMATS[name](tokenizer)
    made = []
    for i, story in enumerate(STORIES):
        tree = LabelledTree()
        for seed in range(3):
            solution = solution_of(story, f"{i}/{seed}")
            label = ExactLabels().label([story_problem(story)], [solution], 0)[0]
            tree.add_solution(reads, solution, label, 512)
        made.append(tree)
    return made


def test_packed_trees_and_plain_sequences_read_alike(tokenizer):
    model, trees = small(tokenizer), trees_of(tokenizer)
    assert can_pack(model)
    with torch.no_grad():
        token_bytes, apart = examples._read_packed(model, trees, 0)[0], examples._read_branches(model, trees, 0)[0]
    torch.testing.assert_close(token_bytes, apart, atol=1e-4, rtol=1e-4)
    for tree in trees:
        labels = [node for _, found in branches(tree) for node, _ in found]
        assert sorted(labels) == sorted(tree.labels)
    for story, tree in zip(STORIES, trees):
        assert sum(count for _, count in tree.labels.values()) == 3 * len(story.steps)


def test_a_wrong_sum_is_sound_up_to_the_digit_that_differs(tokenizer):
    vocab = StoryVocabulary(tokenizer)
    for seed in range(20):
        tree = StoryTree()
        attach_drills(tree, 1, vocab, random.Random(seed))
        wrong = [node for node, sound in enumerate(tree.valid) if sound == 0]
        right = [node for node, sound in enumerate(tree.valid) if sound == 1]
        assert wrong and right and all(tree.targets[node] == -100 for node in wrong)
        assert tree.parents[wrong[0]] in [*right, right[0] - 1] and wrong[0] > right[-1]


def test_a_slip_is_a_right_line_with_another_result_after_right_lines(tokenizer):
    vocab = StoryVocabulary(tokenizer)
    for story in STORIES:
        problem, gold = story_problem(story), Solution(story.question, "", tuple(story.steps), True)
        found = list(corrupted_solutions(problem.story, gold, 1.0, random.Random(0)))
        assert len(found) >= len(story.steps) - 2  # the answer has no sum, and reversed digits may be the same number
        for slip, line in found:
            assert check_lines(story, slip.lines) == [True] * (len(slip.lines) - 1) + [False]
            assert line == story.steps[len(slip.lines) - 1] and slip.lines[-1].split(" = ")[0] == line.split(" = ")[0]
            tree = StoryTree()
            add_right_result(tree, slip, line, vocab)
            goals = [goal for goal in tree.targets if goal != -100]
            assert tokenizer.decode(goals).split()[0] == line.split(" = ")[1].split()[0]
    off = Solution(story.question, "", ("nonsense", *story.steps), True)
    assert not list(corrupted_solutions(problem.story, off, 1.0, random.Random(0)))
    assert not list(corrupted_solutions(problem.story, gold, 0.0, random.Random(0)))


def test_a_slip_is_labelled_wrong_beside_the_right_line_and_sound_up_to_its_result(tokenizer, tmp_path):
    run = run_in(tmp_path, tokenizer, corrupted=1.0, drills=0)
    trees = run.batches.trees(0)
    plain = run_in(tmp_path, tokenizer, corrupted=0.0, drills=0).batches.trees(0)
    for tree, bare in zip(trees, plain):
        texts, before = (
            {tokenizer.decode(text_of(one.tree, node)): one.labels[node] for node in one.labels} for one in (tree, bare)
        )
        added = {text: mark for text, mark in texts.items() if text not in before}
        assert added and all(total == 0 for total, _ in added.values())
        assert {text: mark for text, mark in texts.items() if text in before} == before
        assert len([goal for goal in tree.tree.targets if goal != -100]) > 0


def text_of(tree, node):
    path = []
    while node >= 0:
        path.append(tree.tokens[node])
        node = tree.parents[node]
    return path[::-1]


def run_in(out, tokenizer, **changes):
    writer = CorruptingSampler()
    schedule = Schedule(
        **{"steps": 6, "problems": 2, "samples": 2, "group": 2, "warmup": 2, "checkpoint_every": 2} | changes
    )
    return RewardTraining(small(tokenizer), tokenizer, writer, ExactLabels(), writer.source, schedule, out)


def test_a_training_that_was_stopped_goes_on_exactly(tokenizer, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(run_in(whole, tokenizer), print)
    train(run_in(parts, tokenizer), print, stop_at=3)
    assert run_in(parts, tokenizer).step == 3
    train(run_in(parts, tokenizer), print)
    (one, first), (two, second) = (load_tensors(folder / "state.safetensors") for folder in (whole, parts))
    assert first["step"] == second["step"] == 6 and one.keys() == two.keys()
    for name, weight in one.items():
        assert torch.equal(weight, two[name]), name
    with pytest.raises(ValueError, match="seed was 0, is 1"):
        run_in(parts, tokenizer, seed=1)


def test_a_checkpoint_of_an_older_format_is_refused(tokenizer, tmp_path):
    run_in(tmp_path, tokenizer).save()
    tensors, header = load_tensors(tmp_path / "state.safetensors")
    for number, age in ((2, "an older format"), (99, "the newer format 99"), ("x", "an older format")):
        save_tensors(tmp_path / "state.safetensors", tensors, header | {"format": number})
        with pytest.raises(ValueError, match=f"checkpoint of {age}"):
            run_in(tmp_path, tokenizer)
    (tmp_path / "state.safetensors").unlink()
    torch.save({}, tmp_path / "state.pt")
    with pytest.raises(ValueError, match="checkpoint of an older format"):
        run_in(tmp_path, tokenizer)


def test_a_training_that_diverges_says_so_and_writes_no_model(tokenizer, tmp_path):
    with pytest.raises(ValueError, match=r"NaN|diverged"):
        train(run_in(tmp_path, tokenizer, learning_rate=float("nan")), print)
    assert not (tmp_path / "model").exists()


def test_a_policy_is_known_wherever_it_lies(policy, tokenizer, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(policy, moved)
    here, there = (AutoModelForCausalLM.from_pretrained(folder) for folder in (policy, moved))
    assert policy_fingerprint(here) == policy_fingerprint(there)
    with torch.no_grad():
        next(there.parameters())[0, 0] += 1
    assert policy_fingerprint(here) != policy_fingerprint(there)


def test_labels_are_learned(tokenizer, tmp_path):
    run = run_in(tmp_path, tokenizer, steps=40, learning_rate=3e-3)
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
    wanted = RewardScorer(run.model, run.reward_format).scores([[right]])[0][0]
    prompt = text.format.prompt_tokens(story.question)
    tokens, before = prompt, 0
    for i, line in enumerate(story.steps):
        step = tuple(tokenizer.encode(line + "\n"))
        tokens += step
        ended = "answer" if i == len(story.steps) - 1 else ""
        state = TextState(tokens, ended, len(prompt), len(tokens) - len(step), question=story.question)
        found = await text.value.score(CachedEngine(text.engine, text.tape), text.format, state)
        assert found.value == pytest.approx(wanted[i], abs=1e-5)
        assert found.tokens_spent <= len(step) + 1 + (0 if before else len(prompt))
        before = len(tokens)
    await text.close()


def test_what_cannot_be_learned_is_named(tokenizer, tmp_path):
    with pytest.raises(ValueError, match="no reward format 'qwen' to train in; there are builtin, math_shepherd"):
        run_in(tmp_path, tokenizer, reward_format="qwen")
    with pytest.raises(ValueError, match="no token 'ки'"):
        run_in(tmp_path, tokenizer, reward_format="math_shepherd")

    class Mute(CorruptingSampler):
        def sample(self, questions, seed, greedy=False):
            return [Solution(question, "a", (), False) for question in questions]

    run = run_in(tmp_path, tokenizer)
    run.batches.sampler = Mute()
    with pytest.raises(ValueError, match="hardly a whole line"):
        run.advance()


@pytest.mark.skipif(not (BUILTIN_REWARD / "config.json").is_file(), reason="no built-in reward model in this checkout")
def test_the_shipped_reward_model_is_small_and_keeps_its_promise():
    assert sum(path.stat().st_size for path in BUILTIN_REWARD.iterdir()) <= 12e6
    card = json.loads((BUILTIN_REWARD / "card.json").read_text())
    assert card["table"]["all"]["auc_exact"] >= 0.9 and card["auc_rollouts"] is not None
    text = load_text_model("builtin", value="prm")
    assert text.value.name == "prm" and can_pack(AutoModelForCausalLM.from_pretrained(BUILTIN_REWARD))


def test_what_is_written_is_a_model_folder(tokenizer, tmp_path):
    folder = export(run_in(tmp_path, tokenizer))
    assert AutoTokenizer.from_pretrained(folder).encode("Right?") == tokenizer.encode("Right?")
