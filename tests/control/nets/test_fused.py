"""The fused forward pass against the perceptron that it stands for, written out in double precision."""

import itertools

import pytest
import torch
from torch.nn.functional import silu

from forethought.control.nets import activation
from forethought.control.nets.fused import fuse
from forethought.control.nets.perceptron import perceptron

INPUTS, HIDDEN, MEANS = 3, 7, 2


def weights_of(members, outputs=MEANS):
    draw = torch.Generator().manual_seed(members + outputs)
    sizes = [INPUTS, HIDDEN, HIDDEN, outputs]
    pairs = list(itertools.pairwise(sizes))
    weights = [torch.randn(members, a, b, generator=draw) / a**0.5 for a, b in pairs]
    return weights, [torch.randn(members, 1, b, generator=draw) for _, b in pairs]


SCALES = (
    (torch.tensor([0.5, -1.0, 2.0]), torch.tensor([2.0, 0.5, 1.0])),
    (torch.tensor([3.0, -1.0]), torch.tensor([0.1, 4.0])),
)


def written_out(weights, biases, inputs):
    """Outputs [E, N, O]: normalise, apply each layer, scale the means."""
    (mean, std), (shift, scale) = SCALES
    x = ((inputs - mean) / std).double()
    for weight, bias in zip(weights[:-1], biases[:-1]):
        x = silu(x @ weight.double() + bias.double())
    x = x @ weights[-1].double() + biases[-1].double()
    x[..., :MEANS] = shift + scale * x[..., :MEANS]
    return x.float()


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("outputs", [MEANS, MEANS + 2])
@pytest.mark.parametrize("members", [1, 3])
def test_it_is_the_network_between_its_scales(members, outputs, compiled, monkeypatch):
    monkeypatch.setattr(activation, "HAVE_NUMBA", compiled and activation.HAVE_NUMBA)
    weights, biases = weights_of(members, outputs)
    fused = fuse(weights, biases, *SCALES)
    for rows in (5, 1, 5):  # the buffers of one call are used by the next of the same size
        inputs = torch.randn(members, rows, INPUTS)
        torch.testing.assert_close(fused(inputs), written_out(weights, biases, inputs), atol=1e-5, rtol=1e-5)
    shared = torch.randn(1, 4, INPUTS)
    found = fused(shared.expand(members, -1, -1))
    torch.testing.assert_close(found, written_out(weights, biases, shared), atol=1e-5, rtol=1e-5)


def test_each_member_alone_gives_its_part():
    weights, biases = weights_of(3)
    fused, inputs = fuse(weights, biases, *SCALES), torch.randn(3, 6, INPUTS)
    for i, member in enumerate(fused.members):
        torch.testing.assert_close(member(inputs[i : i + 1])[0], fused(inputs)[i], atol=1e-5, rtol=1e-5)


def test_the_last_mean_comes_first_and_the_log_variances_apart():
    """A rollout reads the reward, which is the last mean, from the front."""
    weights, biases = weights_of(1, MEANS + 2)
    fused, inputs = fuse(weights, biases, *SCALES), torch.randn(1, 4, INPUTS)
    wanted = written_out(weights, biases, inputs)[0].T
    buffer = fused.input_buffer(inputs[0])
    buffer[:-1] = inputs[0].T
    hidden = fused.last_hidden(buffer)
    torch.testing.assert_close(fused.mean_weights @ hidden, wanted[[1, 0]], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(fused.log_variance_weights @ hidden, wanted[2:], atol=1e-5, rtol=1e-5)
    assert (fused.padded_inputs[-1] == 1).all() and fused.padded_inputs.shape == (INPUTS + 2, 4)


def test_weights_are_copied():
    weights, biases = weights_of(1)
    fused, inputs = fuse(weights, biases, *SCALES), torch.randn(1, 4, INPUTS)
    before = fused(inputs)
    for each in weights + biases:
        each.zero_()
    assert torch.equal(fused(inputs), before)


def test_a_perceptron_has_the_layers_it_is_asked_for():
    net = perceptron(3, 5, 2, 4)
    shapes = [tuple(p.shape) for p in net.parameters()]
    assert shapes == [(5, 3), (5,), (5, 5), (5,), (4, 5), (4,)]
    x = torch.randn(6, 3)
    (w0, b0, w1, b1, w2, b2) = net.parameters()
    torch.testing.assert_close(net(x), silu(silu(x @ w0.T + b0) @ w1.T + b1) @ w2.T + b2)
    assert [tuple(p.shape) for p in perceptron(2, 9, 0, 1).parameters()] == [(1, 2), (1,)]
