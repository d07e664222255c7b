"""Reward models of the published shapes, small and random: equal to their cards' full forward, and incremental."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2Model,
)

from forethought.llm.critics.process_reward import AGGREGATES, ProcessReward
from forethought.llm.critics.reward_formats import HEAD_FORMATS, REWARD_FORMATS
from forethought.llm.engines.transformers.engine import TransformersEngine
from forethought.llm.engines.transformers.reward import reward_engine
from forethought.llm.engines.vllm.reward import vllm_reward_engine
from forethought.llm.load import load_text_model
from forethought.llm.tape.cached_engine import CachedEngine
from forethought.llm.tape.tape import Tape
from forethought.llm.text.formats import PlainFormat
from forethought.llm.text.state import TextState

QUESTION = "Tom has 3 apples. He buys 4 more. How many?"
STEPS = ["He has 3 apples.", "3 + 4 = 7", "#### 7"]
CHAT = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SIZES = dict(
    hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=1024, bos_token_id=None, eos_token_id=0, initializer_range=0.25,
)  # fmt: skip


def tokenizer(*extra, chat=False):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(["<|im_end|>", *letters])}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<|im_end|>", "<|im_start|>"])
    made.add_tokens([AddedToken(word, normalized=False) for word in extra])
    found = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|im_end|>")
    found.chat_template = CHAT if chat else None
    return found


def saved(folder, model, words):
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def add_head(folder, tensors):
    """Put a head among the decoder's weights, and its classes' code where a published model has it."""
    path = folder / "model.safetensors"
    save_file({f"model.{name}": x for name, x in load_file(path).items()} | tensors, path, {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config |= {"architectures": ["RewardModel"], "auto_map": {"AutoModel": "modeling_reward.RewardModel"}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def math_shepherd(folder):
    words = tokenizer(" ки", "ки", " -")
    return saved(folder, MistralForCausalLM(MistralConfig(vocab_size=300, **SIZES)), words)


def rlhflow(folder):
    words = tokenizer(chat=True)
    return saved(folder, LlamaForCausalLM(LlamaConfig(vocab_size=300, **SIZES)), words)


def qwen(folder):
    words = tokenizer("<extra_0>", chat=True)
    saved(folder, Qwen2Model(Qwen2Config(vocab_size=300, **SIZES)), words)
    head = {"score.0.weight": (32, 32), "score.0.bias": (32,), "score.2.weight": (2, 32), "score.2.bias": (2,)}
    return add_head(folder, {name: torch.randn(shape) for name, shape in head.items()})


def skywork(folder):
    words = tokenizer()
    saved(folder, Qwen2Model(Qwen2Config(vocab_size=300, **SIZES)), words)
    return add_head(folder, {"v_head.summary.weight": torch.randn(1, 32), "v_head.summary.bias": torch.randn(1)})


SHAPES = {"math_shepherd": math_shepherd, "rlhflow": rlhflow, "qwen": qwen, "skywork": skywork}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    torch.manual_seed(5)
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in SHAPES.items()}


def engine_of(folders, name):
    return reward_engine(folders[name], head=name in HEAD_FORMATS)


def logits_at(folder, ids, head=None):
    """A full forward by the transformers library alone: logits [len(ids), V], or hidden states through a head."""
    with torch.no_grad():
        if head is None:
            from transformers import AutoModelForCausalLM

            return AutoModelForCausalLM.from_pretrained(folder)(torch.tensor([ids])).logits[0]
        base = Qwen2Model.from_pretrained(folder)
        return head(base(torch.tensor([ids])).last_hidden_state[0], load_file(folder / "model.safetensors"))


def card_math_shepherd(folder, words):
    """As the card of peiyi9979/math-shepherd-mistral-7b-prm scores: at every tag, plus against minus."""
    told = "\n".join(f"Step {i}: {step} ки" for i, step in enumerate(STEPS, 1))
    ids = words.encode(f"{QUESTION} {told}")
    tag = words.encode(" ки")[-1]
    labels = words.encode("+ -")
    logits = logits_at(folder, ids)[:, labels].softmax(-1)[:, 0]
    return [float(logits[i]) for i, token in enumerate(ids) if token == tag]


def card_rlhflow(folder, words):
    """As RLHFlow's card scores: the conversation up to each plus, read right before it."""
    talk, found = [], []
    plus, minus = words.encode("+")[-1], words.encode("-")[-1]
    for k, step in enumerate(STEPS):
        talk.append({"role": "user", "content": f"{QUESTION} {step}" if k == 0 else step})
        talk.append({"role": "assistant", "content": "+"})
        text = words.apply_chat_template(talk, tokenize=False)
        ids = words.encode(text)
        at = max(i for i, token in enumerate(ids) if token == plus) - 1
        found.append(float(logits_at(folder, ids)[at, [plus, minus]].softmax(-1)[0]))
    return found


def card_qwen(folder, words):
    """As Qwen's card scores: softmax of the head's two logits at every separator."""

    def head(hidden, weights):
        inner = torch.relu(hidden @ weights["score.0.weight"].T + weights["score.0.bias"])
        return inner @ weights["score.2.weight"].T + weights["score.2.bias"]

    system = "Please reason step by step, and put your final answer within \\boxed{}."
    told = (("system", system), ("user", QUESTION), ("assistant", "<extra_0>".join(STEPS) + "<extra_0>"))
    talk = [{"role": role, "content": content} for role, content in told]
    ids = words.encode(words.apply_chat_template(talk, tokenize=False))
    mark = words.encode("<extra_0>")[0]
    chances = logits_at(folder, ids, head).softmax(-1)[:, 1]
    return [float(chances[i]) for i, token in enumerate(ids) if token == mark]


def card_skywork(folder, words):
    """As Skywork's inference code scores: sigmoid of the value head at the line end after every step."""

    def head(hidden, weights):
        return hidden @ weights["v_head.summary.weight"].T + weights["v_head.summary.bias"]

    ids, places = words.encode(QUESTION + "\n"), []
    for step in STEPS:
        ids += words.encode(step) + words.encode("\n")[-1:]
        places.append(len(ids) - 1)
    return logits_at(folder, ids, head)[places, 0].sigmoid().tolist()


CARDS = {"math_shepherd": card_math_shepherd, "rlhflow": card_rlhflow, "qwen": card_qwen, "skywork": card_skywork}


def state_of(steps, ended=False, to_end=False):
    """A solution in the letters of the policy, which are not those of the reward model."""
    solution = tuple(map(ord, "".join(step + "\n" for step in steps)))
    return TextState(solution, "answer" if ended else "", question=QUESTION, to_end=to_end)


class Policy:
    """Stands for the policy's engine: the reward model only wants its letters."""

    fingerprint = "policy"

    class tokenizer:
        @staticmethod
        def decode(tokens, **_):
            return "".join(map(chr, tokens))

        @staticmethod
        def encode(text, add_special_tokens=True):
            return [ord(c) for c in text]


FORMAT = PlainFormat(Policy.tokenizer, yes="y", no="n")


def value_of(engine, name, aggregate="last", outcome=False):
    return ProcessReward(engine, REWARD_FORMATS[name](engine.tokenizer), aggregate, outcome)


@pytest.mark.parametrize("name", SHAPES)
async def test_scores_are_those_of_the_models_card(folders, name):
    engine = engine_of(folders, name)
    wanted = CARDS[name](folders[name], engine.tokenizer)
    assert len(wanted) == 3 and np.ptp(wanted) > 0.01
    taped = CachedEngine(Policy, Tape())
    for aggregate, reduce in AGGREGATES.items():
        value = value_of(engine, name, aggregate)
        found = [(await value.score(taped, FORMAT, state_of(STEPS[:n]))).value for n in (1, 2, 3)]
        np.testing.assert_allclose(found, [reduce(wanted[:n]) for n in (1, 2, 3)], atol=2e-4)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("aggregate", ["last", "min"])
async def test_a_child_costs_the_positions_of_its_last_step(folders, name, aggregate):
    engine, whole = engine_of(folders, name), engine_of(folders, name)
    value, taped = value_of(engine, name, aggregate), CachedEngine(Policy, Tape())
    readings = value.reward_format.score_prefixes(QUESTION, STEPS)
    before, charged = 0, []
    for n, reading in enumerate(readings, 1):
        found = await value.score(taped, FORMAT, state_of(STEPS[:n], ended=n == 3))
        full = await value_of(whole, name, aggregate).score(CachedEngine(Policy, Tape()), FORMAT, state_of(STEPS[:n]))
        assert found.value == pytest.approx(full.value, abs=1e-5)
        assert found.tokens_spent <= len(reading) - before + 1, "the new tokens, and one where two merge"
        before = len(reading)
        charged.append(found.tokens)
    assert sum(charged[1:]) == len(readings[-1]) - len(readings[0]) and 0 < charged[0] < len(readings[0])
    again = await value.score(taped, FORMAT, state_of(STEPS))
    assert (again.tokens_spent, again.seconds_spent) == (0, 0) and again.tokens == charged[-1]
    to_end = await value.score(taped, FORMAT, state_of(STEPS, to_end=True))
    assert to_end.tokens == sum(charged)


@pytest.mark.parametrize("name", SHAPES)
async def test_an_outcome_model_reads_the_whole_solution_as_one_step(folders, name):
    engine = engine_of(folders, name)
    value, taped = value_of(engine, name, outcome=True), CachedEngine(Policy, Tape())
    assert (await value.score(taped, FORMAT, state_of(STEPS[:2]))).value == 0.5 and not engine.counters.scored
    found = await value.score(taped, FORMAT, state_of(STEPS, ended=True))
    (reading,) = value.reward_format.score_prefixes(QUESTION, ["\n".join(STEPS)])
    right, wrong = (await engine.score(reading, value.reward_format.labels)).logprobs
    assert found.value == pytest.approx(1 / (1 + math.exp(wrong - right)), abs=1e-6) and value.name == "orm"


async def test_a_tag_inside_a_step_or_a_question_is_no_place_to_read(folders):
    for name, tag in (("math_shepherd", "ки"), ("qwen", "<extra_0>")):
        value = value_of(engine_of(folders, name), name)
        readings = value.reward_format.score_prefixes(f"A {tag}?", [f"one {tag} two", "three"])
        assert len(readings) == 2 and readings[1][: len(readings[0])] == readings[0]


async def test_what_is_too_long_or_empty_is_unknown(folders):
    value = value_of(engine_of(folders, "skywork"), "skywork")
    taped = CachedEngine(Policy, Tape())
    for steps in ([], ["x" * 2000]):
        assert math.isnan((await value.score(taped, FORMAT, state_of(steps))).value)


def test_what_does_not_fit_is_named(folders, tiny_llama, tmp_path):
    plain = tokenizer()
    for name, told in (
        ("math_shepherd", "no token 'ки'"),
        ("rlhflow", "no chat template"),
        ("qwen", "no chat template"),
    ):
        with pytest.raises(ValueError, match=told):
            REWARD_FORMATS[name](plain)
    with pytest.raises(ValueError, match="no token '<extra_0>'"):
        REWARD_FORMATS["qwen"](tokenizer(chat=True))
    with pytest.raises(ValueError, match="no head of one or two labels"):
        reward_engine(tiny_llama, head=True)
    with pytest.raises(ValueError, match="no aggregate 'median'; there are last, min, product, mean"):
        value_of(engine_of(folders, "rlhflow"), "rlhflow", "median")
    words = tokenizer()
    small = saved(tmp_path / "small", LlamaForCausalLM(LlamaConfig(vocab_size=100, **SIZES)), words)
    for start in (reward_engine, vllm_reward_engine):
        with pytest.raises(ValueError, match=f"has {len(words)} tokens, its model knows 100"):
            start(small, head=False)
    path = tmp_path / "bare"
    saved(path, Qwen2Model(Qwen2Config(vocab_size=300, **SIZES)), words)
    save_file({"score.weight": torch.randn(2, 32)}, path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="lacks weights of its decoder"):
        reward_engine(path, head=True)


async def test_a_tree_is_judged_by_a_reward_model_and_replayed_without_it(folders, stepping_llama, tmp_path):
    reward = dict(value="prm", reward_model=folders["qwen"], reward_format="qwen", aggregate="min")

    async def tree(model, engine="transformers"):
        text = load_text_model(model, engine, tape=tmp_path / "a.tape", **reward)
        roots, _ = await text.start(["Why?"])
        states, first = await text.expand(roots * 8, range(8))
        alive = [state for state in states if not state.ended]
        _, second = await text.expand(alive, [0] * len(alive))
        await text.close()
        return [first.value.tolist(), second.value.tolist()], text

    told, text = await tree(stepping_llama)
    assert any(0 < x < 1 for x in told[0]) and text.value.engine.counters.scored > 0
    again, replay = await tree("", "replay")
    assert again == told and not any(replay.engine.missing.values())
    assert isinstance(text.value.engine, TransformersEngine)
    with pytest.raises(RuntimeError, match="closed"):
        await text.value.engine.score([1], [1])
    with pytest.raises(ValueError, match="no reward format 'x'; there are math_shepherd"):
        load_text_model(stepping_llama, value="prm", reward_model="x", reward_format="x")


def test_readings_begin_with_the_ones_before(folders):
    for name in SHAPES:
        readings = value_of(engine_of(folders, name), name).reward_format.score_prefixes(QUESTION, STEPS)
        for one, two in pairwise(readings):
            assert two[: len(one)] == one
