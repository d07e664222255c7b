"""Solutions sampled by the package's own decoding, against transformers' generate."""

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from forethought.llm.builtin import sample
from forethought.llm.builtin.net import Shape, build_model

FOLDER = Path(sample.__file__).parent / "reasoner"
WORDS = ["Ann has 3 apples.", "Bob has 12 pears and gives 4 away. How many?", "7", "Ann has 3 apples. Bob has 12."]
QUESTIONS = [*WORDS, *WORDS[:2] * 5]


@pytest.fixture(scope="module", params=["shipped", "random"])
def reasoner(request):
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    if request.param == "shipped":
        return LlamaForCausalLM.from_pretrained(FOLDER), tokenizer
    torch.manual_seed(0)
    shape = Shape(hidden=32, layers=2, heads=2, inner=64)
    return build_model(shape, len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id), tokenizer


def generated(model, tokenizer, question, max_tokens):
    inputs = tokenizer(question + "\n", return_tensors="pt")
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    output = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=max_tokens, do_sample=False)
    return tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)


@pytest.mark.parametrize("batch", [1, 5, 128])
def test_greedy_is_what_generate_writes(reasoner, batch):
    wanted = {question: generated(*reasoner, question, 24) for question in WORDS}
    found = sample.sample_solutions(*reasoner, QUESTIONS, 0, 24, batch)
    assert found == [wanted[question] for question in QUESTIONS]


def test_first_tokens_follow_the_softmax(reasoner):
    model, tokenizer = reasoner
    ids = tokenizer(WORDS[0] + "\n", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        chance = torch.softmax(model(ids).logits[0, -1] / 1.5, -1)
    torch.manual_seed(0)
    drawn = sample._draw(model(ids).logits[0, -1].detach().expand(20000, -1), 1.5)
    share = torch.bincount(drawn, minlength=len(chance)) / len(drawn)
    assert (share - chance).abs().sum() / 2 < 0.08


def test_samples_end_at_the_limit_and_follow_the_seed(reasoner):
    model, tokenizer = reasoner
    torch.manual_seed(1)
    one = sample.sample_solutions(model, tokenizer, QUESTIONS, 1.0, 3)
    torch.manual_seed(1)
    assert one == sample.sample_solutions(model, tokenizer, QUESTIONS, 1.0, 3)
    assert sample.sample_solutions(model, tokenizer, [], 1.0, 3) == []
    assert sample.sample_solutions(model, tokenizer, ["7"], 0, 1) == [generated(model, tokenizer, "7", 1)]
