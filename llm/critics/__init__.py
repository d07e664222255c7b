"""Critics: values of partial and finished solutions. `make_critic` builds one, or a weighted sum, from its name.

`base.py`            the protocol `Critic`, its optional interfaces, and `Judgement`.
`self_critique.py`   the model's own probability that its solution is right.
`logprob.py`         the mean token probability of the solution.
`none.py`            no critic: 1 for a finished solution, 1/2 for an open one.
`rating.py`          the expected rating from 1 to 10.
`vote.py`            the share of votes among siblings.
`rollout.py`         the agreement of sampled completions.
`process_reward.py`  a process or outcome reward model.
`reward_formats.py`  how published reward models read a solution.
`oracle.py`          the true answer, for studies only.
`recorded.py`        the value recorded with an imported search.
`weighted.py`        the weighted mean of several critics.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ..engines.base import Engine
from .base import UNJUDGED, ClosableCritic, CompositeCritic, Critic, Judgement, SiblingCritic
from .logprob import LogProb
from .none import NoCritic
from .oracle import Oracle
from .process_reward import ProcessReward
from .rating import Rating
from .recorded import RecordedCritic
from .reward_formats import RewardFormat
from .rollout import CompletionModel, Rollout
from .self_critique import SelfCritique
from .vote import Vote
from .weighted import Weighted, WeightedSiblings


@dataclass(frozen=True)
class CriticDeps:
    """What some critics are built from.

    rollouts: a `TextModel` without a critic, for `rollout`. reward_model: loads a reward model's engine and its format,
    for `prm` and `orm`; aggregate: see `ProcessReward`. truth: (question, solution) to whether it is right, for
    `oracle`.
    """

    rollouts: CompletionModel | None = None
    reward_model: Callable[[], tuple[Engine, RewardFormat]] | None = None
    aggregate: str = "last"
    truth: Callable[[str, str], bool] | None = None


def make_critic(text: str, deps: CriticDeps | None = None) -> Critic:
    """The critic of that name, or the weighted mean of several: `self`, `self+prm`, `0.3*self+0.7*prm`.

    Errors: ValueError for an unknown name, listing those there are, and for a critic that lacks one of its `deps`.
    """
    parts = [(weight, CRITICS[name](deps or CriticDeps())) for weight, name in parse_critics(text)]
    if len(parts) == 1:
        return parts[0][1]
    compares = any(isinstance(part, SiblingCritic) for _, part in parts)
    return (WeightedSiblings if compares else Weighted)(parts)


def parse_critics(text: str) -> list[tuple[float, str]]:
    """Weights and names in `0.3*self+0.7*prm`. ValueError for an unknown name and for a weight that is not positive."""
    parts = []
    for part in text.split("+"):
        found = re.fullmatch(r"\s*(?:([0-9]*\.?[0-9]+)\s*\*)?\s*(\w+)\s*", part)
        if found is None or found[2] not in CRITICS:
            name = found[2] if found else part.strip()
            raise ValueError(f"no value {name!r}; there are {', '.join(CRITICS)}, and sums such as 0.3*self+0.7*prm")
        parts.append((float(found[1] or 1), found[2]))
    if len({name for _, name in parts}) < len(parts) or any(weight <= 0 for weight, _ in parts):
        raise ValueError(f"the values of a sum are different ones with positive weights, got {text!r}")
    return parts


def _rollout(deps: CriticDeps) -> Critic:
    if deps.rollouts is None:
        raise ValueError("rollout completes solutions with a text model; make it with Rollout(model)")
    return Rollout(deps.rollouts)


def _reward(deps: CriticDeps, outcome: bool) -> Critic:
    if deps.reward_model is None:
        raise ValueError("prm and orm need a reward model: --reward-model FOLDER_OR_HUB_ID --reward-format NAME")
    engine, reward_format = deps.reward_model()
    return ProcessReward(engine, reward_format, deps.aggregate, outcome)


def _oracle(deps: CriticDeps) -> Critic:
    if deps.truth is None:
        raise ValueError("oracle needs the truth, which a task knows; make it with Oracle(is_right)")
    return Oracle(deps.truth)


CRITICS: dict[str, Callable[[CriticDeps], Critic]] = {
    "self": lambda deps: SelfCritique(),
    "logprob": lambda deps: LogProb(),
    "none": lambda deps: NoCritic(),
    "rating": lambda deps: Rating(),
    "vote": lambda deps: Vote(),
    "rollout": _rollout,
    "prm": lambda deps: _reward(deps, outcome=False),
    "orm": lambda deps: _reward(deps, outcome=True),
    "oracle": _oracle,
    "recorded": lambda deps: RecordedCritic(),
}
"""Critics by the name that `--value` takes."""

__all__ = [
    "CRITICS",
    "UNJUDGED",
    "ClosableCritic",
    "CompositeCritic",
    "Critic",
    "CriticDeps",
    "Judgement",
    "LogProb",
    "NoCritic",
    "Oracle",
    "ProcessReward",
    "Rating",
    "RecordedCritic",
    "Rollout",
    "SelfCritique",
    "SiblingCritic",
    "Vote",
    "Weighted",
    "make_critic",
    "parse_critics",
]
