"""The initial weights of the reasoner: heads that attend to previous tokens are set by hand, and some stay frozen.

Stories require look-ups such as the word after a name. A transformer does them with two heads in a row: one copies to
each token the token before it, and one finds the present token among the copies (Olsson et al. 2022, "In-context
learning and induction heads"). From random weights this small model had not learned the first kind after 2,600 steps
and chose the word after a name by chance; with it, 600 steps were enough. So the first layer's queries and keys for
one, two and three tokens back are set here, by rotary angles only, and stay frozen.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

THETA = 1e6
"""The rotary base. It is large so that many of a head's few angles turn too slowly to disturb a match of content."""

MAX_PREVIOUS_TOKEN_HEADS = 3  # the first attends one token back, the second two tokens, the third three
SHARPNESS = 8.0  # the size of their queries and keys; the intended token gets nearly all of the attention
POSITION_ANGLES = 5  # so many of the fastest rotary angles of a head distinguish positions
CONTENT_ANGLES = 6  # the angles from this index on serve to match content
MATCH_SCALE, COPY_SCALE = 1.7, 0.2  # of the second layer's matching weights, and of the copied tokens


@torch.no_grad()
def init_weights(model: LlamaForCausalLM) -> None:
    """Set the weights that training begins with; those not set here keep their random values."""
    # Embeddings are large beside what untrained layers add to them, heads begin by attending to equal tokens, and their
    # outputs begin as copies (Trockman and Kolter 2023, "Mimetic initialization").
    model.model.embed_tokens.weight.normal_(std=0.1)
    for layer in model.model.layers:
        attention = layer.self_attn
        attention.k_proj.weight.copy_(attention.q_proj.weight)
        attention.o_proj.weight.copy_(attention.v_proj.weight.T)
        layer.mlp.down_proj.weight.mul_(0.1)
    for head in range(previous_token_heads(model)):
        _attend_back(model, head)
        if len(model.model.layers) > 1:
            _match(model, head)


def previous_token_heads(model: LlamaForCausalLM) -> int:
    """The number of heads of the first layer that attend to a previous token; at least one is left free."""
    return min(MAX_PREVIOUS_TOKEN_HEADS, model.config.num_attention_heads - 1)


def freeze_previous_token_heads(model: LlamaForCausalLM) -> None:
    """Stop the gradients of the queries and keys of these heads from now on."""
    attention = model.model.layers[0].self_attn
    frozen = previous_token_heads(model) * attention.head_dim

    def mask_frozen(gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        gradient[:frozen] = 0
        return gradient

    for projection in (attention.q_proj, attention.k_proj):
        projection.weight.register_hook(mask_frozen)
        projection.bias.register_hook(mask_frozen)


def _attend_back(model: LlamaForCausalLM, head: int) -> None:
    """Make a head of the first layer attend to the token `head + 1` positions back, whatever the tokens are."""
    attention = model.model.layers[0].self_attn
    size = attention.head_dim
    rows = slice(head * size, (head + 1) * size)
    half = torch.arange(size // 2)
    positional = half < POSITION_ANGLES
    # The query has angle 0 and the key is rotated ahead by `head + 1` positions, so a score is a sum of cosines of the
    # remaining distance, which is largest where that is 0.
    ahead = (head + 1) * THETA ** (-half / (size // 2))
    attention.q_proj.weight[rows] = 0
    attention.k_proj.weight[rows] = 0
    attention.q_proj.bias[rows] = SHARPNESS * torch.cat((positional, torch.zeros_like(positional))).float()
    attention.k_proj.bias[rows] = SHARPNESS * torch.cat((positional * ahead.cos(), positional * ahead.sin()))


def _match(model: LlamaForCausalLM, head: int) -> None:
    """Make a head of the second layer begin by finding its own token among those that the first layer copied."""
    first, second = (model.model.layers[i].self_attn for i in (0, 1))
    size, hidden = first.head_dim, model.config.hidden_size
    rows = slice(head * size, (head + 1) * size)
    content = (torch.arange(size) % (size // 2) >= CONTENT_ANGLES)[:, None]
    read, slot, copy = (torch.nn.init.orthogonal_(torch.empty(size, hidden)) for _ in range(3))
    first.v_proj.weight[rows] = read
    first.o_proj.weight[:, rows] = COPY_SCALE * slot.T
    second.q_proj.weight[rows] = MATCH_SCALE * read * content
    second.k_proj.weight[rows] = MATCH_SCALE * slot * content
    second.v_proj.weight[rows] = copy
    second.o_proj.weight[:, rows] = COPY_SCALE * copy.T
