"""Batched sampling of solutions, and the critique's judgement of them.

Samples of one question are decoded abreast, as the branches of a tree: they are one row of the batch,
the question's keys and values are computed and read once for all, and a mask keeps the samples apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from .data import Tree, Words, pack
from .net import norm, tree_hidden, turn
from .stories import Story

ABREAST = 4  # samples in one row at most: each also scores, in vain, the tokens of the others


@torch.no_grad()
def sample_solutions(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    questions: Sequence[str],
    temperature: float = 0.8,
    max_tokens: int = 160,
    batch: int = 128,
) -> list[str]:
    """One solution for each question, its lines each ended by a line break.

    Equal questions share their computation, wherever they stand. temperature: 0 decodes greedily.
    max_tokens: new tokens at most. batch: solutions decoded at once. Draws from torch's global generator.
    """
    prompts = [tokenizer(question + "\n")["input_ids"] for question in questions]
    solutions: list[list[int]] = [[] for _ in prompts]
    rows = _rows(prompts)
    while rows:
        size = max(1, batch // len(rows[0]))
        now, rows = rows[:size], rows[size:]
        decoder = _Decoder(model, [prompts[row[0]] for row in now], len(now[0]), max_tokens)
        written = decoder.decode(temperature, int(tokenizer.eos_token_id))
        for row, tokens in zip(now, written):
            for i, solution in zip(row, tokens):
                solutions[i] = solution
    return [str(tokenizer.decode(solution, skip_special_tokens=True)) for solution in solutions]


def _rows(prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """The places of equal prompts, at most ABREAST together; full rows come first, then the longest prompts."""
    equal: dict[tuple[int, ...], list[int]] = {}
    for i, prompt in enumerate(prompts):
        equal.setdefault(tuple(prompt), []).append(i)
    rows = [places[i : i + ABREAST] for places in equal.values() for i in range(0, len(places), ABREAST)]
    return sorted(rows, key=lambda row: (len(row), len(prompts[row[0]])), reverse=True)


class _Decoder:
    """The keys and values of rows that each hold a question and then, step by step, a token of each sample."""

    def __init__(self, model: LlamaForCausalLM, prompts: Sequence[Sequence[int]], abreast: int, max_tokens: int):
        self.model, self.abreast, self.max_tokens = model, abreast, max_tokens
        self.lengths = torch.tensor([len(prompt) for prompt in prompts])
        self.width = width = int(self.lengths.max())
        ids = [[*prompt, *[0] * (width - len(prompt))] for prompt in prompts]
        config = model.config
        heads: int = config.num_attention_heads
        shape = (len(prompts), heads, width + abreast * max_tokens, config.hidden_size // heads)
        self.cache = [(torch.empty(shape), torch.empty(shape)) for _ in range(config.num_hidden_layers)]
        # What pads the right of a question is behind all of it, so causality hides it; later tokens need the mask.
        causal = torch.full((width, width), -torch.inf).triu(1)
        hidden = self.forward(torch.tensor(ids), torch.arange(width)[None], 0, causal)
        self.last = hidden[torch.arange(len(prompts)), self.lengths - 1][:, None].expand(-1, abreast, -1)
        asked = torch.arange(width) < self.lengths[:, None, None]
        apart = torch.eye(abreast, dtype=torch.bool).repeat(1, max_tokens)
        sees = torch.cat((asked.expand(-1, abreast, -1), apart.expand(len(prompts), -1, -1)), dim=-1)
        self.bias = torch.zeros(sees.shape).masked_fill_(~sees, -torch.inf)[:, None]

    def decode(self, temperature: float, end: int) -> list[list[list[int]]]:
        """The new tokens of each row's samples, each up to its end token or the limit, without the end token."""
        written = torch.full((len(self.lengths), self.abreast, self.max_tokens), end)
        rows = torch.arange(len(self.lengths))
        ended = torch.zeros(written.shape[:2], dtype=torch.bool)
        for t in range(self.max_tokens):
            tokens = _draw(self.model.lm_head(self.last), temperature)
            written[rows, :, t] = torch.where(ended, end, tokens)
            ended |= tokens == end
            going = (~ended).any(1)
            if not going.any() or t + 1 == self.max_tokens:
                break
            # Dropping rows copies the cache, so it waits until a quarter of them have ended.
            if 4 * int(going.sum()) <= 3 * len(rows):
                rows, ended, tokens = rows[going], ended[going], tokens[going]
                self.keep(going, self.width + t * self.abreast)
            positions = (self.lengths + t)[:, None].expand(-1, self.abreast)
            at = self.width + t * self.abreast
            self.last = self.forward(tokens, positions, at, self.bias[..., : at + self.abreast])
        return [[_until(end, tokens) for tokens in samples] for samples in written.tolist()]

    def keep(self, going: Tensor, filled: int) -> None:
        """Drop the other rows; so many columns of the cache are filled."""
        self.lengths, self.bias = self.lengths[going], self.bias[going]
        count = len(self.lengths)
        for pair in self.cache:
            for held in pair:
                held[:count, :, :filled] = held[going, :, :filled]
        self.cache = [(keys[:count], values[:count]) for keys, values in self.cache]

    def forward(self, ids: Tensor, positions: Tensor, at: int, bias: Tensor) -> Tensor:
        """The last hidden states, B x T x H, of tokens whose keys and values go to the columns from `at` on.

        ids, positions: B x T. bias: added to the scores, its last axis over the columns filled then.
        """
        body = self.model.model
        x = body.embed_tokens(ids)
        cos, sin = (part[:, None] for part in body.rotary_emb(x, positions))
        for block, held in zip(body.layers, self.cache):
            layer: Any = block
            x = x + _attend(layer.self_attn, norm(x, layer.input_layernorm), cos, sin, held, at, bias)
            y = norm(x, layer.post_attention_layernorm)
            x = x + layer.mlp.down_proj(F.silu(layer.mlp.gate_proj(y)) * layer.mlp.up_proj(y))
        return norm(x, body.norm)


def _attend(
    attention: Any, x: Tensor, cos: Tensor, sin: Tensor, held: tuple[Tensor, Tensor], at: int, bias: Tensor
) -> Tensor:
    split = (*x.shape[:2], -1, attention.head_dim)
    query, key, value = (
        project(x).view(split).transpose(1, 2) for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    keys, values = held
    till = at + x.shape[1]
    keys[:, :, at:till] = turn(key, cos, sin)
    values[:, :, at:till] = value
    mixed = F.scaled_dot_product_attention(
        turn(query, cos, sin), keys[:, :, :till], values[:, :, :till], attn_mask=bias
    )
    return attention.o_proj(mixed.transpose(1, 2).reshape(*x.shape[:2], -1))


def _draw(logits: Tensor, temperature: float) -> Tensor:
    """A token for each row of logits."""
    if temperature == 0:
        return logits.argmax(-1)
    # Inverting the cumulative distribution is several times faster than torch.multinomial.
    heights = torch.softmax(logits / temperature, dim=-1).cumsum(-1)
    cuts = torch.rand(logits.shape[:-1])[..., None] * heights[..., -1:]
    return torch.searchsorted(heights, cuts, right=True)[..., 0].clamp_(max=logits.shape[-1] - 1)


def _until(end: int, tokens: list[int]) -> list[int]:
    return tokens[: tokens.index(end)] if end in tokens else tokens


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
