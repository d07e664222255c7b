"""An ensemble as a world model whose uncertainty is propagated along a plan by particles.

Trajectory sampling of Chua et al. 2018 (PETS), section 4: each candidate has P particles, and each particle takes its
steps from one member at a time, with that member's noise. TS1 draws the member anew at every step, TS-infinity keeps it
to the horizon. Shooting planners reduce the P returns by their `risk`; trees and derivative planners use the mean.
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
from ...nets.fused import FusedMLP
from ..base import OptionalValue
from ..episode_rules import EpisodeRules
from ..fused_rollout import NoiseFn, fused_returns
from ..normalized_net import network_inputs
from ..storage import load_weights, read_settings, save_model
from .net import EnsembleConfig, StackedNet

Propagate = Literal["ts1", "tsinf", "mean"]


class Particles(NamedTuple):
    """N particles. obs: [N, O]. member: int64 [N], which takes the next step. key: int64 [N], of each one's noise."""

    obs: Tensor
    member: Tensor
    key: Tensor


class EnsembleModel(OptionalValue, Steppable[Any], Stochastic[Any], Vectorised[Any], Propagated, Observed[Any]):
    """A trained ensemble. States are observations [K, O], or `Particles` where `repeat` made them.

    A step from an observation is the mean of all members: deterministic, differentiable, and E nodes. A step of a
    particle is one node. Rewards have no noise.
    value: return still to come of observations. gamma: factor on everything after a step.
    propagate: "ts1", "tsinf", or "mean" for no particles, as iLQR and DDP need it.
    particles: P, by default one per member; TS-infinity spreads them evenly over members. With P = 1 the mean is used,
        so a single probabilistic member needs P > 1 for its noise to have an effect.

    Errors: ValueError for another `propagate`, for less than one particle, and for particles of the mean.
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
            raise ValueError(f"particles are at least 1 and need 'ts1' or 'tsinf', got {particles} and {propagate!r}")
        self.rules = EpisodeRules(config, net, gamma)
        self.config, self.net, self.value, self.gamma = config, net.requires_grad_(False), value, gamma
        self.actions, self.terminated = self.rules.actions, self.rules.terminated
        self.propagate, self.particles = propagate, 1 if propagate == "mean" else particles or config.members

    @property
    def cost(self) -> int:
        """Nodes of a step of all members or of all particles, whichever is more."""
        return max(self.config.members, self.particles)

    def propagated(self, how: str, particles: int | None = None) -> EnsembleModel:
        """The same networks with other particles; "mean" for planners that need one trajectory."""
        propagate = cast(Propagate, how)  # checked by the constructor
        return EnsembleModel(self.config, self.net, self.value, self.gamma, propagate=propagate, particles=particles)

    def start(self, problems: Any) -> tuple[Tensor, Expansion]:
        """Problems are observations [B, O]."""
        return self.rules.start(problems, self.value)

    def repeat(self, states: Tensor, keys: Keys) -> Particles:
        """N observations to N * P particles, those of one observation side by side; equal keys have equal noise."""
        count, each = len(states), torch.arange(self.particles, device=states.device)
        root = fold(keys, 0, device=states.device)[:, None]
        key = fold(root, each).flatten()
        first = (uniforms(root, -1, dtype=torch.float64) * self.config.members).long()
        member = (
            ((first + each) % self.config.members).flatten() if self.propagate == "tsinf" else self._draw_member(key)
        )
        return Particles(states.repeat_interleave(self.particles, 0), member.view(count * self.particles), key)

    def _draw_member(self, key: Tensor) -> Tensor:
        """int64 [N] members, uniformly distributed."""
        return (uniforms(key, 1, dtype=torch.float64) * self.config.members).long()

    def expand(
        self, states: Any, actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[Any, Expansion]:
        next_states, reward, discount = self.step(states, actions)
        value = value_of(self.value, self.observation(next_states), discount, evaluate)
        usage = None if isinstance(states, Particles) else nodes_and_calls(len(reward), self.config.members)
        return next_states, Expansion(reward, discount, value, usage=usage)

    def step(self, states: Any, actions: Any) -> tuple[Any, Tensor, Tensor]:
        """K states and actions to next states, rewards [K] and discounts [K]."""
        if not isinstance(states, Particles):
            return self.apply_prediction(states, actions, self.means(states, actions).mean(0))
        obs = states.obs
        actions = self.rules.encode_actions(actions, obs)
        mean, deviation = self.net.by_member(network_inputs(self.config, self.net.centred(obs), actions), states.member)
        change = mean[:, :-1]
        if self.config.probabilistic:
            change = change + deviation[:, :-1] * normals(states.key, 2, (change.shape[1],)).to(change)
        next_obs, reward, discount = self.rules.apply(obs, actions, obs + change, mean[:, -1])
        if self.propagate == "tsinf" and not self.config.probabilistic:
            return Particles(next_obs, states.member, states.key), reward, discount  # nothing is random
        key = fold(states.key, 3)
        member = states.member if self.propagate == "tsinf" else self._draw_member(key)
        return Particles(next_obs, member, key), reward, discount

    def offer(self, kind: type[Kind]) -> Kind | None:
        """`Vectorised` only on a CPU, where no state is terminal and each particle keeps its member: then members can
        be evaluated one after the other (on a GPU they are faster together). The others as in `OptionalValue`."""
        one_member = self.propagate == "tsinf" and self.particles > 1
        vectorised = one_member and self.rules.supports_fused_rollout and self.net.input_mean.device.type == "cpu"
        return None if kind is Vectorised and not vectorised else super().offer(kind)

    def observation(self, states: Any) -> Tensor:
        """The observations [K, O] of states, whether they are particles or observations."""
        return states.obs if isinstance(states, Particles) else states

    def state_value(self, states: Any) -> Tensor:
        return super().state_value(self.observation(states))

    def rollout_returns(self, states: Particles, actions: Tensor) -> Tensor:
        """See `Vectorised`."""
        returns = states.obs.new_empty(len(states.obs))
        normal = self._standard_normals(states, len(actions)) if self.config.probabilistic else None
        for member, net in enumerate(self.net.fused().members):
            rows = torch.nonzero(states.member == member)[:, 0]
            if len(rows):
                obs, sequences = states.obs.index_select(0, rows), actions.index_select(1, rows)
                noise = None if normal is None else self._noise(net, member, normal.index_select(1, rows))
                returns[rows] = fused_returns(self.rules, net, obs, sequences, self.value, noise)
        return returns

    def _standard_normals(self, states: Particles, steps: int) -> Tensor:
        """[steps, N, O] the standard normal numbers that `step` would draw in as many steps."""
        keys = [states.key]
        for _ in range(steps - 1):
            keys.append(fold(keys[-1], 3))
        shape = states.obs.shape
        return normals(torch.cat(keys), 2, shape[1:]).to(states.obs).view(steps, *shape)

    def _noise(self, net: FusedMLP, member: int, normal: Tensor) -> NoiseFn:
        """Standard normal numbers [H, n, O] times the deviations that one member predicts for its n particles."""

        def noise(t: int, hidden: Tensor) -> Tensor:
            unbounded = (net.log_variance_weights @ hidden).mT
            return (self.net.deviations(unbounded, member)[:, :-1] * normal[t]).mT

        return noise

    def disagreement(self, obs: Tensor, actions: Any) -> Tensor:
        """[K] disagreement of the members' means about observations [K, O] and actions; see `StackedNet`."""
        return self.net.disagreement(self.means(obs, actions))

    def means(self, obs: Tensor, actions: Any) -> Tensor:
        """[E, K, O + 1] each member's mean change of observations [K, O] under actions, and mean reward."""
        return self.net.means(
            network_inputs(self.config, self.net.centred(obs), self.rules.encode_actions(actions, obs))
        )

    def apply_prediction(self, obs: Tensor, actions: Any, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A prediction [K, O + 1] to next observations [K, O], rewards [K] and discounts [K]."""
        return self.rules.apply(obs, self.rules.encode_actions(actions, obs), obs + out[:, :-1], out[:, -1])

    def save(self, folder: str | Path) -> None:
        """See `storage.save_model`."""
        particles = None if self.propagate == "mean" else self.particles
        settings = {"gamma": self.gamma, "propagate": self.propagate, "particles": particles}
        save_model(folder, "ensemble", self.config, self.net, **settings)

    @classmethod
    def load(cls, folder: str | Path, value: ValueFn | None = None) -> EnsembleModel:
        """A saved model. Errors: ValueError where the folder holds none, or one of another kind or format."""
        settings = read_settings(folder, "ensemble")
        config = EnsembleConfig(**settings["config"])
        net, gamma = load_weights(StackedNet(config), folder), settings["gamma"]
        return cls(config, net, value, gamma, propagate=settings["propagate"], particles=settings["particles"])
