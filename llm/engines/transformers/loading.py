"""Loads a model and its tokenizer with transformers, and reads from them what identifies and ends their texts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

from ....planning.fingerprint import fingerprint
from ..model_files import check_folder, tokenizer_text


def load_model(source: str | Path, device: str, dtype: torch.dtype | str | None) -> tuple[Any, Any]:
    """Model and tokenizer of a folder or hub id.

    dtype: None means float32 on a CPU and the stored type elsewhere. Errors: ValueError that names what is missing.
    """
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


def eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """All token ids that end a sequence according to the generation settings, the model and the tokenizer."""
    ended: set[int] = set()
    settings = getattr(model, "generation_config", None)
    for ids in (getattr(settings, "eos_token_id", None), model.config.eos_token_id, tokenizer.eos_token_id):
        ended.update([] if ids is None else [ids] if isinstance(ids, int) else ids)
    return frozenset(ended)


def model_fingerprint(model: Any, tokenizer: Any) -> str:
    """16 hex digits of the weights (at most 65,536 values of each tensor) and the tokenizer."""
    return fingerprint(chain(_sampled_weights(model), [tokenizer_text(tokenizer)]))


def _sampled_weights(model: Any) -> Iterator[bytes]:
    """Name, shape, type and a sample of the values of each tensor."""
    for name, weight in sorted(model.state_dict().items()):
        flat = weight.detach().reshape(-1)
        sample = flat[:: max(1, flat.numel() >> 16)].float().cpu().contiguous().numpy()
        yield f"{name}{tuple(weight.shape)}{weight.dtype}".encode() + sample.tobytes()
