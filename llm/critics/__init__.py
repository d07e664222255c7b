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
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

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
    `oracle`. own: critics of one's own by name, which count before those of `CRITICS`.
    """

    rollouts: CompletionModel | None = None
    reward_model: Callable[[], tuple[Engine, RewardFormat]] | None = None
    aggregate: str = "last"
    truth: Callable[[str, str], bool] | None = None
    own: Mapping[str, Critic] = field(default_factory=dict)


@dataclass(frozen=True)
class CriticRow:
    """A critic by name: what makes it, what its value is in one line, and its source."""

    make: Callable[[CriticDeps], Critic]
    summary: str
    source: str = ""


def make_critic(text: str, deps: CriticDeps | None = None) -> Critic:
    """The critic of that name, or the weighted mean of several: `self`, `self+prm`, `0.3*self+0.7*prm`.

    Errors: ValueError for an unknown name, listing those there are, and for a critic that lacks one of its `deps`.
    """
    deps = deps or CriticDeps()
    parts = [
        (weight, deps.own[name] if name in deps.own else CRITICS[name].make(deps))
        for weight, name in parse_critics(text, deps.own)
    ]
    if len(parts) == 1:
        return parts[0][1]
    compares = any(isinstance(part, SiblingCritic) for _, part in parts)
    return (WeightedSiblings if compares else Weighted)(parts)


def parse_critics(text: str, own: Collection[str] = ()) -> list[tuple[float, str]]:
    """Weights and names in `0.3*self+0.7*prm`; own: names besides those of `CRITICS`.

    Errors: ValueError for an unknown name and for a weight that is not positive.
    """
    parts = []
    for part in text.split("+"):
        found = re.fullmatch(r"\s*(?:([0-9]*\.?[0-9]+)\s*\*)?\s*(\w+)\s*", part)
        if found is None or not (found[2] in CRITICS or found[2] in own):
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


CRITICS = {
    "self": CriticRow(lambda deps: SelfCritique(), "probability of yes when asked if it is right", "Kadavath 2022"),
    "logprob": CriticRow(lambda deps: LogProb(), "geometric mean of its tokens' probabilities"),
    "none": CriticRow(lambda deps: NoCritic(), "no value"),
    "rating": CriticRow(lambda deps: Rating(), "expected rating from 1 to 10", "Liu 2023"),
    "vote": CriticRow(lambda deps: Vote(), "share of votes among its siblings (planners beam, rebase)", "Yao 2023"),
    "rollout": CriticRow(_rollout, "agreement of four completions", "Wang 2023, 2024"),
    "prm": CriticRow(lambda deps: _reward(deps, False), "a reward model's score of the steps", "Lightman 2023"),
    "orm": CriticRow(lambda deps: _reward(deps, True), "a reward model's score of the finished solution", "Cobbe 2021"),
    "oracle": CriticRow(_oracle, "the correct answer, for studies only"),
    "recorded": CriticRow(lambda deps: RecordedCritic(), "the value in the log of an imported tree"),
}
"""Critics by the name that `--value` takes; adding one is a file with its class and a row here."""

__all__ = [
    "CRITICS",
    "UNJUDGED",
    "ClosableCritic",
    "CompositeCritic",
    "Critic",
    "CriticDeps",
    "CriticRow",
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
