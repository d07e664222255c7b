"""The widest beam that a budget pays for, against a beam walked layer by layer."""

from __future__ import annotations

import pytest

from forethought.planning.trees.beam import affordable


def nodes_of(beam: int, children: int, horizon: int) -> int:
    """How many nodes a pass opens: every state of a layer opens all its children, the best `beam` go on."""
    states, opened = ["root"], 0
    for _ in range(horizon):
        layer = [(state, child) for state in states for child in range(children)]
        opened += len(layer)
        states = layer[:beam]
    return opened


@pytest.mark.parametrize("children", [2, 3, 5])
@pytest.mark.parametrize("horizon", [2, 4, 7])
def test_no_wider_beam_fits_the_budget_and_this_one_does(children: int, horizon: int) -> None:
    for nodes in range(nodes_of(1, children, horizon), 120):
        beam = affordable(nodes, children, horizon)
        assert nodes_of(beam, children, horizon) <= nodes
        wider = nodes_of(beam + 1, children, horizon)
        assert wider > nodes or wider == nodes_of(10**6, children, horizon)


def test_a_budget_below_the_narrowest_beam_still_has_one() -> None:
    assert affordable(1, 3, 5) == affordable(0, 3, 5) == 1
