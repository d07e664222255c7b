"""What a process reward model learns from and is measured by: labels of steps, problems, figures."""

import numpy as np
import pytest
from solutions import STORIES, seven, solution_of
from transformers import AutoTokenizer, LlamaForCausalLM

from forethought.llm.builtin.checker import check_lines
from forethought.llm.builtin.evaluate import auc
from forethought.llm.prm.evaluate import best_solution, soft_auc
from forethought.llm.prm.labels import ExactLabels, RolloutLabels
from forethought.llm.prm.problems import held_out_stories, repeating_source, story_problem, story_source
from forethought.llm.prm.samplers import BuiltinSampler, EngineSampler, Solution


def test_exact_labels_are_the_checkers_word_on_all_lines_so_far():
    problems = [story_problem(story) for story in STORIES]
    solutions = [solution_of(story, i) for i, story in enumerate(STORIES)]
    labels = ExactLabels().label(problems, solutions, 0)
    for story, solution, found in zip(STORIES, solutions, labels):
        verdicts = check_lines(story, solution.lines)
        assert found == [float(all(verdicts[: i + 1])) for i in range(len(verdicts))]
    assert {0.0, 1.0} == {label for found in labels for label in found}
    with pytest.raises(ValueError, match="need a checker of steps"):
        ExactLabels().label([seven()], [Solution("Why?", "a\n", ("a",), False)], 0)


def test_rollout_labels_are_the_share_of_ways_on_that_end_right():
    class Ways:
        """After n lines, n of the ways on end in 7."""

        asked = 0

        def complete(self, starts, times, seed):
            self.asked += len(starts)
            return [["#### 7\n" if k < count else "#### 8\n" for k in range(times)] for _, count in starts]

    ways = Ways()
    open_one = Solution("Why?", "a\nb\nc\n", ("a", "b", "c"), False)
    right = Solution("Why?", "a\nb\n#### 7\n", ("a", "b", "#### 7"), True)
    wrong = Solution("Why?", "#### 8\n", ("#### 8",), True)
    labels = RolloutLabels(ways, 4).label([seven()] * 3, [open_one, right, wrong], 0)
    assert labels == [[0.25, 0.5, 0.75], [0.25, 0.5, 1.0], [0.0]]
    assert ways.asked == 3, "equal beginnings are finished once"
    with pytest.raises(ValueError, match="at least 1 completion of each step, got 0"):
        RolloutLabels(ways, 0)


@pytest.mark.parametrize("kind", [BuiltinSampler, EngineSampler])
def test_shares_are_those_of_a_policy_whose_chances_are_known(chain_llama, kind):
    loaded = LlamaForCausalLM.from_pretrained(chain_llama), AutoTokenizer.from_pretrained(chain_llama)
    writer = BuiltinSampler(*loaded, 1.0) if kind is BuiltinSampler else EngineSampler(chain_llama, 1.0)
    solutions = [one for one in writer.sample(["Why?"] * 8, 1) if one.lines and not one.ended]
    solutions += [one for one in writer.sample(["Why?"] * 8, 1) if len(one.lines) > 1 and one.ended]
    assert solutions and writer.sample(["Why?"] * 8, 1) == writer.sample(["Why?"] * 8, 1)
    problems = [seven()] * len(solutions)
    found = RolloutLabels(writer, 200).label(problems, solutions, 2)
    for solution, shares in zip(solutions, found):
        opened = shares[: len(shares) - solution.ended]
        assert opened == pytest.approx([0.75] * len(opened), abs=0.12)
    assert found == RolloutLabels(writer, 200).label(problems, solutions, 2)
    assert found != RolloutLabels(writer, 200).label(problems, solutions, 3)


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
    assert best_solution([one, two, two], [[0.9], [0.2, 0.4], [0.8, 0.3]]) == 1
    assert best_solution([one, one], [[0.1], [0.9]]) == 0


def test_problems_are_new_and_lists_come_round():
    drawn = [story_source()(i) for i in range(20)]
    assert len({one.question for one in drawn}) == 20 and story_source()(3).question == drawn[3].question
    assert [one.group for one in held_out_stories(8)] == ["2", "2", "3", "3", "4", "4", "5", "5"]
    source = repeating_source([seven(str(i)) for i in range(4)])
    for turn in range(3):
        assert {source(4 * turn + i).question for i in range(4)} == set("0123")
    with pytest.raises(ValueError, match="no problems"):
        repeating_source([])
