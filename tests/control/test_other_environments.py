"""Environments unlike Pendulum, against the record that they keep themselves."""

import gymnasium
import made_environments as made
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Tuple
from gymnasium.wrappers import FlattenObservation, TransformAction, TransformReward

from forethought.control import (
    PETS,
    BatchedEnv,
    Fit,
    collect,
    config_for,
    fit_ensemble,
    fit_mlp,
    run_episodes,
    task_of_env,
    view,
)
from forethought.control.dynamics import KNOWN
from forethought.control.gym_spaces import from_gym, to_gym
from forethought.control.recognition import environment_name, known_dynamics
from forethought.planning import CEM, Beam

IDS = [f"made/{kind.__name__}-v0" for kind in made.ALL]


@pytest.fixture(autouse=True)
def fresh_record():
    made.RECORD.clear()


@pytest.mark.parametrize("env_id", IDS)
def test_collected_steps_are_those_of_the_environments_own_record(env_id):
    data = collect(env_id, 25, seed=0)
    before, actions, after = (np.array(column) for column in zip(*made.RECORD))
    space = gymnasium.make(env_id).action_space
    assert np.allclose(data.obs, before) and np.allclose(data.next_obs, after)
    assert np.allclose(data.reward, -np.abs(after[:, 0]))
    assert np.array_equal(np.array([to_gym(space, a) for a in data.action.numpy()]).ravel(), actions.ravel())


@pytest.mark.parametrize("env_id", IDS)
def test_an_environment_is_learned_and_planned_in(env_id):
    data = collect(env_id, 200, seed=0)
    model, _ = fit_mlp(data, config_for(env_id, hidden=16), Fit(epochs=20))
    task = task_of_env(env_id)
    planner, kind = (Beam(2), "trees") if task.discrete else (CEM(horizon=3), "sequences")
    made.RECORD.clear()
    done = run_episodes(planner, view(task, model, kind), task, [0, 1], 64)
    after = np.array([row[2][0] for row in made.RECORD])
    assert done.lengths.tolist() == [10, 10] and np.isclose(done.returns.sum(), -np.abs(after).sum(), atol=1e-4)
    assert len(made.RECORD) == 20  # the environment itself asserts that each action is of its space


@pytest.mark.parametrize("env_id", IDS)
def test_a_batch_shows_each_step_as_the_record_has_it(env_id):
    env = BatchedEnv(env_id, [0])
    for _ in range(5):
        before = env.obs
        kept = before.copy()
        env.step(env.sample())
        assert np.array_equal(before, kept) and np.allclose(before[0], made.RECORD[-1][0])
        assert np.allclose(env.obs[0], made.RECORD[-1][2])


@pytest.mark.parametrize("kind", [made.StartsAtOne, made.Several])
def test_each_index_is_one_action_of_the_space(kind):
    space = kind.action_space
    count = config_for(f"made/{kind.__name__}-v0").n_actions
    taken = [to_gym(space, i) for i in range(count)]
    assert all(space.contains(action) for action in taken)
    assert len({tuple(np.atleast_1d(action)) for action in taken}) == count
    assert [from_gym(space, action) for action in taken] == list(range(count))
    with pytest.raises(ValueError):
        to_gym(space, count)


def test_vectors_are_rounded_for_a_box_of_integers():
    space = made.Whole.action_space
    assert [int(to_gym(space, [x])[0]) for x in (-7.0, -1.6, 0.4, 2.5001, 9.0)] == [-3, -2, 0, 3, 3]
    assert to_gym(space, [1.2]).dtype == np.int32


def test_a_dict_of_observations_is_refused_with_a_wrapper_that_works():
    env = gymnasium.make("made/Named-v0")
    for call in (lambda: config_for(env), lambda: collect(env, 2)):
        with pytest.raises(ValueError, match="FlattenObservation"):
            call()
    flat = FlattenObservation(env)
    made.RECORD.clear()
    data = collect(flat, 12)
    places = np.array([row[2] for row in made.RECORD])
    assert np.allclose(np.sort(data.next_obs.numpy()), np.sort(places))
    assert config_for(flat).env_id == "made/Named-v0.FlattenObservation"


@pytest.mark.parametrize(
    "space", [Box(-1, 1, (2, 2)), Discrete(4), MultiDiscrete([2, 3]), Tuple((Box(-1, 1, (2,)), Discrete(2)))], ids=str
)
def test_each_observation_that_is_refused_is_learned_from_under_the_wrapper_that_is_named(space):
    class Seen(made.Walk):
        observation_space = space

        def shown(self, first=False):
            return self.observation_space.sample()

    gymnasium.register("made/Seen-v0", entry_point=Seen, max_episode_steps=10)
    env = gymnasium.make("made/Seen-v0")
    with pytest.raises(ValueError, match="FlattenObservation"):
        config_for(env)
    flat = FlattenObservation(env)
    data = collect(flat, 30)
    model, _ = fit_mlp(data, config_for(flat, hidden=4), Fit(epochs=2))
    assert model.config.obs_dim == data.obs.shape[1] == gymnasium.spaces.flatdim(space)
    del gymnasium.registry["made/Seen-v0"]


def test_unbounded_actions_are_learned_under_the_wrapper_that_is_advised():
    class Free(made.Walk):
        action_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,))

    gymnasium.register("made/Free-v0", entry_point=Free, max_episode_steps=10)
    env = gymnasium.make("made/Free-v0")
    with pytest.raises(ValueError, match="TransformAction with a finite Box"):
        config_for(env)
    bounded = TransformAction(env, lambda action: action, gymnasium.spaces.Box(-1, 1, (1,)))
    assert config_for(bounded).low == (-1.0,) and len(collect(bounded, 5)) == 5
    del gymnasium.registry["made/Free-v0"]


def test_a_reward_that_is_no_number_and_a_vector_environment_are_refused():
    with pytest.raises(ValueError, match="reward must be one number, got 'much'"):
        collect("made/PaidInWords-v0", 2)
    several = gymnasium.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
    for call in (lambda: collect(several, 2), lambda: config_for(several)):
        with pytest.raises(ValueError, match=r"vector environment.*gymnasium\.make"):
            call()


def changed_length():
    env = gymnasium.make("CartPole-v1")
    env.unwrapped.length = 2.0
    return env


CHANGED = {
    "CartPole-v1.Scaled": lambda: made.Scaled(gymnasium.make("CartPole-v1")),
    "Pendulum-v1.TransformReward": lambda: TransformReward(gymnasium.make("Pendulum-v1"), lambda r: r / 2),
    "Pendulum-v1(g=5.0)": lambda: gymnasium.make("Pendulum-v1", g=5.0),
    "CartPole-v1(changed)": changed_length,
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_environment_is_not_taken_for_the_known_one(name):
    env = CHANGED[name]()
    assert known_dynamics(env) is None and environment_name(env) == name
    assert config_for(env).termination == "learned"
    with pytest.raises(ValueError, match="cannot be given"):
        config_for(env, termination="given")


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "forethought/Bouncer-v0"])
def test_neutral_wrappers_change_nothing(env_id):
    env = gymnasium.wrappers.TimeLimit(gymnasium.make(env_id, max_episode_steps=7), 5)
    env.reset(seed=0)
    for _ in range(5):
        env.step(env.action_space.sample())
    assert known_dynamics(env) is not None and config_for(env).termination == "given"
    assert environment_name(env) == env_id


def test_an_id_registered_for_another_class_is_unknown():
    spec = gymnasium.registry["CartPole-v1"]
    try:
        gymnasium.registry["CartPole-v1"] = gymnasium.envs.registration.EnvSpec("CartPole-v1", made.StartsAtOne)
        assert task_of_env("CartPole-v1").dynamics is None
    finally:
        gymnasium.registry["CartPole-v1"] = spec


def test_scaled_cartpole_is_called_ended_where_the_environment_ended():
    env = made.Scaled(gymnasium.make("CartPole-v1"))
    model, _ = fit_mlp(collect(env, 600, seed=0), config_for(env, hidden=32), Fit(epochs=40))
    seen = collect(env, 600, seed=9)
    known, learned = KNOWN["CartPole-v1"].terminated(seen.next_obs), model.terminated(seen.next_obs)
    assert known[~seen.terminated].float().mean() > 0.5  # what the equations of the unscaled one would say
    assert learned[~seen.terminated].float().mean() < 0.05 and learned[seen.terminated].float().mean() > 0.5


@pytest.mark.parametrize("env_id", ["made/Buffer-v0", "made/Whole-v0", "made/Several-v0"])
def test_pets_learns_from_the_steps_of_the_environments_own_record(env_id, monkeypatch):
    fitted = []

    def fit(data, *rest):
        fitted.append(data)
        return fit_ensemble(data, *rest)

    monkeypatch.setattr("forethought.control.agents.pets.fit_ensemble", fit)
    planner = CEM(horizon=3)
    PETS(env_id, 50, 40, planner=planner, nodes=64, members=2, fit=Fit(epochs=2), config={"hidden": 8}).train()
    before, actions, after = (np.array(column) for column in zip(*made.RECORD))
    data, space = fitted[-1], gymnasium.make(env_id).action_space
    assert len(data) == 50 and np.allclose(data.obs, before) and np.allclose(data.next_obs, after)
    assert np.array_equal(np.array([to_gym(space, a) for a in data.action.numpy()]).ravel(), actions.ravel())
