"""The gate that decides how far a correction is trusted, and the shrinkage of its magnitude."""

from __future__ import annotations

import torch
from torch import Tensor

GATE_RATIO = 5.0
"""The gate is shut from this multiple of the disagreement at which it begins to close."""

RELATIVE_OPEN, RELATIVE_SHUT = 0.5, 0.9
"""Disagreement relative to the correction's magnitude up to which the gate is open too, and from which it is not."""


def gate_value(disagreement: Tensor, magnitude: Tensor, gate: tuple[float, float]) -> Tensor:
    """[N] the gate, in [0, 1], for corrections of disagreement [N] and magnitude [N].

    gate: (open, shut). It is 1 up to disagreement `open` and closes up to GATE_RATIO times that. A correction that is
    large compared with its disagreement keeps it open for longer, but from `shut` on it is always 0.
    """
    opened, shut = gate
    absolute = smooth_step_down(disagreement, opened, min(GATE_RATIO * opened, shut))
    relative = smooth_step_down(disagreement / magnitude, RELATIVE_OPEN, RELATIVE_SHUT)
    return torch.maximum(absolute, relative * smooth_step_down(disagreement, shut / GATE_RATIO, shut))


def shrinkage_factor(disagreement: Tensor, magnitude: Tensor, shrinkage: float) -> Tensor:
    """[N] share of a correction that is left when `shrinkage` times the disagreement is subtracted from its magnitude.

    The group soft threshold of Yuan and Lin 2006, "Model selection and estimation in regression with grouped
    variables", section 2.
    """
    return (1 - shrinkage * disagreement / magnitude).clamp(min=0)


def smooth_step_down(x: Tensor, low: float, high: float) -> Tensor:
    """1 up to `low`, 0 from `high` on, a cubic with slope 0 at both ends between."""
    t = ((x - low) / max(high - low, 1e-12)).clamp(0, 1)
    return 1 - t.square() * (3 - 2 * t)
