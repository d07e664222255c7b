"""Steps seen in a real environment, as tensors. No environment and no model here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Transitions:
    """N steps, float32 unless said.

    seen [N, O], actions [N, D] (int64 [N] for slots), rewards [N], reached [N, O], ended bool [N] (terminated; a time
    limit does not end).
    """

    seen: Tensor
    actions: Tensor
    rewards: Tensor
    reached: Tensor
    ended: Tensor

    def __post_init__(self) -> None:
        lengths = {f.name: len(getattr(self, f.name)) for f in fields(self)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"transitions want one length in every field, got {lengths}")
        for name in ("seen", "actions", "rewards", "reached"):
            if not bool(torch.isfinite(getattr(self, name)).all()):
                raise ValueError(f"transitions hold NaN or infinity in {name}")

    def __len__(self) -> int:
        return len(self.rewards)

    def take(self, index: Tensor) -> Transitions:
        """The steps at `index`, int64 or bool."""
        return Transitions(*(getattr(self, f.name)[index] for f in fields(self)))

    def split(self, share: float, seed: int = 0) -> tuple[Transitions, Transitions]:
        """A random `share` held out, and the rest: (rest, held out). At least one step each."""
        if len(self) < 2 or not 0.0 < share < 1.0:
            raise ValueError(f"a split wants at least 2 steps and a share in (0, 1), got {len(self)} and {share}")
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        out = min(max(1, round(share * len(self))), len(self) - 1)
        return self.take(order[out:]), self.take(order[:out])


def join(parts: Sequence[Transitions]) -> Transitions:
    """All steps of several collections, in order."""
    if not parts:
        raise ValueError("nothing to join: no transitions were given")
    return Transitions(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Transitions)))
