"""An ensemble of networks as one: weights stacked [E, in, out], so that one batched matrix product serves all members.

Members are deterministic (mean squared error) or Gaussian (negative log-likelihood). The log-variance of a Gaussian is
bounded from both sides by learned limits (Chua et al. 2018, "Deep reinforcement learning in a handful of trials using
probabilistic dynamics models", appendix A.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from ....planning.settings_checks import check_integers
from ...nets.perceptron import perceptron
from ..config import MLPConfig
from ..normalized_net import NormalizedNet


@dataclass(frozen=True)
class EnsembleConfig(MLPConfig):
    """An `MLPConfig` for every member.

    members: E, how many. probabilistic: whether each predicts a Gaussian; with one member that is the probabilistic
    network of Chua et al.

    Errors: ValueError for less than one member.
    """

    members: int = 5
    probabilistic: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integers(self, 1, "members")


class StackedNet(NormalizedNet):
    """E members of one shape. The initial weights of member e do not depend on E.

    The n_outputs = O + 1 outputs are the changes of the observation, and the reward.
    min_log_variance, max_log_variance: [E, 1, O + 1] limits for normalised outputs, initialised as in Chua et al.; None
        for deterministic members.
    """

    def __init__(self, config: EnsembleConfig, seed: int = 0) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            super().__init__(config)
        self.members, self.n_outputs = config.members, config.obs_dim + 1
        width = self.n_outputs * (2 if config.probabilistic else 1)
        linear = [_linear_layers(config, width, 1000 * seed + member) for member in range(config.members)]
        self.weights = nn.ParameterList(torch.stack([p.weight.detach().T for p in layer]) for layer in zip(*linear))
        self.biases = nn.ParameterList(torch.stack([p.bias.detach()[None] for p in layer]) for layer in zip(*linear))
        self._member: Tensor | None = None
        self._groups: tuple[Tensor, int] = torch.zeros(0), 0
        shape = (config.members, 1, self.n_outputs)
        self.max_log_variance = nn.Parameter(torch.full(shape, 0.5)) if config.probabilistic else None
        self.min_log_variance = nn.Parameter(torch.full(shape, -10.0)) if config.probabilistic else None

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Normalised inputs [E, N, I], one batch per member, to normalised means and log-variances [E, N, O + 1]."""
        hidden = inputs
        for weight, bias in zip(self.weights[:-1], self.biases[:-1]):
            hidden = silu(torch.baddbmm(bias, hidden, weight))
        out = torch.baddbmm(self.biases[-1], hidden, self.weights[-1])
        if self.max_log_variance is None or self.min_log_variance is None:
            return out, None
        mean, unbounded = torch.split(out, self.n_outputs, -1)
        return mean, soft_clamp(unbounded, self.min_log_variance, self.max_log_variance)

    def layer_parameters(self) -> list[Tensor]:
        return [*self.weights, *self.biases]

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        return list(zip(self.weights, self.biases))

    def means(self, inputs: Tensor) -> Tensor:
        """The means [E, N, O + 1] of `all_members`, without derivatives by the fused forward pass."""
        if torch.is_grad_enabled():
            return self.all_members(inputs)[0]
        return self.forward_fused(inputs[None])[..., : self.n_outputs]

    def all_members(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Raw inputs [N, I], given to every member, to raw means and standard deviations [E, N, O + 1]."""
        normalized = (inputs - self.input_mean) / self.input_std
        return self._denormalize(*self(normalized.expand(self.members, *normalized.shape)))

    def by_member(self, inputs: Tensor, member: Tensor) -> tuple[Tensor, Tensor]:
        """Raw inputs [N, I], row i given to member `member[i]` only, to raw means and deviations [N, O + 1].

        member: int64 [N]. Rows are grouped by member and groups padded to the largest, for one batched product.
        """
        if member is not self._member:  # under TS-infinity a whole rollout has one tensor of members
            self._member, self._groups = member, group_by_member(member, self.members)
        position, size = self._groups
        # padding holds the mean input, so that it cannot produce infinities
        padded = self.input_mean.repeat(self.members * size, 1).index_copy(0, position, inputs)
        mean, deviation = self._grouped(padded.view(self.members, size, -1))
        mean = mean.flatten(0, 1)[position]
        return mean, torch.zeros_like(mean) if deviation is None else deviation.flatten(0, 1)[position]

    def _grouped(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Raw inputs [E, N, I], one batch per member, to raw means and deviations [E, N, O + 1] or None."""
        if torch.is_grad_enabled():
            return self._denormalize(*self((inputs - self.input_mean) / self.input_std))
        out = self.forward_fused(inputs)
        if self.max_log_variance is None or self.min_log_variance is None:
            return out, None
        log_variance = soft_clamp(out[..., self.n_outputs :], self.min_log_variance, self.max_log_variance)
        return out[..., : self.n_outputs], self._deviation(log_variance)

    def deviations(self, unbounded: Tensor, member: int) -> Tensor:
        """Raw standard deviations [N, O + 1] of one probabilistic member's unbounded log-variances [N, O + 1]."""
        assert self.max_log_variance is not None and self.min_log_variance is not None
        return self._deviation(soft_clamp(unbounded, self.min_log_variance[member], self.max_log_variance[member]))

    def _deviation(self, log_variance: Tensor) -> Tensor:
        return torch.exp(0.5 * log_variance) * self.output_std

    def _denormalize(self, mean: Tensor, log_variance: Tensor | None) -> tuple[Tensor, Tensor]:
        raw = torch.addcmul(self.output_mean, mean, self.output_std)
        return raw, torch.zeros_like(raw) if log_variance is None else self._deviation(log_variance)

    def disagreement(self, means: Tensor) -> Tensor:
        """[N] disagreement of raw means [E, N, O + 1]: the deviation over members in units of the targets' deviation,
        as root mean square over components. 0 for one member."""
        varies = self.output_std > 0
        variance = means.var(0, unbiased=False) / torch.where(varies, self.output_std, 1.0).square()
        return ((variance * varies).sum(-1) / varies.sum().clamp(min=1) + 1e-12).sqrt()

    def magnitude(self, mean: Tensor) -> Tensor:
        """[N] root mean square over components of raw outputs [N, O + 1], in the units of `disagreement`."""
        varies = self.output_std > 0
        square = mean.square() / torch.where(varies, self.output_std, 1.0).square()
        return ((square * varies).sum(-1) / varies.sum().clamp(min=1) + 1e-12).sqrt()

    def losses(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """[E] mean squared error or negative log-likelihood of normalised inputs [E, N, I] and targets [E, N, O + 1].

        Components that never vary are left out.
        """
        mean, log_variance = self(inputs)
        each = (targets - mean).square() if log_variance is None else gaussian_nll(mean, log_variance, targets)
        varies = self.output_std > 0
        return (each * varies).sum(-1).mean(-1) / varies.sum().clamp(min=1)

    def log_variance_penalty(self) -> Tensor:
        """[E] 0.01 x the span of the log-variance limits, added to the loss (Chua et al. 2018, appendix A.1)."""
        if self.max_log_variance is None or self.min_log_variance is None:
            return self.input_mean.new_zeros(self.members)
        span: Tensor = 0.01 * (self.max_log_variance - self.min_log_variance).sum((1, 2))
        return span


def _linear_layers(config: EnsembleConfig, width: int, seed: int) -> list[nn.Linear]:
    """The linear layers of one member's perceptron, with initial weights from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = perceptron(config.input_dim, config.hidden, config.layers, width)
    return [layer for layer in body if isinstance(layer, nn.Linear)]


def soft_clamp(unbounded: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
    """Log-variances kept smoothly between the limits (Chua et al. 2018, appendix A.1)."""
    below = highest - softplus(highest - unbounded)
    return lowest + softplus(below - lowest)


def gaussian_nll(mean: Tensor, log_variance: Tensor, targets: Tensor) -> Tensor:
    """-log N(targets; mean, exp(log_variance)) in nats; all of one shape, component by component."""
    scaled_error = (targets - mean).square() * torch.exp(-log_variance)
    return 0.5 * (scaled_error + log_variance + math.log(2 * math.pi))


def group_by_member(member: Tensor, members: int) -> tuple[Tensor, int]:
    """Positions int64 [N] of N rows in a table [E * size] sorted by member, and size, that of the largest group."""
    counts = torch.bincount(member, minlength=members)
    order = torch.argsort(member, stable=True)
    first = (counts.cumsum(0) - counts)[member[order]]
    rank = torch.empty_like(order).index_copy_(0, order, torch.arange(len(order), device=order.device) - first)
    size = int(counts.max()) if len(member) else 0
    return member * size + rank, size
