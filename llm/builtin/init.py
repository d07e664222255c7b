"""Where the reasoner's training begins: weights that already copy and look back, some of which stay as they are.

What the stories ask for is looking things up: the word after this name, the number after these two
words. A transformer does it with two heads in a row, one that brings each token the token before it
and one that finds the like of the present token among these (Olsson et al. 2022, "In-context learning
and induction heads"). From random weights this small model had not found the first kind after 2,600
steps and chose the word after a name by chance; given it, 600 steps were enough. So the first layer's
queries and keys for one, two and three tokens back are set here, by rotary angles alone, and held.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

THETA = 1e6
"""The rotary base: large, so that many of a head's few angles turn too little to blur a match of content."""

BACK = 3  # as many heads look back, one token, two tokens and so on
SHARP = 8.0  # the size of their queries and keys; the token meant gets nearly all of the attention
TURNING = 5  # of a head's angles, the fastest so many tell positions apart
STILL = 6  # and those from here on serve to match content
MATCH, BROUGHT = 1.7, 0.2  # how strongly the second layer matches, and how loud copied tokens are


@torch.no_grad()
def begin(model: LlamaForCausalLM) -> None:
    """Set the weights that training begins with; the others keep their random ones."""
    # Words outweigh what untrained layers add to them, heads begin by attending to like words, and
    # their outputs begin as copies (Trockman and Kolter 2023, "Mimetic initialization").
    model.model.embed_tokens.weight.normal_(std=0.1)
    for layer in model.model.layers:
        attention = layer.self_attn
        attention.k_proj.weight.copy_(attention.q_proj.weight)
        attention.o_proj.weight.copy_(attention.v_proj.weight.T)
        layer.mlp.down_proj.weight.mul_(0.1)
    for head in range(heads_back(model)):
        _look_back(model, head)
        if len(model.model.layers) > 1:
            _match(model, head)


def heads_back(model: LlamaForCausalLM) -> int:
    """How many heads of the first layer look back; at least one does not."""
    return min(BACK, model.config.num_attention_heads - 1)


def hold(model: LlamaForCausalLM) -> None:
    """Keep the first layer's looking back as it is: its queries and keys get no gradient from now on."""
    attention = model.model.layers[0].self_attn
    held = heads_back(model) * attention.head_dim

    def without(gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        gradient[:held] = 0
        return gradient

    for projection in (attention.q_proj, attention.k_proj):
        projection.weight.register_hook(without)
        projection.bias.register_hook(without)


def _look_back(model: LlamaForCausalLM, head: int) -> None:
    """Let a head of the first layer see the token `head + 1` back, whatever the tokens."""
    attention = model.model.layers[0].self_attn
    size = attention.head_dim
    rows = slice(head * size, (head + 1) * size)
    half = torch.arange(size // 2)
    near = half < TURNING
    # A query of angle zero meets a key that is turned ahead by that many positions: the scores are
    # sums of cosines of the distance that is left, at their greatest where none is.
    ahead = (head + 1) * THETA ** (-half / (size // 2))
    attention.q_proj.weight[rows] = 0
    attention.k_proj.weight[rows] = 0
    attention.q_proj.bias[rows] = SHARP * torch.cat((near, torch.zeros_like(near))).float()
    attention.k_proj.bias[rows] = SHARP * torch.cat((near * ahead.cos(), near * ahead.sin()))


def _match(model: LlamaForCausalLM, head: int) -> None:
    """Let a head of the second layer begin by finding its own token among those that the first brought along."""
    first, second = (model.model.layers[i].self_attn for i in (0, 1))
    size, hidden = first.head_dim, model.config.hidden_size
    rows = slice(head * size, (head + 1) * size)
    still = (torch.arange(size) % (size // 2) >= STILL)[:, None]
    read, slot, copy = (torch.nn.init.orthogonal_(torch.empty(size, hidden)) for _ in range(3))
    first.v_proj.weight[rows] = read
    first.o_proj.weight[:, rows] = BROUGHT * slot.T
    second.q_proj.weight[rows] = MATCH * read * still
    second.k_proj.weight[rows] = MATCH * slot * still
    second.v_proj.weight[rows] = copy
    second.o_proj.weight[:, rows] = BROUGHT * copy.T
