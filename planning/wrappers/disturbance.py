"""Disturbances of the action, so that a plan can be weighed by how it fares in many worlds.

CEM(risk=("cvar", 0.2)) over Disturbed(model, std=0.1, particles=10) plans for the worst fifth of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..interface import BoxActions, Evaluate, Expansion, Keys
from ..noise import fold, normals
from ..rollout import take
from .base import ModelWrapper


class PerturbedState(NamedTuple):
    """The model's states of N particles, the key of each one's disturbances int64 [N], and the step int64 [N]."""

    states: Any
    keys: Tensor
    step: Tensor


class NoisyActions(ModelWrapper):
    """A model over vectors whose actions are shaken in each of P particles by normal noise, fresh at every step.

    std: deviation as a fraction of the half-range; what is taken stays within the box. particles: P, at least 2.
    All candidates of a problem meet the same disturbances (common random numbers), another query meets others. Each
    particle is a node. For searches over sequences; a tree has no particles.
    """

    def __init__(self, model: Any, std: float, particles: int) -> None:
        super().__init__(model)
        if int(getattr(model, "particles", 1)) > 1 or not isinstance(model.actions, BoxActions):
            raise ValueError("Disturbed wants a model over vectors that has no particles of its own")
        if not std >= 0 or particles < 2:
            raise ValueError(f"std is at least 0 and particles at least 2, got {std} and {particles}")
        self.std, self.count = std, particles

    @property
    def particles(self) -> int:
        return self.count

    @property
    def cost(self) -> int:
        return self.count * int(self.model.cost)

    @property
    def constraint(self) -> Any:
        measure = self.model.constraint
        return lambda shaken, actions: measure(shaken.states, self._shaken(shaken, actions))

    def repeat(self, states: Any, keys: Keys) -> PerturbedState:
        """N states as N x P particles, those of one side by side."""
        each = torch.arange(self.count).repeat(len(keys))
        index = torch.arange(len(keys)).repeat_interleave(self.count)
        stamps = fold(np.repeat(keys, self.count), each).to(self.model.actions.low.device)
        return PerturbedState(take(states, index), stamps, torch.zeros_like(stamps))

    def expand(
        self, states: Any, actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[PerturbedState, Expansion]:
        inner, keys, step = states
        reached, said = self.model.expand(inner, self._shaken(states, actions), to_end=to_end, evaluate=evaluate)
        return PerturbedState(reached, keys, step + 1), said

    def _shaken(self, states: PerturbedState, actions: Any) -> Tensor:
        box: BoxActions = self.model.actions
        noise = normals(states.keys, states.step, (len(box.low),), dtype=box.low.dtype, device=box.low.device)
        return (actions + self.std * (box.high - box.low) / 2 * noise).clamp(box.low, box.high)
