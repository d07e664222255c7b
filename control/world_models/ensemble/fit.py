"""Training of stacked networks: every member on its own bootstrap, each stopped by its own held-out likelihood.

What a member becomes depends on the data, the settings and its number, never on how many others there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...data.transitions import Transitions
from ..mlp.fit import USUAL, Fit, fit_end, normalised, set_scales, targets_of
from ..network import inputs_of
from .model import EnsembleModel
from .net import EnsembleConfig, StackedNet

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class EnsembleReport:
    """epochs: [E] passes until each member's best. train, held_out: share of variance that the mean of all members
    leaves unexplained (0 is perfect), the mean over the components that vary. loss: mean over members of the held-out
    loss, negative log-likelihood in nats a component or mean squared error, of normalised targets."""

    epochs: tuple[int, ...]
    train: float
    held_out: float
    loss: float


def fit_ensemble(data: Transitions, config: EnsembleConfig, fit: Fit = USUAL) -> tuple[EnsembleModel, EnsembleReport]:
    """Train fresh networks on `data`. The same data, settings and seed give the same weights on one machine."""
    train, held_out = data.split(fit.held_out, fit.seed)
    pairs = [(inputs_of(config, part.seen, part.actions), targets_of(part)) for part in (train, held_out)]
    net = StackedNet(config, fit.seed)
    report = fit_stacked(net, pairs[0], pairs[1], fit)
    if net.end is not None:
        fit_end(net, train, held_out, fit)
    return EnsembleModel(config, net.eval().requires_grad_(False)), report


def fit_stacked(net: StackedNet, train: Pair, held_out: Pair, fit: Fit) -> EnsembleReport:
    """Set the scales of `net` from raw inputs [N, I] and targets [N, O + 1], train it, and say how well it fits."""
    set_scales(net, *train)
    near, far = normalised(net, *train), normalised(net, *held_out)
    epochs, best = descend_each(net, near, far, fit)
    return EnsembleReport(tuple(epochs.tolist()), unexplained(net, near), unexplained(net, far), float(best.mean()))


@torch.no_grad()
def unexplained(net: StackedNet, pair: Pair) -> float:
    """Mean square of what the mean of all members leaves of normalised targets, over components that vary."""
    inputs, targets = pair
    mean = net(inputs.expand(net.members, *inputs.shape))[0].mean(0)
    return float((mean - targets)[:, net.output_std > 0].square().mean())


def descend_each(
    net: StackedNet, train: Pair, held_out: Pair, fit: Fit, strata: Sequence[Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Minibatch AdamW on bootstraps until every member has rested for `fit.patience` passes; leaves each member's best
    weights in `net`. Returns the pass [E] and the held-out loss [E] of these. strata: see `Bootstraps`.

    Errors: ValueError when a held-out loss is no longer finite.
    """
    parts = [p for name, p in net.named_parameters() if not name.startswith("end.")]
    optimiser = torch.optim.AdamW(parts, lr=fit.rate, weight_decay=fit.decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, fit.epochs, fit.rate / 10)
    far = tuple(x.expand(net.members, *x.shape) for x in held_out)
    kept = [p.detach().clone() for p in parts]
    best, at = torch.full((net.members,), torch.inf), torch.zeros(net.members, dtype=torch.int64)
    draws = Bootstraps(len(train[0]), net.members, fit.seed, strata)
    for passed in range(1, fit.epochs + 1):
        for index in draws.epoch().split(fit.batch, 1):
            optimiser.zero_grad()
            loss = net.losses(train[0][index], train[1][index]) + net.slack()
            loss.sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        schedule.step()
        with torch.no_grad():
            now = net.losses(*far)
        if not bool(torch.isfinite(now).all()):
            raise ValueError("training diverged: a held-out loss is not finite; lower Fit.rate")
        # a member that has rested is done, so that it is what it would have become alone
        better = (now < best) & (passed - at <= fit.patience)
        best, at = torch.where(better, now, best), torch.where(better, passed, at)
        for keep, part in zip(kept, parts):
            keep[better] = part.detach()[better]
        if bool((passed - at >= fit.patience).all()):
            break
    with torch.no_grad():
        for keep, part in zip(kept, parts):
            part.copy_(keep)
    return at, best


class Bootstraps:
    """Rows that each member learns from, drawn once with replacement (Chua et al. 2018, section 4), and their order.

    One member takes every row once: there is nothing that a bootstrap could tell it from.
    strata: rows, int64, each stratum drawn from by itself and in this order, so that what is rare in the data is no
    rarer in a bootstrap (Efron and Tibshirani 1993, "An introduction to the bootstrap", section 8.3).
    """

    def __init__(self, rows: int, members: int, seed: int, strata: Sequence[Tensor] | None = None) -> None:
        self.draws = [torch.Generator().manual_seed(1000 * seed + member) for member in range(members)]
        strata = strata or [torch.arange(rows)]
        own = [torch.cat([drawn(stratum, draw) for stratum in strata]) for draw in self.draws]
        self.own = torch.stack(own) if members > 1 else torch.arange(rows)[None]

    def epoch(self) -> Tensor:
        """int64 [E, N]: every member's rows in a new order of its own."""
        order = [torch.randperm(self.own.shape[1], generator=draw) for draw in self.draws]
        return self.own.gather(1, torch.stack(order))


def drawn(rows: Tensor, draw: torch.Generator) -> Tensor:
    """As many of these rows as there are, with replacement."""
    return rows[torch.randint(len(rows), (len(rows),), generator=draw)]
