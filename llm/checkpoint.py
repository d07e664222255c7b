"""The checkpoint of a training of networks: weights, optimisers and settings in one file without pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..planning.differences import differences, listed
from ..planning.tensor_file import load_tensors, save_tensors

STATE_FILE = "state.safetensors"
OLDER_FILE = "state.pt"
"""Where earlier releases stored checkpoints, which were pickled and are not read."""

FORMAT = 3
LENGTH = "steps"
"""The setting that may grow when a training is resumed."""


@dataclass(frozen=True)
class Checkpoint:
    """What a training resumes from. more: tensors and facts of the training besides modules and optimisers."""

    step: int
    tensors: Mapping[str, Tensor]
    more: Mapping[str, Any]

    def restore(self, modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]) -> None:
        """Load weights and optimiser states. Errors: ValueError where they belong to other networks."""
        try:
            for name, module in modules.items():
                module.load_state_dict(_below(self.tensors, name))
            for name, optimizer in optimizers.items():
                _restore_optimizer(optimizer, _below(self.tensors, name))
        except (RuntimeError, KeyError, ValueError) as error:
            raise ValueError(
                f"the checkpoint belongs to another network ({' '.join(str(error).split())[:200]})"
            ) from None


def save_checkpoint(
    folder: Path,
    step: int,
    settings: Mapping[str, Any],
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    tensors: Mapping[str, Tensor] | None = None,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write everything that resuming exactly needs, in one atomic move.

    settings: what decides the weights; a checkpoint of others is refused. tensors, more: facts besides the weights.
    Errors: ValueError where a weight is infinite or NaN; the earlier checkpoint stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = dict(tensors or {})
    for name, module in modules.items():
        found |= {f"{name}/{key}": tensor for key, tensor in module.state_dict().items()}
    for name, optimizer in optimizers.items():
        found |= {f"{name}/{key}": tensor for key, tensor in _optimizer_tensors(optimizer).items()}
    header = {"format": FORMAT, "step": step, "settings": settings, "more": more or {}}
    save_tensors(folder / STATE_FILE, found, header)


def load_checkpoint(folder: Path, settings: Mapping[str, Any], device: str | torch.device = "cpu") -> Checkpoint | None:
    """The checkpoint in a folder, None where there is none.

    Errors: ValueError for one of another format, for one of another training, whose settings that differ are named, and
    for a damaged one.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        if (folder / OLDER_FILE).exists():
            raise ValueError(_other_format(folder / OLDER_FILE, "an older format"))
        return None
    tensors, header = load_tensors(path, device)
    number, before, step, more = (header.get(name) for name in ("format", "settings", "step", "more"))
    if number != FORMAT:
        newer = isinstance(number, int) and number > FORMAT
        raise ValueError(_other_format(path, f"the newer format {number}" if newer else f"an older format ({number})"))
    if not isinstance(before, dict) or not isinstance(more, dict) or type(step) is not int or step < 0:
        raise ValueError(f"{path} is damaged: its header has no settings")
    if changes := differences(before, json.loads(json.dumps(settings)), ignored=[LENGTH]):
        raise ValueError(f"the training in {folder} belongs to another schedule: {listed(changes)}; give another --out")
    if step > settings[LENGTH]:
        raise ValueError(f"the training in {folder} has taken {step} steps already, more than {settings[LENGTH]}")
    return Checkpoint(step, tensors, more)


def _other_format(path: Path, what: str) -> str:
    return f"{path} is a checkpoint of {what} and cannot be resumed; delete it, or give another --out, to train anew"


def _below(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `name/`, without that."""
    return {key.removeprefix(f"{name}/"): tensor for key, tensor in tensors.items() if key.startswith(f"{name}/")}


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimiser by number of parameter and name, "3/exp_avg"."""
    states = optimizer.state_dict()["state"]
    return {f"{i}/{key}": torch.as_tensor(value) for i, state in states.items() for key, value in state.items()}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The state; learning rates and other settings are those of the code."""
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, key = name.partition("/")
        states.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
