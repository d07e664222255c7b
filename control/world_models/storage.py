"""A learned model as a folder: its settings as JSON, its weights as safetensors."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch

from ...planning.files import whole_folder
from ...planning.tensor_file import load_tensors, save_tensors
from .config import MLPConfig
from .normalized_net import NormalizedNet

FORMAT = 3
"""The number of the format, written to `config.json`. Formats 1 and 2 had no settings beside the weights."""

SETTINGS, WEIGHTS = "config.json", "weights.safetensors"


def save_model(folder: str | Path, kind: str, config: MLPConfig, net: NormalizedNet, **settings: Any) -> None:
    """Write `config.json` and `weights.safetensors` to `folder`, made if absent. Value functions are not saved.

    Errors: ValueError for weights that are infinite or NaN, as after a training that diverged.
    """
    written = {"format": FORMAT, "kind": kind, **settings, "config": asdict(config)}
    with whole_folder(folder, last=SETTINGS) as beside:
        save_tensors(beside / WEIGHTS, net.state_dict(), written)
        (beside / SETTINGS).write_text(json.dumps(written, indent=1) + "\n")


def read_settings(folder: str | Path, *kinds: str) -> dict[str, Any]:
    """The settings in `folder`.

    kinds: the kinds of models that are allowed.

    Errors: ValueError where the folder holds no model, or one of another kind or format.
    """
    path = Path(folder) / SETTINGS
    if not path.is_file():
        raise ValueError(f"{folder} holds no trained model: config.json is missing")
    settings = _read(path)
    number, kind = settings.get("format"), settings.get("kind")
    if isinstance(number, int) and number < FORMAT:
        raise ValueError(f"{path} has the older format {number}, this version reads format {FORMAT}; train it again")
    if number != FORMAT or kind not in kinds:
        raise ValueError(f"{path} has (format, kind) {(number, kind)}, expected {FORMAT} and {' or '.join(kinds)}")
    try:
        config = settings["config"]
        settings["config"] = config | {"low": tuple(config["low"]), "high": tuple(config["high"])}
    except (TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged: {error!r}; train it again") from None
    return settings


def _read(path: Path) -> dict[str, Any]:
    """A JSON object in a file. Errors: ValueError where it holds something else."""
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}; train it again") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged: not a JSON object; train it again")
    return found


Net = TypeVar("Net", bound=NormalizedNet)


def load_weights(net: Net, folder: str | Path) -> Net:
    """`net` with the weights in `folder`, frozen.

    Errors: ValueError where they are damaged, or belong to other settings or another architecture.
    """
    path = Path(folder) / WEIGHTS
    try:
        weights, written = load_tensors(path)
        net.offset = torch.zeros_like(weights["offset"]) if "offset" in weights else None
        net.load_state_dict(weights)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{path} does not fit its config.json ({_line(error)}); train it again") from None
    if written != _read(Path(folder) / SETTINGS):
        raise ValueError(f"{path} does not fit its config.json, which has other settings; train it again")
    return net.eval().requires_grad_(False)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
