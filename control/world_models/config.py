"""The configuration of learned dynamics: spaces, network size, and which parts are learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from ...planning.interface import ActionSpace, BoxActions, DiscreteActions
from ...planning.settings_checks import check_integers
from ..dynamics import KNOWN

Source = Literal["learned", "given"]


@dataclass(frozen=True)
class MLPConfig:
    """What a network is made from.

    env_id: gymnasium's name of the environment. obs_dim: O, numbers in an observation.
    n_actions: how many discrete actions there are, or None. low, high: [D] bounds of continuous ones, else empty.
    hidden: units of each hidden layer. layers: number of hidden layers (SiLU).
    reward, termination: "learned", or "given", computed from observations by the dynamics of that environment in
        `dynamics.KNOWN`.

    Errors: ValueError where a given part is not known, where there is not exactly one kind of actions, and for bounds
    that cannot be planned in.
    """

    env_id: str
    obs_dim: int
    n_actions: int | None
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    hidden: int = 64
    layers: int = 2
    reward: Source = "learned"
    termination: Source = "given"

    def __post_init__(self) -> None:
        check_integers(self, 1, "obs_dim", "hidden")
        check_integers(self, 0, "layers")
        sources = {"reward": self.reward, "termination": self.termination}
        given = [name for name, source in sources.items() if source == "given"]
        if given and self.env_id not in KNOWN:
            raise ValueError(
                f"{' and '.join(given)} of {self.env_id} cannot be given, only those of {', '.join(KNOWN)}; learn them"
            )
        if (self.n_actions is None) == (not self.low):
            raise ValueError("an MLPConfig needs either n_actions or bounds low and high")
        _ = self.actions  # bounds that cannot be planned in are refused before anything is trained

    @property
    def actions(self) -> ActionSpace:
        if self.n_actions is None:
            return BoxActions(torch.tensor(self.low), torch.tensor(self.high))
        return DiscreteActions(self.n_actions)

    @property
    def input_dim(self) -> int:
        """I = O + A, numbers in the network's input: an observation and an action vector or one-hot index."""
        return self.obs_dim + (self.n_actions or len(self.low))
