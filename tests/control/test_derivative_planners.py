"""iLQR, DDP and gradient shooting on the pendulum's equations, on a network, and under model predictive control."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forethought.control import PENDULUM, AnalyticModel, MLPConfig, MLPModel, MPCPolicy, Pendulum, run_episodes
from forethought.control.world_models.mlp.net import MLPNet
from forethought.planning import CEM, DDP, ICEM, ILQR, Budget, GradientShooting, WarmStarted, plan
from forethought.planning.testing.check_model import check_model
from forethought.planning.usage import NODES
from forethought.planning.wrappers.action_repeat import ActionRepeat
from forethought.planning.wrappers.terminal_value import TerminalValue

PLANNERS = [ILQR(horizon=15), DDP(horizon=15), GradientShooting(horizon=15)]
PLANNERS += [GradientShooting(horizon=15, optimiser="lbfgs")]
SEEN = torch.tensor([[-0.9, 0.43589, 0.5], [0.8, -0.6, -1.0]])


def network() -> MLPModel:
    """An untrained network of the pendulum's size, its reward learned too."""
    config = MLPConfig("Pendulum-v1", 3, None, (-2.0,), (2.0,), hidden=16, reward="learned")
    torch.manual_seed(0)
    return MLPModel(config, MLPNet(config))


def test_a_network_is_differentiable_by_states_and_actions_and_not_by_its_weights(tmp_path: Path) -> None:
    model = network()
    check_model(model, SEEN, gradients=True)
    model.save(tmp_path)
    back = MLPModel.load(tmp_path)
    assert not any(p.requires_grad for p in [*model.net.parameters(), *back.net.parameters()])
    reached, said = back.expand(SEEN, torch.zeros(2, 1))
    assert not reached.requires_grad and not said.reward.requires_grad


@pytest.mark.parametrize("planner", PLANNERS, ids=["ilqr", "ddp", "adam", "lbfgs"])
@pytest.mark.parametrize("model", [AnalyticModel(Pendulum()), network(), ActionRepeat(AnalyticModel(Pendulum()), 2)])
def test_they_improve_on_doing_nothing_on_every_model_of_vectors(planner: Any, model: Any) -> None:
    idle = plan(CEM(horizon=15, population=1, iterations=1), model, SEEN, Budget(nodes=10_000)).plan
    outcome = plan(planner, model, SEEN, Budget(nodes=6000))
    assert (outcome.plan.value > idle.value).all() and (outcome.charged[:, NODES] <= 6000).all()
    assert (outcome.plan.actions.abs() <= 2).all() and outcome.plan.gradient is not None


def test_a_terminal_value_is_differentiated_too() -> None:
    model = TerminalValue(AnalyticModel(Pendulum()), lambda s: -10 * (1 - torch.cos(s[:, 0])) - s[:, 1].square(), 0.99)
    outcome = plan(DDP(horizon=12), model, torch.tensor([[0.4, 0.0], [-0.2, 1.0]]), Budget(nodes=20_000))
    assert outcome.plan.stop_reason == ["converged"] * 2
    idle = plan(CEM(horizon=12, population=1, iterations=1), model, outcome.search.states[:, 0], Budget(nodes=99)).plan
    assert (outcome.plan.value > 0.5 * idle.value).all()


@pytest.mark.parametrize(
    "planner", [ILQR(horizon=20), ICEM(horizon=20), WarmStarted(ICEM(horizon=20), ILQR(horizon=20))]
)
def test_they_hold_the_pendulum_up_under_model_predictive_control(planner: Any) -> None:
    agent = MPCPolicy(planner, PENDULUM.analytic(), 1024, seeds=[0, 1])
    states = torch.tensor([[0.1, 0.3], [-0.2, 0.1]])
    for _ in range(25):
        actions, outcome = agent.decide(states)
        states, _, _ = Pendulum().step(states, torch.tensor(np.array(actions)))
        assert (outcome.charged[:, NODES] <= 1024).all()
    assert (states.abs() < 0.05).all()


@pytest.mark.slow
def test_ilqr_on_the_equations_reaches_the_issues_figure() -> None:
    done = run_episodes(ILQR(horizon=20), PENDULUM.analytic(), PENDULUM, range(20), 4096)
    assert done.returns.mean() >= -143
