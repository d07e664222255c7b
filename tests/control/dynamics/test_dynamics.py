"""The dynamics agree with gymnasium's own environments, step for step, from random states."""

import math

import gymnasium
import numpy as np
import pytest
import torch

from forethought.control import CartPole, Pendulum

N = 300


def pendulum_states(n: int = N) -> np.ndarray:
    draw = np.random.default_rng(0)
    states = draw.uniform([-3 * math.pi, -8], [3 * math.pi, 8], (n, 2))
    states[: n // 6, 1] = np.sign(states[: n // 6, 1]) * draw.uniform(7.5, 8, n // 6)  # where the speed is clipped
    return states


def cartpole_states(n: int = N) -> np.ndarray:
    draw = np.random.default_rng(1)
    states = draw.uniform([-2.4, -3, -0.2, -3], [2.4, 3, 0.2, 3], (n, 4))
    states[: n // 6, 0] = np.sign(states[: n // 6, 0]) * draw.uniform(2.35, 2.4, n // 6)  # about to leave
    return states


def real_step(env, state, action):
    """One step of the environment itself, from a state put into it."""
    env.reset(seed=0)
    env.state = np.array(state, dtype=np.float64)
    seen, reward, ended, _, _ = env.step(action)
    return np.array(env.state), reward, ended, seen


def test_pendulum_agrees_with_gymnasium_to_rounding_error():
    env = gymnasium.make("Pendulum-v1").unwrapped
    states = pendulum_states()
    bins = np.random.default_rng(2).uniform(-3, 3, (N, 1))  # a third beyond the bounds, to be clipped
    real = [real_step(env, s, u) for s, u in zip(states, bins)]
    reached, reward, discount = Pendulum().step(torch.tensor(states), torch.tensor(bins))
    np.testing.assert_allclose(reached, [r[0] for r in real], atol=1e-12)
    np.testing.assert_allclose(reward, [r[1] for r in real], atol=1e-12)
    assert (discount == 1).all() and not any(r[2] for r in real)
    np.testing.assert_allclose(Pendulum().observe(reached), np.array([r[3] for r in real]), atol=1e-6)


def test_pendulum_in_single_precision_is_within_single_rounding():
    """Angles reach 3 pi and pushes 1.5 g dt: a few units of float32's 6e-8 relative, so 1e-5 leaves room for twenty."""
    states = torch.tensor(pendulum_states())
    bins = torch.linspace(-2, 2, N, dtype=torch.float64)[:, None]
    exact, exact_reward, _ = Pendulum().step(states, bins)
    single, reward, _ = Pendulum().step(states.float(), bins.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, atol=1e-5, rtol=0)
    torch.testing.assert_close(reward.double(), exact_reward, atol=2e-5, rtol=0)


def test_cartpole_agrees_with_gymnasium_including_termination_and_the_last_reward():
    env = gymnasium.make("CartPole-v1").unwrapped
    states, pushes = cartpole_states(), np.random.default_rng(3).integers(0, 2, N)
    real = [real_step(env, s, int(a)) for s, a in zip(states, pushes)]
    reached, reward, discount = CartPole().step(torch.tensor(states), torch.tensor(pushes))
    np.testing.assert_allclose(reached, [r[0] for r in real], atol=1e-12)
    np.testing.assert_array_equal(reward, [r[1] for r in real])
    np.testing.assert_array_equal(discount == 0, [r[2] for r in real])
    assert 10 < int((discount == 0).sum()) < N - 10
    assert (reward == 1).all()


def test_cartpole_in_single_precision_terminates_with_gymnasium_except_at_the_bounds():
    """Speeds to 3, accelerations to 40 over dt 0.02: below 1e-5; a state closer than that to a bound may fall either
    way."""
    states, pushes = torch.tensor(cartpole_states()), torch.arange(N) % 2
    exact, _, discount = CartPole().step(states, pushes)
    single, _, short = CartPole().step(states.float(), pushes)
    torch.testing.assert_close(single.double(), exact, atol=1e-5, rtol=0)
    edge = ((exact[:, 0].abs() - 2.4).abs() < 1e-5) | ((exact[:, 2].abs() - CartPole().max_theta).abs() < 1e-5)
    assert torch.equal(short.double()[~edge], discount[~edge])


def test_whole_episodes_agree_with_gymnasium():
    """100 steps from gymnasium's own first state: errors of the rounding do not build up beyond 1e-9."""
    env = gymnasium.make("Pendulum-v1").unwrapped
    env.reset(seed=3)
    state = Pendulum().state_of(env)[None]
    for torque in np.random.default_rng(0).uniform(-2, 2, (100, 1)):
        _, reward, *_ = env.step(torque)
        state, mine, _ = Pendulum().step(state, torch.tensor(torque)[None])
        assert mine.item() == pytest.approx(reward, abs=1e-9)
    np.testing.assert_allclose(state[0], env.state, atol=1e-9)


def test_a_terminal_cartpole_state_is_absorbing():
    fallen = torch.tensor([[2.5, 1.0, 0.0, 0.0], [0.0, 0.0, 0.3, 1.0], [float("nan"), 0.0, 0.0, 0.0]])
    reached, reward, discount = CartPole().step(fallen, torch.tensor([0, 1, 1]))
    torch.testing.assert_close(reached, fallen, equal_nan=True)
    assert (reward == 0).all() and (discount == 0).all()


def test_states_are_recovered_from_observations():
    states = torch.tensor(pendulum_states())
    back = Pendulum().from_observation(Pendulum().observe(states))
    turns = (back - states)[:, 0] / (2 * math.pi)
    torch.testing.assert_close(turns, turns.round(), atol=1e-9, rtol=0)
    torch.testing.assert_close(back[:, 1], states[:, 1])
    carts = torch.tensor(cartpole_states())
    assert torch.equal(CartPole().from_observation(CartPole().observe(carts)), carts)


def test_state_of_is_the_environments_own():
    for system in (Pendulum(), CartPole()):
        env = gymnasium.make(system.env_id)
        seen, _ = env.reset(seed=5)
        np.testing.assert_allclose(system.observe(system.state_of(env)[None])[0], seen, atol=1e-6)


@pytest.mark.parametrize("system", [Pendulum(), CartPole()])
def test_rewards_of_observations_are_those_of_states(system):
    torch.manual_seed(0)
    states = torch.rand(20, system.state_dim, dtype=torch.float64) * 0.3
    actions = torch.rand(20, 1, dtype=torch.float64) if system.state_dim == 2 else torch.arange(20) % 2
    reached, reward, _ = system.step(states, actions)
    torch.testing.assert_close(system.reward(system.observe(states), actions, reached), reward)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"\[K, 4\], got \[3, 2\]"):
        CartPole().step(torch.zeros(3, 2), torch.zeros(3))
    with pytest.raises(ValueError, match=r"\[K, 2\] or \[K, 3\], got \[1, 5\]"):
        Pendulum().to_states(torch.zeros(1, 5))
