"""What networks are given and what they are to predict, in units in which it has mean 0 and deviation 1.

Neither the unit of a component nor its distance from 0 matters: what counts as constant, and what float32 would round
away, is decided by the size of its numbers and the resolution of their type.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...data.transitions import Transitions
from ..config import MLPConfig
from ..normalized_net import NormalizedNet, network_inputs

Pair = tuple[Tensor, Tensor]
"""Inputs and targets."""


def raw_pair(net: NormalizedNet, config: MLPConfig, data: Transitions) -> Pair:
    """What a network is given and what it is to predict, before normalisation: [N, I] and [N, O + 1]."""
    return network_inputs(config, net.centred(data.obs), data.action), training_targets(data)


def training_targets(data: Transitions) -> Tensor:
    """[N, O + 1] change of the observation, and reward; of the type of the observations."""
    return torch.cat((data.next_obs - data.obs, data.reward[:, None]), 1)


def target_resolution(data: Transitions) -> Tensor:
    """[O + 1] the rounding errors of `training_targets`, from the size and the type of observations and rewards."""
    obs = torch.maximum(data.obs.abs(), data.next_obs.abs()).amax(0) * torch.finfo(data.obs.dtype).eps
    return torch.cat((obs, data.reward.abs().amax(0, keepdim=True) * torch.finfo(data.reward.dtype).eps))


MOST_ROUNDING = 1e-2
"""Observations get an offset where float32 would round them by more than this fraction of a deviation."""


def needed_offset(data: Transitions) -> Tensor | None:
    """float64 [O] the mean of the components that float32 would round too much, 0 for the others; None for no such."""
    if data.obs.dtype != torch.float64:
        return None
    largest = torch.maximum(data.obs.abs(), data.next_obs.abs()).amax(0)
    noise = 64 * torch.finfo(torch.float64).eps * largest
    parts = [x.std(0) for x in (data.obs, data.next_obs - data.obs)]
    least = torch.stack([torch.where(part > noise, part, torch.inf) for part in parts]).amin(0)
    far = torch.finfo(torch.float32).eps / 2 * largest > MOST_ROUNDING * least
    return torch.where(far, data.obs.mean(0), 0) if bool(far.any()) else None


def set_normalization(net: NormalizedNet, inputs: Tensor, targets: Tensor, resolution: Tensor) -> None:
    """Set means and deviations from inputs [N, I] and targets [N, O + 1].

    resolution: [O + 1], as of `target_resolution`. What varies by no more than rounding errors counts as constant, in
    whatever unit it is: such an input gets deviation 1, and such a target (CartPole's reward) deviation 0, so that the
    network always predicts its mean.
    """
    size = inputs.abs().amax(0) * torch.finfo(inputs.dtype).eps
    for mean, std, rows, least, constant in (
        (net.input_mean, net.input_std, inputs, size, 1.0),
        (net.output_mean, net.output_std, targets, resolution, 0.0),
    ):
        deviations, means = torch.std_mean(rows, 0)
        representable = torch.isfinite(deviations) & (deviations > 0)
        deviations = torch.where(representable, deviations, rows.double().std(0).to(deviations))
        mean.copy_(means)
        std.copy_(torch.where(rows.amax(0) - rows.amin(0) > 4 * least, deviations, constant))


def normalize(net: NormalizedNet, inputs: Tensor, targets: Tensor) -> Pair:
    """Inputs [N, I] and targets [N, O + 1] with mean 0 and deviation 1, float32."""
    spread = torch.where(net.output_std > 0, net.output_std, 1.0)
    normal = (targets - net.output_mean) / spread
    return (inputs - net.input_mean) / net.input_std, normal.to(net.output_mean)


@torch.no_grad()
def unexplained(net: NormalizedNet, predicted: Tensor, targets: Tensor) -> Tensor:
    """[O + 1] mean square error of normalised targets [N, O + 1]; NaN for those that never vary."""
    return torch.where(net.output_std > 0, (predicted - targets).square().mean(0), torch.nan)


def mean_share(shares: Tensor) -> float:
    """The mean over the components that vary; 0 where none does."""
    return float(shares.nanmean().nan_to_num(0.0))


def described(net: NormalizedNet, shares: Tensor) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """The unexplained shares [O + 1], and the names of the components that never vary."""
    names = [f"obs[{i}]" for i in range(len(shares) - 1)] + ["reward"]
    constant = tuple(name for name, std in zip(names, net.output_std.tolist()) if std == 0)
    return tuple(shares.tolist()), constant
