"""What a partial solution is worth: one small file per critic, and `value_named` to choose one or several."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..engines.base import Engine
from .base import UNJUDGED, ClosableCritic, Comparison, Judgement, Value
from .logprob import LogProb
from .none import NoValue
from .oracle import Oracle
from .process_reward import ProcessReward
from .rating import Rating
from .recorded import RecordedValue
from .reward_formats import RewardFormat
from .rollout import Rollout
from .self_critique import SelfCritique
from .vote import Vote
from .weighted import Weighted, WeightedComparison


@dataclass(frozen=True)
class Means:
    """What some critics are made from.

    rollouts: a `TextModel` without a critic, for `rollout`. reward_model: loads the reward model and the way it reads,
    for `prm` and `orm`; aggregate: see `ProcessReward`. truth: (question, solution) to whether it is right, for
    `oracle`.
    """

    rollouts: Any = None
    reward_model: Callable[[], tuple[Engine, RewardFormat]] | None = None
    aggregate: str = "last"
    truth: Callable[[str, str], bool] | None = None


def value_named(text: str, means: Means | None = None) -> Value:
    """The critic of that name, or the weighted mean of several: `self`, `self+prm`, `0.3*self+0.7*prm`.

    Errors: ValueError that lists what exists, and for a critic whose means are missing.
    """
    found = [(weight, VALUES[name](means or Means())) for weight, name in parts_of(text)]
    if len(found) == 1:
        return found[0][1]
    compares = any(isinstance(part, Comparison) for _, part in found)
    return (WeightedComparison if compares else Weighted)(found)


def parts_of(text: str) -> list[tuple[float, str]]:
    """Weights and names in `0.3*self+0.7*prm`; ValueError for a name that does not exist, or a weight that is none."""
    parts = []
    for part in text.split("+"):
        found = re.fullmatch(r"\s*(?:([0-9]*\.?[0-9]+)\s*\*)?\s*(\w+)\s*", part)
        if found is None or found[2] not in VALUES:
            name = found[2] if found else part.strip()
            raise ValueError(f"no value {name!r}; there are {', '.join(VALUES)}, and sums such as 0.3*self+0.7*prm")
        parts.append((float(found[1] or 1), found[2]))
    if len({name for _, name in parts}) < len(parts) or any(weight <= 0 for weight, _ in parts):
        raise ValueError(f"the values of a sum are different ones with positive weights, got {text!r}")
    return parts


def _rollout(means: Means) -> Value:
    if means.rollouts is None:
        raise ValueError("rollout completes solutions with a text model; make it with Rollout(model)")
    return Rollout(means.rollouts)


def _reward(means: Means, outcome: bool) -> Value:
    if means.reward_model is None:
        raise ValueError("prm and orm want a reward model: --reward-model FOLDER_OR_HUB_ID --reward-format NAME")
    engine, reads = means.reward_model()
    return ProcessReward(engine, reads, means.aggregate, outcome)


def _oracle(means: Means) -> Value:
    if means.truth is None:
        raise ValueError("oracle wants the truth, which a task has; make it with Oracle(right)")
    return Oracle(means.truth)


VALUES: dict[str, Callable[[Means], Value]] = {
    "self": lambda means: SelfCritique(),
    "logprob": lambda means: LogProb(),
    "none": lambda means: NoValue(),
    "rating": lambda means: Rating(),
    "vote": lambda means: Vote(),
    "rollout": _rollout,
    "prm": lambda means: _reward(means, outcome=False),
    "orm": lambda means: _reward(means, outcome=True),
    "oracle": _oracle,
    "recorded": lambda means: RecordedValue(),
}

__all__ = [
    "UNJUDGED",
    "VALUES",
    "ClosableCritic",
    "Comparison",
    "Judgement",
    "LogProb",
    "Means",
    "NoValue",
    "Oracle",
    "ProcessReward",
    "Rating",
    "RecordedValue",
    "Rollout",
    "SelfCritique",
    "Value",
    "Vote",
    "Weighted",
    "parts_of",
    "value_named",
]
