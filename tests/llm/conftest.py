"""Small randomly initialised models in folders, made once a session: no download, no training."""

from __future__ import annotations

import math
import shutil

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from forethought.llm.text.formats import write_settings

TEXT = ["Tom has 3 apples.\nHe buys 4 more.\n3 + 4 = 7\n#### 7\n", "Is this step right? yes or no: yes\n"] * 4
CHAT = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
STEPPING = {"format": "plain", "yes": "y", "no": "n", "delimiter": "z", "max_step_tokens": 40, "max_steps": 3}
"""The format of a random model, whose steps end at a letter."""


def make_tokenizer(eos: str, extra: tuple[str, ...] = ()) -> PreTrainedTokenizerFast:
    """A byte-level BPE of about 300 tokens; "\\n" is always a token of its own."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=[eos, *extra], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    bpe.train_from_iterator(TEXT, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=eos)


def sizes(vocabulary: int) -> dict:
    """Two layers, two query heads per key head, weights large enough for uneven distributions."""
    return dict(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, bos_token_id=None, eos_token_id=0, initializer_range=0.25,
    )  # fmt: skip


def heads_of_32(vocabulary: int) -> dict:
    """Two layers, two query heads of size 32 per key head: the smallest that vLLM's CPU attention supports."""
    wide = dict(hidden_size=64, num_attention_heads=2, num_key_value_heads=1, head_dim=32, max_position_embeddings=2048)
    return sizes(vocabulary) | wide


def llama(seed: int, shape):
    """A random Llama, untied, and its tokenizer without a chat template, eos "</s>" with id 0."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer("</s>")
    return LlamaForCausalLM(LlamaConfig(**shape(len(tokenizer)))), tokenizer


def qwen2(seed: int, shape):
    """A random Qwen2 with tied embeddings, and its tokenizer with a ChatML template, eos "<|im_end|>" with id 0."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer("<|im_end|>", ("<|im_start|>",))
    tokenizer.chat_template = CHAT
    return Qwen2ForCausalLM(Qwen2Config(**shape(len(tokenizer)), tie_word_embeddings=True)), tokenizer


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Writes a model and its tokenizer to a new folder, with a `forethought.json` where there are settings."""

    def save(name, model, tokenizer, settings=None):
        folder = tmp_path_factory.mktemp(name)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        if settings:
            write_settings(folder / "forethought.json", settings)
        return folder

    return save


@pytest.fixture(scope="session")
def tiny_llama(saved):
    """A folder: Llama, no chat template, room for 128 tokens."""
    return saved("tiny_llama", *llama(0, sizes))


@pytest.fixture(scope="session")
def tiny_qwen2(saved):
    """A folder: Qwen2 with a ChatML template, room for 128 tokens."""
    return saved("tiny_qwen2", *qwen2(1, sizes))


@pytest.fixture(scope="session")
def stepping_llama(tiny_llama, tmp_path_factory):
    """A folder: the tiny Llama with room for long questions and steps that end at a letter it often writes."""
    folder = tmp_path_factory.mktemp("stepping") / "model"
    shutil.copytree(tiny_llama, folder)
    config = (folder / "config.json").read_text()
    config = config.replace('"max_position_embeddings": 128', '"max_position_embeddings": 2048')
    (folder / "config.json").write_text(config)
    write_settings(folder / "forethought.json", STEPPING)
    return folder


@pytest.fixture(scope="session")
def wide_llama(saved):
    """A folder: Llama with heads of 32, steps that end at a letter it often writes."""
    return saved("wide_llama", *llama(3, heads_of_32), STEPPING)


@pytest.fixture(scope="session")
def wide_qwen2(saved):
    """A folder: Qwen2 with heads of 32 and a ChatML template."""
    return saved("wide_qwen2", *qwen2(4, heads_of_32))


@pytest.fixture(scope="session")
def chain_llama(saved):
    """A folder: a model whose next token depends on the last one alone. After a line it writes `a` (1/2) or an answer,
    which is 7 in three of four."""
    from forethought.llm.builtin.tokenizer import END, story_tokenizer
    from forethought.llm.builtin.train import REASONER_SETTINGS

    tokenizer = story_tokenizer(300)
    words = {word: tokenizer.encode(word)[0] for word in ("\n", "a", "####", " 7", " 8", END)}
    size = 4 * (len(tokenizer) // 4 + 1)
    config = LlamaConfig(
        vocab_size=size, hidden_size=size, intermediate_size=4, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=256, bos_token_id=None, eos_token_id=words[END], pad_token_id=0,
        tie_word_embeddings=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    follows = {
        "\n": {"a": 0.5, "####": 0.5}, "a": {"\n": 1}, "####": {" 7": 0.75, " 8": 0.25},
        " 7": {END: 1}, " 8": {END: 1},
    }  # fmt: skip
    with torch.no_grad():
        for layer in (model.model.layers[0].self_attn.o_proj, model.model.layers[0].mlp.down_proj):
            layer.weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(size))
        model.lm_head.weight.fill_(-40 / size**0.5)
        for word, nexts in follows.items():
            for other, chance in nexts.items():
                model.lm_head.weight[words[other], words[word]] = math.log(chance) / size**0.5
    return saved("chain", model, tokenizer, REASONER_SETTINGS)
