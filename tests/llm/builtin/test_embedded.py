"""The embedded reasoner: tokenizer, packing, training that resumes exactly, and the shipped weights."""

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from forethought.llm import builtin
from forethought.llm.builtin.checker import check_lines
from forethought.llm.builtin.continuations import next_line
from forethought.llm.builtin.corruptions import corrupt_step
from forethought.llm.builtin.data import IGNORE, StoryTree, StoryVocabulary, pack, sampled_tree, solution_tree
from forethought.llm.builtin.evaluate import as_text, auc, measure
from forethought.llm.builtin.init import freeze_previous_token_heads, previous_token_heads
from forethought.llm.builtin.net import Shape, build_model, tree_hidden
from forethought.llm.builtin.sample import critique_values, sample_solutions
from forethought.llm.builtin.schedule import BatchSampler, Schedule
from forethought.llm.builtin.stories import generate, held_out
from forethought.llm.builtin.tokenizer import NO, YES, story_tokenizer
from forethought.llm.builtin.train import ReasonerTraining, export_model, losses, train

FOLDER = Path(builtin.__file__).parent / "reasoner"
TINY = Schedule(
    steps=8, batch=4, warmup=2, sample_from=4, sample_every=1, sample_stories=4, samples_per_story=2,
    checkpoint_every=100, evaluate_every=100, shape=Shape(hidden=32, layers=1, heads=2, inner=48),
)  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    return story_tokenizer(1500)


@pytest.fixture(scope="module")
def vocab(tokenizer):
    return StoryVocabulary(tokenizer)


def tiny_model(vocab, seed=0):
    torch.manual_seed(seed)
    return build_model(TINY.shape, len(vocab.tokenizer), vocab.end, vocab.pad)


def test_the_tokenizer_keeps_digits_and_lines_apart(tokenizer, vocab):
    pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    assert 400 <= len(tokenizer) <= 700
    assert all(sum(c.isdigit() for c in piece) <= 1 for piece in pieces)
    assert not any("Ċ" in piece for piece in pieces if piece != "Ċ")
    assert len(vocab.encode(YES)) == len(vocab.encode(NO)) == 1
    assert tokenizer.bos_token_id is None and tokenizer.pad_token_id != tokenizer.eos_token_id


@pytest.mark.parametrize("text", [
    "".join(map(chr, range(128))), "Ann trails Tom by 3: Ann has 12 + 3 = 15 so Tom has 15\n\n#### 15\n",
    "naïve — ½ 1234 xyzzy", " Two  spaces, How Are you?Right? ", "than  Ann.  Bob",
])  # fmt: skip
def test_any_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_every_story_word_is_one_token(vocab):
    for i in range(60):
        story = generate(9, i, 2 + i % 5, i % 2 == 1)
        for text in (story.question, *story.steps):
            longest = sum(max(1, sum(c.isdigit() for c in w)) + (w[-1] in ".,?%:") for w in text.split())
            assert len(vocab.encode(text)) <= longest


def test_a_tree_runs_like_its_branches(vocab):
    story, model = generate(0, 1, 3, True), tiny_model(vocab).eval()
    wrong = story.steps[0][:-1] + "\n" + story.steps[1] + "\n"
    tree = sampled_tree(story, [wrong], vocab)
    batch = pack([tree, StoryTree([5], [-1], [IGNORE], [IGNORE])], vocab.pad)
    with torch.no_grad():
        logits = model.lm_head(tree_hidden(model, batch.ids, batch.positions, batch.mask))[0]
        for lines in (story.steps, wrong.split("\n")[:-1]):
            ids = vocab.encode(story.question + "\n" + "\n".join(lines) + "\n") + [vocab.critique]
            node, path = -1, []
            for token in ids:
                node = tree.children[(node, token)]
                path.append(node)
            alone = model(torch.tensor([ids])).logits[0]
            torch.testing.assert_close(logits[path], alone, atol=1e-4, rtol=1e-3)


def test_goals_teach_the_solution_and_judge_every_line(vocab):
    story = generate(0, 2, 4, False)
    tree = sampled_tree(story, ["".join(line + "\n" for line in story.steps)], vocab)
    asked = [goal for token, goal in zip(tree.tokens, tree.targets) if token == vocab.critique]
    assert asked == [vocab.yes] * len(story.steps)
    taught = sum(goal != IGNORE for goal in tree.targets) - len(asked)
    assert taught == len(vocab.encode("\n".join(story.steps) + "\n")) + 1  # and the end


def path(tree, node):
    """The nodes from the root to the node."""
    return [*path(tree, tree.parents[node]), node] if node >= 0 else []


def test_every_verdict_is_the_checkers_and_every_taught_line_goes_on_from_what_stands(vocab):
    verdicts, taught = [], 0
    for i in range(40):
        story = generate(0, i, 2 + i % 4, i % 2 == 1)
        tree = solution_tree(story, vocab, random.Random(i), wrong=0.6, continued=0.6)
        for node, (token, goal) in enumerate(zip(tree.tokens, tree.targets)):
            text = vocab.tokenizer.decode([tree.tokens[n] for n in path(tree, node)])
            if not text.startswith(story.question + "\n"):
                continue
            lines = text[len(story.question) + 1 :].split("\n")
            if token == vocab.critique:
                verdicts.append(goal)
                assert goal == (vocab.yes if all(check_lines(story, lines[:-1])) else vocab.no)
            elif text.endswith("\n") and goal not in (IGNORE, vocab.end):
                taught += 1
                assert next_line(story, lines[:-1]).startswith(vocab.tokenizer.decode([goal]).strip())
    assert min(verdicts.count(vocab.yes), verdicts.count(vocab.no)) > 60 and taught > 150


def below(tree, node):
    """The nodes under a node."""
    found = {node}
    for child, parent in enumerate(tree.parents):
        if parent in found:
            found.add(child)
    return found - {node}


def test_tokens_are_sound_until_no_right_line_begins_like_the_text(vocab):
    found = 0
    for i in range(60):
        story = generate(4, i, 2 + i % 3, i % 2 == 1)
        bad = corrupt_step(story, 0, random.Random(i)) or story.steps[0].replace(": ", ": 1")
        tree = sampled_tree(story, [f"{bad}\n{story.steps[1]}\n"], vocab)
        root = len(vocab.encode(story.question + "\n"))
        line = vocab.encode(bad + "\n")
        node, sound = root - 1, []
        for token in line:
            node = tree.children[(node, token)]
            sound.append(tree.valid[node])
        good = sum(sound)
        assert sound == [1] * good + [0] * (len(line) - good) and good < len(line)
        known = dict(story.given)
        prefix = vocab.tokenizer.decode(line[:good])
        ready = [r for r in story.relations if known.keys() >= set(r.sources)]
        right = [r.line(story.verb, known) for r in ready] + [story.steps[-1]]
        found += any(text.startswith(prefix) for text in right)
        assert not any(text.startswith(vocab.tokenizer.decode(line[: good + 1])) for text in right)
        assert {tree.valid[i] for i in below(tree, node)} <= {0, IGNORE}
    assert found > 40


def test_steps_on_a_fixed_batch_reduce_the_loss(vocab):
    model, token_head = tiny_model(vocab), torch.nn.Linear(TINY.shape.hidden, 1)
    optimizer = torch.optim.Adam([*model.parameters(), *token_head.parameters()], lr=1e-2)
    batch = BatchSampler(TINY, vocab).batch(0)
    seen = []
    for _ in range(12):
        loss = sum(losses(model, batch, vocab, token_head))
        seen.append(float(loss.detach()))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert seen[-1] < seen[0] - 0.1


def first_attention(model, vocab, text):
    model.set_attn_implementation("eager")
    return model(torch.tensor([vocab.encode(text)]), output_attentions=True).attentions[0][0]


def test_the_first_layer_looks_back_from_the_start_and_after_training(vocab):
    torch.manual_seed(3)
    model = build_model(Shape(), len(vocab.tokenizer), vocab.end, vocab.pad)
    freeze_previous_token_heads(model)
    text = generate(5, 1, 4, True).question
    before = first_attention(model, vocab, text)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    ids = torch.tensor([vocab.encode(text)])
    for _ in range(10):
        model(ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    after = first_attention(model, vocab, text)
    for head in range(previous_token_heads(model)):
        for attention in (before, after):
            assert attention[head].diagonal(-head - 1).min() > 0.95
    free = previous_token_heads(model)
    assert not torch.allclose(before[free], after[free], atol=1e-3)


def weights_after(folder, stops):
    for stop in stops:
        run = ReasonerTraining(TINY, folder, log=lambda line: None)
        while run.step < stop:
            run.advance()
        run.save()
    return run


def test_a_resumed_run_ends_in_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr("forethought.llm.builtin.train.story_tokenizer", lambda: story_tokenizer(300))
    whole, parts = weights_after(tmp_path / "a", [6]), weights_after(tmp_path / "b", [3, 5, 6])
    assert whole.batches.pool and whole.batches.pool == parts.batches.pool
    for a, b in zip(whole.model.parameters(), parts.model.parameters()):
        assert torch.equal(a, b)
    with pytest.raises(ValueError, match="another schedule"):
        ReasonerTraining(Schedule(), tmp_path / "a")


def test_a_checkpoint_of_an_older_format_is_refused(tmp_path, monkeypatch, tokenizer):
    monkeypatch.setattr("forethought.llm.builtin.train.story_tokenizer", lambda: tokenizer)
    torch.save({"step": 3, "plan": None}, tmp_path / "state.pt")
    with pytest.raises(ValueError, match="checkpoint of an older format"):
        ReasonerTraining(TINY, tmp_path)
    assert (tmp_path / "state.pt").read_bytes().startswith(b"PK")


def test_nothing_that_lies_in_the_folder_is_unpickled(tmp_path, monkeypatch, tokenizer):
    monkeypatch.setattr("forethought.llm.builtin.train.story_tokenizer", lambda: tokenizer)

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "run",))

    for name in ("state.pt", "state.safetensors"):
        torch.save({"format": 3, "evil": Evil()}, tmp_path / name)
        with pytest.raises(ValueError, match=rf"{name} is (a checkpoint of an older format|damaged)"):
            ReasonerTraining(TINY, tmp_path)
    assert not (tmp_path / "run").exists()


def test_a_training_that_was_killed_after_its_last_checkpoint_still_exports(tmp_path, monkeypatch, tokenizer):
    monkeypatch.setattr("forethought.llm.builtin.train.story_tokenizer", lambda: tokenizer)
    training = ReasonerTraining(TINY, tmp_path, log=lambda line: None)
    training.step = TINY.steps
    training.save()
    assert not (tmp_path / "model").exists()
    train(tmp_path, TINY.seed, TINY.steps, TINY, log=lambda line: None)
    again = LlamaForCausalLM.from_pretrained(tmp_path / "model")
    for a, b in zip(training.model.parameters(), again.parameters()):
        assert torch.equal(a, b)


def test_a_training_with_nan_is_not_saved_and_names_the_weight(tmp_path, monkeypatch, tokenizer):
    monkeypatch.setattr("forethought.llm.builtin.train.story_tokenizer", lambda: tokenizer)
    training = ReasonerTraining(TINY, tmp_path, log=lambda line: None)
    training.save()
    before = (tmp_path / "state.safetensors").read_bytes()
    with torch.no_grad():
        next(training.model.parameters())[0, 0] = float("nan")
    for write in (training.save, lambda: training.export(tmp_path / "model")):
        with pytest.raises(ValueError, match=r"embed_tokens\.weight holds infinite numbers or NaN"):
            write()
    assert (tmp_path / "state.safetensors").read_bytes() == before and not (tmp_path / "model").exists()


def test_a_longer_schedule_continues_and_another_one_is_named(tmp_path, monkeypatch, tokenizer):
    monkeypatch.setattr("forethought.llm.builtin.train.story_tokenizer", lambda: tokenizer)
    training = ReasonerTraining(TINY, tmp_path, log=lambda line: None)
    training.step = 2
    training.save()
    assert ReasonerTraining(replace(TINY, steps=TINY.steps + 5), tmp_path).step == 2
    with pytest.raises(ValueError, match=r"batch was \d+, is 99; give another --out"):
        ReasonerTraining(replace(TINY, batch=99), tmp_path)
    with pytest.raises(ValueError, match="has taken 2 steps already, more than 1"):
        ReasonerTraining(replace(TINY, steps=1), tmp_path)


def test_a_training_of_any_length_has_the_learning_rates_that_its_schedule_says():
    """Linear warm-up, constant until `decay_from`, linear to 0 at the end; no decay where it ends before."""
    for steps in (3, 10, 11, 20):
        schedule = Schedule(steps=steps, warmup=2, decay_from=10, learning_rate=1.0)
        wanted = [min(1.0, (t + 1) / 2, 1.0 if t <= 10 else (steps - t) / (steps - 10)) for t in range(steps)]
        assert [schedule.learning_rate_at(t) for t in range(steps)] == pytest.approx(wanted)


def test_a_training_lengthened_before_the_decay_is_the_longer_training(tmp_path, monkeypatch, tokenizer):
    monkeypatch.setattr("forethought.llm.builtin.train.story_tokenizer", lambda: tokenizer)
    short, long = (replace(TINY, steps=steps, decay_from=100) for steps in (2, 5))
    for schedule, folder in ((short, "a"), (long, "a"), (long, "b")):
        train(tmp_path / folder, TINY.seed, schedule.steps, schedule, log=lambda line: None)
    a, b = (LlamaForCausalLM.from_pretrained(tmp_path / folder / "model") for folder in "ab")
    for x, y in zip(a.parameters(), b.parameters()):
        assert torch.equal(x, y)


def test_an_exported_model_loads_and_speaks_alike(tmp_path, vocab, tokenizer):
    model = tiny_model(vocab)
    export_model(model, tokenizer, tmp_path / "m")
    again, its = LlamaForCausalLM.from_pretrained(tmp_path / "m"), AutoTokenizer.from_pretrained(tmp_path / "m")
    ids = torch.tensor([its("Tom has 3 cards.\n")["input_ids"]])
    assert torch.equal(ids, torch.tensor([tokenizer("Tom has 3 cards.\n")["input_ids"]]))
    torch.testing.assert_close(again(ids).logits, model(ids).logits)
    settings = json.loads((tmp_path / "m" / "forethought.json").read_text())
    assert settings["critique"] == "Right?" and settings["delimiter"] == "\n"


def test_figures_of_an_untrained_model_are_those_of_chance(vocab, tokenizer):
    table = measure(tiny_model(vocab), tokenizer, held_out("validation", 2, (2, 3)), samples=2, selected_of=2)
    assert set(table) == {"2", "3", "all"} and table["all"]["pass@1"] == 0.0
    assert "pass@1" in as_text(table)


def test_auc_counts_pairs():
    assert auc([0.1, 0.4, 0.35, 0.8], [False, False, True, True]) == 0.75
    assert auc([0.5, 0.5], [True, False]) == 0.5
    assert math.isnan(auc([0.5], [True]))


needs_weights = pytest.mark.skipif(not (FOLDER / "config.json").exists(), reason="no weights are shipped here")


@pytest.fixture(scope="module")
def shipped():
    return LlamaForCausalLM.from_pretrained(FOLDER).eval(), AutoTokenizer.from_pretrained(FOLDER)


@needs_weights
def test_the_shipped_folder_is_small_and_whole():
    assert sum(f.stat().st_size for f in FOLDER.rglob("*") if f.is_file()) <= 12 * 2**20
    settings = json.loads((FOLDER / "forethought.json").read_text())
    assert {
        "format_version",
        "format",
        "prompt",
        "delimiter",
        "critique",
        "yes",
        "no",
        "max_step_tokens",
        "max_steps",
    } <= set(settings)


@needs_weights
def test_the_shipped_model_answers_short_stories(shipped):
    stories = held_out("validation", 24, (2,))
    texts = sample_solutions(*shipped, [s.question for s in stories], temperature=0, max_tokens=80)
    assert sum(t.endswith(f"#### {s.answer}\n") for s, t in zip(stories, texts)) >= 10


@needs_weights
def test_the_shipped_critique_prefers_right_steps(shipped):
    model, tokenizer = shipped
    stories = held_out("validation", 30, (2, 3))
    right = ["".join(line + "\n" for line in s.steps) for s in stories]
    slips = [(s.steps[0], int(s.steps[0].split()[-1])) for s in stories]
    wrong = [step.split(" = ")[0] + step.split(" = ")[1].replace(str(n), str(n + 10)) + "\n" for step, n in slips]
    values = critique_values(model, StoryVocabulary(tokenizer), stories, list(zip(right, wrong)))
    scores = [v[0][0] for v in values] + [v[1][0] for v in values]
    assert auc(scores, [True] * len(values) + [False] * len(values)) > 0.75
