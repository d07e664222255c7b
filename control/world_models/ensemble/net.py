"""Several networks as one: weights stacked [E, in, out], so that all members answer by one batched matrix product.

Deterministic (mean squared error) or Gaussian (negative log-likelihood, the log-variance bounded from both sides by
learned limits: Chua et al. 2018, "Deep reinforcement learning in a handful of trials using probabilistic dynamics
models", appendix A.1). No dynamics and no particles here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from ..network import MLPConfig, Scaled, perceptron


@dataclass(frozen=True)
class EnsembleConfig(MLPConfig):
    """An `MLPConfig` of every member, and members: E, how many; probabilistic: whether each predicts a Gaussian.

    One probabilistic member is the probabilistic network by itself.
    """

    members: int = 5
    probabilistic: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.members < 1:
            raise ValueError(f"an ensemble has at least 1 member, got {self.members}")


class StackedNet(Scaled):
    """E members of one shape; member e begins with the same weights whatever E is.

    Outputs are the O changes of the observation and the reward. highest, lowest: [E, 1, O + 1] limits of the
    log-variance of normalised outputs, from the start values of Chua et al. on.
    """

    def __init__(self, config: EnsembleConfig, seed: int = 0) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            super().__init__(config)
        self.members, self.outputs = config.members, config.observed + 1
        width = self.outputs * (2 if config.probabilistic else 1)
        fresh = []
        for member in range(config.members):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(1000 * seed + member)
                body = perceptron(config.inputs, config.hidden, config.layers, width)
                fresh.append([part for part in body if isinstance(part, nn.Linear)])
        self.weights = nn.ParameterList(torch.stack([p.weight.detach().T for p in layer]) for layer in zip(*fresh))
        self.biases = nn.ParameterList(torch.stack([p.bias.detach()[None] for p in layer]) for layer in zip(*fresh))
        self._member: Tensor | None = None
        self._places: tuple[Tensor, int] = torch.zeros(0), 0
        shape = (config.members, 1, self.outputs)
        self.highest = nn.Parameter(torch.full(shape, 0.5)) if config.probabilistic else None
        self.lowest = nn.Parameter(torch.full(shape, -10.0)) if config.probabilistic else None

    def forward(self, normal: Tensor) -> tuple[Tensor, Tensor | None]:
        """Normalised inputs [E, N, I], each member its own, to normalised means and log-variances [E, N, O + 1]."""
        hidden = normal
        for weight, bias in zip(self.weights[:-1], self.biases[:-1]):
            hidden = silu(torch.baddbmm(bias, hidden, weight))
        out = torch.baddbmm(self.biases[-1], hidden, self.weights[-1])
        if self.highest is None or self.lowest is None:
            return out, None
        mean, free = out.split(self.outputs, -1)
        return mean, bounded(free, self.lowest, self.highest)

    def parts(self) -> list[Tensor]:
        return [*self.weights, *self.biases]

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        return list(zip(self.weights, self.biases))

    def means(self, inputs: Tensor) -> Tensor:
        """The means of `every` alone."""
        if torch.is_grad_enabled():
            return self.every(inputs)[0]
        return self.quick(inputs[None])[..., : self.outputs]

    def every(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Raw inputs [N, I], seen by all members: raw means and standard deviations [E, N, O + 1]."""
        normal = (inputs - self.input_mean) / self.input_std
        return self._raw(*self(normal.expand(self.members, *normal.shape)))

    def some(self, inputs: Tensor, member: Tensor) -> tuple[Tensor, Tensor]:
        """Raw inputs [N, I], row i seen by member `member[i]` (int64 [N]) alone: raw [N, O + 1] as in `every`.

        Rows are brought together by member and the groups filled up to the largest, for one product.
        """
        if member is not self._member:  # under TS-infinity a whole rollout has one tensor of members
            self._member, self._places = member, grouped(member, self.members)
        place, room = self._places
        # unused places hold the mean, so that nothing infinite comes of them
        laid = self.input_mean.repeat(self.members * room, 1).index_copy(0, place, inputs)
        mean, deviation = self._said(laid.view(self.members, room, -1))
        if deviation is None:
            return (found := mean.flatten(0, 1)[place]), torch.zeros_like(found)
        return mean.flatten(0, 1)[place], deviation.flatten(0, 1)[place]

    def _said(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Raw inputs [E, N, I], each member its own: raw means and deviations [E, N, O + 1], None for no noise."""
        if torch.is_grad_enabled():
            return self._raw(*self((inputs - self.input_mean) / self.input_std))
        out = self.quick(inputs)
        if self.highest is None or self.lowest is None:
            return out, None
        log_variance = bounded(out[..., self.outputs :], self.lowest, self.highest)
        return out[..., : self.outputs], self._deviation(log_variance)

    def deviations(self, free: Tensor, member: int) -> Tensor:
        """Raw standard deviations [N, O + 1] of one probabilistic member's free log-variances."""
        assert self.highest is not None and self.lowest is not None
        return self._deviation(bounded(free, self.lowest[member], self.highest[member]))

    def _deviation(self, log_variance: Tensor) -> Tensor:
        return torch.exp(0.5 * log_variance) * self.output_std

    def _raw(self, mean: Tensor, log_variance: Tensor | None) -> tuple[Tensor, Tensor]:
        raw = torch.addcmul(self.output_mean, mean, self.output_std)
        return raw, torch.zeros_like(raw) if log_variance is None else self._deviation(log_variance)

    def disagreement(self, means: Tensor) -> Tensor:
        """[N] how far raw means [E, N, O + 1] are apart: deviation over members in units of the targets' own, the root
        of its mean square over components. 0 for one member."""
        varies = self.output_std > 0
        apart = means.var(0, unbiased=False) / torch.where(varies, self.output_std, 1.0).square()
        return ((apart * varies).sum(-1) / varies.sum().clamp(min=1) + 1e-12).sqrt()

    def size_of(self, mean: Tensor) -> Tensor:
        """[N] size of raw outputs [N, O + 1], in the units and by the mean of `disagreement`."""
        varies = self.output_std > 0
        share = mean.square() / torch.where(varies, self.output_std, 1.0).square()
        return ((share * varies).sum(-1) / varies.sum().clamp(min=1) + 1e-12).sqrt()

    def losses(self, normal: Tensor, targets: Tensor) -> Tensor:
        """[E] mean squared error or negative log-likelihood of normalised targets [E, N, O + 1]; components that never
        vary are left out."""
        mean, log_variance = self(normal)
        each = (targets - mean).square() if log_variance is None else gaussian_nll(mean, log_variance, targets)
        varies = self.output_std > 0
        return (each * varies).sum(-1).mean(-1) / varies.sum().clamp(min=1)

    def slack(self) -> Tensor:
        """[E] 0.01 x the span of the log-variance limits, which training keeps small (Chua et al., appendix A.1)."""
        if self.highest is None or self.lowest is None:
            return self.input_mean.new_zeros(self.members)
        span: Tensor = 0.01 * (self.highest - self.lowest).sum((1, 2))
        return span


def bounded(free: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
    """Log-variances held between the limits, smoothly (Chua et al. 2018, appendix A.1)."""
    below = highest - softplus(highest - free)
    return lowest + softplus(below - lowest)


def gaussian_nll(mean: Tensor, log_variance: Tensor, targets: Tensor) -> Tensor:
    """-log N(targets; mean, exp(log_variance)), of any one shape, in nats."""
    off = (targets - mean).square() * torch.exp(-log_variance)
    return 0.5 * (off + log_variance + math.log(2 * math.pi))


def grouped(member: Tensor, members: int) -> tuple[Tensor, int]:
    """Where each of N rows is in a table [E * room] sorted by member, int64 [N], and the size of the largest group."""
    counts = torch.bincount(member, minlength=members)
    order = torch.argsort(member, stable=True)
    first = (counts.cumsum(0) - counts)[member[order]]
    rank = torch.empty_like(order).index_copy_(0, order, torch.arange(len(order), device=order.device) - first)
    room = int(counts.max()) if len(member) else 0
    return member * room + rank, room
