"""Floating-point operations: compared with torch's own counter on small models, and charged to searches."""

import asyncio
import pickle
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from forethought.llm import load
from forethought.llm.engines.base import Sampling, Score
from forethought.llm.engines.flops import UNKNOWN_FLOPS, DecoderFlops, flops_of_folder, flops_of_model
from forethought.llm.engines.replay import ReplayEngine
from forethought.llm.engines.transformers.engine import TransformersEngine
from forethought.llm.load import load_text_model
from forethought.planning import MCTS, Budget, aplan
from forethought.planning.interface import UNITS
from forethought.planning.usage import FLOPS

SIZES = dict(
    vocab_size=97, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=6,
    num_key_value_heads=2, head_dim=16, max_position_embeddings=64,
)  # fmt: skip


def counted(model, tokens):
    """What torch counts for `tokens` run one by one, their keys and values kept."""
    cache, total = None, 0
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for token in tokens:
            out = model(input_ids=torch.tensor([[token]]), past_key_values=cache, use_cache=True)
            cache = out.past_key_values
        total = counter.get_total_flops()
    return total


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_operations_of_a_token_equal_torchs_count(kind, tied):
    if kind == "llama":
        model = LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=tied, attn_implementation="eager"))
    else:
        sizes = {k: v for k, v in SIZES.items() if k != "head_dim"}
        model = Qwen2ForCausalLM(Qwen2Config(**sizes, tie_word_embeddings=tied, attn_implementation="eager"))
    model.eval()
    flops = flops_of_model(model)
    assert flops.of_tokens(0, 1) == pytest.approx(counted(model, [5]), rel=0.005)  # the rotary table's outer products
    rotary = counted(model, [5]) - flops.of_tokens(0, 1)
    for length in (2, 7, 20):
        assert flops.of_tokens(0, length) + length * rotary == counted(model, range(length))


def test_operations_add_up_and_cached_tokens_are_only_attended_to():
    flops = DecoderFlops(1000, 4, 8)
    assert flops.of_tokens(0, 5) + flops.of_tokens(5, 7) == flops.of_tokens(0, 12)
    assert flops.of_tokens(5, 1) == 2 * 1000 + 2 * 2 * 4 * 8 * 6 and flops.of_tokens(9, 0) == 0
    assert flops.of_score(12, Score((), 5, 7)) == flops.of_tokens(5, 7) and flops.of_score(12, None) == 0
    assert UNKNOWN_FLOPS.of_tokens(3, 4) == 0 and ReplayEngine(None, "", 1).flops is UNKNOWN_FLOPS


def test_the_configuration_in_a_folder_suffices(tiny_llama, tiny_qwen2, tmp_path):
    for folder in (tiny_llama, tiny_qwen2):
        model = AutoModelForCausalLM.from_pretrained(folder)
        assert flops_of_folder(str(folder)) == flops_of_model(model) != UNKNOWN_FLOPS
    assert flops_of_folder(str(tmp_path)) is UNKNOWN_FLOPS


async def test_the_operations_of_an_engine_equal_torchs_count(tiny_llama):
    engine = TransformersEngine(tiny_llama)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, attn_implementation="eager").eval()
    prompt = list(range(1, 12))
    rotary = counted(model, [1]) - engine.flops.of_tokens(0, 1)
    done = await engine.generate(prompt, Sampling(max_tokens=6, stop=None), 3)
    written = [token for step in done.steps for token in step]
    whole = counted(model, [*prompt, *written]) - rotary * (len(prompt) + len(written))
    assert engine.flops.of_tokens(0, len(prompt)) + engine.flops.of_tokens(len(prompt), len(written)) == whole
    await engine.close()


@pytest.mark.parametrize("value", ["none", "self", "rating", "rollout"])
async def test_a_search_is_charged_all_tokens_but_the_cached_ones(stepping_llama, value):
    text = load_text_model(stepping_llama, value=value)
    outcome = await aplan(MCTS(), text, "How many is 3 and 4?", Budget(nodes=10), close=False)
    charged, spent = outcome.charged[0], dict(zip(UNITS, outcome.spent[0]))
    named = dict(zip(UNITS, charged))
    tokens = named["generated_tokens"] + named["prompt_tokens"] + named["value_tokens"]
    longest = text.engine.context
    assert text.flops.of_tokens(0, 1) * tokens < named["flops"] < (text.flops.of_tokens(longest, 1)) * tokens
    by_node = sum(usage[FLOPS] for usage in outcome.node_usage.values())
    (root,), start = await text.start(["How many is 3 and 4?"])
    assert named["flops"] == pytest.approx(by_node + text.flops.of_tokens(0, len(root.tokens)))
    assert start.usage[0, FLOPS] == text.flops.of_tokens(0, len(root.tokens)) and start.spent[0, FLOPS] == 0
    assert 0 < spent["flops"] <= named["flops"] * 1.01 or value == "rollout"
    again = await aplan(MCTS(), text, "How many is 3 and 4?", Budget(nodes=10), close=False)
    assert again.spent[0, FLOPS] == 0 and again.charged[0, FLOPS] == named["flops"]
    await text.close()


def test_a_replay_charges_the_operations_of_the_model_on_the_tape(stepping_llama, tmp_path):
    async def run(engine, model):
        text = load_text_model(model, engine, "self", tape=tmp_path / "a.tape")
        outcome = await aplan(MCTS(), text, "How many is 3 and 4?", Budget(nodes=8), close=False)
        await text.close()
        text.tape.close()
        return outcome.charged[0, FLOPS], outcome.spent[0, FLOPS]

    charged, spent = asyncio.run(run("transformers", stepping_llama))
    assert charged > 0 < spent
    assert asyncio.run(run("replay", "")) == (charged, 0)


def test_an_engine_of_unknown_size_in_another_process_gets_the_sizes_of_its_folder(monkeypatch):
    hidden = ReplayEngine(None, "", 1)
    hidden.flops = pickle.loads(pickle.dumps(UNKNOWN_FLOPS))
    row = replace(load.ENGINES["openai"], make=lambda engine, spec: (hidden, None))
    monkeypatch.setitem(load.ENGINES, "openai", row)
    monkeypatch.setattr(load, "flops_of_folder", lambda source: DecoderFlops(7, 1, 2))
    made, _ = load._make_engine("openai", load.EngineSpec("builtin"), 1)
    assert made.flops == DecoderFlops(7, 1, 2)
