"""Settings that would be taken and do nothing, or harm, are refused in one line that names them."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from typing import Any

import numpy as np
import pytest
import torch

from forethought.planning import (
    CEM,
    DDP,
    ICEM,
    ILQR,
    MCTS,
    MPPI,
    Beam,
    BestOfN,
    BoxActions,
    Budget,
    DiscreteActions,
    GaussianSettings,
    GradientShooting,
    GumbelSettings,
    PathSettings,
    PolicyPrior,
    WarmStarted,
    WideningSettings,
)
from forethought.planning.testing.problems import TargetProblem
from forethought.planning.trees.rebase import Rebase
from forethought.planning.wrappers.action_repeat import ActionRepeat
from forethought.planning.wrappers.constraints import Penalised
from forethought.planning.wrappers.discretized_actions import DiscretizedActions
from forethought.planning.wrappers.disturbance import NoisyActions
from forethought.planning.wrappers.lambda_return import LambdaReturn
from forethought.planning.wrappers.rollout_value import RolloutValue
from forethought.planning.wrappers.terminal_value import TerminalValue

NOT_NUMBERS = (nan, inf, -inf, "1", None, True, [1.0])
NOT_INTEGERS = (*NOT_NUMBERS, 1.5, 0.5, -1)


def policy(states: Any, logits: Any) -> Any:
    return torch.zeros(len(states), 2)


TARGET: Any = TargetProblem(torch.zeros(2))
MAKERS: dict[tuple[str, str], tuple[Callable[[Any], object], tuple[object, ...]]] = {
    ("MCTS", "c_init"): (lambda x: MCTS(c_init=x), (*NOT_NUMBERS, -1)),
    ("MCTS", "c_base"): (lambda x: MCTS(c_base=x), (*NOT_NUMBERS, 0)),
    ("MCTS", "c_uct"): (lambda x: MCTS(c_uct=x), (*NOT_NUMBERS, -0.1)),
    ("MCTS", "leaves"): (lambda x: MCTS(leaves=x), (*NOT_INTEGERS, 0)),
    ("MCTS", "simulations"): (lambda x: MCTS(simulations=x), (0, 1.5, nan, "4", True)),
    ("MCTS", "normalise"): (lambda x: MCTS(normalise=x), ((1, 0), (0, nan), (0, inf), "rows", (0, 1, 2), None)),
    ("MCTS", "dirichlet"): (lambda x: MCTS(dirichlet=x), ((0, 0.2), (0.3, 1.5), (nan, 0.2), (0.3, nan), 0.3, (0.3,))),
    ("MCTS", "reuse"): (lambda x: MCTS(reuse=x), ("no", None, 2)),
    ("MCTS", "evaluate"): (lambda x: MCTS(evaluate=x), ("some", None, True)),
    ("MCTS", "widening"): (lambda x: MCTS(widening=x), (3, None)),
    ("widening", "width"): (lambda x: WideningSettings(width=x), (*NOT_INTEGERS, 0)),
    ("widening", "progressive"): (lambda x: WideningSettings(progressive=x), ((nan, 0.5), (0, 1), (1, -1), "on", 1.0)),
    ("gumbel", "considered"): (lambda x: GumbelSettings(considered=x), (*NOT_INTEGERS, 0)),
    ("gumbel", "value_scale"): (lambda x: GumbelSettings(value_scale=x), (*NOT_NUMBERS, -1)),
    ("gumbel", "maxvisit_init"): (lambda x: GumbelSettings(maxvisit_init=x), (*NOT_NUMBERS, -1)),
    ("Beam", "children"): (lambda x: Beam(children=x), (0, 1.5, nan, "2", True)),
    ("Beam", "beam"): (lambda x: Beam(beam=x), (0, 1.5, nan, -2)),
    ("Beam", "trees"): (lambda x: Beam(trees=x), (*NOT_INTEGERS, 0)),
    ("Beam", "evaluate"): (lambda x: Beam(evaluate=x), ("maybe",)),
    ("Rebase", "temperature"): (lambda x: Rebase(temperature=x), (*NOT_NUMBERS, 0)),
    ("Rebase", "width"): (lambda x: Rebase(width=x), (0, 2.5, nan)),
    ("Shooting", "horizon"): (lambda x: BestOfN(horizon=x), (*NOT_INTEGERS, 0)),
    ("Shooting", "population"): (lambda x: CEM(population=x), (0, 2.5, nan)),
    ("Shooting", "decay"): (lambda x: ICEM(decay=x), (*NOT_NUMBERS, 0.5)),
    ("Shooting", "smoothing"): (lambda x: CEM(smoothing=x), (*NOT_NUMBERS, 1, -0.1)),
    ("Shooting", "keep"): (lambda x: CEM(keep=x), NOT_INTEGERS),
    ("Shooting", "vectors"): (lambda x: CEM(vectors=x), (PathSettings(), None)),
    ("Shooting", "risk"): (lambda x: CEM(risk=x), (("cvar", nan), ("cvar", 0), "best", ("cvar", "1"), None)),
    ("CEM", "elites"): (lambda x: CEM(elites=x), (*NOT_NUMBERS, 0, 1.1)),
    ("MPPI", "temperature"): (lambda x: MPPI(temperature=x), (*NOT_NUMBERS, 0)),
    ("MPPI", "control_cost"): (lambda x: MPPI(control_cost=x), (*NOT_NUMBERS, 2)),
    ("vectors", "std"): (lambda x: GaussianSettings(std=x), (*NOT_NUMBERS, -1)),
    ("vectors", "min_std"): (lambda x: GaussianSettings(min_std=x), (*NOT_NUMBERS, -1)),
    ("vectors", "warm_std"): (lambda x: GaussianSettings(warm_std=x), (nan, inf, -1, "1")),
    ("vectors", "noise_beta"): (lambda x: GaussianSettings(noise_beta=x), NOT_NUMBERS),
    ("vectors", "reuse_elites"): (lambda x: GaussianSettings(reuse_elites=x), NOT_INTEGERS),
    ("paths", "prior"): (lambda x: PathSettings(prior=x), (*NOT_NUMBERS, -1)),
    ("paths", "width"): (lambda x: PathSettings(width=x), (0, 1.5, nan)),
    ("paths", "evaluate"): (lambda x: PathSettings(evaluate=x), ("some", False)),
    ("gradient", "rate"): (lambda x: GradientShooting(rate=x), (*NOT_NUMBERS, -1)),
    ("gradient", "starts"): (lambda x: GradientShooting(starts=x), (*NOT_INTEGERS, 0)),
    ("ILQR", "tolerance"): (lambda x: ILQR(tolerance=x), (*NOT_NUMBERS, -1)),
    ("ILQR", "horizon"): (lambda x: DDP(horizon=x), (*NOT_INTEGERS, 0)),
    ("policy", "samples"): (lambda x: PolicyPrior(policy=policy, samples=x), (*NOT_INTEGERS, 0)),
    ("policy", "policy"): (lambda x: PolicyPrior(policy=x), (None, 3)),
    ("WarmStarted", "share"): (lambda x: WarmStarted(CEM(), ILQR(), share=x), (*NOT_NUMBERS, 0, 1)),
    ("WarmStarted", "nodes"): (lambda x: WarmStarted(CEM(), ILQR(), nodes=x), (*NOT_INTEGERS, 0)),
    ("Budget", "seconds"): (lambda x: Budget(seconds=x, nodes=1), (nan, inf, 0, -1, "1", True)),
    ("Budget", "nodes"): (lambda x: Budget(nodes=x, seconds=1), (nan, inf, 0, 1.5, "9", True)),
    ("Budget", "model_calls"): (lambda x: Budget(model_calls=x, nodes=1), (nan, 0, 2.5)),
    ("Budget", "generated_tokens"): (lambda x: Budget(generated_tokens=x, nodes=1), (nan, 0, 2.5)),
    ("DiscreteActions", "n"): (DiscreteActions, (*NOT_INTEGERS, 0)),
    ("ActionRepeat", "k"): (lambda x: ActionRepeat(TARGET, x), (*NOT_INTEGERS, 0)),
    ("DiscretizedActions", "n"): (lambda x: DiscretizedActions(TARGET, x), (*NOT_INTEGERS, 1)),
    ("RolloutValue", "horizon"): (lambda x: RolloutValue(TARGET, x), (*NOT_INTEGERS, 0)),
    ("NoisyActions", "std"): (lambda x: NoisyActions(TARGET, x, 2), (*NOT_NUMBERS, -1)),
    ("NoisyActions", "particles"): (lambda x: NoisyActions(TARGET, 0.1, x), (*NOT_INTEGERS, 1)),
    ("LambdaReturn", "lambda_"): (lambda x: LambdaReturn(TARGET, x), (*NOT_NUMBERS, 0, 2)),
    ("TerminalValue", "gamma"): (lambda x: TerminalValue(TARGET, lambda s: s, x), (*NOT_NUMBERS, 0, 2)),
}  # fmt: skip


@pytest.mark.parametrize(("name", "make", "given"), [(n, m, g) for (_, n), (m, gs) in MAKERS.items() for g in gs])
def test_a_setting_out_of_its_range_is_named_in_one_line(name: str, make: Any, given: object) -> None:
    with pytest.raises(ValueError) as caught:
        make(given)
    message = str(caught.value)
    shown = repr(given) if not isinstance(given, PathSettings) else "PathSettings"
    assert message.startswith(name) and f"got {shown}" in message and "\n" not in message and len(message) < 200


def test_numbers_of_numpy_are_numbers() -> None:
    assert MCTS(c_init=np.float32(2), leaves=np.int64(3)).leaves == 3  # type: ignore[arg-type]
    assert Budget(nodes=np.int32(5)).size().nodes == 5  # type: ignore[arg-type]


def test_a_penalty_is_a_number() -> None:
    for given in (*NOT_NUMBERS, -1):
        with pytest.raises(ValueError, match="weight"):
            Penalised(TARGET, given)  # type: ignore[arg-type]


def test_a_box_of_half_precision_is_refused() -> None:
    for kind in (torch.float16, torch.bfloat16, torch.int32):
        with pytest.raises(ValueError, match="float32 or float64"):
            BoxActions(-torch.ones(2).to(kind), torch.ones(2).to(kind))
