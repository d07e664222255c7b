"""Noise on actions as particles: its deviation, who shares it, and plans that keep away from a cliff."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from forethought.planning import (
    CEM,
    BoxActions,
    Budget,
    Expansion,
    GaussianSettings,
    GradientShooting,
    NoisyActions,
    SequenceQuery,
    keys_of,
    plan,
)
from forethought.planning.rollout import rollout
from forethought.planning.usage import NODES


@dataclass
class Cliff:
    """An action pays itself, and costs 20 above 0.6."""

    cost: int = 1
    actions = BoxActions(torch.tensor([-1.0]), torch.tensor([1.0]))

    def start(self, problems: Any) -> Any:
        zero = torch.zeros(len(problems))
        return zero, Expansion(zero, zero + 1, zero)

    def expand(self, states: Any, actions: Any, **more: Any) -> Any:
        u = actions[:, 0]
        return states, Expansion(u - 20 * (u > 0.6), torch.ones_like(u), 0 * u)


def test_all_candidates_of_a_row_meet_the_same_disturbances_and_rows_others() -> None:
    query = SequenceQuery(np.arange(2, dtype=np.int32), torch.zeros(2, 3, 4, 1), keys_of(3, 2))
    returns = rollout(NoisyActions(Cliff(), 0.1, 5), torch.zeros(2), query).returns
    torch.testing.assert_close(returns, returns[:, :1].expand_as(returns))
    assert len(returns[:, 0].unique()) == 10


def test_disturbances_have_the_deviation_they_are_said_to_have() -> None:
    query = SequenceQuery(np.zeros(1, np.int32), torch.full((1, 1, 1, 1), -0.1), keys_of(3, 1))
    returns = rollout(NoisyActions(Cliff(), 0.1, 20_000), torch.zeros(1), query).returns.flatten()
    assert float(returns.mean()) == pytest.approx(-0.1, abs=0.003) and float(returns.std()) == pytest.approx(
        0.1, abs=0.003
    )


@pytest.mark.parametrize("risk", ["mean", "worst", ("cvar", 0.2)])
def test_plans_keep_the_distance_from_a_cliff_that_their_risk_wants(risk: Any) -> None:
    """Against a fine grid of actions under the very same disturbances, reduced by sorting."""
    model = NoisyActions(Cliff(), 0.1, 10)
    vectors = GaussianSettings(noise_beta=0.0, std=1.0)
    planner = CEM(horizon=1, iterations=1, risk=risk, vectors=vectors)
    search = planner.begin(model.start([0])[1], model.actions, Budget(nodes=20_000).size(10), keys=keys_of(1, 1))
    query = search.ask(np.array([2000]))
    search.tell(query, rollout(model, torch.zeros(1), query))
    grid = replace(query, sequences=torch.linspace(-1, 1, 2001)[None, :, None, None])
    returns = np.sort(rollout(model, torch.zeros(1), grid).returns[0].numpy(), 1)
    part = {"mean": 10, "worst": 1}.get(risk if isinstance(risk, str) else "", 2)
    worth = returns[:, :part].mean(1)
    assert float(search.plan().value[0]) == pytest.approx(worth.max(), abs=0.01)
    assert float(search.plan().actions[0]) < (0.6 if part == 10 else 0.5)


def test_every_particle_is_a_node() -> None:
    outcome = plan(CEM(horizon=3, risk="worst"), NoisyActions(Cliff(), 0.1, 4), [0, 0], Budget(nodes=960))
    assert (outcome.charged[:, NODES] == 960).all()


def test_undisturbed_is_the_model_itself() -> None:
    query = SequenceQuery(np.zeros(1, np.int32), torch.rand(1, 3, 4, 1), keys_of(0, 1))
    plain = rollout(Cliff(), torch.zeros(1), query).returns
    torch.testing.assert_close(
        rollout(NoisyActions(Cliff(), 0.0, 3), torch.zeros(1), query).returns, plain.expand(1, 3, 3)
    )


def test_disturbances_that_make_no_sense_are_named() -> None:
    for std, particles, named in ((-1.0, 3, "std is at least 0"), (0.1, 1, "particles is an integer, at least 2")):
        with pytest.raises(ValueError, match=named):
            NoisyActions(Cliff(), std, particles)
    with pytest.raises(ValueError, match="no particles of its own"):
        NoisyActions(NoisyActions(Cliff(), 0.1, 2), 0.1, 2)


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_gradients_climb_the_risk_over_disturbances(optimiser: Any) -> None:
    """One step of -(u + e)^2 - u: the mean is best at -1/2 less the mean of the disturbances it was told under."""

    class Bowl(Cliff):
        def expand(self, states: Any, actions: Any, **more: Any) -> Any:
            u = actions[:, 0]
            return states, Expansion(-u.square() - u, torch.ones_like(u), 0 * u)

    planner = GradientShooting(horizon=1, optimiser=optimiser, risk=("cvar", 0.35))
    outcome = plan(planner, NoisyActions(Bowl(), 0.05, 400), [0, 0], Budget(nodes=400 * 300))
    assert (outcome.plan.actions + 0.5).abs().max() < 0.05 and (outcome.charged[:, NODES] <= 400 * 300).all()
