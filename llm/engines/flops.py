"""How many floating-point operations a decoder takes for its tokens, from its sizes alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .base import Score


@dataclass(frozen=True)
class Work:
    """The sizes that decide the work of a token.

    parameters: numbers in the matrices that a token is multiplied with: all of the model's but the look-up table of
        the token ids, the output head included (a tied one is the head). Of a mixture of experts all: a bound.
    layers: those with attention. width: query heads times their size, 0 and 0 where it is not known.

    Kaplan et al. 2020, "Scaling Laws for Neural Language Models", section 2.1: two operations a parameter (a product
    and a sum), and for attention two products over the context, of queries with keys and of weights with values.
    """

    parameters: int = 0
    layers: int = 0
    width: int = 0

    def of(self, start: int, new: int) -> float:
        """Operations for `new` tokens after `start` ones, whose keys and values are kept: 2 x parameters a token and
        4 x layers x width a token and position that it looks at, its own included."""
        looked_at = new * start + new * (new + 1) // 2
        return float(2 * self.parameters * new + 4 * self.layers * self.width * looked_at)

    def of_score(self, length: int, done: Score | None) -> float:
        """Operations of a score just made after `length` tokens; 0 for one that the tape answered."""
        return self.of(length - done.computed, done.computed) if done else 0.0


UNKNOWN = Work()
"""Of engines that hide their model (a server, a tape without sizes): everything takes 0."""


def work_of(engine: Any) -> Work:
    """What an engine says of its model as `work`; `UNKNOWN` where it says nothing."""
    work = getattr(engine, "work", None)
    return UNKNOWN if work is None else work


def work_of_config(config: Any, parameters: int) -> Work:
    """From a transformers configuration (of the text part) and the count of `Work.parameters`."""
    heads = int(getattr(config, "num_attention_heads", 0) or 0)
    size = getattr(config, "head_dim", None) or (int(config.hidden_size) // heads if heads else 0)
    return Work(parameters, int(getattr(config, "num_hidden_layers", 0) or 0), heads * int(size))


def work_of_model(model: Any) -> Work:
    """Of a loaded causal model, or of any with `parameters`, `get_input_embeddings` and `get_output_embeddings`."""
    table, head = model.get_input_embeddings().weight, model.get_output_embeddings()
    tied = getattr(head, "weight", None) is table
    matrices = {id(x): x.numel() for x in model.parameters() if x.ndim >= 2 and (tied or x is not table)}
    return work_of_config(model.config.get_text_config(), sum(matrices.values()))


def work_of_folder(source: str) -> Work:
    """Of a model in a folder or on the hub, by its configuration alone; `UNKNOWN` where that says too little."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(source)
        with torch.device("meta"):
            return work_of_model(AutoModelForCausalLM.from_config(config))
    except Exception:  # a server's model may be known by its tokenizer alone
        return UNKNOWN
