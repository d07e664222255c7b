"""The penalty on disagreement, and the fused forward pass, against their definitions."""

import pytest
import torch

from forethought.control import DisagreementPenalty, EnsembleConfig, EnsembleModel, MLPConfig, MLPModel
from forethought.control.nets.fused import fuse
from forethought.control.world_models.ensemble.net import StackedNet
from forethought.control.world_models.mlp.net import MLPNet
from forethought.planning import CEM, Budget, plan
from forethought.planning.testing.check_model import check_model

SHAPE = {"env_id": "Pendulum-v1", "obs_dim": 3, "n_actions": None, "low": (-2.0,), "high": (2.0,), "hidden": 16}
SEEN = torch.tensor([[-0.9, 0.43589, 0.5], [0.8, -0.6, -1.0], [1.0, 0.0, 3.0]])
PUSH = torch.tensor([[0.5], [-1.5], [2.0]])


def scaled(net):
    net.input_mean.fill_(0.1), net.input_std.fill_(1.5), net.output_mean.fill_(-0.05), net.output_std.fill_(0.3)
    return net


def ensemble(**settings):
    config = EnsembleConfig(**SHAPE, members=4, **settings)
    return EnsembleModel(config, scaled(StackedNet(config, seed=1)))


def test_rewards_are_lowered_by_weight_times_disagreement_and_nothing_else_changes():
    model = ensemble()
    plain, careful = model.propagated("mean"), DisagreementPenalty(model, 2.5)
    reached, said = plain.expand(SEEN, PUSH)
    mine, told = careful.expand(SEEN, PUSH)
    assert torch.equal(reached, mine) and torch.equal(said.discount, told.discount)
    torch.testing.assert_close(told.reward, said.reward - 2.5 * model.disagreement(SEEN, PUSH))
    assert (told.usage == said.usage).all() and careful.cost == 4
    check_model(careful, SEEN, gradients=True)


def test_without_weight_it_plans_as_the_ensemble_and_a_heavy_one_seeks_agreement():
    model, budget = ensemble(), Budget(nodes=4000)
    model.net.input_std[3] = 0.05  # so that actions matter to what members think
    plain, free, heavy = (
        plan(CEM(horizon=5), m, SEEN, budget).plan.actions
        for m in (model.propagated("mean"), DisagreementPenalty(model, 0.0), DisagreementPenalty(model, 1e4))
    )
    assert torch.equal(plain, free)
    apart = [walked_disagreement(model, actions).sum() for actions in (free, heavy)]
    assert apart[1] < apart[0]
    with pytest.raises(ValueError, match="at least 0, got -1"):
        DisagreementPenalty(model, -1)


def walked_disagreement(model, actions):
    at, total = SEEN, torch.zeros(3)
    for t in range(actions.shape[1]):
        total = total + model.disagreement(at, actions[:, t])
        at = model.propagated("mean").step(at, actions[:, t])[0]
    return total


@pytest.mark.parametrize("probabilistic", [False, True])
def test_an_ensemble_predicts_the_same_with_and_without_derivatives(probabilistic):
    model = ensemble(probabilistic=probabilistic)
    particles = model.repeat(SEEN, torch.arange(3).numpy().astype("uint64"))
    pushes = PUSH.repeat_interleave(4, 0)
    slow = [model.means(SEEN, PUSH), *model.step(particles, pushes)[1:], model.step(particles, pushes)[0].obs]
    with torch.no_grad():
        quick = [model.means(SEEN, PUSH), *model.step(particles, pushes)[1:], model.step(particles, pushes)[0].obs]
    for one, two in zip(slow, quick):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)


def test_a_network_that_has_changed_is_fused_again():
    config = MLPConfig(**SHAPE)
    model = MLPModel(config, scaled(MLPNet(config)))
    for change in (lambda: None, lambda: model.net.input_std.fill_(0.7), lambda: model.net.body[2].weight.mul_(1.5)):
        with torch.no_grad():
            change()
            quick = model.step(SEEN, PUSH)
        torch.testing.assert_close(quick, model.step(SEEN, PUSH), atol=1e-5, rtol=1e-5)
    model.net.load_state_dict(MLPNet(config).state_dict())
    with torch.no_grad():
        quick = model.step(SEEN, PUSH)
    torch.testing.assert_close(quick, model.step(SEEN, PUSH), atol=1e-5, rtol=1e-5)


def test_outputs_are_not_overwritten_by_the_next_call_and_batch_sizes_may_change():
    weights = [torch.randn(2, 3, 8), torch.randn(2, 8, 2)]
    biases = [torch.randn(2, 1, 8), torch.randn(2, 1, 2)]
    unit = torch.zeros(3), torch.ones(3)
    fused = fuse(weights, biases, unit, (torch.zeros(2), torch.ones(2)))
    first = fused(torch.ones(2, 4, 3))
    kept = first.clone()
    fused(torch.zeros(2, 4, 3)), fused(torch.zeros(1, 7, 3))
    assert torch.equal(first, kept)
    hidden = torch.nn.functional.silu(torch.ones(2, 4, 3) @ weights[0] + biases[0])
    torch.testing.assert_close(first, hidden @ weights[1] + biases[1], atol=1e-5, rtol=1e-5)
