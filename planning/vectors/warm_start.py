"""How a search over sequences of action vectors begins with an earlier plan, shifted by the actions taken since.

Shapes: B problems, H steps, D components of an action vector.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..interface import Actions, BoxActions, WarmStartable


class SequenceWarmStart(WarmStartable):
    """A plan of action vectors that a search over sequences can begin with.

    box: bounds of the actions. rows: B. taken: actions carried out in the environment since the plan was made.
    """

    def __init__(self, box: BoxActions, rows: int) -> None:
        self.box, self.rows, self.taken = box, rows, 0

    def advance(self, actions: Actions) -> None:
        """Mark actions as taken in the environment, [B, D] for one step or [B, n, D] for n.

        Errors: ValueError for another shape.
        """
        shape = tuple(np.shape(actions))
        if len(shape) not in (2, 3) or shape[0] != self.rows:
            raise ValueError(f"advance takes actions [B, D] or [B, n, D] with B = {self.rows}, got {list(shape)}")
        self.taken += 1 if len(shape) == 2 else shape[1]


def initial_sequences(
    after: WarmStartable | None, rows: int, box: BoxActions, horizon: int, repeat_last: bool
) -> Tensor:
    """Sequences [B, H, D] to begin with: the rest of the plan of `after`, or the middle of the box where it is None.

    repeat_last: steps beyond the earlier plan repeat its last action; otherwise they are the middle of the box.

    Errors: ValueError for a search that is not over vectors, or that is over other rows or bounds.
    """
    if after is None:
        return ((box.low + box.high) / 2).expand(rows, horizon, -1).clone()
    if not isinstance(after, SequenceWarmStart):
        raise ValueError(f"after must be an earlier search over vectors, got {type(after).__name__}")
    earlier = after.box
    same = earlier.low.shape == box.low.shape and torch.equal(earlier.low, box.low)
    if after.rows != rows or not (same and torch.equal(earlier.high, box.high)):
        raise ValueError(
            f"after was a search over {after.rows} rows in {earlier.low.tolist()}..{earlier.high.tolist()}, this is "
            f"one over {rows} rows in {box.low.tolist()}..{box.high.tolist()}"
        )
    return shifted(after.plan().vectors, after.taken, horizon, box, repeat_last)


def shifted(sequences: Tensor, taken: int, horizon: int, box: BoxActions, repeat_last: bool) -> Tensor:
    """Sequences [..., H', D] without their first `taken` actions, as [..., horizon, D]; see `initial_sequences`."""
    rest = sequences[..., taken : taken + horizon, :]
    middle = ((box.low + box.high) / 2).to(rest)
    end = rest[..., -1:, :] if repeat_last and rest.shape[-2] else middle
    return torch.cat([rest, end.expand(*rest.shape[:-2], horizon - rest.shape[-2], rest.shape[-1])], -2)
