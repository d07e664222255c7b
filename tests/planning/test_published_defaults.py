"""Defaults that the docstrings attribute to a paper are the paper's."""

from forethought.planning import ICEM
from forethought.planning.trees.rebase import Rebase


def test_icem_s_defaults_are_those_of_its_paper():
    """Pinneri et al. 2020, table S2."""
    planner = ICEM()
    assert (planner.elites, planner.keep, planner.decay, planner.smoothing) == (0.1, 3, 1.25, 0.1)
    assert planner.vectors.include_mean == "last" and planner.vectors.reuse_elites == 3


def test_rebase_s_temperature_is_that_of_its_experiments():
    assert Rebase().temperature == 0.2
