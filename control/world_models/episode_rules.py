"""What surrounds a network's prediction: the problems it starts from, rewards, termination and discounts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...planning.interface import BoxActions, DiscreteActions, Expansion, action_count
from ...planning.spaces import action_indices
from ...planning.wrappers.terminal_value import ValueFn, value_of
from ..dynamics import KNOWN
from ..dynamics.base import as_batch
from .config import MLPConfig
from .normalized_net import NormalizedNet


class EpisodeRules:
    """Rewards and termination, given or learned, around any network; a terminal state is absorbing.

    gamma: factor on everything after a step, in (0, 1].
    """

    def __init__(self, config: MLPConfig, net: NormalizedNet, gamma: float) -> None:
        if not 0.0 < gamma <= 1.0:
            raise ValueError(f"gamma is in (0, 1], got {gamma}")
        self.config, self.net, self.gamma, self.actions = config, net, gamma, config.actions
        known = KNOWN.get(config.env_id)
        self._reward = known.reward if known is not None and config.reward == "given" else None
        self._terminated: Callable[[Tensor], Tensor] | None = None
        self._continuing = False
        if known is not None and config.termination == "given":
            self._terminated, self._continuing = known.terminated, known.continuing

    def start(self, problems: Any, value: ValueFn | None) -> tuple[Tensor, Expansion]:
        """Problems are observations [B, O], which are also the states. Errors: ValueError for another width."""
        obs = as_batch(problems, self.net.state_dtype, self.net.input_mean.device)
        if obs.shape[1] != self.config.obs_dim:
            raise ValueError(f"this model plans from observations [B, {self.config.obs_dim}], got {list(obs.shape)}")
        alive = (~self.terminated(obs)).to(obs.dtype)
        return obs, Expansion(torch.zeros_like(alive), alive, value_of(value, obs, alive, "all"))

    def encode_actions(self, actions: Any, obs: Tensor) -> Tensor:
        """Actions as a tensor on the device of `obs`: indices int64 [K], or vectors [K, D] of its type."""
        if isinstance(self.actions, DiscreteActions):
            return action_indices(actions, action_count(self.actions), obs.device)
        return torch.as_tensor(actions).to(obs)

    @property
    def supports_fused_rollout(self) -> bool:
        """Whether actions are vectors and no state is terminal, so that a step is only the network's prediction."""
        return self._continuing and isinstance(self.actions, BoxActions)

    @property
    def learned_reward(self) -> bool:
        """Whether rewards are those that the network predicts."""
        return self._reward is None

    def apply(self, obs: Tensor, actions: Tensor, next_obs: Tensor, reward: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A predicted step to next observations [K, O], rewards [K] and discounts [K].

        next_obs, reward: as the network predicts them.
        """
        if self._continuing:
            reward = self.reward(obs, actions, next_obs, reward)
            return next_obs, reward, torch.full_like(reward, self.gamma)
        over = self.terminated(obs)
        next_obs = torch.where(over[:, None], obs, next_obs)
        reward = self.reward(obs, actions, next_obs, reward)
        alive = ~self.terminated(next_obs)
        return next_obs, torch.where(over, 0.0, reward), self.gamma * alive.to(reward.dtype)

    def reward(self, obs: Tensor, actions: Tensor, next_obs: Tensor, predicted: Tensor) -> Tensor:
        """[K] rewards of steps: the given function's, or the network's `predicted` ones."""
        return predicted if self._reward is None else self._reward(obs, actions, next_obs)

    @torch.no_grad()
    def terminated(self, obs: Tensor) -> Tensor:
        """bool [K]: whether these observations are terminal, as given or as learned."""
        return self.net.termination_logit(obs) > 0 if self._terminated is None else self._terminated(obs)
