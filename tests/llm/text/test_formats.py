"""How questions, steps and critiques become token ids: on a byte-level tokenizer with and without a chat template."""

import json

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from forethought.llm.text.formats import FORMAT_VERSION, ChatFormat, PlainFormat, few_shot_format, format_for
from forethought.llm.text.prompts import EXAMPLES, system_text

SYSTEM = system_text("line")

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + CHATML
FORGETFUL = CHATML.replace("m['content']", "(m['content'] if m['role'] != 'assistant' else '')")
WORDS = ("yes", "no", "Yes", "No", "Ġyes", "Ġno")


def make_tokenizer(template=None, words=WORDS, bos=False):
    names = ["<|im_start|>", "<|im_end|>", "<s>", *sorted(pre_tokenizers.ByteLevel.alphabet()), *words]
    made = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, [], ignore_merges=True))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.add_special_tokens([AddedToken(name, special=True) for name in names[:3]])
    if bos:
        made.post_processor = processors.TemplateProcessing("<s> $A <|im_end|>", None, [("<s>", 2), ("<|im_end|>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|im_end|>", chat_template=template)


TOKENIZER, CHAT = make_tokenizer(), make_tokenizer(CHATML)


def text_of(tokens):
    return TOKENIZER.decode(tokens, skip_special_tokens=False)


def test_a_chat_prompt_opens_the_assistants_message_and_steps_continue_it():
    form, shown = format_for(CHAT, examples=()), format_for(CHAT)
    prompt = form.prompt_tokens("How many?")
    assert isinstance(form, ChatFormat) and text_of(prompt).endswith("How many?<|im_end|>\n<|im_start|>assistant\n")
    assert SYSTEM in text_of(prompt) and form.eos_answers and not any(c in SYSTEM for c in "#`0123456789")
    assert text_of(shown.prompt_tokens("How many?")).count("<|im_start|>assistant") == len(EXAMPLES) + 1 == 5
    step = tuple(TOKENIZER.encode("3 + 4 = 7\n"))
    whole = CHAT.apply_chat_template(
        [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": "How many?"},
            {"role": "assistant", "content": "3 + 4 = 7\n#### 7"},
        ],
        tokenize=False,
    )
    ids = tuple(CHAT.encode(whole, add_special_tokens=False))
    assert ids[: len(prompt + step)] == prompt + step, "prompt and a step begin the finished message"
    assert text_of(prompt + step).count("<|im_start|>assistant") == 1, "no new message is begun"


def test_the_chat_critique_is_the_users_next_turn_after_the_very_tokens_of_the_state():
    form = format_for(CHAT)
    suffix = text_of(form.critique_tokens)
    assert suffix.startswith("<|im_end|>\n<|im_start|>user\n") and suffix.endswith("<|im_start|>assistant\n")
    assert "Yes or No" in suffix and form.critique((1, 2)) == form.critique_tokens
    assert [text_of([i]) for i in form.yes] == ["Yes", "yes", " yes"]
    assert [text_of([i]) for i in form.no] == ["No", "no", " no"]


def test_examples_are_earlier_turns():
    prompt = text_of(format_for(CHAT, examples=EXAMPLES[:2]).prompt_tokens("How many?"))
    assert prompt.count("<|im_start|>assistant") == 3 and EXAMPLES[1][1] in prompt and EXAMPLES[2][0] not in prompt
    assert EXAMPLES[0][0] not in text_of(format_for(CHAT).critique_tokens)


def test_a_template_without_a_system_role_gets_the_instruction_with_the_question():
    prompt = text_of(format_for(make_tokenizer(NO_SYSTEM), examples=()).prompt_tokens("How many?"))
    assert f"user\n{SYSTEM}\n\nHow many?<|im_end|>" in prompt and "<|im_start|>system" not in prompt


def test_a_template_that_forgets_the_assistant_is_refused():
    with pytest.raises(ValueError, match="cannot continue"):
        format_for(make_tokenizer(FORGETFUL))


def test_without_a_template_worked_examples_are_shown():
    form = format_for(TOKENIZER)
    prompt = text_of(form.prompt_tokens("How {many}?"))
    assert isinstance(form, PlainFormat) and prompt.count("Question:") == len(EXAMPLES) + 1
    assert prompt.endswith("\n\nQuestion: How {many}?\nAnswer:\n") and not form.eos_answers
    assert text_of(format_for(TOKENIZER, examples=()).prompt_tokens("Q?")) == "Question: Q?\nAnswer:\n"
    assert "####" in form.ends and few_shot_format(TOKENIZER).critique_tokens


def test_our_examples_are_right_and_in_the_format():
    from forethought.llm.text.answers import check_answer

    assert [check_answer(said, answer).format_ok for (_, said), answer in zip(EXAMPLES, (19, 120, 10))] == [True] * 3
    assert all(check_answer(said, answer).correct for (_, said), answer in zip(EXAMPLES, (19, 120, 10)))


def write(folder, settings):
    (folder / "forethought.json").write_text(settings if isinstance(settings, str) else json.dumps(settings))
    return folder


PLAIN = {
    "format_version": FORMAT_VERSION,
    "format": "plain",
    "prompt": "{question}\n",
    "delimiter": "\n",
    "critique": "Right?",
    "yes": " yes",
    "no": " no",
    "max_step_tokens": 40,
    "max_steps": 9,
}


def test_a_model_folder_says_how_it_was_trained_to_be_asked(tmp_path):
    form = format_for(CHAT, write(tmp_path, PLAIN))
    assert isinstance(form, PlainFormat) and (form.max_step_tokens, form.max_steps) == (40, 9)
    assert text_of(form.prompt_tokens("Q?")) == "Q?\n" and text_of(form.critique_tokens) == "Right?"
    assert (text_of(form.yes), text_of(form.no)) == (" yes", " no")
    assert isinstance(format_for(TOKENIZER, tmp_path / "nothing"), PlainFormat)


def test_a_plain_critique_stands_on_a_line_of_its_own(tmp_path):
    form = format_for(TOKENIZER, write(tmp_path, PLAIN))
    assert text_of(form.critique(TOKENIZER.encode("a = 1\n"))) == "Right?"
    assert text_of(form.critique(TOKENIZER.encode("#### 1"))) == "\nRight?"


def test_any_question_is_asked_where_the_critique_is(tmp_path):
    plain, chat = format_for(TOKENIZER, write(tmp_path, PLAIN)), format_for(CHAT)
    assert text_of(plain.ask("How good? ", TOKENIZER.encode("a = 1\n"))) == "How good? "
    assert text_of(plain.ask("How good?", TOKENIZER.encode("#### 1"))) == "\nHow good?"
    turn = "<|im_end|>\n<|im_start|>user\nHow good?<|im_end|>\n<|im_start|>assistant\n"
    assert text_of(chat.ask("How good? ", (1,))) == turn
    assert chat.ask("Ok?", ()) == ChatFormat(CHAT, critique="Ok?").critique_tokens


@pytest.mark.parametrize(
    "settings, why",
    [
        ("{", "not a JSON object"),
        ("[]", "not a JSON object"),
        ({}, "format"),
        ({**PLAIN, "format": "haiku"}, "no format 'haiku'; there are plain, chat"),
        ({k: v for k, v in PLAIN.items() if k != "format_version"}, "has no format_version, so it is older"),
        ({**PLAIN, "format_version": 99}, "has format_version 99; this release reads format_version 1"),
        ({**PLAIN, "colour": "red"}, "colour"),
        ({**PLAIN, "prompt": "Solve!"}, "question"),
        ({**PLAIN, "delimiter": ""}, "delimiter"),
        ({**PLAIN, "yes": " no way"}, "do not tell yes from no"),
        ({**PLAIN, "no": []}, "do not tell yes from no"),
    ],
)
def test_wrong_settings_are_named(tmp_path, settings, why):
    with pytest.raises(ValueError, match=why):
        format_for(TOKENIZER, write(tmp_path, settings))


def test_a_prompt_begins_with_what_the_tokenizer_puts_first_and_never_ends_the_sequence():
    form = PlainFormat(make_tokenizer(bos=True))
    assert text_of(form.prompt_tokens("Q?")) == "<s>Q?\n" and text_of(form.critique_tokens) == "Right?"


def test_a_tokenizer_without_the_words_is_asked_for_their_first_tokens():
    tokenizer = make_tokenizer(words=("Yes",))
    form = format_for(tokenizer)
    assert [tokenizer.decode([i]) for i in form.yes] == ["Yes"]
    assert [tokenizer.decode([i]) for i in form.no] == ["N", "n", " "]
    form = format_for(make_tokenizer(words=()))
    assert len(form.yes) == len(form.no) == 2, "what begins a yes and a no says neither"
