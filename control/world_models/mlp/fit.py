"""Training of the MLP dynamics on transitions: AdamW with early stopping on held-out steps."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from ....planning.settings_checks import check_integers, check_numbers
from ...data.transitions import Transitions
from ..config import MLPConfig
from ..normalized_net import NormalizedNet
from .model import MLPModel
from .net import MLPNet
from .normalization import (
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


@dataclass(frozen=True)
class Fit:
    """How to train a network.

    epochs: the most passes over the data. patience: passes without a lower held-out loss after which training stops.
    batch_size: steps in a minibatch. learning_rate: of AdamW, annealed to a tenth by a cosine. weight_decay: of AdamW.
    held_out: share of the steps, in (0, 1). watch: called after every pass with its number and the most passes.
    """

    epochs: int = 300
    patience: int = 60
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-5
    held_out: float = 0.1
    seed: int = 0
    watch: Callable[[int, int], None] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_integers(self, 1, "epochs", "patience", "batch_size")
        check_integers(self, 0, "seed")
        check_numbers(self, "learning_rate", above=0)
        check_numbers(self, "weight_decay", least=0)
        check_numbers(self, "held_out", above=0, below=1)


DEFAULT_FIT = Fit()


@dataclass(frozen=True)
class MLPReport:
    """How well a network fits.

    epochs: passes made. train, held_out: the share of variance left unexplained (0 is perfect) on training and on
    held-out steps, averaged over the components of change and reward that vary. by_component: [O + 1] the same of
    held-out steps for each component of the observation and for the reward; NaN where it never varies.
    constant: the names of those, "obs[0]" or "reward", which are not learned but predicted as constant.
    """

    epochs: int
    train: float
    held_out: float
    by_component: tuple[float, ...]
    constant: tuple[str, ...]


def fit_mlp(data: Transitions, config: MLPConfig, fit: Fit = DEFAULT_FIT) -> tuple[MLPModel, MLPReport]:
    """Train a new network to predict the change of the observation (Nagabandi et al. 2018, section IV-A).

    It also predicts the reward and the termination where they are not given.

    data: N steps; a share of them is held out for early stopping. The same data, settings and seed give the same
    weights on one machine. Returns the model and how well it predicts the held-out steps.

    Errors: ValueError for fewer than 2 steps, and for a training that diverges.
    """
    train, held_out = data.split(fit.held_out, fit.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(fit.seed)
        net = MLPNet(config)
    net.offset = needed_offset(train)
    raw = [raw_pair(net, config, part) for part in (train, held_out)]
    set_normalization(net, *raw[0], target_resolution(train))
    train_pair, held_out_pair = (normalize(net, *pair) for pair in raw)
    epochs = train_network(net.body, train_pair, held_out_pair, nn.functional.mse_loss, fit)
    if net.termination is not None:
        fit_termination(net, train, held_out, fit)
    net.eval().requires_grad_(False)
    shares = [unexplained(net, net.body(x), y) for x, y in (train_pair, held_out_pair)]
    by_component, constant = described(net, shares[1])
    report = MLPReport(epochs, mean_share(shares[0]), mean_share(shares[1]), by_component, constant)
    return MLPModel(config, net), report


def fit_termination(net: NormalizedNet, train: Transitions, held_out: Transitions, fit: Fit) -> None:
    """Train the termination network on next observations.

    Terminal states are rare, but the loss is unweighted: weighting them would also classify good states near the
    boundary as terminal. The network is small and the boundary sharp, so it is trained for longer than the body. Where
    the data hold no terminal state, no state is ever predicted terminal.
    """
    assert net.termination is not None
    if not bool(train.terminated.any() or held_out.terminated.any()):
        last = net.termination[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, -10.0)
        return
    longer = replace(fit, epochs=5 * fit.epochs, patience=5 * fit.patience, learning_rate=3 * fit.learning_rate)
    pairs = _termination_pair(net, train), _termination_pair(net, held_out)
    train_network(net.termination, *pairs, nn.functional.binary_cross_entropy_with_logits, longer)


def _termination_pair(net: NormalizedNet, data: Transitions) -> Pair:
    """Normalised next observations [N, O], and 1 where they are terminal [N, 1]."""
    size = data.obs.shape[1]
    obs = net.centred(data.next_obs)
    return (obs - net.input_mean[:size]) / net.input_std[:size], data.terminated.float()[:, None]


def train_network(
    net: nn.Module, train: Pair, held_out: Pair, loss: Callable[[Tensor, Tensor], Tensor], fit: Fit
) -> int:
    """Train by minibatch AdamW, leave the weights of the lowest held-out loss in `net`, return the passes made.

    Errors: ValueError where the held-out loss is not finite.
    """
    rng = torch.Generator().manual_seed(fit.seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=fit.learning_rate, weight_decay=fit.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, fit.epochs, fit.learning_rate / 10)
    best, without_progress, epoch, weights = float("inf"), 0, 0, copy.deepcopy(net.state_dict())
    while epoch < fit.epochs and without_progress < fit.patience:
        for index in torch.split(torch.randperm(len(train[0]), generator=rng), fit.batch_size):
            optimizer.zero_grad()
            loss(net(train[0][index]), train[1][index]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        schedule.step()
        epoch += 1
        with torch.no_grad():
            now = float(loss(net(held_out[0]), held_out[1]))
        if not now < float("inf"):
            raise ValueError("training diverged: the held-out loss is not finite; lower Fit.learning_rate")
        if now < best:
            best, without_progress, weights = now, 0, copy.deepcopy(net.state_dict())
        else:
            without_progress += 1
        if fit.watch is not None:
            fit.watch(epoch, fit.epochs)
    net.load_state_dict(weights)
    return epoch
