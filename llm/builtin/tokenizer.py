"""The reasoner's tokenizer: byte-level BPE whose every story word, and every digit, is one token.

Words, digits and signs are cut apart; a line break is a token of its own and nothing is merged
across it. The vocabulary holds all 256 bytes, so that any text comes back as it went in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from .scenes import FARMS, PEOPLE, SHOPS, TANKS
from .stories import generate

END, PAD = "<|end|>", "<|pad|>"
CRITIQUE, YES, NO = "Right?", " yes", " no"
# A capitalised word never takes the space before it; the sign or word before takes it instead. So a
# name is the same token at the beginning of a line and within it, which makes it far easier to look up.
_CUT = r"Right\?|####|[A-Z][a-z]*(?: (?=[A-Z]))?| ?[a-z]+(?: (?=[A-Z]))?| ?[0-9]|\n| ?[^\sA-Za-z0-9](?: (?=[A-Z]))?|\s"


def train_tokenizer(texts: Iterable[str], least: int = 5) -> PreTrainedTokenizerFast:
    """A tokenizer whose vocabulary is the bytes and every cut seen at least `least` times in the texts."""
    counts: Counter[str] = Counter()
    cutter = _cutter()
    for text in texts:
        counts.update(piece for piece, _ in cutter.pre_tokenize_str(text))
    words = sorted(word for word, count in counts.items() if count >= least)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys([PAD, END, *alphabet, *words]))}
    # With ignore_merges a cut that is in the vocabulary is one token, and any other falls back to its
    # bytes; so no entry is spent on the fragments that merges would pass through.
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = cutter
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, clean_up_tokenization_spaces=False,
        model_max_length=512, padding_side="left",
    )  # fmt: skip


def _cutter() -> pre_tokenizers.PreTokenizer:
    split = pre_tokenizers.Split(Regex(_CUT), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def story_tokenizer(stories: int = 3000) -> PreTrainedTokenizerFast:
    """The tokenizer trained on generated training stories, their solutions and the critique's words."""
    drawn = [generate(0, i, 2 + i % 5, i % 2 == 1) for i in range(stories)]
    texts = [story.question + "\n" + "\n".join(story.steps) + "\n" for story in drawn]
    names = [" ".join((*PEOPLE, *TANKS, *FARMS, *SHOPS))]
    return train_tokenizer([*texts, *names * 5, *[CRITIQUE + YES + NO] * 5])


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the tokenizer's files where AutoTokenizer.from_pretrained finds them."""
    tokenizer.backend_tokenizer.no_padding()  # left over from the last batch, and no part of the tokenizer
    tokenizer.save_pretrained(str(folder))
