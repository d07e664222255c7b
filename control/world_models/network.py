"""What every learned dynamics shares: its configuration, its scales, and the rules around it.

How a network moves the world is in `mlp.py`, `ensemble.py` and `residual.py`, how it is kept in `storage.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ...planning.interface import ActionSpace, BoxActions, DiscreteActions, Expansion, action_count
from ...planning.spaces import action_indices
from ...planning.wrappers.terminal_value import ValueFn, value_of
from ..dynamics import KNOWN
from ..dynamics.base import rows_of
from ..nets.fused import Folded, fold_of

Source = Literal["learned", "given"]


@dataclass(frozen=True)
class MLPConfig:
    """What a network is made from.

    env_id: gymnasium's name of the environment. observed: O, size of an observation.
    slots: how many discrete actions, or None. low, high: [D] bounds of continuous ones, else empty.
    hidden, layers: units and number of hidden layers (SiLU).
    reward, ended: "learned", or "given", computed from observations by the dynamics of that name in `dynamics.KNOWN`.
    """

    env_id: str
    observed: int
    slots: int | None
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    hidden: int = 64
    layers: int = 2
    reward: Source = "learned"
    ended: Source = "given"

    def __post_init__(self) -> None:
        given = [name for name in ("reward", "ended") if getattr(self, name) == "given"]
        if given and self.env_id not in KNOWN:
            raise ValueError(
                f"{' and '.join(given)} of {self.env_id} cannot be given, only those of {', '.join(KNOWN)}; learn them"
            )
        if (self.slots is None) == (not self.low):
            raise ValueError("an MLP wants either slots or bounds low and high")
        _ = self.actions  # a BoxActions that cannot be planned in is refused here, before anything is trained

    @property
    def actions(self) -> ActionSpace:
        return (
            BoxActions(torch.tensor(self.low), torch.tensor(self.high))
            if self.slots is None
            else DiscreteActions(self.slots)
        )

    @property
    def inputs(self) -> int:
        """I = O + A, size of what the network is given."""
        return self.observed + (self.slots or len(self.low))


class Scaled(nn.Module):
    """Means and deviations of inputs [I] and outputs [O + 1] as buffers, so that they are saved with the weights.

    A second small network judges from an observation alone whether it ends the episode, where that is learned.
    """

    input_mean: Tensor
    input_std: Tensor
    output_mean: Tensor
    output_std: Tensor

    def __init__(self, config: MLPConfig) -> None:
        super().__init__()
        self.end = perceptron(config.observed, 32, 1, 1) if config.ended == "learned" else None
        for name, size in (("input", config.inputs), ("output", config.observed + 1)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))
        self._stamp: list[tuple[int, int]] = []
        self._folded: Folded | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without what `folded` keeps: its buffers are bound to kernels, which cannot be pickled."""
        return self.__dict__ | {"_stamp": [], "_folded": None}

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weights [E, in, out] and biases [E, 1, out] of the layers between inputs and outputs."""
        raise NotImplementedError

    def parts(self) -> list[Tensor]:
        """The parameters that `layers` are views of; when one of them changes, so have these."""
        raise NotImplementedError

    def quick(self, inputs: Tensor) -> Tensor:
        """Raw inputs [E or 1, N, I] to raw outputs [E, N, ...] without derivatives; see `folded.py`."""
        return self.folded()(inputs)

    def folded(self) -> Folded:
        """Weights and scales in one, as they are now."""
        marks = [*self.parts(), self.input_mean, self.input_std, self.output_mean, self.output_std]
        stamp = [(mark.data_ptr(), mark._version) for mark in marks]
        if self._stamp != stamp:
            scales = (self.input_mean, self.input_std), (self.output_mean, self.output_std)
            weights, biases = zip(*self.layers())
            self._folded, self._stamp = fold_of(weights, biases, *scales), stamp
        assert self._folded is not None
        return self._folded

    def end_logit(self, seen: Tensor) -> Tensor:
        """[K] log-odds that observations [K, O] are beyond the end; only where it is learned."""
        if self.end is None:
            raise ValueError("this network did not learn ends")
        size = seen.shape[1]
        logit: Tensor = self.end((seen - self.input_mean[:size]) / self.input_std[:size])
        return logit[:, 0]


def perceptron(inputs: int, hidden: int, layers: int, outputs: int) -> nn.Sequential:
    """`layers` hidden layers of `hidden` units with SiLU between, linear at the end."""
    sizes = [inputs] + [hidden] * layers
    parts: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        parts += [nn.Linear(before, after), nn.SiLU()]
    return nn.Sequential(*parts, nn.Linear(sizes[-1], outputs))


def inputs_of(config: MLPConfig, seen: Tensor, actions: Tensor) -> Tensor:
    """[K, O + A]: observations beside vectors clipped to the bounds, or one-hot slots."""
    if config.slots is not None:
        return torch.cat((seen, nn.functional.one_hot(actions, config.slots).to(seen)), 1)
    low, high = bounds_of(config.low, config.high, seen.dtype, seen.device)
    return torch.cat((seen, actions.clamp(low, high)), 1)


@cache
def bounds_of(
    low: tuple[float, ...], high: tuple[float, ...], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Bounds [D] as tensors, made once."""
    return torch.tensor(low, dtype=dtype, device=device), torch.tensor(high, dtype=dtype, device=device)


class Rules:
    """What holds around any network: problems, rewards and ends (given or learned), and that an end absorbs.

    gamma: factor on everything after a step, in (0, 1].
    """

    def __init__(self, config: MLPConfig, net: Scaled, gamma: float) -> None:
        if not 0.0 < gamma <= 1.0:
            raise ValueError(f"gamma is in (0, 1], got {gamma}")
        self.config, self.net, self.gamma, self.actions = config, net, gamma, config.actions
        known = KNOWN.get(config.env_id)
        self._reward = known.reward if known is not None and config.reward == "given" else None
        self._end: Callable[[Tensor], Tensor] | None = (
            known.ended if known is not None and config.ended == "given" else None
        )
        self._endless = self._end is not None and bool(getattr(known, "endless", False))

    def start(self, problems: Any, value: ValueFn | None) -> tuple[Tensor, Expansion]:
        """A problem is an observation."""
        seen = rows_of(problems, torch.float32, self.net.input_mean.device)
        if seen.shape[1] != self.config.observed:
            raise ValueError(f"this model plans from observations [B, {self.config.observed}], got {list(seen.shape)}")
        alive = (~self.ended(seen)).to(seen.dtype)
        return seen, Expansion(torch.zeros_like(alive), alive, value_of(value, seen, alive, "all"))

    def taken(self, actions: Any, seen: Tensor) -> Tensor:
        """Actions as a tensor beside `seen`: slots int64 [K], or vectors [K, D]."""
        if isinstance(self.actions, DiscreteActions):
            return action_indices(actions, action_count(self.actions), seen.device)
        return torch.as_tensor(actions).to(seen)

    @property
    def plain(self) -> bool:
        """Whether actions are vectors and nothing ends, so that a step is the network's prediction and no more."""
        return self._endless and isinstance(self.actions, BoxActions)

    @property
    def learned(self) -> bool:
        """Whether rewards are those that the network predicts."""
        return self._reward is None

    def land(self, seen: Tensor, actions: Tensor, reached: Tensor, reward: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where a predicted step leads: observations [K, O], rewards [K], discounts [K]; `reward` as was learned."""
        if self._endless:
            reward = self.rewarded(seen, actions, reached, reward)
            return reached, reward, torch.full_like(reward, self.gamma)
        over = self.ended(seen)
        reached = torch.where(over[:, None], seen, reached)
        reward = self.rewarded(seen, actions, reached, reward)
        alive = ~self.ended(reached)
        return reached, torch.where(over, 0.0, reward), self.gamma * alive.to(seen.dtype)

    def rewarded(self, seen: Tensor, actions: Tensor, reached: Tensor, learned: Tensor) -> Tensor:
        """[K] rewards of steps: given, or as was learned."""
        return learned if self._reward is None else self._reward(seen, actions, reached)

    @torch.no_grad()
    def ended(self, seen: Tensor) -> Tensor:
        """bool [K]: whether these observations are beyond the end, as given or as learned."""
        return self.net.end_logit(seen) > 0 if self._end is None else self._end(seen)
