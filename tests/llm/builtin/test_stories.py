"""Stories and their checker, against an independent reckoning of the structured relations."""

import itertools
import random
import re
from collections import Counter

import pytest

from forethought.llm.builtin.checker import check_lines, check_solution, check_step, final_answer
from forethought.llm.builtin.continuations import continuation, next_line, unneeded_line
from forethought.llm.builtin.corruptions import CORRUPTIONS, corrupt_step
from forethought.llm.builtin.relations import FRACTIONS, KINDS
from forethought.llm.builtin.stories import ask_for, generate, held_out, split_of

STORIES = [generate(7, i, 2 + i % 7, i % 2 == 1) for i in range(140)]

# What each kind means, written apart from the package.
SUM = {"sum", "list", "more", "received"}
MINUS = {"difference", "fewer", "gave"}
TIMES = {"times", "twice", "groups", "price", "packs"}
OVER = {"fraction", "split"}


def reckon(kind, s, n):
    if kind in SUM:
        return sum(s) + sum(n)
    if kind in MINUS:
        return s[0] - (s[1] if len(s) > 1 else n[0])
    if kind in TIMES:
        return s[0] * n[0] if s else n[0] * n[1]
    if kind in OVER:
        return s[0] / n[0]
    return {"percent": lambda: s[0] * n[0] / 100, "rest": lambda: n[0] - s[0]}[kind]()


def forms(kind, s, n):
    """Every order of the operands that counts as the relation's formula; sources as `name verb number`."""
    operands = [str(x) for x in (*s, *n)]
    if kind in SUM or kind in TIMES:
        return {(" + " if kind in SUM else " * ").join(order) for order in itertools.permutations(operands)}
    if kind in MINUS or kind in OVER:
        return {(" - " if kind in MINUS else " / ").join(operands)}
    if kind == "rest":
        return {f"{n[0]} - {s[0]}"}
    return {f"{s[0]} * {n[0]} / 100", f"{n[0]} * {s[0]} / 100"}


def right_lines(story, known):
    """Every line that is right where `known` holds, by brute force."""
    lines = {f"#### {story.answer}"}
    for r in story.relations:
        if all(name in known for name in r.sources):
            s = [known[name] for name in r.sources]
            result = int(reckon(r.kind, s, r.numbers))
            end = f"{result} so {r.target} {story.verb} {result}"
            told = [f"{name} {story.verb} {known[name]}" for name in r.sources]
            lines |= {f"{r.sentence()}: {form} = {end}" for form in forms(r.kind, told, r.numbers)}
    return lines


def independent_values(story):
    known = dict(story.given)
    for r in story.relations:
        known[r.target] = reckon(r.kind, [known[name] for name in r.sources], r.numbers)
    return known


def test_solutions_are_right_and_lead_to_the_answer():
    for story in STORIES:
        values = independent_values(story)
        assert values == story.values() and values[story.asked] == story.answer
        assert all(value == int(value) and 0 < value <= 99 for value in values.values())
        assert check_lines(story, story.steps) == [True] * len(story.steps)
        assert check_solution(story, "\n".join(story.steps) + "\n")
        assert final_answer("\n".join(story.steps)) == story.answer


def test_the_checker_agrees_with_brute_force_on_right_wrong_and_useless_lines():
    rng = random.Random(0)
    verdicts = Counter()
    for story in STORIES[:35]:
        known, before = dict(story.given), []
        for i, line in enumerate(story.steps):
            right = right_lines(story, known)
            tries = right | {corrupt_step(story, i, rng) or "" for _ in range(8)} | set(story.steps)
            tries |= {other.replace("+", "-", 1) for other in right} | {other + "0" for other in right}
            for text in tries:
                assert check_step(story, before, text) == (text in right), (story, before, text)
                verdicts[text in right] += 1
            before.append(line)
            if not line.startswith("####"):
                known[story.relations[i].target] = int(line.split()[-1])
    assert min(verdicts.values()) > 150


def test_useless_but_true_steps_are_right():
    useless = [(s, r) for s in STORIES for r in s.relations[s.length :]]
    assert len(useless) > 10
    for story in {story.question: story for story, _ in useless}.values():
        lines = [relation.line(story.verb, story.values()) for relation in story.relations]
        assert check_lines(story, [*lines, story.steps[-1]]) == [True] * (len(lines) + 1)
        assert check_step(story, lines, lines[-1])  # said again


def test_steps_that_follow_from_a_wrong_step_are_wrong():
    bad = [STORIES[i] for i in range(40) if STORIES[i].length > 2]
    for story in bad:
        result = story.steps[0].rsplit(" ", 1)[1]
        wrong = story.steps[0].replace(f"= {result}", f"= {int(result) + 1}")[: -len(result)] + str(int(result) + 1)
        assert not check_step(story, [], wrong)
        for relation, line in zip(story.relations[1:], story.steps[1:-1]):
            if story.relations[0].target in relation.sources:
                assert not check_step(story, [wrong], line)
        assert not check_solution(story, "\n".join([wrong, *continuation(story, [wrong], 9)]))


def test_the_way_on_from_right_lines_is_the_solution_and_others_rejoin_it():
    rng, useless = random.Random(2), 0
    for story in STORIES:
        assert continuation(story, [], 99) == list(story.steps) and next_line(story, story.steps) is None
        for i in range(story.length):
            extra = unneeded_line(story, story.steps[:i], rng)
            if extra is not None:
                useless += 1
                lines = [*story.steps[:i], extra]
                assert extra != story.steps[i] and check_step(story, story.steps[:i], extra)
                assert check_solution(story, "\n".join([*lines, *continuation(story, lines, 99)]))
    assert useless > 100


def test_the_way_on_from_a_wrong_line_takes_it_at_its_word():
    for story in STORIES[:60]:
        first = story.relations[0]
        wrong = f"{story.steps[0].rsplit(' ', 1)[0]} 97"
        known, lines = story.given | {first.target: 97}, continuation(story, [wrong], 99)
        for line in lines:
            if line.startswith("####"):
                assert line == f"#### {known[story.asked]}" and line == lines[-1]
                continue
            relation = next(r for r in story.relations if line.startswith(r.sentence() + ": "))
            result = reckon(relation.kind, [known[name] for name in relation.sources], relation.numbers)
            assert line.endswith(f" = {result:.0f} so {relation.target} {story.verb} {result:.0f}") and result > 0
            known[relation.target] = int(result)


@pytest.mark.parametrize("text", [
    "", "\n", "####", "#### ", "#### 0", "#### 1 2", "Tom", "Tom =", "= 3", "Tom = Tom = Tom = 3", "####  5", " = = ",
    "Ann trails Tom by 3: + 3 = 4 so Tom has 4", "Ann trails Tom by 3: Ann has 4 + 99999999999 = 1 so Tom has 1",
    "Ann trails Tom by 3: 4 + 3 = 7 so Tom has 7",
    "é = 3 = 3", "a = b = c = d",
])  # fmt: skip
def test_malformed_steps_are_wrong_and_nothing_raises(text):
    for story in STORIES[:10]:
        assert not check_step(story, [], text)
        assert not check_solution(story, text)


@pytest.mark.parametrize("kind", [*CORRUPTIONS, "last"])
def test_every_class_of_corruption_is_made_and_rejected(kind):
    rng, made = random.Random(1), 0
    for story in STORIES:
        index = len(story.steps) - 1 if kind == "last" else rng.randrange(story.length)
        line = corrupt_step(story, index, rng, None if kind == "last" else kind)
        if line is not None:
            made += 1
            assert not check_step(story, story.steps[:index], line)
    assert made > 40


def test_relations_and_scenes_vary():
    kinds = Counter(r.kind for s in STORIES for r in s.relations)
    assert set(kinds) == set(KINDS) and len(kinds) >= 12
    assert len({s.question.rsplit(" ", 1)[1] for s in STORIES}) >= 6  # have? pick? own? bake? ...


def test_the_question_tells_every_fact_and_relation():
    for story in STORIES:
        sentences = story.question.split(". ")
        for name, value in story.given.items():
            assert any(text.startswith(f"{name} {story.verb} {value} ") for text in sentences)
        for relation in story.relations:
            (text,) = [text for text in sentences if text == relation.sentence()]
            named = re.findall(r"[A-Z][a-z]+", text)
            assert sorted(named) == sorted((*relation.sources, relation.target))
            assert named[0] == (relation.sources or named)[0]
        assert f" {story.asked} " in sentences[-1]


def test_the_words_of_each_kind_tell_its_numbers():
    for kind, spec in KINDS.items():
        found = [r for s in STORIES for r in s.relations if r.kind == kind]
        for r in found:
            shown = [n for n in r.numbers if kind != "twice"]
            words = r.sentence()
            assert all(str(n) in words or FRACTIONS.get(n, "?") in words for n in shown)
            assert len(r.sources) == spec.arity


def test_stories_depend_on_their_key_alone():
    assert generate(3, 5, 4, True) == generate(3, 5, 4, True)
    assert len({generate(3, i, 3, False).question for i in range(50)}) == 50
    assert generate(3, 5, 4, True, "test") != generate(3, 5, 4, True, "train")
    with pytest.raises(ValueError, match="no split"):
        generate(0, 0, 2, False, "dev")


def test_splits_share_no_structure():
    drawn = {
        split: {generate(seed, i, 1 + i % 4, i % 2 == 1, split).structure() for i in range(count) for seed in (0, 1)}
        for split, count in (("train", 900), ("validation", 180), ("test", 180))
    }
    for a, b in itertools.combinations(drawn, 2):
        assert not drawn[a] & drawn[b]
    assert all(split_of(structure) == split for split, found in drawn.items() for structure in found)


def test_held_out_sets_keep_their_promises():
    stories = held_out("test", per_length=20)
    assert stories == held_out("test", per_length=20) and len(stories) == 80
    for length in (2, 3, 4, 5):
        mine = [s for s in stories if s.length == length]
        assert len(mine) == 20 and sum(s.distractor for s in mine) == 10
        assert all(len(s.steps) == length + 1 for s in mine)
    assert {s.length for s in held_out("validation", 3, (6, 7, 8))} == {6, 7, 8}
    assert not {s.question for s in stories} & {s.question for s in held_out("validation", 20)}


def test_other_questions_to_the_same_text_are_stories_of_their_own():
    for story in STORIES[:40]:
        for target in {r.target for r in story.relations} - {story.asked}:
            other = ask_for(story, target)
            assert other.answer == independent_values(story)[target] and check_solution(other, "\n".join(other.steps))
            assert other.question.split(" How many ")[0] == story.question.split(" How many ")[0]
            assert f" {target} " in other.question.split(" How many ")[1]
        assert ask_for(story, story.asked).steps == story.steps


def test_shuffling_and_branches_occur():
    plain = [generate(2, i, 4, False, shuffle=False) for i in range(60)]
    mixed = [generate(2, i, 4, False) for i in range(60)]
    assert all(told_in_order(story) for story in plain) and not all(told_in_order(story) for story in mixed)
    assert any(len(set(r.sources) & {x.target for x in s.relations}) > 1 for s in mixed for r in s.relations)


def told_in_order(story):
    """Whether every relation is told after those that derive its sources."""
    place = {r.target: story.question.index(r.sentence() + ".") for r in story.relations}
    return all(place.get(name, -1) < place[r.target] for r in story.relations for name in r.sources)


def test_solutions_go_on_from_the_last_quantity_where_they_can():
    for story in STORIES:
        needed, known, last = story.relations[: story.length], set(story.given), ""
        for i, relation in enumerate(needed):
            ready = [r for r in needed[i:] if known.issuperset(r.sources)]
            onward = [r for r in ready if last in r.sources]
            first = min(onward or ready, key=lambda r: story.question.index(r.sentence() + "."))
            assert relation == first
            known.add(relation.target)
            last = relation.target


def test_every_needed_quantity_is_needed():
    for story in STORIES:
        needed, todo = set(), [story.asked]
        by_target = {r.target: r for r in story.relations}
        while todo:
            name = todo.pop()
            if name not in needed:
                needed.add(name)
                todo += by_target[name].sources if name in by_target else ()
        assert {r.target for r in story.relations[: story.length]} == needed & set(by_target)
        assert len(story.relations[: story.length]) == story.length
        assert not needed & set(story.distractors)
