"""The base class of models that wrap another model, and what they need of the wrapped one."""

from __future__ import annotations

from typing import ClassVar, Generic

from ..interface import (
    Actions,
    ActionSpace,
    Constrained,
    Evaluate,
    Expansion,
    Kind,
    Model,
    Observed,
    Offering,
    Remembering,
    States,
    Stochastic,
    offered,
)


class ModelWrapper(Offering, Generic[States]):
    """The same model; a subclass overrides what it changes.

    Of the optional interfaces of the inner model, `passed_on` names those that the wrapper offers as they are. It must
    not name `Steppable`, `Vectorised` or `Valued`: a subclass that changes `expand` would be bypassed by them.
    `converted` names those that the wrapper implements by calling the inner model's, and offers where the inner model
    does.
    """

    passed_on: ClassVar[tuple[type, ...]] = (Stochastic, Constrained, Remembering, Observed)
    converted: ClassVar[tuple[type, ...]] = ()

    def __init__(self, model: Model[States]) -> None:
        self.model = model

    @property
    def actions(self) -> ActionSpace:
        return self.model.actions

    @property
    def cost(self) -> int:
        return self.model.cost

    def start(self, problems: object) -> tuple[States, Expansion]:
        return self.model.start(problems)

    def expand(
        self, states: States, actions: Actions, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[States, Expansion]:
        return self.model.expand(states, actions, to_end=to_end, evaluate=evaluate)

    def offer(self, kind: type[Kind]) -> Kind | None:
        """The wrapper itself where it implements `kind`, the inner model's where that is passed on, or None."""
        if kind in self.converted and offered(self.model, kind) is None:
            return None
        if isinstance(self, kind):
            return self
        return offered(self.model, kind) if kind in self.passed_on else None

    @property
    def steps_per_action(self) -> int:
        """How many environment steps one action stands for."""
        return steps_per_action(self.model)

    def to_environment(self, actions: Actions) -> Actions:
        """What B environments are given for the first actions [B] or [B, D] of the plans of B problems."""
        return to_environment(self.model, actions)


def steps_per_action(model: object) -> int:
    """How many environment steps one action of `model` stands for; 1 unless a wrapper says otherwise."""
    return model.steps_per_action if isinstance(model, ModelWrapper) else 1


def to_environment(model: object, actions: Actions) -> Actions:
    """What B environments are given for B actions of `model`: the actions themselves unless a wrapper converts them."""
    return model.to_environment(actions) if isinstance(model, ModelWrapper) else actions


def constraint_of(model: Model[States]) -> Constrained[States]:
    """The constraint of a model. Errors: ValueError where it has none."""
    constrained = offered(model, Constrained)
    if constrained is None:
        raise ValueError(f"{type(model).__name__} offers no constraint; inherit from planning.interface.Constrained")
    return constrained
