"""Reward models as engines: a language model scored at label tokens, or a decoder with a classification head."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging

from .engine import TransformersEngine

HEAD_NAMES = ("score.", "v_head.", "classifier.")
"""Prefixes of a head's tensors: Qwen2.5-Math-PRM and transformers' classifiers, Skywork, some encoders."""


class TwoLabelHead(nn.Module):
    """A head with one logit as a head with two: the other logit, for wrong, is 0, so that softmax equals sigmoid."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, hidden: Tensor) -> Tensor:
        """[..., width] to [..., 2]."""
        right: Tensor = self.head(hidden)
        return torch.cat((torch.zeros_like(right), right), -1)


class HeadModel(nn.Module):
    """A decoder with a head of two labels, used by the engine as a language model whose next tokens are the labels."""

    def __init__(self, base: Any, head: nn.Module) -> None:
        super().__init__()
        self.base_model, self.head = base, head
        self.config = base.config

    def get_input_embeddings(self) -> Any:
        """The decoder's embedding table."""
        return self.base_model.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module:
        """The head, which takes the place of the language model's output layer."""
        return self.head

    def set_attn_implementation(self, name: str) -> None:
        """Choose the decoder's attention function by its registered name."""
        self.base_model.set_attn_implementation(name)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, use_cache: bool = False) -> Any:
        """Logits [B, T, 2] at every position."""
        out = self.base_model(input_ids=input_ids, attention_mask=attention_mask, use_cache=use_cache)
        return SimpleNamespace(logits=self.head(out.last_hidden_state))


def reward_engine(
    source: str | Path, *, head: bool, device: str = "cpu", dtype: torch.dtype | str | None = None, **options: Any
) -> TransformersEngine:
    """An engine for the reward model in a folder or on the hub.

    head: whether it has a classification head. options: of `TransformersEngine`.
    Errors: ValueError for weights without the head or the decoder, and for a tokenizer that does not fit the model.
    """
    if head:
        model, tokenizer = load_head_model(source, device, dtype)
        engine = TransformersEngine(model, tokenizer=tokenizer, **options)
    else:
        engine = TransformersEngine(source, device=device, dtype=dtype, **options)
    check_vocabulary(engine.tokenizer, engine.vocabulary, source)
    return engine


def check_vocabulary(tokenizer: Any, known: int, source: str | Path) -> None:
    """ValueError where the tokenizer has more tokens than the `known` ones of the model `source`."""
    words = len(tokenizer)
    if words > known:
        raise ValueError(f"the tokenizer of {source} has {words} tokens, its model knows {known}: they do not fit")


def load_head_model(source: str | Path, device: str, dtype: torch.dtype | str | None) -> tuple[HeadModel, Any]:
    """The decoder of a folder or hub id with the head stored among its weights; no code from there is run."""
    dtype = dtype or (torch.float32 if torch.device(device).type == "cpu" else "auto")
    folder = _folder(source)
    try:
        head = head_of(_tensors(folder), str(source))
    except ValueError:
        raise
    except Exception as error:  # a damaged file raises what its parser raises
        raise ValueError(f"the weights in {source} cannot be read: {type(error).__name__}: {error}") from error
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # transformers would warn about the head's tensors, which are loaded here
    try:
        base, loaded = AutoModel.from_pretrained(folder, dtype=dtype, trust_remote_code=False, output_loading_info=True)
    finally:
        logging.set_verbosity(verbosity)
    if missing := sorted(loaded["missing_keys"]):
        raise ValueError(f"{source} lacks weights of its decoder, such as {missing[0]}")
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    weight = base.get_input_embeddings().weight
    return HeadModel(base, head.to(weight.dtype)).to(device), tokenizer


def head_of(tensors: Mapping[str, Tensor], source: str) -> nn.Module:
    """The head made of these tensors: linear layers in the order of their names, with ReLU between them.

    Errors: ValueError for a head that has neither one nor two labels.
    """
    layers: list[nn.Module] = []
    for name in sorted(name for name in tensors if name.endswith(".weight")):
        weight, bias = tensors[name], tensors.get(name.removesuffix("weight") + "bias")
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        layer.weight.data = weight.clone()
        if bias is not None:
            layer.bias.data = bias.clone()
        layers += [nn.ReLU(), layer] if layers else [layer]
    labels = layers[-1].out_features if layers else 0
    if labels not in (1, 2):
        raise ValueError(f"{source} has no head of one or two labels (tensors {', '.join(HEAD_NAMES)}), found {labels}")
    head = nn.Sequential(*layers)
    return TwoLabelHead(head) if labels == 1 else head


def _tensors(folder: Path) -> dict[str, Tensor]:
    """The head's tensors by name, from all weight files."""
    from safetensors import safe_open

    found: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            found |= {name: file.get_tensor(name) for name in file.keys() if name.startswith(HEAD_NAMES)}  # noqa: SIM118
    return found


def _folder(source: str | Path) -> Path:
    """The folder itself, or the download of a hub id; ValueError where there is none."""
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(source), allow_patterns=["*.json", "*.safetensors", "*.model", "*.txt"]))
    except (OSError, ValueError) as error:
        raise ValueError(f"there is no reward model {source}: {error}") from error
