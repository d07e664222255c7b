"""Episodes of gymnasium's environments: returns, cost, independence of rows, and the views of planners."""

import numpy as np
import pytest
import torch

from forethought.control import (
    CARTPOLE,
    PENDULUM,
    AnalyticModel,
    MPCPolicy,
    Pendulum,
    collect,
    describe,
    random_episodes,
    run_episodes,
    task_named,
    view,
    view_of,
)
from forethought.planning import CEM, MCTS, ActionRepeat, BestOfN, Budget, DiscretizedActions, GaussianSettings
from forethought.planning.usage import NODES
from forethought.planning.wrappers.base import steps_per_action, to_environment


def test_mcts_balances_the_real_cartpole_where_random_actions_do_not():
    model = view(CARTPOLE, CARTPOLE.analytic(), "trees")
    played = run_episodes(MCTS(leaves=4), model, CARTPOLE, [0, 1], 8, max_episode_steps=100)
    assert played.returns.tolist() == [100.0, 100.0]
    assert played.lengths.tolist() == [100, 100]
    assert (random_episodes(CARTPOLE, [0, 1]) < 60).all()


def test_cem_swings_the_real_pendulum_up():
    played = run_episodes(
        CEM(horizon=20, smoothing=0.1, vectors=GaussianSettings(std=1.0)),
        view(PENDULUM, PENDULUM.analytic(), "sequences"),
        PENDULUM,
        [0, 1, 2],
        240,
    )
    assert played.returns.mean() > -300 > -700 > random_episodes(PENDULUM, [0, 1, 2]).mean()
    per = played.per_decision()
    assert (per[:, 0] <= 240).all() and (per[:, 0] > 200).all()
    assert played.planning > 0


def test_an_episode_alone_is_the_same_among_others_and_runs_repeat():
    model = PENDULUM.analytic()
    options = {"nodes_per_decision": 40, "max_episode_steps": 12, "seed": 3}
    planner = CEM(horizon=5, iterations=2, min_population=4)
    together = run_episodes(planner, model, PENDULUM, [4, 5, 6], **options)
    again = run_episodes(planner, model, PENDULUM, [4, 5, 6], **options)
    alone = run_episodes(planner, model, PENDULUM, [6], **options)
    assert together.returns.tolist() == again.returns.tolist()
    assert alone.returns[0] == pytest.approx(together.returns[2], abs=1e-4)


def test_an_episode_that_is_over_is_neither_stepped_nor_charged():
    """With so few nodes episodes have unequal lengths."""
    model = CARTPOLE.analytic()
    played = run_episodes(MCTS(leaves=2), model, CARTPOLE, [0, 1, 2, 3], 3, max_episode_steps=80)
    assert len(set(played.lengths.tolist())) > 1
    assert played.returns.tolist() == played.lengths.tolist()
    assert (played.charged[:, NODES] <= 3 * played.lengths).all()
    assert (played.charged[:, NODES] > 0).all()


def test_the_environment_is_given_vectors_one_step_at_a_time_under_action_repeat():
    model = DiscretizedActions(ActionRepeat(AnalyticModel(Pendulum()), 4), 3)
    assert steps_per_action(model) == 4 and not MCTS().reuse
    assert to_environment(model, np.array([2])).tolist() == [[2.0]]
    played = run_episodes(MCTS(), model, PENDULUM, [0], 24, max_episode_steps=5)
    assert played.lengths[0] == 5 and played.charged[0, NODES] == 5 * 24
    agent = MPCPolicy(CEM(), ActionRepeat(AnalyticModel(Pendulum()), 2), 8)
    assert not agent.warm


def test_a_policy_warm_starts_within_an_episode_and_is_reset_between_episodes():
    agent = MPCPolicy(CEM(horizon=4, iterations=1), AnalyticModel(Pendulum()), 48)
    agent(np.array([1.0, 0.0, 0.0], dtype=np.float32))
    assert agent._after is not None
    agent.reset()
    assert agent._after is None


def test_an_mpc_policy_collects():
    agent = MPCPolicy(BestOfN(horizon=3), AnalyticModel(Pendulum()), Budget(nodes=12))
    data = collect("Pendulum-v1", 6, policy=agent, reset_after=3)
    assert len(data) == 6 and (data.action.abs() <= 2).all()


class WithoutAnswers(AnalyticModel):
    """A model whose rewards are NaN where the first problem of the batch is planned for."""

    def step(self, states, actions):
        states, reward, discount = super().step(states, actions)
        per_problem = len(reward) // 2
        reward[:per_problem] = torch.nan
        return states, reward, discount


@pytest.mark.parametrize("planner", [CEM(horizon=2, iterations=1), BestOfN(horizon=2)])
def test_decisions_without_a_plan_are_counted(planner):
    played = run_episodes(planner, WithoutAnswers(Pendulum()), PENDULUM, [0, 1], 8, max_episode_steps=3)
    assert played.invalid.tolist() == [3, 0] and "finite" in played.fault
    assert played.lengths.tolist() == [3, 3]
    sound = run_episodes(planner, PENDULUM.analytic(), PENDULUM, [0, 1], 8, max_episode_steps=3)
    assert sound.invalid.tolist() == [0, 0] and sound.fault == ""


def test_watch_is_called_after_every_step():
    seen = []
    run_episodes(
        BestOfN(horizon=2), PENDULUM.analytic(), "Pendulum-v1", [0], 4, max_episode_steps=3,
        watch=lambda env: seen.append(int(env.lengths[0])),
    )  # fmt: skip
    assert seen == [1, 2, 3]


def test_caps_and_names_are_checked():
    with pytest.raises(ValueError, match="either nodes_per_decision or budget"):
        run_episodes(CEM(), PENDULUM.analytic(), PENDULUM, [0])
    with pytest.raises(ValueError, match="there are pendulum, cartpole"):
        task_named("acrobot")
    with pytest.raises(ValueError, match="no view for planners of graphs; it has trees, sequences, derivatives"):
        view(PENDULUM, PENDULUM.analytic(), "graphs")
    with pytest.raises(ValueError, match="discrete"):
        view_of(CARTPOLE, "trees", bins=3)


def test_views_are_described():
    assert (
        describe(PENDULUM, "trees", terminal_value=False, action_repeat=4)
        == "5 values a component, action repeat 4, no terminal value"
    )
    assert describe(CARTPOLE, "sequences").startswith("the environment's actions, terminal value BalanceValue")
    assert view(PENDULUM, PENDULUM.analytic(), "trees", action_repeat=4, terminal_value=False).cost == 4
    assert not PENDULUM.discrete and CARTPOLE.discrete
