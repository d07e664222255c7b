"""Risk of trajectory returns against sorted tails, a maximisation, and the normal distribution's closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from forethought.planning import CEM, BoxActions, Budget, Expansion, ModelError, plan
from forethought.planning.interface import SequenceQuery, Stochastic
from forethought.planning.rollout import rollout
from forethought.planning.vectors.risk import at_risk, check_risk, tail_mean

ALPHAS = [0.03, 0.1, 0.25, 1 / 3, 0.5, 0.77, 1.0]


def sorted_tail(returns: np.ndarray, alpha: float) -> float:
    """The mean of the worst alpha n outcomes, each split into a thousand equal ones."""
    fine = np.sort(np.repeat(returns, 1000))
    return float(fine[: max(1, round(alpha * len(fine)))].mean())


def by_maximum(returns: np.ndarray, alpha: float) -> float:
    """max over v of v - mean((v - returns)+) / alpha, which lies at one of the returns (Rockafellar, Uryasev 2000)."""
    return float(max(v - np.maximum(v - returns, 0).mean() / alpha for v in returns))


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("particles", [1, 2, 5, 7, 20])
def test_cvar_is_the_mean_of_the_sorted_tail_and_the_maximum_of_rockafellar_and_uryasev(
    alpha: float, particles: int
) -> None:
    returns = np.random.default_rng(particles).normal(size=(3, 4, particles))
    found = at_risk(torch.from_numpy(returns), ("cvar", alpha))
    for m in range(3):
        for k in range(4):
            assert float(found[m, k]) == pytest.approx(by_maximum(returns[m, k], alpha), abs=1e-9)
            assert float(found[m, k]) == pytest.approx(sorted_tail(returns[m, k], alpha), abs=2e-3 / alpha)


def test_cvar_of_many_normal_returns_is_the_closed_form() -> None:
    returns = torch.from_numpy(np.random.default_rng(0).normal(3.0, 2.0, 400_000))
    known = 3.0 - 2.0 * stats.norm.pdf(stats.norm.ppf(0.1)) / 0.1
    assert float(tail_mean(returns, 0.1)) == pytest.approx(known, abs=0.03)


def test_cvar_goes_from_the_worst_to_the_mean_without_jumps() -> None:
    returns = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 1, 5)))
    curve = np.array([float(at_risk(returns, ("cvar", a))) for a in np.linspace(0.001, 1, 1000)])
    assert curve[0] == pytest.approx(float(at_risk(returns, "worst")))
    assert curve[-1] == pytest.approx(float(at_risk(returns, "mean")))
    assert (np.diff(curve) > -1e-12).all() and np.diff(curve).max() < 0.01


@pytest.mark.parametrize("risk", ["mean", "worst", ("cvar", 0.3)])
def test_a_member_that_is_lost_ranks_the_candidate_below_all(risk: Any) -> None:
    returns = torch.tensor([[[1.0, torch.nan, 2.0], [-9.0, -9.0, -9.0], [torch.inf, 0.0, 0.0]]])
    found = at_risk(returns, risk)[0]
    assert found.tolist() == [-torch.inf, pytest.approx(-9.0), -torch.inf]


@dataclass
class Members(Stochastic):
    """Two worlds: rewards take turns, so that each step is bad in one of them but only action 1 is bad for one world
    as a whole. A state is (member, time)."""

    cost: int = 2
    particles: int = 2
    actions = BoxActions(torch.tensor([-1.0]), torch.tensor([1.0]))

    def start(self, problems: Any) -> Any:
        zero = torch.zeros(len(problems))
        return torch.zeros(len(problems), 2), Expansion(zero, zero + 1, zero)

    def repeat(self, states: Any, keys: Any) -> Any:
        states = states.repeat_interleave(2, 0)
        states[1::2, 0] = 1
        return states

    def expand(self, states: Any, actions: Any, *, to_end: bool = False, evaluate: Any = "all") -> Any:
        member, time = states.unbind(1)
        alternating = torch.where((member + time) % 2 == 0, 1.0, -1.0)
        one_sided = torch.where(member == 0, 1.6, -1.0)
        reward = torch.where(actions[:, 0] > 0, one_sided, alternating)
        return torch.stack([member, time + 1], 1), Expansion(reward, torch.ones_like(reward), 0 * reward)


def test_risk_is_of_the_trajectory_and_not_of_its_steps() -> None:
    """Per step both actions have the worst -1; over two steps alternation has 0 in each world, action 1 has -2."""
    sequences = torch.tensor([[[[-1.0], [-1.0]], [[1.0], [1.0]]]])
    model = Members()
    found = rollout(model, model.start([0])[0], SequenceQuery(np.zeros(1, np.int32), sequences, np.zeros(1, np.uint64)))
    for risk, known in (("mean", [0.0, 0.6]), ("worst", [0.0, -2.0]), (("cvar", 0.5), [0.0, -2.0])):
        assert at_risk(found.returns, risk)[0].tolist() == pytest.approx(known)  # type: ignore[arg-type]


@pytest.mark.parametrize(("risk", "sign"), [("mean", 1), ("worst", -1), (("cvar", 0.5), -1), (("cvar", 1.0), 1)])
def test_a_planner_takes_the_action_that_its_risk_wants(risk: Any, sign: int) -> None:
    found = plan(CEM(horizon=2, risk=risk), Members(), [0, 0], Budget(nodes=400)).plan
    assert ((found.actions > 0) == (sign > 0)).all()


def test_what_is_no_risk_is_named() -> None:
    for wrong in ("best", ("cvar",), ("cvar", 0.0), ("var", 0.5), 3):
        with pytest.raises(ValueError, match="risk"):
            check_risk(wrong)
    with pytest.raises(ModelError):
        plan(CEM(horizon=1), Lost(), [0], Budget(nodes=40))


class Lost(Members):
    def expand(self, states: Any, actions: Any, **more: Any) -> Any:
        states, said = super().expand(states, actions)
        said.reward = said.reward * torch.nan
        return states, said
