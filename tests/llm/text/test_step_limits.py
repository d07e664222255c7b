"""How long steps and solutions may be is the same for base models and for chat models."""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from forethought.llm.text.formats import ChatFormat, few_shot_format

CHAT = (
    "{% for m in messages %}{{ '<' + m['role'] + '>' + m['content'] + '</>' }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def tokenizer(template=None):
    names = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "yes", "no", "Yes", "No", "Ġyes", "Ġno", "Ġ", "</s>"]
    made = Tokenizer(models.BPE({name: i for i, name in enumerate(dict.fromkeys(names))}, [], ignore_merges=True))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>", chat_template=template)


def test_a_base_model_may_write_as_much_as_a_chat_model():
    base, chat = (
        few_shot_format(tokenizer()),
        ChatFormat(tokenizer(CHAT)),
    )
    assert (base.max_step_tokens, base.max_steps) == (chat.max_step_tokens, chat.max_steps)
    assert base.ends == chat.ends and base.delimiter == chat.delimiter
