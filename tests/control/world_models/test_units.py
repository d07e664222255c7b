"""Neither the unit nor the offset of an observation changes what is learned of it, nor what is planned with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from forethought.control import EnsembleConfig, Fit, MLPConfig, Transitions, fit_ensemble, fit_mlp, load_model
from forethought.control.data.transitions import transitions_of
from forethought.planning import CEM, ILQR, Budget, GradientShooting, offered, plan
from forethought.planning.interface import Vectorised
from forethought.planning.testing.check_model import check_model

FIT = Fit(epochs=80, patience=80)
UNIT, NONE = np.ones(3), np.zeros(3)


def steps(unit: Any = UNIT, offset: Any = NONE, count: int = 600, seed: int = 0) -> Transitions:
    """A damped oscillator pushed by the action, x'' = a - x - v / 2, and its phase's cosine: three numbers."""
    rng, rows = np.random.default_rng(seed), []
    for _ in range(count):
        x, v = rng.uniform(-2, 2, 2)
        action = rng.uniform(-2, 2, 1)
        next_v = v + 0.1 * (action[0] - x - v / 2)
        next_x = x + 0.1 * next_v
        before, after = (np.array([p, q, np.cos(p)]) * unit + offset for p, q in ((x, v), (next_x, next_v)))
        rows.append((before, action, -(x**2), after, False, False))
    return transitions_of(rows)


def config(kind: type[Any] = MLPConfig, **settings: Any) -> Any:
    return kind("Pendulum-v1", 3, None, (-2.0,), (2.0,), hidden=32, **settings)


def share(model: Any, data: Transitions) -> Tensor:
    """[3] of the variance of each change that the model leaves unexplained, in float64."""
    change = data.next_obs.double() - data.obs.double()
    predicted = model.step(data.obs, data.action)[0].double() - data.obs.double()
    return (predicted - change).square().mean(0) / change.var(0)


@pytest.mark.parametrize("unit", [1e-5, 1e-12, 1e9])
def test_a_component_in_a_small_or_large_unit_is_predicted_as_well_as_the_others(unit: float) -> None:
    scale = np.array([1.0, unit, unit])
    model, report = fit_mlp(steps(scale), config(), FIT)
    assert report.constant == ()
    assert max(report.by_component) < 0.05 and max(share(model, steps(scale, seed=1)).tolist()) < 0.05


def test_a_power_of_two_as_the_unit_gives_the_same_losses() -> None:
    one, other = (fit_mlp(steps(np.full(3, unit)), config(), Fit(epochs=5))[1] for unit in (1.0, 2.0**-20))
    assert one.by_component == pytest.approx(other.by_component, rel=1e-4)


def test_what_never_varies_is_named_in_the_report_and_not_averaged() -> None:
    data = steps(np.array([1.0, 1.0, 0.0]), np.array([0.0, 0.0, 0.1]))
    data = Transitions(data.obs, data.action, torch.full_like(data.reward, 0.1), *list(data.tensors().values())[3:])
    for _, report in (fit_mlp(data, config(), FIT), fit_ensemble(data, config(EnsembleConfig, members=2), FIT)):
        assert report.constant == ("obs[2]", "reward")
        assert np.isnan(report.by_component).tolist() == [False, False, True, True]
        assert report.held_out == pytest.approx(np.mean(report.by_component[:2]), rel=1e-5)


@pytest.mark.parametrize("offset", [1e6, -1e9])
def test_observations_far_from_zero_are_predicted_as_well_as_near_ones(offset: float) -> None:
    far = np.array([offset, 0.0, offset])
    for fit, settings in ((fit_mlp, config()), (fit_ensemble, config(EnsembleConfig, members=2))):
        model, report = fit(steps(offset=far), settings, FIT)  # type: ignore[operator]
        assert max(report.by_component) < 0.05 and max(share(model, steps(offset=far, seed=1)).tolist()) < 0.05


@pytest.fixture(scope="module")
def models() -> list[Any]:
    return [fit_mlp(steps(offset=np.full(3, offset)), config(), FIT)[0] for offset in (0.0, 1e6)]


def test_a_rollout_far_from_zero_has_the_returns_of_one_near_it(models: list[Any]) -> None:
    """The fused rollout, the same step by step, and the model of the same steps near zero agree."""
    near, far = models
    obs, actions = (
        steps(seed=2, count=20).obs,
        torch.rand(15, 20, 1, generator=torch.Generator().manual_seed(0)) * 4 - 2,
    )
    found = []
    for model, shift in ((near, 0.0), (far, 1e6)):
        states, _ = model.start(obs + shift)
        fused = offered(model, Vectorised)
        assert fused is not None
        total, walked = fused.rollout_returns(states, actions), torch.zeros(20)
        for t in range(15):
            states, reward, _ = model.step(states, actions[t])
            walked += reward.float()
        torch.testing.assert_close(total, walked, rtol=1e-3, atol=1e-3)
        found.append(walked)
    assert (found[0] - found[1]).abs().max() < 0.05 * found[0].std()


def test_planners_take_a_model_far_from_zero_and_plan_as_near_it(models: list[Any]) -> None:
    obs = steps(seed=3, count=3).obs
    for planner in (CEM(horizon=8), ILQR(horizon=8), GradientShooting(horizon=8, optimiser="lbfgs")):
        near, far = (
            plan(planner, model, obs + shift, Budget(nodes=6000)).plan for model, shift in zip(models, (0.0, 1e6))
        )
        np.testing.assert_allclose(far.value, near.value, atol=0.05 * max(1, float(np.abs(near.value).max())))


def test_a_saved_model_keeps_its_offset(models: list[Any], tmp_path: Path) -> None:
    for i, model in enumerate(models):
        data = steps(offset=np.full(3, 1e6 * i))
        model.save(tmp_path / str(i))
        loaded: Any = load_model(tmp_path / str(i))
        assert torch.equal(loaded.step(data.obs, data.action)[0], model.step(data.obs, data.action)[0])
        assert (loaded.net.offset is None) == (i == 0)
        check_model(loaded, data.obs[:3])
