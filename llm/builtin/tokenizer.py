"""The reasoner's tokenizer: byte-level BPE in which every word of the stories and every digit is one token.

Texts are split into words, digits and signs, and a line break is always a token of its own. The vocabulary contains all
256 bytes, so any text is decoded to itself.
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
# A space before a capitalised word belongs to the sign or word before it. A name is therefore the same token at the
# beginning of a line and within it, which makes it far easier for the model to look up.
_PIECES = (
    r"Right\?|####|[A-Z][a-z]*(?: (?=[A-Z]))?| ?[a-z]+(?: (?=[A-Z]))?| ?[0-9]|\n| ?[^\sA-Za-z0-9](?: (?=[A-Z]))?|\s"
)


def train_tokenizer(texts: Iterable[str], min_count: int = 5) -> PreTrainedTokenizerFast:
    """A tokenizer whose vocabulary is the bytes and every piece that occurs at least `min_count` times in the texts."""
    counts: Counter[str] = Counter()
    splitter = _splitter()
    for text in texts:
        counts.update(piece for piece, _ in splitter.pre_tokenize_str(text))
    words = sorted(word for word, count in counts.items() if count >= min_count)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys([PAD, END, *alphabet, *words]))}
    # With ignore_merges a piece in the vocabulary is one token and any other is split into bytes, so the vocabulary
    # needs no entries for the intermediate fragments of merges.
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, clean_up_tokenization_spaces=False,
        model_max_length=512, padding_side="left",
    )  # fmt: skip


def _splitter() -> pre_tokenizers.PreTokenizer:
    split = pre_tokenizers.Split(Regex(_PIECES), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def story_tokenizer(stories: int = 3000) -> PreTrainedTokenizerFast:
    """The tokenizer trained on generated training stories, their solutions and the critique with its verdicts."""
    drawn = [generate(0, i, 2 + i % 5, i % 2 == 1) for i in range(stories)]
    texts = [story.question + "\n" + "\n".join(story.steps) + "\n" for story in drawn]
    names = [" ".join((*PEOPLE, *TANKS, *FARMS, *SHOPS))]
    return train_tokenizer([*texts, *names * 5, *[CRITIQUE + YES + NO] * 5])


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the tokenizer's files where AutoTokenizer.from_pretrained finds them."""
    tokenizer.backend_tokenizer.no_padding()  # a setting that the last batch left in the tokenizer
    tokenizer.save_pretrained(str(folder))
