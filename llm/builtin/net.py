"""The reasoner's network: a small LlamaForCausalLM, and its forward pass over trees of tokens.

Training packs many continuations of one question into one sequence, a tree in which each token attends to its ancestors
only. The forward pass here calls the modules of the Hugging Face model without its caches and mask building, so it
trains exactly the weights that are saved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from .init import THETA, init_weights


@dataclass(frozen=True)
class Shape:
    """The size of the network: width, layers, attention heads, and width of the MLPs."""

    hidden: int = 128
    layers: int = 8
    heads: int = 4
    inner: int = 256


def build_model(shape: Shape, vocabulary: int, end: int, pad: int) -> LlamaForCausalLM:
    """A newly initialised model; its weights depend on torch's global generator.

    end, pad: token ids of end of sequence and padding.
    """
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=shape.hidden, intermediate_size=shape.inner,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.heads,
        max_position_embeddings=512, rope_parameters={"rope_type": "default", "rope_theta": THETA},
        attention_bias=True, tie_word_embeddings=True, initializer_range=0.05,
        bos_token_id=None, eos_token_id=end, pad_token_id=pad, rms_norm_eps=1e-5,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    init_weights(model)
    return model


def tree_hidden(model: LlamaForCausalLM, ids: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
    """The last hidden states, B x T x H, under an attention mask.

    ids, positions: B x T, integers. mask: B x 1 x T x T, True where the row attends to the column.
    """
    body = model.model
    x = body.embed_tokens(ids)
    cos, sin = body.rotary_emb(x, positions)
    cos, sin = cos[:, None], sin[:, None]
    bias = torch.zeros(mask.shape, dtype=x.dtype).masked_fill_(~mask, torch.finfo(x.dtype).min)
    for layer in body.layers:
        x = x + _attend(layer.self_attn, rms_norm(x, layer.input_layernorm), cos, sin, bias)
        y = rms_norm(x, layer.post_attention_layernorm)
        x = x + layer.mlp.down_proj(F.silu(layer.mlp.gate_proj(y)) * layer.mlp.up_proj(y))
    return rms_norm(x, body.norm)


def rms_norm(x: Tensor, norm: Any) -> Tensor:
    """The RMS norm of x, ... x H, with the weights of a Hugging Face module."""
    return F.rms_norm(x, (x.shape[-1],), norm.weight, norm.variance_epsilon)


def _attend(attention: Any, x: Tensor, cos: Tensor, sin: Tensor, bias: Tensor) -> Tensor:
    batch, length, _ = x.shape
    split = (batch, length, -1, attention.head_dim)
    query = apply_rotary(attention.q_proj(x).view(split).transpose(1, 2), cos, sin)
    key = apply_rotary(attention.k_proj(x).view(split).transpose(1, 2), cos, sin)
    value = attention.v_proj(x).view(split).transpose(1, 2)
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    return attention.o_proj(mixed.transpose(1, 2).reshape(batch, length, -1))


def apply_rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Queries or keys, ... x T x D, rotated by the angles of their positions."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin
