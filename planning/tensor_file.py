"""Tensors and settings in one file: safetensors with a JSON header, written whole and read without running anything."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from .files import whole_file

Settings = dict[str, object]


class BrokenTensorFile(ValueError):
    """A file of tensors that cannot be read, or whose content is not what was written."""


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], settings: Mapping[str, object]) -> None:
    """Write tensors by name and settings that JSON can hold, in one atomic move. The folder must exist.

    Tensors that share memory, such as tied weights, are written once each.

    Errors: ValueError for a number that is infinite or NaN, which no training recovers from.
    """
    check_finite(tensors.items(), str(path))
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header = json.dumps(settings)
    with whole_file(path) as beside:
        save_file(copies, beside, metadata={"settings": header, "digest": _digest(copies, header)})


def load_tensors(path: str | Path, device: str | torch.device = "cpu") -> tuple[dict[str, Tensor], Settings]:
    """Tensors and settings that `save_tensors` wrote.

    Errors: BrokenTensorFile where the file is another one, is damaged, or lacks bytes.
    """
    try:
        with safe_open(path, "pt") as file:
            header: dict[str, str] = file.metadata() or {}
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        settings = json.loads(header["settings"])
        intact = header["digest"] == _digest(tensors, header["settings"]) and isinstance(settings, dict)
    except Exception as error:  # the library has its own errors, which differ between releases
        reason = f"{type(error).__name__}: {error}"
        raise BrokenTensorFile(f"{path} is damaged or was not written by this version ({reason})") from None
    if not intact:
        raise BrokenTensorFile(f"{path} is damaged: its content is not what was written")
    return {name: tensor.to(device) for name, tensor in tensors.items()}, cast(Settings, settings)


def check_finite(tensors: Iterable[tuple[str, Tensor]], what: str) -> None:
    """ValueError that names the first tensor with an infinite number or NaN."""
    for name, tensor in tensors:
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{what} is not written: {name} holds infinite numbers or NaN, so the training diverged")


def _digest(tensors: Mapping[str, Tensor], header: str) -> str:
    digest = hashlib.blake2b(header.encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
