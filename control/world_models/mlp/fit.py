"""Training of the MLP dynamics on transitions: Adam, early stopping on held-out steps."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import gymnasium
import torch
from torch import Tensor, nn

from ...data.transitions import Transitions
from ...dynamics import KNOWN
from ..network import MLPConfig, Scaled, inputs_of
from .model import MLPModel, MLPNet

Config = TypeVar("Config", bound=MLPConfig)


@dataclass(frozen=True)
class Fit:
    """How to train.

    epochs: the most passes. patience: passes without a better held-out loss until it ends. batch: steps a minibatch.
    rate: Adam's, annealed to a tenth by a cosine. decay: weight decay (AdamW). held_out: share of the steps.
    """

    epochs: int = 300
    patience: int = 60
    batch: int = 64
    rate: float = 3e-3
    decay: float = 1e-5
    held_out: float = 0.1
    seed: int = 0


USUAL = Fit()


@dataclass(frozen=True)
class Report:
    """epochs passed, and the share of variance left unexplained (0 is perfect) on training and held-out steps, each
    the mean over the components of change and reward."""

    epochs: int
    train: float
    held_out: float


def config_for(env: Any, kind: type[Config] = MLPConfig, **settings: Any) -> Config:  # type: ignore[assignment]
    """The `MLPConfig` or `EnsembleConfig` that fits a gymnasium environment or its id; `settings` go on to it.

    Ends are given where the environment is in `dynamics.KNOWN`, otherwise learned.

    Errors: ValueError for spaces that are not a flat Box of observations and a Discrete or finite Box of actions.
    """
    env = gymnasium.make(env) if isinstance(env, str) else env
    seen, acts = env.observation_space, env.action_space
    settings = {"ended": "given" if env.spec.id in KNOWN else "learned"} | settings
    if not isinstance(seen, gymnasium.spaces.Box) or len(seen.shape) != 1:
        raise ValueError(f"an MLP wants flat observations, {env.spec.id} has {seen}; wrap it in FlattenObservation")
    if isinstance(acts, gymnasium.spaces.Discrete):
        return kind(env.spec.id, seen.shape[0], int(acts.n), **settings)
    if isinstance(acts, gymnasium.spaces.Box) and len(acts.shape) == 1:
        bounds = tuple(acts.low.tolist()), tuple(acts.high.tolist())
        return kind(env.spec.id, seen.shape[0], None, *bounds, **settings)
    raise ValueError(f"an MLP wants discrete actions or a flat Box of them, {env.spec.id} has {acts}")


def fit_mlp(data: Transitions, config: MLPConfig, fit: Fit = USUAL) -> tuple[MLPModel, Report]:
    """Train a fresh network on `data`. The same data, settings and seed give the same weights on one machine."""
    train, held_out = data.split(fit.held_out, fit.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(fit.seed)
        net = MLPNet(config)
    raw = [(inputs_of(config, part.seen, part.actions), targets_of(part)) for part in (train, held_out)]
    set_scales(net, *raw[0])
    (x, y), (hx, hy) = (normalised(net, *part) for part in raw)
    epochs = descend(net.body, (x, y), (hx, hy), nn.functional.mse_loss, fit)
    if net.end is not None:
        fit_end(net, train, held_out, fit)
    net.eval().requires_grad_(False)
    left, held = (float(nn.functional.mse_loss(net.body(a), b)) for a, b in ((x, y), (hx, hy)))
    return MLPModel(config, net), Report(epochs, left, held)


def set_scales(net: Scaled, inputs: Tensor, targets: Tensor) -> None:
    """Means and deviations of inputs [N, I] and targets [N, O + 1]. An input that never varies keeps scale 1; a target
    that never varies (CartPole's reward) gets scale 0, so that the network answers with that number and nothing else.
    """
    for name, rows in (("input", inputs), ("output", targets)):
        std, mean = torch.std_mean(rows, 0)
        getattr(net, f"{name}_mean").copy_(mean)
        getattr(net, f"{name}_std").copy_(torch.where(std > 1e-6, std, 1.0 if name == "input" else 0.0))


def targets_of(data: Transitions) -> Tensor:
    """[N, O + 1] change of the observation, reward."""
    return torch.cat((data.reached - data.seen, data.rewards[:, None]), 1)


def normalised(net: Scaled, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs [N, I] and targets [N, O + 1] in units of their deviations."""
    spread = torch.where(net.output_std > 0, net.output_std, 1.0)
    return (inputs - net.input_mean) / net.input_std, (targets - net.output_mean) / spread


def fit_end(net: Scaled, train: Transitions, held_out: Transitions, fit: Fit) -> None:
    """Train the judge of ends on reached observations. Unweighted: ends are rare, but a bound drawn too far in would
    forbid states that are still worth visiting. Longer than the body: it is small, and a bound is sharp. Where no end
    was seen, nothing ends."""
    size = train.seen.shape[1]
    assert net.end is not None
    if not bool(train.ended.any() or held_out.ended.any()):
        last = net.end[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, -10.0)
        return

    def pairs(data: Transitions) -> tuple[Tensor, Tensor]:
        seen = (data.reached - net.input_mean[:size]) / net.input_std[:size]
        return seen, data.ended.float()[:, None]

    longer = replace(fit, epochs=5 * fit.epochs, patience=5 * fit.patience, rate=3 * fit.rate)
    descend(net.end, pairs(train), pairs(held_out), nn.functional.binary_cross_entropy_with_logits, longer)


def descend(
    net: nn.Module,
    train: tuple[Tensor, Tensor],
    held_out: tuple[Tensor, Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    fit: Fit,
) -> int:
    """Minibatch AdamW until the held-out loss rests; leaves the best weights in `net`, returns the passes made."""
    order = torch.Generator().manual_seed(fit.seed)
    optimiser = torch.optim.AdamW(net.parameters(), lr=fit.rate, weight_decay=fit.decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, fit.epochs, fit.rate / 10)
    best, rest, passed, kept = float("inf"), 0, 0, copy.deepcopy(net.state_dict())
    while passed < fit.epochs and rest < fit.patience:
        for index in torch.split(torch.randperm(len(train[0]), generator=order), fit.batch):
            optimiser.zero_grad()
            loss(net(train[0][index]), train[1][index]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        schedule.step()
        passed += 1
        with torch.no_grad():
            now = float(loss(net(held_out[0]), held_out[1]))
        if not now < float("inf"):
            raise ValueError("training diverged: the held-out loss is not finite; lower Fit.rate")
        best, rest, kept = (now, 0, copy.deepcopy(net.state_dict())) if now < best else (best, rest + 1, kept)
    net.load_state_dict(kept)
    return passed
