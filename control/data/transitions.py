"""Steps of environments as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Row = tuple[NDArray[Any], Any, float, NDArray[Any], bool, bool]
"""One step: obs [O], action, reward, next_obs [O], terminated, truncated."""


@dataclass(frozen=True)
class Transitions:
    """N steps; float32 except where another type is given.

    obs: [N, O], float64 where the environment gives such, as is next_obs: a small change of a large number is their
        difference. action: [N, D], or int64 [N] where actions are discrete. reward: [N]. next_obs: [N, O].
    terminated: bool [N], whether `next_obs` is terminal. truncated: bool [N], whether a time limit ended
        the episode; both can be true of one step.

    Errors: ValueError where the fields differ in length, or hold NaN or infinity.
    """

    obs: Tensor
    action: Tensor
    reward: Tensor
    next_obs: Tensor
    terminated: Tensor
    truncated: Tensor

    def __post_init__(self) -> None:
        tensors = self.tensors()
        lengths = {name: len(tensor) for name, tensor in tensors.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"all fields of transitions must have one length, got {lengths}")
        for name, tensor in tensors.items():
            if not bool(torch.isfinite(tensor).all()):
                raise ValueError(f"transitions hold NaN or infinity in {name}")

    def __len__(self) -> int:
        return len(self.reward)

    def tensors(self) -> dict[str, Tensor]:
        """The fields by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def take(self, index: Tensor) -> Transitions:
        """The steps at `index`, int64 [M] or a bool mask [N]."""
        return Transitions(*(tensor[index] for tensor in self.tensors().values()))

    def split(self, share: float, seed: int = 0) -> tuple[Transitions, Transitions]:
        """Split at random into (training, held-out) steps; `share` in (0, 1) are held out, at least one step in each.

        Errors: ValueError for fewer than 2 steps or a share outside (0, 1).
        """
        if len(self) < 2 or not 0.0 < share < 1.0:
            raise ValueError(f"a split needs at least 2 steps and a share in (0, 1), got {len(self)} and {share}")
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        count = min(max(1, round(share * len(self))), len(self) - 1)
        return self.take(order[count:]), self.take(order[:count])


def join(parts: Sequence[Transitions]) -> Transitions:
    """The steps of several collections in order. Errors: ValueError for none."""
    if not parts:
        raise ValueError("nothing to join: no transitions were given")
    return Transitions(*(torch.cat(columns) for columns in zip(*(part.tensors().values() for part in parts))))


def wide(obs: NDArray[Any]) -> NDArray[Any]:
    """Observations as float32 or float64, whichever holds every number of their type (int64 up to 2^53)."""
    return obs.astype(np.result_type(obs.dtype, np.float32))


def transitions_of(rows: Sequence[Row]) -> Transitions:
    """Steps one by one as `Transitions`. Errors: ValueError where a number is not finite."""
    obs, action, reward, next_obs, terminated, truncated = (np.array(column) for column in zip(*rows))
    discrete = np.issubdtype(action.dtype, np.integer)
    return Transitions(
        torch.from_numpy(wide(obs)),
        torch.from_numpy(action).long() if discrete else torch.from_numpy(action).float(),
        torch.from_numpy(reward).float(),
        torch.from_numpy(wide(next_obs)),
        torch.from_numpy(terminated).bool(),
        torch.from_numpy(truncated).bool(),
    )
