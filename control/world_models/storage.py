"""A learned dynamics in a folder: its settings as JSON, its weights as safetensors."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from safetensors.torch import load_file, save_file

from .network import MLPConfig, Scaled

FORMAT = 1


def save(folder: str | Path, kind: str, config: MLPConfig, net: Scaled, **settings: Any) -> None:
    """`config.json` and `weights.safetensors` in `folder`, made if absent. Value functions are not saved."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(net.state_dict(), folder / "weights.safetensors")
    written = {"format": FORMAT, "kind": kind, **settings, "config": asdict(config)}
    (folder / "config.json").write_text(json.dumps(written, indent=1) + "\n")


def read(folder: str | Path, *kinds: str) -> dict[str, Any]:
    """The settings in `folder`. Errors: ValueError when it holds no model, or one of another kind or format."""
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise ValueError(f"{folder} holds no trained model: config.json is missing")
    settings: dict[str, Any] = json.loads(path.read_text())
    if settings.get("format") != FORMAT or settings.get("kind") not in kinds:
        found = settings.get("format"), settings.get("kind")
        raise ValueError(f"{path} has (format, kind) {found}, wanted {FORMAT} and {' or '.join(kinds)}")
    config = settings["config"]
    settings["config"] = config | {"low": tuple(config["low"]), "high": tuple(config["high"])}
    return settings


Net = TypeVar("Net", bound=Scaled)


def filled(net: Net, folder: str | Path) -> Net:
    """`net` with the weights in `folder`, frozen. Errors: ValueError when they are of another architecture."""
    path = Path(folder) / "weights.safetensors"
    try:
        net.load_state_dict(load_file(path))
    except (RuntimeError, FileNotFoundError) as error:
        raise ValueError(f"{path} does not fit its config.json ({error}); train it again") from error
    return net.eval().requires_grad_(False)
