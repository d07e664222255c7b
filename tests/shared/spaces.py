"""Action spaces for tests that run over both kinds of indexed actions."""

from __future__ import annotations

from forethought.planning.interface import DiscreteActions, IndexedActions, SampledActions


def indexed(n: int | None) -> IndexedActions:
    """`DiscreteActions(n)`, or `SampledActions()` where n is None."""
    return SampledActions() if n is None else DiscreteActions(n)
