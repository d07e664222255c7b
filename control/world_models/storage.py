"""A learned model as a folder: its settings as JSON, its weights as safetensors."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from safetensors.torch import load_file, save_file

from .config import MLPConfig
from .normalized_net import NormalizedNet

FORMAT = 2
"""The number of the format, written to `config.json`. Format 1 had other names of settings and weights."""


def save_model(folder: str | Path, kind: str, config: MLPConfig, net: NormalizedNet, **settings: Any) -> None:
    """Write `config.json` and `weights.safetensors` to `folder`, made if absent. Value functions are not saved."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(net.state_dict(), folder / "weights.safetensors")
    written = {"format": FORMAT, "kind": kind, **settings, "config": asdict(config)}
    (folder / "config.json").write_text(json.dumps(written, indent=1) + "\n")


def read_settings(folder: str | Path, *kinds: str) -> dict[str, Any]:
    """The settings in `folder`.

    kinds: the kinds of models that are allowed.

    Errors: ValueError where the folder holds no model, or one of another kind or format.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise ValueError(f"{folder} holds no trained model: config.json is missing")
    settings: dict[str, Any] = json.loads(path.read_text())
    number, kind = settings.get("format"), settings.get("kind")
    if isinstance(number, int) and number < FORMAT:
        raise ValueError(f"{path} has the older format {number}, this version reads format {FORMAT}; train it again")
    if number != FORMAT or kind not in kinds:
        raise ValueError(f"{path} has (format, kind) {(number, kind)}, expected {FORMAT} and {' or '.join(kinds)}")
    config = settings["config"]
    settings["config"] = config | {"low": tuple(config["low"]), "high": tuple(config["high"])}
    return settings


Net = TypeVar("Net", bound=NormalizedNet)


def load_weights(net: Net, folder: str | Path) -> Net:
    """`net` with the weights in `folder`, frozen. Errors: ValueError where they belong to another architecture."""
    path = Path(folder) / "weights.safetensors"
    try:
        net.load_state_dict(load_file(path))
    except (RuntimeError, FileNotFoundError) as error:
        raise ValueError(f"{path} does not fit its config.json ({error}); train it again") from error
    return net.eval().requires_grad_(False)
