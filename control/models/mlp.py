"""A multilayer perceptron as dynamics: it predicts how observations change, and what a step earns.

Deterministic, mean squared error, normalised inputs, changes as targets (Nagabandi et al. 2018, "Neural network
dynamics for model-based deep reinforcement learning with model-free fine-tuning", section IV-A). How it is trained is
in `fit.py`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ...planning.interface import ActionSpace, Box, Expansion, Slots, Valued
from ..dynamics import KNOWN
from ..dynamics.base import rows_of
from .analytic import ValueFn, slots_tensor, value_of

FORMAT = 1
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
        _ = self.actions  # a Box that cannot be planned in is refused here, before anything is trained

    @property
    def actions(self) -> ActionSpace:
        return Box(torch.tensor(self.low), torch.tensor(self.high)) if self.slots is None else Slots(self.slots)


class MLPNet(nn.Module):
    """Normalised (observation, action) [K, O + A] -> change of the observation and reward, both normalised, [K, O + 1].

    The scales are buffers, so they are saved with the weights. A second small network judges from an observation alone
    whether it ends the episode (a logit), where that is learned.
    """

    input_mean: Tensor
    input_std: Tensor
    output_mean: Tensor
    output_std: Tensor

    def __init__(self, config: MLPConfig) -> None:
        super().__init__()
        width = config.observed + (config.slots or len(config.low))
        self.body = perceptron(width, config.hidden, config.layers, config.observed + 1)
        self.end = perceptron(config.observed, 32, 1, 1) if config.ended == "learned" else None
        for name, size in (("input", width), ("output", config.observed + 1)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))

    def forward(self, inputs: Tensor) -> Tensor:
        """Raw inputs [K, O + A] to raw changes and rewards [K, O + 1]."""
        normal = self.body((inputs - self.input_mean) / self.input_std)
        return torch.addcmul(self.output_mean, normal, self.output_std)

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


class MLPModel:
    """A trained network as a `Model`. States are observations [K, O], float32.

    value: return still to come of observations. gamma: factor on everything after a step.
    An ended observation absorbs: it stays, with reward 0 and discount 0.
    """

    cost = 1

    def __init__(self, config: MLPConfig, net: MLPNet, value: ValueFn | None = None, gamma: float = 1.0) -> None:
        if not 0.0 < gamma <= 1.0:
            raise ValueError(f"gamma is in (0, 1], got {gamma}")
        self.config, self.net, self.value, self.gamma = config, net, value, gamma
        known = KNOWN.get(config.env_id)
        self._given_reward = known.reward if known is not None and config.reward == "given" else None
        self._given_end: Callable[[Tensor], Tensor] | None = (
            known.ended if known is not None and config.ended == "given" else None
        )
        self.actions = config.actions

    def start(self, problems: Any) -> tuple[Tensor, Expansion]:
        """A problem is an observation."""
        seen = rows_of(problems, torch.float32, self.net.input_mean.device)
        if seen.shape[1] != self.config.observed:
            raise ValueError(f"this MLP plans from observations [B, {self.config.observed}], got {list(seen.shape)}")
        alive = (~self.ended(seen)).to(seen.dtype)
        return seen, Expansion(torch.zeros_like(alive), alive, value_of(self.value, seen, alive, "all"))

    @torch.no_grad()
    def expand(
        self, states: Tensor, actions: Any, *, follow: bool = False, valued: Valued = "all"
    ) -> tuple[Tensor, Expansion]:
        reached, reward, discount = self.step(states, actions)
        return reached, Expansion(reward, discount, value_of(self.value, reached, discount, valued))

    @torch.no_grad()
    def step(self, states: Tensor, actions: Any) -> tuple[Tensor, Tensor, Tensor]:
        """[K, O] and actions -> next observations [K, O], rewards [K], discounts [K]."""
        if isinstance(self.actions, Slots):
            actions = slots_tensor(actions, self.actions.n or 0, states.device)
        else:
            actions = torch.as_tensor(actions).to(states)
        out = self.net(inputs_of(self.config, states, actions))
        over = self.ended(states)
        reached = torch.where(over[:, None], states, states + out[:, :-1])
        reward = out[:, -1] if self._given_reward is None else self._given_reward(states, actions, reached)
        alive = ~self.ended(reached)
        return reached, torch.where(over, 0.0, reward), self.gamma * alive.to(states.dtype)

    @torch.no_grad()
    def ended(self, seen: Tensor) -> Tensor:
        """bool [K]: whether these observations are beyond the end, as given or as learned."""
        return self.net.end_logit(seen) > 0 if self._given_end is None else self._given_end(seen)

    def save(self, folder: str | Path) -> None:
        """`config.json` and `weights.safetensors` in `folder`, made if absent. The value function is not saved."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.net.state_dict(), folder / "weights.safetensors")
        settings = {"format": FORMAT, "kind": "mlp", "gamma": self.gamma, "config": asdict(self.config)}
        (folder / "config.json").write_text(json.dumps(settings, indent=1) + "\n")

    @classmethod
    def load(cls, folder: str | Path, value: ValueFn | None = None) -> MLPModel:
        """A saved model. Errors: ValueError when the folder holds none, or one of another kind or format."""
        path = Path(folder) / "config.json"
        if not path.is_file():
            raise ValueError(f"{folder} holds no trained model: config.json is missing")
        settings = json.loads(path.read_text())
        found = settings.get("format"), settings.get("kind")
        if found != (FORMAT, "mlp"):
            raise ValueError(f"{path} has (format, kind) {found}, wanted {(FORMAT, 'mlp')}")
        config = settings["config"]
        config = MLPConfig(**config | {"low": tuple(config["low"]), "high": tuple(config["high"])})
        net = MLPNet(config)
        net.load_state_dict(load_file(path.with_name("weights.safetensors")))
        return cls(config, net.eval(), value, settings["gamma"])


def inputs_of(config: MLPConfig, seen: Tensor, actions: Tensor) -> Tensor:
    """[K, O + A]: observations beside vectors clipped to the bounds, or one-hot slots."""
    if config.slots is not None:
        return torch.cat((seen, nn.functional.one_hot(actions, config.slots).to(seen)), 1)
    low, high = seen.new_tensor(config.low), seen.new_tensor(config.high)
    return torch.cat((seen, actions.clamp(low, high)), 1)
