"""An ensemble of learned dynamics as a `Model`, whose uncertainty travels along a plan as particles.

Trajectory sampling of Chua et al. 2018 (PETS), section 4: each candidate is walked by P particles, each of them by one
member at a time and with that member's own noise. TS1 draws the member anew at every step, TS-infinity keeps it to the
horizon. Shooting planners reduce the P returns by their `risk`; trees and planners that use derivatives walk the mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor

from ....planning.interface import (
    Evaluate,
    Expansion,
    Keys,
    Kind,
    Observed,
    Propagated,
    Steppable,
    Stochastic,
    Vectorised,
)
from ....planning.noise import fold, normals, uniforms
from ....planning.usage import nodes_and_calls
from ....planning.wrappers.terminal_value import ValueFn, value_of
from ...nets.fused import Folded
from ..base import OptionalValue
from ..fused_rollout import Chance, walked
from ..network import Rules, inputs_of
from ..storage import filled, read, save
from .net import EnsembleConfig, StackedNet

Propagate = Literal["ts1", "tsinf", "mean"]


class Particles(NamedTuple):
    """N states under way: seen [N, O], member int64 [N] whose step is next, key int64 [N] their own noise."""

    seen: Tensor
    member: Tensor
    key: Tensor


class EnsembleModel(OptionalValue, Steppable[Any], Stochastic[Any], Vectorised[Any], Propagated, Observed[Any]):
    """A trained ensemble. States are observations [K, O], or `Particles` of them where `rollout` asked for them.

    A plain observation is stepped by the mean of all members: deterministic, differentiable, E nodes a step. Particles
    take one node each. The mean's reward and that of particles are the members' mean rewards, without noise.
    value: return still to come of observations. gamma: factor on everything after a step.
    propagate: "ts1", "tsinf", or "mean" for no particles at all, as iLQR and DDP want it.
    particles: P, by default one per member; TS-infinity spreads them evenly over members. A single one is the mean, so
        one probabilistic member wants more of them for its noise to count.
    """

    def __init__(
        self,
        config: EnsembleConfig,
        net: StackedNet,
        value: ValueFn | None = None,
        gamma: float = 1.0,
        *,
        propagate: Propagate = "tsinf",
        particles: int | None = None,
    ) -> None:
        if propagate not in ("ts1", "tsinf", "mean"):
            raise ValueError(f"propagate is 'ts1', 'tsinf' or 'mean', got {propagate!r}")
        if particles is not None and (particles < 1 or propagate == "mean"):
            raise ValueError(f"particles are at least 1 and want 'ts1' or 'tsinf', got {particles} and {propagate!r}")
        self.rules = Rules(config, net, gamma)
        self.config, self.net, self.value, self.gamma = config, net.requires_grad_(False), value, gamma
        self.actions, self.ended = self.rules.actions, self.rules.ended
        self.propagate, self.particles = propagate, 1 if propagate == "mean" else particles or config.members

    @property
    def cost(self) -> int:
        """The dearer of a step of all members and of all particles."""
        return max(self.config.members, self.particles)

    def propagated(self, how: str, particles: int | None = None) -> EnsembleModel:
        """The same networks with other particles; "mean" for planners that want one trajectory."""
        propagate = cast(Propagate, how)  # checked by the constructor
        return EnsembleModel(self.config, self.net, self.value, self.gamma, propagate=propagate, particles=particles)

    def start(self, problems: Any) -> tuple[Tensor, Expansion]:
        """A problem is an observation."""
        return self.rules.start(problems, self.value)

    def repeat(self, states: Tensor, keys: Keys) -> Particles:
        """N observations to N * P particles, those of one observation side by side; rows of one key have one noise."""
        count, each = len(states), torch.arange(self.particles, device=states.device)
        root = fold(keys, 0, device=states.device)[:, None]
        key = fold(root, each).flatten()
        first = (uniforms(root, -1, dtype=torch.float64) * self.config.members).long()
        member = ((first + each) % self.config.members).flatten() if self.propagate == "tsinf" else self._drawn(key)
        return Particles(states.repeat_interleave(self.particles, 0), member.view(count * self.particles), key)

    def _drawn(self, key: Tensor) -> Tensor:
        """int64 [N] members, all alike probable."""
        return (uniforms(key, 1, dtype=torch.float64) * self.config.members).long()

    def expand(
        self, states: Any, actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[Any, Expansion]:
        reached, reward, discount = self.step(states, actions)
        value = value_of(self.value, self.observation(reached), discount, evaluate)
        usage = None if isinstance(states, Particles) else nodes_and_calls(len(reward), self.config.members)
        return reached, Expansion(reward, discount, value, usage=usage)

    def step(self, states: Any, actions: Any) -> tuple[Any, Tensor, Tensor]:
        """States and actions -> next states, rewards [K], discounts [K]."""
        if not isinstance(states, Particles):
            return self.landed(states, actions, self.means(states, actions).mean(0))
        seen = states.seen
        actions = self.rules.taken(actions, seen)
        mean, deviation = self.net.some(inputs_of(self.config, seen, actions), states.member)
        move = mean[:, :-1]
        if self.config.probabilistic:
            move = move + deviation[:, :-1] * normals(states.key, 2, (move.shape[1],)).to(move)
        reached, reward, discount = self.rules.land(seen, actions, seen + move, mean[:, -1])
        if self.propagate == "tsinf" and not self.config.probabilistic:
            return Particles(reached, states.member, states.key), reward, discount  # nothing is drawn
        key = fold(states.key, 3)
        member = states.member if self.propagate == "tsinf" else self._drawn(key)
        return Particles(reached, member, key), reward, discount

    def offer(self, kind: type[Kind]) -> Kind | None:
        """`Vectorised` on a CPU where nothing ends and each particle keeps its member, so that members can be stepped
        one after the other (on a GPU they are faster together); the others see `OptionalValue`."""
        one_member = self.propagate == "tsinf" and self.particles > 1
        vectorised = one_member and self.rules.plain and self.net.input_mean.device.type == "cpu"
        return None if kind is Vectorised and not vectorised else super().offer(kind)

    def observation(self, states: Any) -> Tensor:
        """The observations [K, O] of states, whether they are particles or plain."""
        return states.seen if isinstance(states, Particles) else states

    def state_value(self, states: Any) -> Tensor:
        return super().state_value(self.observation(states))

    def rollout_returns(self, states: Particles, actions: Tensor) -> Tensor:
        """See `Vectorised`."""
        returns = states.seen.new_empty(len(states.seen))
        noise = self._noise(states, len(actions)) if self.config.probabilistic else None
        for member, net in enumerate(self.net.folded().apart):
            rows = torch.nonzero(states.member == member)[:, 0]
            if len(rows):
                seen, pushed = states.seen.index_select(0, rows), actions.index_select(1, rows)
                chance = None if noise is None else self._chance(net, member, noise.index_select(1, rows))
                returns[rows] = walked(self.rules, net, seen, pushed, self.value, chance)
        return returns

    def _noise(self, states: Particles, steps: int) -> Tensor:
        """[steps, N, O] what `step` draws, one step after the other."""
        keys = [states.key]
        for _ in range(steps - 1):
            keys.append(fold(keys[-1], 3))
        shape = states.seen.shape
        return normals(torch.cat(keys), 2, shape[1:]).to(states.seen).view(steps, *shape)

    def _chance(self, net: Folded, member: int, noise: Tensor) -> Chance:
        """The noise [H, n, O] of one member's particles as what it adds to their observations."""
        return lambda t, hidden: (self.net.deviations((net.free @ hidden).mT, member)[:, :-1] * noise[t]).mT

    def disagreement(self, seen: Tensor, actions: Any) -> Tensor:
        """[K] how far the members' means are apart, in deviations of the training targets; see `StackedNet`."""
        return self.net.disagreement(self.means(seen, actions))

    def means(self, seen: Tensor, actions: Any) -> Tensor:
        """[E, K, O + 1] what each member expects of observations [K, O] under actions: their change, and the reward."""
        return self.net.means(inputs_of(self.config, seen, self.rules.taken(actions, seen)))

    def landed(self, seen: Tensor, actions: Any, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Next observations [K, O], rewards [K], discounts [K] of a prediction [K, O + 1]."""
        return self.rules.land(seen, self.rules.taken(actions, seen), seen + out[:, :-1], out[:, -1])

    def save(self, folder: str | Path) -> None:
        """See `storage.save`."""
        particles = None if self.propagate == "mean" else self.particles
        save(folder, "ensemble", self.config, self.net, gamma=self.gamma, propagate=self.propagate, particles=particles)

    @classmethod
    def load(cls, folder: str | Path, value: ValueFn | None = None) -> EnsembleModel:
        """A saved model. Errors: ValueError when the folder holds none, or one of another kind or format."""
        settings = read(folder, "ensemble")
        config = EnsembleConfig(**settings["config"])
        net = filled(StackedNet(config), folder)
        kept = {name: settings[name] for name in ("propagate", "particles")}
        return cls(config, net, value, settings["gamma"], **kept)
