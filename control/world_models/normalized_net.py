"""The base class of the networks: normalisation of inputs and outputs, and the fused forward pass for planning."""

from __future__ import annotations

from abc import abstractmethod
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from ..nets.fused import FusedMLP, fuse
from ..nets.perceptron import perceptron
from .config import MLPConfig


class NormalizedNet(nn.Module):
    """A network with the means and deviations of its inputs [I] and outputs [O + 1] as buffers, saved with its weights.

    Outputs are the O changes of the observation, and the reward.
    offset: float64 [O], subtracted from observations before they are rounded to float32, or None for 0. It is set where
        observations are so far from 0 that float32 would round their changes away (`mlp/normalization.py`).
    termination: a small network from an observation to the log-odds that it is terminal; None where termination is
        given.
    """

    offset: Tensor | None
    input_mean: Tensor
    input_std: Tensor
    output_mean: Tensor
    output_std: Tensor

    def __init__(self, config: MLPConfig) -> None:
        super().__init__()
        self.termination = perceptron(config.obs_dim, 32, 1, 1) if config.termination == "learned" else None
        for name, size in (("input", config.input_dim), ("output", config.obs_dim + 1)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))
        self.register_buffer("offset", None)
        self._fused_versions: list[tuple[int, int]] = []
        self._fused: FusedMLP | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the fused copy: its buffers are bound to compiled kernels, which cannot be pickled."""
        return self.__dict__ | {"_fused_versions": [], "_fused": None}

    @abstractmethod
    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weights [E, in, out] and biases [E, 1, out] of the layers from inputs to outputs."""

    @abstractmethod
    def layer_parameters(self) -> list[Tensor]:
        """The parameters that `layers` are views of."""

    def forward_fused(self, inputs: Tensor) -> Tensor:
        """Raw inputs [E, N, I], or [1, N, I] for all members alike, to raw outputs [E, N, ...] without derivatives."""
        return self.fused()(inputs)

    def fused(self) -> FusedMLP:
        """The current weights and normalisation as one `FusedMLP`, made anew when one of them has changed."""
        tensors = [*self.layer_parameters(), self.input_mean, self.input_std, self.output_mean, self.output_std]
        versions = [(tensor.data_ptr(), tensor._version) for tensor in tensors]
        if self._fused is None or self._fused_versions != versions:
            weights, biases = zip(*self.layers())
            inputs, outputs = (self.input_mean, self.input_std), (self.output_mean, self.output_std)
            self._fused, self._fused_versions = fuse(weights, biases, inputs, outputs), versions
        return self._fused

    def centred(self, obs: Tensor) -> Tensor:
        """Observations [K, O] minus the offset, as float32."""
        return (obs if self.offset is None else obs - self.offset).to(self.input_mean.dtype)

    @property
    def state_dtype(self) -> torch.dtype:
        """Of the observations that a model plans with: float64 where there is an offset, else float32."""
        return self.input_mean.dtype if self.offset is None else self.offset.dtype

    def termination_logit(self, obs: Tensor) -> Tensor:
        """[K] log-odds that observations [K, O] are terminal. Errors: ValueError where that was not learned."""
        if self.termination is None:
            raise ValueError("this network has not learned termination")
        size = obs.shape[1]
        obs = self.centred(obs)
        logit: Tensor = self.termination((obs - self.input_mean[:size]) / self.input_std[:size])
        return logit[:, 0]


def network_inputs(config: MLPConfig, obs: Tensor, actions: Tensor) -> Tensor:
    """[K, O + A]: observations, and action vectors clipped to the bounds or one-hot indices.

    obs: as `NormalizedNet.centred` makes them.
    """
    if config.n_actions is not None:
        return torch.cat((obs, nn.functional.one_hot(actions, config.n_actions).to(obs)), 1)
    low, high = action_bounds(config.low, config.high, obs.dtype, obs.device)
    return torch.cat((obs, actions.to(obs).clamp(low, high)), 1)


@cache
def action_bounds(
    low: tuple[float, ...], high: tuple[float, ...], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Bounds [D] as tensors, cached."""
    return torch.tensor(low, dtype=dtype, device=device), torch.tensor(high, dtype=dtype, device=device)
