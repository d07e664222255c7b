"""Bouncer, swing-up and reacher: their equations against closed forms and energy, and as gymnasium environments."""

import math

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from forethought.control import (
    BOUNCER,
    REACHER,
    SWINGUP,
    AnalyticModel,
    Bouncer,
    CartPole,
    Reacher,
    SwingUp,
    run_episodes,
    view,
)
from forethought.planning import CEM
from forethought.planning.testing.check_model import check_model

ALL = (Bouncer(), SwingUp(), Reacher())


def initial_states(dynamics, rows=6):
    draw = np.random.default_rng(1)
    return torch.from_numpy(np.stack([dynamics.initial_state(draw) for _ in range(rows)]))


def noise(rows, width, scale):
    return scale * torch.randn(rows, width, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("dynamics", ALL)
def test_they_pass_check_model_and_states_are_recovered_from_observations(dynamics):
    check_model(
        AnalyticModel(dynamics, dtype=torch.float64),
        initial_states(dynamics),
        gradients=not isinstance(dynamics, Bouncer),
    )
    states = initial_states(dynamics)
    torch.testing.assert_close(dynamics.observe(dynamics.to_states(dynamics.observe(states))), dynamics.observe(states))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamics", ALL)
def test_gymnasium_accepts_them_and_its_steps_are_those_of_the_dynamics(dynamics):
    env = gymnasium.make(dynamics.env_id)
    check_env(env.unwrapped, skip_render_check=True)
    seen, _ = env.reset(seed=3)
    state = env.unwrapped.state.clone()
    action = np.array([0.7] * env.action_space.shape[0], np.float32)
    after, reward, ended, cut, _ = env.step(action)
    reached, paid, _ = dynamics.step(state, torch.from_numpy(action).double()[None])
    np.testing.assert_allclose(after, dynamics.observe(reached)[0].numpy(), rtol=1e-6)
    assert reward == pytest.approx(float(paid)) and not ended and not cut
    assert np.array_equal(env.reset(seed=3)[0], seen)


def test_free_flight_is_a_parabola_to_the_integrator_s_own_error():
    """Semi-implicit Euler of a constant acceleration a over n steps of h: z0 + v0 t + a t^2 / 2 (1 + 1 / n)."""
    ball, push = Bouncer(), torch.tensor([[1.0, -2.0]]).double()
    start = torch.tensor([[0.3, 50.0, -1.0, 2.0]]).double()
    state = start
    for _ in range(10):
        state, _, _ = ball.step(state, push)
    t, n = 0.5, 100
    pull = torch.tensor([1.0, -2.0 - 9.8]).double()
    torch.testing.assert_close(state[0, 2:], start[0, 2:] + pull * t)
    torch.testing.assert_close(state[0, :2], start[0, :2] + start[0, 2:] * t + pull * t**2 / 2 * (1 + 1 / n))
    assert torch.equal(ball.free().step(start, push)[0], ball.step(start, push)[0])


def test_a_bounce_is_that_of_a_damped_spring():
    """Without gravity a contact is half a period of a damped oscillation: speed is multiplied by exp(-pi c / (2 m w))
    up to the moment at which the damper would pull, which a floor does not."""
    ball = Bouncer(gravity=0.0, dt=0.002, damping=1.0)
    state = torch.tensor([[0.0, 0.001, 1.0, -2.0]]).double()
    for _ in range(150):
        state, _, _ = ball.step(state, torch.zeros(1, 2).double())
    swing = math.sqrt(400 - 0.25)
    assert float(state[0, 3]) == pytest.approx(2 * math.exp(-math.pi * 0.5 / swing), rel=0.01)
    # friction takes mu times what the floor gave upwards, while the mass slides
    assert float(state[0, 2]) == pytest.approx(max(0.0, 1.0 - 0.5 * (2 + float(state[0, 3]))), abs=0.02)


def test_the_floor_never_pulls_and_without_it_the_mass_falls():
    ball = Bouncer(damping=400.0)
    state = torch.tensor([[0.0, -0.001, 0.0, 3.0]]).double()
    up = ball.step(state, torch.zeros(1, 2).double())[0]
    assert float(up[0, 3]) == pytest.approx(3 - 9.8 * 0.05)
    state = torch.tensor([[0.0, 0.1, 0.0, -2.0]]).double()
    for _ in range(20):
        state = ball.free().step(state, torch.zeros(1, 2).double())[0]
    assert float(state[0, 1]) < -4


def test_the_arm_s_acceleration_satisfies_lagrange_s_equation():
    """d/dt dL/dw - dL/dq = u - b w, with L the kinetic energy of two rods written down point by point."""
    arm = Reacher()
    q, w, u = noise(5, 2, 1.5), noise(5, 2, 2.0), noise(5, 2, 0.5)

    def energy(q, w):
        share = (torch.arange(2000).double() + 0.5) / 2000  # of a rod, from its joint
        both = torch.stack((q[0], q[0] + q[1]))
        speed = torch.stack((w[0], w[0] + w[1])) * 0.5
        across = torch.stack((-torch.sin(both), torch.cos(both)), -1)
        first = share[:, None] * speed[0] * across[0]
        second = speed[0] * across[0] + share[:, None] * speed[1] * across[1]
        return 0.5 * (first.square().sum(-1).mean() + second.square().sum(-1).mean())

    for i in range(5):
        mass = torch.autograd.functional.hessian(lambda x, i=i: energy(q[i], x), w[i])
        slope = torch.autograd.functional.jacobian(lambda x, i=i: energy(x, w[i]), q[i])
        mixed = torch.autograd.functional.jacobian(
            lambda x, i=i: torch.autograd.functional.jacobian(lambda y: energy(x, y), w[i], create_graph=True), q[i]
        )
        truth = torch.linalg.solve(mass, u[i] - 0.1 * w[i] - mixed @ w[i] + slope)
        torch.testing.assert_close(arm.acceleration(q[i][None], w[i][None], u[i][None])[0], truth, rtol=1e-5, atol=1e-6)


def test_the_swing_up_is_gymnasium_s_cart_pole_under_full_force():
    """In CartPole-v1 with a step of 0.01 s, five pushes to the right."""
    env = gymnasium.make("CartPole-v1").unwrapped
    env.reset(seed=0)
    env.tau = 0.01
    state = torch.from_numpy(np.array(env.state, np.float64))[None]
    for _ in range(5):
        env.step(1)
    mine = SwingUp().step(state, torch.tensor([[10.0]]).double())[0]
    torch.testing.assert_close(mine[0], torch.from_numpy(np.array(env.state, np.float64)))
    assert SwingUp().substep_dynamics == CartPole(dt=0.01)


@pytest.mark.parametrize("task", [BOUNCER, SWINGUP, REACHER])
def test_they_are_tasks_and_a_terminal_value_that_they_lack_is_refused(task):
    played = run_episodes(CEM(horizon=4), view(task, task.analytic(), "sequences"), task, [0], 64, max_episode_steps=3)
    assert played.lengths.tolist() == [3] and (played.returns < 0).all()
    with pytest.raises(ValueError, match="has no terminal value"):
        view(task, task.analytic(), "trees", terminal_value=True)
