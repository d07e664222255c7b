"""Runs a transformers model for the scheduler: packed positions to hidden states, hidden states to logits.

It also checks that paged attention computes the same logits as the model's own attention.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .attention import NAME, AttentionMetadata
from .paged_cache import PagedCache

_PROBE = 8
"""Tokens of the forward pass that compares paged attention with the model's own."""


class ModelRunner:
    """A causal model with paged attention.

    pads: whether small forward passes must be padded so that results do not depend on their size (on a CPU).
    context: the longest sequence in tokens; for models with sliding windows the shortest window, up to which they are
        ordinary attention. bytes_per_token: memory of one cached position.
    """

    def __init__(self, model: Any) -> None:
        """Replaces the attention of `model`. Errors: ValueError where that changes its logits."""
        self.model = model.eval()
        self.config = model.config.get_text_config()
        self.device = next(model.parameters()).device
        self.pads = self.device.type == "cpu"
        self.layers = int(self.config.num_hidden_layers)
        head = model.get_output_embeddings()
        if head is None:
            raise ValueError(f"{type(model).__name__} has no output embeddings: it is no causal language model")
        self._head, self._scale = head, 1.0
        self.vocabulary = int(model.get_input_embeddings().weight.shape[0])
        self.context = _context(self.config)
        self.bytes_per_token = self._check_paging()

    def hidden(self, ids: Tensor, positions: Tensor, cache: PagedCache, metadata: AttentionMetadata) -> Tensor:
        """Hidden states [T, width] of packed token ids and positions [1, T]; keys and values go to the cache."""
        out = self.model.base_model(
            input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True, attention_metadata=metadata
        )
        hidden: Tensor = out.last_hidden_state[0]
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """[R, width] to [R, vocabulary] in float32."""
        logits: Tensor = self._head(hidden).float()
        return logits if self._scale == 1.0 else logits * self._scale

    def cache_bytes(self) -> int:
        """Memory for the key-value cache: half of a GPU's free memory, or 1 GiB."""
        return torch.cuda.mem_get_info(self.device)[0] // 2 if self.device.type == "cuda" else 1 << 30

    @torch.inference_mode()
    def _check_paging(self) -> int:
        """Compare a short forward pass with and without paging; returns the bytes that a cached position takes."""
        name = type(self.model).__name__
        ids = torch.arange(1, _PROBE + 1, device=self.device)[None] * 997 % self.vocabulary
        if self.model.config._attn_implementation == NAME:  # an earlier engine used the same model
            self.model.set_attn_implementation("eager")
        expected = self.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[0].float()
        self.model.set_attn_implementation(NAME)
        cache = PagedCache(self.layers, _PROBE + 1)
        try:
            hidden = self._probe(ids, cache)
            logits = self.logits(hidden)
        except Exception as error:
            raise ValueError(f"the transformers engine cannot page the attention of {name}: {error!r}") from error
        # some models scale their logits by a constant after the head
        same = _near(logits, expected)
        self._scale = 1.0 if same else float((logits * expected).sum() / (logits * logits).sum())
        if not _near(logits * self._scale, expected):
            raise ValueError(
                f"the transformers engine gives other logits than {name} itself, whose attention is not plain causal "
                "attention; use another engine for it"
            )
        stored: list[Any] = [hidden, *(x for layer in cache.layers for x in (layer.keys, layer.values))]  # type: ignore[union-attr]
        if any(x is None for x in stored):
            raise ValueError(f"the transformers engine cannot page the attention of {name}: some layers have none")
        return int(sum(x[0].numel() * x.element_size() for x in stored))

    def _probe(self, ids: Tensor, cache: PagedCache) -> Tensor:
        """Hidden states of one sequence that fills the blocks 1 to `_PROBE` of `cache`."""
        cache.write_blocks = torch.arange(1, _PROBE + 1, device=self.device)
        order = np.arange(_PROBE)
        metadata = AttentionMetadata(np.arange(1, _PROBE + 1, dtype=np.int32)[None], np.zeros_like(order), order)
        return self.hidden(ids, torch.arange(_PROBE, device=self.device)[None], cache, metadata)


def _near(logits: Tensor, expected: Tensor) -> bool:
    return bool((logits - expected).norm() <= 0.03 * expected.norm())  # bfloat16 differs by about 0.01


def _context(config: Any) -> int:
    limits = [getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 1 << 20]
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if window and (kinds is None or "sliding_attention" in kinds) and getattr(config, "use_sliding_window", True):
        limits.append(window)
    return int(min(limits))
