"""Floating-point operations that a decoder needs for its tokens, from its sizes alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .messages import Score


@dataclass(frozen=True)
class DecoderFlops:
    """The sizes of a decoder that determine the operations of a token.

    parameters: entries of the matrices that multiply each token: all parameters except the embedding table, with the
        output head (a tied table counts as the head). For a mixture of experts all experts count: an upper bound.
    layers: layers with attention. width: query heads times head size. Both are 0 where unknown.

    Source: Kaplan et al. 2020, "Scaling Laws for Neural Language Models", section 2.1: two operations per parameter (a
    multiplication and an addition), and for attention two products over the context (queries with keys, weights with
    values).
    """

    parameters: int = 0
    layers: int = 0
    width: int = 0

    def of_tokens(self, start: int, new: int) -> float:
        """Operations for `new` tokens after `start` tokens whose keys and values are cached.

        These are 2 * parameters per token, and 4 * layers * width per token and position attended to, its own included.
        """
        attended = new * start + new * (new + 1) // 2
        return float(2 * self.parameters * new + 4 * self.layers * self.width * attended)

    def of_score(self, length: int, made: Score | None) -> float:
        """Operations of a score that the engine computed after `length` tokens; 0 for None, an answer of the tape."""
        return self.of_tokens(length - made.computed, made.computed) if made else 0.0


UNKNOWN_FLOPS = DecoderFlops()
"""For engines that hide their model, such as a server: every count is 0."""


def flops_of_config(config: Any, parameters: int) -> DecoderFlops:
    """From a transformers configuration (of the text part) and the number of `DecoderFlops.parameters`."""
    heads = int(getattr(config, "num_attention_heads", 0) or 0)
    size = getattr(config, "head_dim", None) or (int(config.hidden_size) // heads if heads else 0)
    return DecoderFlops(parameters, int(getattr(config, "num_hidden_layers", 0) or 0), heads * int(size))


def flops_of_model(model: Any) -> DecoderFlops:
    """From a loaded causal model, or any module with `get_input_embeddings` and `get_output_embeddings`."""
    table, head = model.get_input_embeddings().weight, model.get_output_embeddings()
    tied = getattr(head, "weight", None) is table
    matrices = {id(x): x.numel() for x in model.parameters() if x.ndim >= 2 and (tied or x is not table)}
    return flops_of_config(model.config.get_text_config(), sum(matrices.values()))


def flops_of_folder(source: str) -> DecoderFlops:
    """From the configuration of a model in a folder or on the hub; `UNKNOWN_FLOPS` where it does not suffice."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        with torch.device("meta"):
            return flops_of_model(AutoModelForCausalLM.from_config(config, trust_remote_code=False))
    except Exception:  # only the tokenizer of a server's model may be available here
        return UNKNOWN_FLOPS
