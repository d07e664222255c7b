"""Batched sampling of solutions, and the critique's values of their lines.

Samples of one question are decoded as branches of one tree: they share a row of the batch, the question's keys and
values are computed and read once for all of them, and a mask keeps the samples apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from .data import StoryTree, StoryVocabulary, pack
from .net import apply_rotary, rms_norm, tree_hidden
from .stories import Story

SAMPLES_PER_ROW = 4
"""At most; more would waste time, because each sample also computes the masked scores of the others' tokens."""


@torch.no_grad()
def sample_solutions(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    questions: Sequence[str],
    temperature: float = 0.8,
    max_tokens: int = 160,
    batch: int = 128,
) -> list[str]:
    """One solution for each question; each of its lines ends in a line break.

    Equal questions share their computation, at whatever positions they are. temperature: 0 decodes greedily.
    max_tokens: of a solution. batch: number of solutions decoded at once. Random numbers come from torch's global
    generator.
    """
    prompts = [tokenizer(question + "\n")["input_ids"] for question in questions]
    solutions: list[list[int]] = [[] for _ in prompts]
    rows = _rows(prompts)
    while rows:
        size = max(1, batch // len(rows[0]))
        chunk, rows = rows[:size], rows[size:]
        decoder = _Decoder(model, [prompts[row[0]] for row in chunk], len(chunk[0]), max_tokens)
        written = decoder.decode(temperature, int(tokenizer.eos_token_id))
        for row, tokens in zip(chunk, written):
            for i, solution in zip(row, tokens):
                solutions[i] = solution
    return [str(tokenizer.decode(solution, skip_special_tokens=True)) for solution in solutions]


def _rows(prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Indices of equal prompts, at most `SAMPLES_PER_ROW` in a row; full rows come first, then the longest prompts."""
    equal: dict[tuple[int, ...], list[int]] = {}
    for i, prompt in enumerate(prompts):
        equal.setdefault(tuple(prompt), []).append(i)
    size = SAMPLES_PER_ROW
    rows = [indices[i : i + size] for indices in equal.values() for i in range(0, len(indices), size)]
    return sorted(rows, key=lambda row: (len(row), len(prompts[row[0]])), reverse=True)


class _Decoder:
    """The key-value cache of rows; each holds a question and then, step by step, one token of each of its samples."""

    def __init__(
        self, model: LlamaForCausalLM, prompts: Sequence[Sequence[int]], samples: int, max_tokens: int
    ) -> None:
        self.model, self.samples, self.max_tokens = model, samples, max_tokens
        self.lengths = torch.tensor([len(prompt) for prompt in prompts])
        self.width = width = int(self.lengths.max())
        ids = [[*prompt, *[0] * (width - len(prompt))] for prompt in prompts]
        config = model.config
        heads: int = config.num_attention_heads
        shape = (len(prompts), heads, width + samples * max_tokens, config.hidden_size // heads)
        self.cache = [(torch.empty(shape), torch.empty(shape)) for _ in range(config.num_hidden_layers)]
        # Padding is on the right of a question, where the causal mask hides it; later tokens need a mask of their own.
        causal = torch.full((width, width), -torch.inf).triu(1)
        hidden = self.forward(torch.tensor(ids), torch.arange(width)[None], 0, causal)
        self.last = hidden[torch.arange(len(prompts)), self.lengths - 1][:, None].expand(-1, samples, -1)
        question = torch.arange(width) < self.lengths[:, None, None]
        own = torch.eye(samples, dtype=torch.bool).repeat(1, max_tokens)
        attends = torch.cat((question.expand(-1, samples, -1), own.expand(len(prompts), -1, -1)), dim=-1)
        self.bias = torch.zeros(attends.shape).masked_fill_(~attends, -torch.inf)[:, None]

    def decode(self, temperature: float, end: int) -> list[list[list[int]]]:
        """The new tokens of each row's samples, each up to its end token or the limit, without the end token."""
        written = torch.full((len(self.lengths), self.samples, self.max_tokens), end)
        rows = torch.arange(len(self.lengths))
        ended = torch.zeros(written.shape[:2], dtype=torch.bool)
        for t in range(self.max_tokens):
            tokens = _draw(self.model.lm_head(self.last), temperature)
            written[rows, :, t] = torch.where(ended, end, tokens)
            ended |= tokens == end
            active = (~ended).any(1)
            if not active.any() or t + 1 == self.max_tokens:
                break
            # Dropping rows copies the cache, so rows are dropped only when a quarter of them have ended.
            if 4 * int(active.sum()) <= 3 * len(rows):
                rows, ended, tokens = rows[active], ended[active], tokens[active]
                self.keep_rows(active, self.width + t * self.samples)
            positions = (self.lengths + t)[:, None].expand(-1, self.samples)
            at = self.width + t * self.samples
            self.last = self.forward(tokens, positions, at, self.bias[..., : at + self.samples])
        return [[_before_end(end, tokens) for tokens in samples] for samples in written.tolist()]

    def keep_rows(self, active: Tensor, filled: int) -> None:
        """Drop the rows that are not active; filled: columns of the cache in use."""
        self.lengths, self.bias = self.lengths[active], self.bias[active]
        count = len(self.lengths)
        for pair in self.cache:
            for part in pair:
                part[:count, :, :filled] = part[active, :, :filled]
        self.cache = [(keys[:count], values[:count]) for keys, values in self.cache]

    def forward(self, ids: Tensor, positions: Tensor, at: int, bias: Tensor) -> Tensor:
        """The last hidden states, B x T x H, of tokens whose keys and values are stored in the columns from `at` on.

        ids, positions: B x T. bias: added to the attention scores; its last axis covers all columns then filled.
        """
        body = self.model.model
        x = body.embed_tokens(ids)
        cos, sin = (part[:, None] for part in body.rotary_emb(x, positions))
        for block, cache in zip(body.layers, self.cache):
            layer: Any = block
            x = x + _attend(layer.self_attn, rms_norm(x, layer.input_layernorm), cos, sin, cache, at, bias)
            y = rms_norm(x, layer.post_attention_layernorm)
            x = x + layer.mlp.down_proj(F.silu(layer.mlp.gate_proj(y)) * layer.mlp.up_proj(y))
        return rms_norm(x, body.norm)


def _attend(
    attention: Any, x: Tensor, cos: Tensor, sin: Tensor, cache: tuple[Tensor, Tensor], at: int, bias: Tensor
) -> Tensor:
    split = (*x.shape[:2], -1, attention.head_dim)
    query, key, value = (
        project(x).view(split).transpose(1, 2) for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    keys, values = cache
    end = at + x.shape[1]
    keys[:, :, at:end] = apply_rotary(key, cos, sin)
    values[:, :, at:end] = value
    mixed = F.scaled_dot_product_attention(
        apply_rotary(query, cos, sin), keys[:, :, :end], values[:, :, :end], attn_mask=bias
    )
    return attention.o_proj(mixed.transpose(1, 2).reshape(*x.shape[:2], -1))


def _draw(logits: Tensor, temperature: float) -> Tensor:
    """A token for each row of logits, sampled by inverting the cumulative distribution.

    That is several times faster than torch.multinomial.
    """
    if temperature == 0:
        return logits.argmax(-1)
    cumulative = torch.softmax(logits / temperature, dim=-1).cumsum(-1)
    draws = torch.rand(logits.shape[:-1])[..., None] * cumulative[..., -1:]
    return torch.searchsorted(cumulative, draws, right=True)[..., 0].clamp_(max=logits.shape[-1] - 1)


def _before_end(end: int, tokens: list[int]) -> list[int]:
    """The tokens before the first end token."""
    return tokens[: tokens.index(end)] if end in tokens else tokens


@torch.no_grad()
def critique_values(
    model: LlamaForCausalLM,
    vocab: StoryVocabulary,
    stories: Sequence[Story],
    solutions: Sequence[Sequence[str]],
    batch: int = 32,
) -> list[list[list[float]]]:
    """The critique's probability that all lines so far are right: per story, per solution, per complete line."""
    trees, critiques = [], []
    for story, texts in zip(stories, solutions):
        tree, nodes_of = StoryTree(), []
        root = tree.add_path(-1, vocab.encode(story.question + "\n"))
        for text in texts:
            node, nodes = root, []
            for line in text.split("\n")[:-1]:
                node = tree.add_path(node, vocab.encode(line + "\n"))
                nodes.append(tree.add_path(node, [vocab.critique]))
            nodes_of.append(nodes)
        trees.append(tree)
        critiques.append(nodes_of)
    values: list[list[list[float]]] = [[] for _ in trees]
    order = sorted(range(len(trees)), key=lambda i: len(trees[i].tokens))
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        packed = pack([trees[i] for i in rows], vocab.pad)
        hidden = tree_hidden(model, packed.ids, packed.positions, packed.mask)
        verdicts = model.lm_head.weight[[vocab.yes, vocab.no]]
        probability = torch.softmax(hidden @ verdicts.T, dim=-1)[..., 0]
        for row, i in enumerate(rows):
            values[i] = [[float(probability[row, node]) for node in nodes] for nodes in critiques[i]]
    return values
