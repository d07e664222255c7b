"""Models of given sizes with random weights and a generated tokenizer, to measure speed without a download.

Random weights sample every token about equally often. One in `LINE` ids of the generated tokenizer therefore ends a
line, and one in `LAST` of these lines is an answer, so that steps and solutions end as those of a real model do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config

from ...llm.text.formats import SETTINGS_FILE, write_settings

LINE, LAST = 48, 5
"""Mean tokens per step and mean steps per solution; steps are shorter with a small vocabulary."""

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 2048, "max_position_embeddings": 2048, "tie_word_embeddings": True,
    },
    "qwen2.5-1.5b": {
        "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
        "num_key_value_heads": 2, "vocab_size": 151936, "max_position_embeddings": 4096, "tie_word_embeddings": True,
    },
    "qwen2.5-7b": {
        "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
        "num_key_value_heads": 4, "vocab_size": 152064, "max_position_embeddings": 4096, "tie_word_embeddings": False,
    },
}  # fmt: skip
"""Sizes by name: those of the published configurations of Qwen2.5, with a context of 4,096, and a tiny one."""


def write_shape(name: str, folder: Path) -> Path:
    """Write configuration, tokenizer and prompt format of a shape to `folder`, without weights.

    Errors: ValueError for an unknown shape.
    """
    if name not in SHAPES:
        raise ValueError(f"no shape {name!r}; there are {', '.join(SHAPES)}")
    config = Qwen2Config(
        **SHAPES[name], rope_parameters={"rope_type": "default", "rope_theta": 1e6}, dtype="bfloat16",
        bos_token_id=None, eos_token_id=0, pad_token_id=0, architectures=["Qwen2ForCausalLM"],
    )  # fmt: skip
    config.save_pretrained(folder)
    size = SHAPES[name]["vocab_size"]
    make_tokenizer(size).save_pretrained(folder)
    prompts: dict[str, Any] = {"format": "plain", "critique": "Is every step right?", "yes": "y", "no": "n"}
    prompts["max_step_tokens"] = 4 * _line(size)
    write_settings(folder / SETTINGS_FILE, prompts)
    return folder


def make_tokenizer(size: int) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of `size` ids: the bytes, and words that it decodes but never encodes.

    The end of sequence has the name that Qwen2's tokenizer class expects, which would otherwise add an id for it.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [_word(i, _line(size)) for i in range(size - 1 - len(alphabet))]
    vocabulary = {text: i for i, text in enumerate(["<|endoftext|>", *alphabet, *words])}
    bpe = Tokenizer(models.BPE(vocabulary, []))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>")  # type: ignore[no-untyped-call]


def _line(size: int) -> int:
    return min(LINE, size // 128)


def _word(number: int, line: int) -> str:
    """The n-th word in the byte-level alphabet, in which Ċ stands for a line break and Ġ for a space."""
    if number % line:
        return f"Ġ{number}"
    return f"####Ġ{number}Ċ" if number % (line * LAST) == 0 else f"Ġ{number}Ċ"
