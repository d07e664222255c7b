"""Loads a model and its tokenizer with transformers, and reads from them what identifies and ends their texts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

from ....planning.fingerprint import fingerprint
from ..model_files import check_folder, tokenizer_text


def load_model(
    source: str | Path, device: str, dtype: torch.dtype | str | None, trust_remote_code: bool = False, *,
    dummy: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """Model and tokenizer of a folder or hub id.

    dtype: None means float32 on a CPU and the stored type elsewhere. trust_remote_code: run code in the folder.
    dummy: the weights are random, the same each time.
    Errors: ValueError that names what is missing.
    """
    if dtype is None:
        dtype = torch.float32 if torch.device(device).type == "cpu" else "auto"
    path = Path(source)
    if path.is_dir():
        check_folder(path, weights=not dummy)
    elif path.is_absolute() or str(source).startswith((".", "~")) or len(path.parts) > 2:
        raise ValueError(f"there is no model folder {source}")
    progress = is_progress_bar_enabled()
    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code)
        if dummy:
            return _random_model(source, device, dtype), tokenizer
        made: Any = AutoModelForCausalLM.from_pretrained(
            source, dtype=dtype, trust_remote_code=trust_remote_code, output_loading_info=True
        )
    except ImportError:
        raise
    except Exception as error:  # a damaged file raises what its parser raises
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"cannot load a causal language model with its tokenizer from {source}: {reason}") from error
    finally:
        if progress:
            enable_progress_bar()  # type: ignore[no-untyped-call]
    model, loaded = made
    if missing := sorted(loaded["missing_keys"]):  # transformers would use random ones
        raise ValueError(f"{source} lacks weights of its model, such as {missing[0]}")
    return model.to(device), tokenizer


def _random_model(source: str | Path, device: str, dtype: torch.dtype | str | None) -> Any:
    """A model of the configuration of `source`, made on the device with random weights from a fixed seed."""
    config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config, dtype=config.dtype if dtype == "auto" else dtype)  # type: ignore[no-untyped-call]


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
