"""The contract of every control model, and the wrappers around them."""

import math

import numpy as np
import pytest
import torch

from forethought.control import AnalyticModel, BalanceValue, CartPole, MLPConfig, MLPModel, Pendulum, pendulum_value
from forethought.control.world_models.mlp.net import MLPNet
from forethought.planning import ActionRepeat, DiscretizedActions, TerminalValue
from forethought.planning.interface import UNITS, BoxActions, DiscreteActions, Expansion

BOX = (-2.0,), (2.0,)


def untrained(env_id="CartPole-v1", **settings) -> MLPModel:
    torch.manual_seed(0)
    config = MLPConfig("CartPole-v1", 4, 2, **settings) if env_id[0] == "C" else MLPConfig(env_id, 3, None, *BOX)
    return MLPModel(config, MLPNet(config), value=lambda s: s.sum(1))


MODELS = {
    "pendulum": lambda: AnalyticModel(Pendulum(), pendulum_value(points=21)),
    "cartpole": lambda: AnalyticModel(CartPole(), BalanceValue(CartPole()), gamma=0.9),
    "mlp pendulum": lambda: untrained("Pendulum-v1"),
    "mlp cartpole": untrained,
    "mlp cartpole, learned termination": lambda: untrained(termination="learned", reward="given"),
    "discretized repeated torques": lambda: DiscretizedActions(
        ActionRepeat(AnalyticModel(Pendulum(), lambda s: s[:, 1]), 3), 5
    ),
    "terminal value": lambda: TerminalValue(AnalyticModel(CartPole()), lambda s: s[:, 0] + 5, gamma=0.9),
}


def queries(model, k=40):
    """Initial states of k problems, some of them terminal, and an action for each."""
    torch.manual_seed(1)
    first = model
    while hasattr(first, "model"):
        first = first.model
    width = first.config.obs_dim if isinstance(first, MLPModel) else first.dynamics.obs_dim
    spread = torch.tensor([2.6, 1.0, 0.25, 1.0]) if width == 4 else torch.tensor([1.0, 1.0, 4.0])
    states, root = model.start((2 * torch.rand(k, width) - 1) * spread)
    if isinstance(model.actions, BoxActions):
        return states, root, torch.rand(k, 1) * 4 - 2
    return states, root, np.arange(k) % model.actions.n


@pytest.mark.parametrize("name", MODELS)
def test_a_row_alone_is_the_same_row_among_many(name):
    """To rounding: matrix products of other sizes may add in another order."""
    model = MODELS[name]()
    states, root, actions = queries(model)
    reached, said = model.expand(states, actions)
    assert len(reached) == len(said.reward) == len(said.discount) == len(said.value) == len(states)
    assert root.reward.abs().sum() == 0
    for i in (0, 7, 39):
        alone, told = model.expand(states[i : i + 1], actions[i : i + 1])
        torch.testing.assert_close(alone[0], reached[i], atol=1e-5, rtol=1e-5)
        for field in ("reward", "discount", "value"):
            torch.testing.assert_close(getattr(told, field)[0], getattr(said, field)[i], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_answers_repeat_and_states_are_not_changed(name):
    model = MODELS[name]()
    states, _, actions = queries(model)
    before = states.clone()
    (first, one), (second, two) = model.expand(states, actions), model.expand(states, actions)
    assert torch.equal(first, second) and torch.equal(one.reward, two.reward) and torch.equal(one.value, two.value)
    assert torch.equal(states, before)


@pytest.mark.parametrize("name", ["cartpole", "mlp cartpole", "mlp cartpole, learned termination", "terminal value"])
def test_a_terminal_state_is_absorbing_and_has_value_zero(name):
    model = MODELS[name]()
    states, root, actions = queries(model)
    reached, said = model.expand(states, actions)
    over = said.discount == 0
    assert over.any() and not over.all()
    assert (said.value[over] == 0).all() and (root.value[root.discount == 0] == 0).all()
    stays, after = model.expand(reached[over], actions[over.numpy()])
    assert torch.equal(stays, reached[over])
    assert (after.reward == 0).all() and (after.discount == 0).all() and (after.value == 0).all()


def test_values_are_computed_only_where_asked_for():
    model = MODELS["pendulum"]()
    states, _, actions = queries(model)
    assert (model.expand(states, actions, evaluate="none")[1].value == 0).all()
    assert (model.expand(states, actions, evaluate="all")[1].value < 0).all()


def test_a_problem_is_an_observation_or_a_state():
    model = AnalyticModel(Pendulum())
    state = torch.tensor([[0.5, -1.0]])
    torch.testing.assert_close(model.start(Pendulum().observe(state).numpy())[0], state)
    torch.testing.assert_close(model.start([torch.tensor([0.5, -1.0])])[0], state)
    with pytest.raises(ValueError, match="NaN"):
        model.start(torch.tensor([[math.nan, 0.0]]))


def test_start_of_a_problem_that_is_over_has_discount_zero():
    _, root = AnalyticModel(CartPole()).start(torch.tensor([[0.0, 0, 0, 0], [3.0, 0, 0, 0]]))
    assert root.discount.tolist() == [1.0, 0.0]


def test_an_action_index_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"indices 0\.\.1, got 0\.\.2"):
        AnalyticModel(CartPole()).expand(torch.zeros(2, 4), np.array([0, 2]))


def test_discretized_actions_are_evenly_spaced_with_their_bounds():
    model = DiscretizedActions(AnalyticModel(Pendulum()), 5)
    assert model.actions == DiscreteActions(5)
    assert model.table[:, 0].tolist() == [-2.0, -1.0, 0.0, 1.0, 2.0]
    states = torch.tensor([[1.0, 0.5]]).expand(5, 2)
    grid, said = model.expand(states, np.arange(5))
    plain, direct = model.model.expand(states, model.table)
    assert torch.equal(grid, plain) and torch.equal(said.reward, direct.reward)


def test_discretized_actions_of_two_components_are_all_pairs_the_last_varying_fastest():
    class Planar:
        actions, cost = BoxActions(torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 2.0])), 1

    table = DiscretizedActions(Planar(), 3).table
    assert table.shape == (9, 2)
    assert table[:4].tolist() == [[-1.0, 0.0], [-1.0, 1.0], [-1.0, 2.0], [0.0, 0.0]]


def test_discrete_actions_are_not_discretized():
    with pytest.raises(ValueError, match="BoxActions"):
        DiscretizedActions(AnalyticModel(CartPole()), 3)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_a_repeated_action_equals_a_loop_of_steps(k):
    model = AnalyticModel(CartPole(), lambda s: 3 + s[:, 0], gamma=0.9)
    states, _, actions = queries(model)
    reached, said = ActionRepeat(model, k).expand(states, actions)
    for i in range(len(states)):
        state, total, factor = states[i : i + 1], 0.0, 1.0
        for _ in range(k):
            if factor == 0:
                break
            state, step = model.expand(state, actions[i : i + 1])
            total += factor * step.reward.item()
            factor *= step.discount.item()
        assert said.reward[i].item() == pytest.approx(total, abs=1e-5)
        assert said.discount[i].item() == pytest.approx(factor, abs=1e-6)
        assert said.value[i].item() == pytest.approx(0.0 if factor == 0 else step.value.item(), abs=1e-5)
        torch.testing.assert_close(reached[i], state[0])


def test_a_repeated_action_is_charged_for_every_step():
    held = ActionRepeat(ActionRepeat(AnalyticModel(Pendulum()), 2), 3)
    _, said = held.expand(torch.zeros(4, 2), torch.zeros(4, 1))
    assert held.cost == 6
    assert said.usage.shape == said.spent.shape == (4, len(UNITS))
    charged = dict(zip(UNITS, said.usage.T.tolist()))
    assert charged.pop("nodes") == charged.pop("model_calls") == [6] * 4 and not np.any([*charged.values()])


def test_answers_after_termination_are_ignored_even_nan():
    class Ends:
        actions, cost, step = DiscreteActions(1), 1, 0

        def expand(self, states, actions, *, to_end=False, evaluate="all"):
            self.step += 1
            number = torch.tensor([1.0 if self.step == 1 else math.nan])
            return states, Expansion(number, number - 1, number)

    _, said = ActionRepeat(Ends(), 3).expand(torch.zeros(1, 1), np.zeros(1, int))
    assert (said.reward.item(), said.discount.item(), said.value.item()) == (1.0, 0.0, 0.0)


def test_a_value_comes_with_its_own_gamma():
    model = TerminalValue(AnalyticModel(Pendulum()), lambda s: torch.full((len(s),), 7.0), gamma=0.5)
    _, said = model.expand(torch.zeros(2, 2), torch.zeros(2, 1))
    assert said.value.tolist() == [7.0, 7.0] and said.discount.tolist() == [0.5, 0.5]


def test_an_mlp_for_an_unknown_environment_must_learn_reward_and_termination():
    with pytest.raises(ValueError, match="cannot be given"):
        MLPConfig("Walker2d-v5", 17, None, *BOX)
    assert isinstance(MLPConfig("Walker2d-v5", 17, None, *BOX, termination="learned").actions, BoxActions)
