"""Every model and wrapper of the search core has the defaults of `expand` that the README's model has."""

from __future__ import annotations

import inspect

import pytest

from forethought.planning import (
    ActionRepeat,
    AsyncModel,
    DiscretizedActions,
    EliteActions,
    LambdaReturn,
    Masked,
    Model,
    NoisyActions,
    Penalised,
    RolloutValue,
    TerminalValue,
)
from forethought.planning.wrappers.base import ModelWrapper

KINDS = [Model, AsyncModel, ModelWrapper, ActionRepeat, DiscretizedActions, EliteActions, LambdaReturn, Masked]


@pytest.mark.parametrize("kind", [*KINDS, NoisyActions, Penalised, RolloutValue, TerminalValue])
def test_without_wishes_every_reached_state_is_valued_and_nothing_is_written_to_its_end(kind: type) -> None:
    parameters = inspect.signature(kind.expand).parameters
    wishes = {name: one.default for name, one in parameters.items() if one.kind == one.KEYWORD_ONLY}
    assert wishes == {"to_end": False, "evaluate": "all"}
