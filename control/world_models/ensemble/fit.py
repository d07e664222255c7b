"""Training of ensembles: every member on its own bootstrap, with its own early stopping.

The weights of a member depend on the data, the settings and its number, but not on how many other members there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...data.transitions import Transitions
from ..mlp.fit import DEFAULT_FIT, Fit, fit_termination
from ..mlp.normalization import (
    Pair,
    described,
    mean_share,
    needed_offset,
    normalize,
    raw_pair,
    set_normalization,
    target_resolution,
    unexplained,
)
from .model import EnsembleModel
from .net import EnsembleConfig, StackedNet


@dataclass(frozen=True)
class EnsembleReport:
    """How well an ensemble fits.

    epochs: [E] the pass with each member's lowest held-out loss. train, held_out: the share of variance that the mean
    of all members leaves unexplained (0 is perfect), averaged over the components that vary. loss: mean over members of
    the held-out loss of normalised targets: negative log-likelihood in nats per component, or mean squared error.
    by_component, constant: as in `MLPReport`.
    """

    epochs: tuple[int, ...]
    train: float
    held_out: float
    loss: float
    by_component: tuple[float, ...]
    constant: tuple[str, ...]


def fit_ensemble(
    data: Transitions, config: EnsembleConfig, fit: Fit = DEFAULT_FIT
) -> tuple[EnsembleModel, EnsembleReport]:
    """Train an ensemble, each member on a bootstrap sample of the steps (Chua et al. 2018, section 4).

    data: N steps; a share of them is held out for early stopping. The same data, settings and seed give the same
    weights on one machine. Returns the model and how well its members predict the held-out steps.

    Errors: ValueError for fewer than 2 steps, and for a training that diverges.
    """
    train, held_out = data.split(fit.held_out, fit.seed)
    net = StackedNet(config, fit.seed)
    net.offset = needed_offset(train)
    pairs = [raw_pair(net, config, part) for part in (train, held_out)]
    report = fit_stacked(net, pairs[0], pairs[1], fit, target_resolution(train))
    if net.termination is not None:
        fit_termination(net, train, held_out, fit)
    return EnsembleModel(config, net.eval().requires_grad_(False)), report


def fit_stacked(net: StackedNet, train: Pair, held_out: Pair, fit: Fit, resolution: Tensor) -> EnsembleReport:
    """Set the normalisation of `net` from raw inputs [N, I] and targets [N, O + 1], then train it.

    resolution: [O + 1] rounding errors of the targets; see `set_normalization`.
    """
    set_normalization(net, *train, resolution)
    train, held_out = normalize(net, *train), normalize(net, *held_out)
    epochs, best = train_members(net, train, held_out, fit)
    shares = [unexplained_variance(net, pair) for pair in (train, held_out)]
    by_component, constant = described(net, shares[1])
    means = mean_share(shares[0]), mean_share(shares[1])
    return EnsembleReport(tuple(epochs.tolist()), *means, float(best.mean()), by_component, constant)


@torch.no_grad()
def unexplained_variance(net: StackedNet, pair: Pair) -> Tensor:
    """[O + 1] mean square error of the members' mean on normalised inputs and targets; NaN for what never varies."""
    inputs, targets = pair
    return unexplained(net, net(inputs.expand(net.members, *inputs.shape))[0].mean(0), targets)


def train_members(
    net: StackedNet, train: Pair, held_out: Pair, fit: Fit, strata: Sequence[Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Minibatch AdamW on bootstraps until no member's held-out loss has improved for `fit.patience` passes.

    Leaves each member's weights of its lowest held-out loss in `net`; returns the pass [E] and the loss [E] of these.
    train, held_out: normalised inputs and targets. strata: see `Bootstraps`.

    Errors: ValueError where a held-out loss is not finite.
    """
    parameters = [p for name, p in net.named_parameters() if not name.startswith("termination.")]
    optimizer = torch.optim.AdamW(parameters, lr=fit.learning_rate, weight_decay=fit.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, fit.epochs, fit.learning_rate / 10)
    evaluation = tuple(x.expand(net.members, *x.shape) for x in held_out)
    best_weights = [p.detach().clone() for p in parameters]
    best, best_epoch = torch.full((net.members,), torch.inf), torch.zeros(net.members, dtype=torch.int64)
    bootstraps = Bootstraps(len(train[0]), net.members, fit.seed, strata)
    for epoch in range(1, fit.epochs + 1):
        _train_epoch(net, train, optimizer, torch.split(bootstraps.epoch(), fit.batch_size, 1))
        schedule.step()
        with torch.no_grad():
            now = net.losses(*evaluation)
        if not bool(torch.isfinite(now).all()):
            raise ValueError("training diverged: a held-out loss is not finite; lower Fit.learning_rate")
        # a member whose patience is over never changes again, so that it is the same as if trained alone
        better = (now < best) & (epoch - best_epoch <= fit.patience)
        best, best_epoch = torch.where(better, now, best), torch.where(better, epoch, best_epoch)
        for kept, parameter in zip(best_weights, parameters):
            kept[better] = parameter.detach()[better]
        if fit.watch is not None:
            fit.watch(epoch, fit.epochs)
        if bool((epoch - best_epoch >= fit.patience).all()):
            break
    with torch.no_grad():
        for kept, parameter in zip(best_weights, parameters):
            parameter.copy_(kept)
    return best_epoch, best


def _train_epoch(net: StackedNet, train: Pair, optimizer: torch.optim.Optimizer, batches: Sequence[Tensor]) -> None:
    """One pass over the bootstraps; batches: int64 [E, batch_size], each member's rows."""
    for index in batches:
        optimizer.zero_grad()
        loss = net.losses(train[0][index], train[1][index]) + net.log_variance_penalty()
        loss.sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()


class Bootstraps:
    """The rows that each member is trained on, drawn once with replacement (Chua et al. 2018, section 4).

    samples: int64 [E, N]. A single member is trained on every row once: with one member a bootstrap only loses data.
    strata: row numbers, int64; each stratum is resampled on its own and in this order, so that rare rows are not even
        rarer in a bootstrap (Efron and Tibshirani 1993, "An introduction to the bootstrap", section 8.3).
    """

    def __init__(self, rows: int, members: int, seed: int, strata: Sequence[Tensor] | None = None) -> None:
        self.rngs = [torch.Generator().manual_seed(1000 * seed + member) for member in range(members)]
        strata = strata or [torch.arange(rows)]
        samples = [torch.cat([resample(stratum, rng) for stratum in strata]) for rng in self.rngs]
        self.samples = torch.stack(samples) if members > 1 else torch.arange(rows)[None]

    def epoch(self) -> Tensor:
        """int64 [E, N]: every member's rows, newly shuffled for each member."""
        order = [torch.randperm(self.samples.shape[1], generator=rng) for rng in self.rngs]
        return self.samples.gather(1, torch.stack(order))


def resample(rows: Tensor, rng: torch.Generator) -> Tensor:
    """As many of these rows [N] as there are, drawn with replacement."""
    return rows[torch.randint(len(rows), (len(rows),), generator=rng)]
