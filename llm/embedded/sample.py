"""Batched sampling of solutions, and the critique's judgement of them, by plain transformers generation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from .data import Tree, Words, pack
from .net import tree_hidden
from .stories import Story


@torch.no_grad()
def sample_solutions(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    questions: Sequence[str],
    temperature: float = 0.8,
    max_tokens: int = 160,
    batch: int = 256,
) -> list[str]:
    """One solution for each question, its lines each ended by a line break.

    temperature: 0 decodes greedily. max_tokens: new tokens at most. Draws from torch's global generator.
    """  # fmt: skip
    order = sorted(range(len(questions)), key=lambda i: len(questions[i]))
    texts = [""] * len(questions)
    was_training = model.training
    model.eval()
    network: Any = model  # the declared type of generate wants a mixin of the library for self
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        inputs = tokenizer([questions[i] + "\n" for i in rows], return_tensors="pt", padding=True, padding_side="left")
        how = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature > 0 else {"do_sample": False}
        output = network.generate(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], max_new_tokens=max_tokens, **how
        )
        written = output[:, inputs["input_ids"].shape[1] :]
        for i, text in zip(rows, tokenizer.batch_decode(written, skip_special_tokens=True)):
            texts[i] = text
    model.train(was_training)
    return texts


@torch.no_grad()
def judge(
    model: LlamaForCausalLM, words: Words, stories: Sequence[Story], solutions: Sequence[Sequence[str]], batch: int = 32
) -> list[list[list[float]]]:
    """The critique's chance that all lines so far are right: per story, per solution, per whole line."""
    trees, spots = [], []
    for story, texts in zip(stories, solutions):
        tree, places = Tree(), []
        root = tree.grow(-1, words.encode(story.question + "\n"))
        for text in texts:
            node, nodes = root, []
            for line in text.split("\n")[:-1]:
                node = tree.grow(node, words.encode(line + "\n"))
                nodes.append(tree.grow(node, [words.critique]))
            places.append(nodes)
        trees.append(tree)
        spots.append(places)
    values: list[list[list[float]]] = [[] for _ in trees]
    order = sorted(range(len(trees)), key=lambda i: len(trees[i].tokens))
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        packed = pack([trees[i] for i in rows], words.pad)
        hidden = tree_hidden(model, packed.ids, packed.positions, packed.mask)
        pair = model.lm_head.weight[[words.yes, words.no]]
        chance = torch.softmax(hidden @ pair.T, dim=-1)[..., 0]
        for row, i in enumerate(rows):
            values[i] = [[float(chance[row, node]) for node in nodes] for nodes in spots[i]]
    return values
