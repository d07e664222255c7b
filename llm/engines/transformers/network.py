"""A transformers model as the decode loop needs it: packed positions to hidden states, hidden states to logits.

Loading, the check that paged attention gives what the model's own attention gives, and the fingerprint.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

from .attention import NAME, Layout
from .cache import PagedCache

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
_WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin")
_PROBE = 8


class Network:
    """A causal model with paged attention.

    pads: whether small forwards must be padded so that results do not depend on their size (CPU).
    context: the longest sequence, in tokens; for models with sliding windows their shortest window, up to which they
        are ordinary attention. bytes_per_token: memory of one cached position.
    """

    def __init__(self, model: Any) -> None:
        """Replaces the attention of `model`. Raises ValueError where that changes its logits."""
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
        self.bytes_per_token = self._check()

    def hidden(self, ids: Tensor, positions: Tensor, cache: PagedCache, layout: Layout) -> Tensor:
        """Hidden states [T, width] of packed token ids and positions [1, T]; keys and values go to the cache."""
        out = self.model.base_model(
            input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True, layout=layout
        )
        found: Tensor = out.last_hidden_state[0]
        return found

    def logits(self, hidden: Tensor) -> Tensor:
        """[R, width] to [R, vocabulary] in float32."""
        logits: Tensor = self._head(hidden).float()
        return logits if self._scale == 1.0 else logits * self._scale

    def spare_bytes(self) -> int:
        """Memory to keep positions in: half of a GPU's free memory, or 1 GiB."""
        return torch.cuda.mem_get_info(self.device)[0] // 2 if self.device.type == "cuda" else 1 << 30

    @torch.inference_mode()
    def _check(self) -> int:
        """Compare a short forward with and without paging; gives the bytes that a cached position takes."""
        name = type(self.model).__name__
        ids = torch.arange(1, _PROBE + 1, device=self.device)[None] * 997 % self.vocabulary
        if self.model.config._attn_implementation == NAME:  # the model of an earlier engine
            self.model.set_attn_implementation("eager")
        wanted = self.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[0].float()
        self.model.set_attn_implementation(NAME)
        cache = PagedCache(self.layers, _PROBE + 1)
        cache.targets = torch.arange(1, _PROBE + 1, device=self.device)
        order = np.arange(_PROBE)
        layout = Layout(np.arange(1, _PROBE + 1, dtype=np.int32)[None], np.zeros_like(order), order)
        try:
            hidden = self.hidden(ids, torch.arange(_PROBE, device=self.device)[None], cache, layout)
            found = self.logits(hidden)
        except Exception as error:
            raise ValueError(f"the transformers engine cannot page the attention of {name}: {error!r}") from error
        # some models scale their logits by a constant after the head
        self._scale = 1.0 if _near(found, wanted) else float((found * wanted).sum() / (found * found).sum())
        if not _near(found * self._scale, wanted):
            raise ValueError(
                f"the transformers engine gives other logits than {name} itself, whose attention is not plain causal "
                "attention; use another engine for it"
            )
        kept: list[Any] = [hidden, *(x for layer in cache.layers for x in (layer.keys, layer.values))]  # type: ignore[union-attr]
        if any(x is None for x in kept):
            raise ValueError(f"the transformers engine cannot page the attention of {name}: some layers have none")
        return int(sum(x[0].numel() * x.element_size() for x in kept))


def _near(found: Tensor, wanted: Tensor) -> bool:
    return bool((found - wanted).norm() <= 0.03 * wanted.norm())  # bfloat16 is off by about 0.01


def _context(config: Any) -> int:
    limits = [getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 1 << 20]
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if window and (kinds is None or "sliding_attention" in kinds) and getattr(config, "use_sliding_window", True):
        limits.append(window)
    return int(min(limits))


def load(source: str | Path, device: str, dtype: torch.dtype | str | None) -> tuple[Any, Any]:
    """Model and tokenizer of a folder or hub id. Raises ValueError that names what is missing where."""
    if dtype is None:
        dtype = torch.float32 if torch.device(device).type == "cpu" else "auto"
    path = Path(source)
    if path.is_dir():
        check_folder(path)
    elif path.is_absolute() or str(source).startswith((".", "~")) or len(path.parts) > 2:
        raise ValueError(f"there is no model folder {source}")
    progress = is_progress_bar_enabled()
    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=dtype)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"cannot load a causal language model with its tokenizer from {source}: {error}") from error
    finally:
        if progress:
            enable_progress_bar()  # type: ignore[no-untyped-call]
    return model.to(device), tokenizer


def check_folder(path: Path) -> None:
    """ValueError that names what a model's folder lacks: configuration, weights, tokenizer."""
    missing = []
    if not (path / "config.json").is_file():
        missing.append("config.json")
    if not any(any(path.glob(pattern)) for pattern in _WEIGHT_FILES):
        missing.append("weights (model.safetensors)")
    if not any((path / name).is_file() for name in _TOKENIZER_FILES):
        missing.append("a tokenizer (tokenizer.json, or tokenizer.model)")
    if missing:
        raise ValueError(f"the model folder {path} lacks {' and '.join(missing)}")


def eos_of(model: Any, tokenizer: Any) -> frozenset[int]:
    """All ids that end a sequence, as the generation settings and the tokenizer have them."""
    found: set[int] = set()
    settings = getattr(model, "generation_config", None)
    for ids in (getattr(settings, "eos_token_id", None), model.config.eos_token_id, tokenizer.eos_token_id):
        found.update([] if ids is None else [ids] if isinstance(ids, int) else ids)
    return frozenset(found)


def fingerprint(model: Any, tokenizer: Any) -> str:
    """16 hex digits of weights (at most 65,536 values of each) and tokenizer."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        flat = weight.detach().reshape(-1)
        sample = flat[:: max(1, flat.numel() >> 16)].float().cpu().contiguous().numpy()
        digest.update(f"{name}{tuple(weight.shape)}{weight.dtype}".encode() + sample.tobytes())
    backend = getattr(tokenizer, "backend_tokenizer", None)
    words = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    digest.update(f"{words}{getattr(tokenizer, 'chat_template', None)}".encode())
    return digest.hexdigest()[:16]
