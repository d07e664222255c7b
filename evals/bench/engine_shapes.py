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

FIELDS = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "vocab_size", "tie_word_embeddings",
)  # fmt: skip
SHAPES: dict[str, tuple[int, ...]] = {
    "tiny": (128, 256, 2, 4, 2, 2048, True),
    "small-30m": (512, 1280, 10, 8, 2, 8192, True),
    "qwen2.5-1.5b": (1536, 8960, 28, 12, 2, 151936, True),
    "qwen2.5-7b": (3584, 18944, 28, 28, 4, 152064, False),
}
"""The `FIELDS` of each shape; those of Qwen2.5 are its published sizes."""


def write_shape(name: str, folder: Path) -> Path:
    """Write configuration, tokenizer and prompt format of a shape to `folder`, without weights.

    Errors: ValueError for an unknown shape.
    """
    if name not in SHAPES:
        raise ValueError(f"no shape {name!r}; there are {', '.join(SHAPES)}")
    sizes: dict[str, Any] = dict(zip(FIELDS, SHAPES[name]))
    config = Qwen2Config(
        **sizes, rope_parameters={"rope_type": "default", "rope_theta": 1e6}, dtype="bfloat16", bos_token_id=None,
        eos_token_id=0, pad_token_id=0, max_position_embeddings=4096, architectures=["Qwen2ForCausalLM"],
    )  # fmt: skip
    config.save_pretrained(folder)
    size, line = sizes["vocab_size"], min(LINE, sizes["vocab_size"] // 128)
    make_tokenizer(size, line).save_pretrained(folder)
    prompts = {"format": "plain", "critique": "Is every step right?", "yes": "y", "no": "n"}
    write_settings(folder / SETTINGS_FILE, {**prompts, "max_step_tokens": 4 * line})
    return folder


def make_tokenizer(size: int, line: int) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of `size` ids: the bytes, and words that it decodes but never encodes.

    line: one in so many words ends a line. In the byte-level alphabet Ċ stands for a line break and Ġ for a space. The
    end of sequence has the name that Qwen2's tokenizer class expects, which would otherwise add an id for it.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [f"Ġ{i}" if i % line else f"Ġ{i}Ċ" for i in range(size - 1 - len(alphabet))]
    words[:: line * LAST] = [f"####{word}" for word in words[:: line * LAST]]
    bpe = Tokenizer(models.BPE({text: i for i, text in enumerate(["<|endoftext|>", *alphabet, *words])}, []))
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>")  # type: ignore[no-untyped-call]
