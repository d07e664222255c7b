"""Add noise to the actions of a model, so that a plan is scored by its returns under many disturbances.

CEM(risk=("cvar", 0.2)) over NoisyActions(model, std=0.1, particles=10) plans for the worst fifth of them.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from ..interface import (
    Actions,
    BoxActions,
    Constrained,
    Evaluate,
    Expansion,
    Keys,
    Model,
    Observed,
    Remembering,
    States,
    Stochastic,
    offered,
)
from ..noise import fold, normals
from ..rollout import particles_of, take
from ..settings_checks import check_integer, check_setting, is_number
from .base import ModelWrapper, constraint_of


class PerturbedState(NamedTuple):
    """The model's states of N particles, the noise key of each particle int64 [N], and the step int64 [N]."""

    states: object
    keys: Tensor
    step: Tensor


class NoisyActions(ModelWrapper[object], Stochastic[object], Constrained[object], Observed[object]):
    """A model over vectors whose actions get normal noise in each of P particles, drawn anew at every step.

    std: deviation as a fraction of the half-range; noisy actions are clipped to the box. particles: P, at least 2.
    All candidates of a problem get the same noise (common random numbers), another query gets other noise. A step of a
    particle is a node. For searches over sequences; tree searches know no particles.
    """

    passed_on = (Remembering,)
    converted = (Constrained, Observed)

    def __init__(self, model: Model[States], std: float, particles: int) -> None:
        super().__init__(cast("Model[object]", model))
        if particles_of(model) > 1 or not isinstance(model.actions, BoxActions):
            raise ValueError("NoisyActions needs a model over vectors that has no particles of its own")
        check_setting(is_number(std) and std >= 0, "std", "at least 0 and finite", std)
        check_integer("particles", particles, 2)
        self.std, self.particles, self.box = std, particles, model.actions

    @property
    def cost(self) -> int:
        return self.particles * self.model.cost

    def constraint(self, states: object, actions: Tensor) -> Tensor:
        """The inner model's g of the noisy actions."""
        perturbed = _perturbed(states)
        return constraint_of(self.model).constraint(perturbed.states, self._noisy(perturbed, actions))

    def observation(self, states: object) -> Tensor:
        inner = states.states if isinstance(states, PerturbedState) else states
        observed = offered(self.model, Observed)
        return cast(Tensor, inner) if observed is None else observed.observation(inner)

    def repeat(self, states: object, keys: Keys) -> PerturbedState:
        """N states as N x P particles, those of one state side by side."""
        each = torch.arange(self.particles).repeat(len(keys))
        index = torch.arange(len(keys)).repeat_interleave(self.particles)
        stamps = fold(np.repeat(keys, self.particles), each).to(self.box.low.device)
        return PerturbedState(take(states, index), stamps, torch.zeros_like(stamps))

    def expand(
        self, states: object, actions: Actions, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[PerturbedState, Expansion]:
        inner, keys, step = perturbed = _perturbed(states)
        noisy = self._noisy(perturbed, torch.as_tensor(actions))
        reached, said = self.model.expand(inner, noisy, to_end=to_end, evaluate=evaluate)
        return PerturbedState(reached, keys, step + 1), said

    def _noisy(self, states: PerturbedState, actions: Tensor) -> Tensor:
        box = self.box
        noise = normals(states.keys, states.step, (len(box.low),), dtype=box.low.dtype, device=box.low.device)
        return (actions + self.std * (box.high - box.low) / 2 * noise).clamp(box.low, box.high)


def _perturbed(states: object) -> PerturbedState:
    """Errors: ValueError for states that have no noise, such as those of a tree search."""
    if not isinstance(states, PerturbedState):
        raise ValueError("NoisyActions plans with particles only, for searches over sequences")
    return states
