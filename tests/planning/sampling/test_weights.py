"""Weights and moments are the same compiled and by torch, and are what their names say."""

import numpy as np
import pytest
import torch

from forethought.planning import noise
from forethought.planning.interface import BoxActions
from forethought.planning.noise import fold, normals
from forethought.planning.sampling import weights as kernels
from forethought.planning.sampling.gaussian import Gaussian


@pytest.fixture(params=["compiled", "torch"])
def backend(request, monkeypatch):
    for module in (kernels, noise):
        monkeypatch.setattr(module, "HAVE_NUMBA", request.param == "compiled" and module.HAVE_NUMBA)


def returns_of(*shape, seed=0):
    """With ties and with entries of minus infinity."""
    found = np.random.default_rng(seed).integers(0, 9, shape).astype(float)
    found[..., 2::5] = -np.inf
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [0.0, 0.15, 0.5, 1.0])
def test_equal_weights_are_on_the_best_and_of_ties_on_the_first(backend, share, dtype):
    returns = returns_of(2, 3, 23)
    returns[1, 2] = -np.inf
    found = kernels.equal_weights(torch.tensor(returns, dtype=dtype), share)
    assert found.dtype == dtype
    for line, weights in zip(returns.reshape(-1, 23), found.view(-1, 23).tolist()):
        finite = int(np.isfinite(line).sum())
        count = min(max(1, int(np.ceil(np.float32(share) * np.float32(finite)))), finite)
        best = sorted(range(23), key=lambda k: (-line[k], k))[:count]
        assert weights == pytest.approx([1 / count if k in best else 0 for k in range(23)])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e30])
def test_soft_weights_and_the_deviation_are_of_the_finite(backend, scale):
    returns = returns_of(4, 23) * scale
    returns[3] = -np.inf
    given = torch.tensor(returns, dtype=torch.float32)
    apart, weights = kernels.finite_std(given), kernels.soft_weights(given, torch.full((4, 1), 2 * scale))
    for line, found, each in zip(returns, apart[:, 0].tolist(), weights.numpy()):
        finite = np.isfinite(line)
        share = np.exp((line - line.max()) / (2 * scale)) if finite.any() else np.zeros(23)
        assert found == pytest.approx(line[finite].std() if finite.any() else 0, rel=1e-5)
        np.testing.assert_allclose(each, share / max(share.sum(), 1), rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_moments_are_numpy_s(backend, dtype):
    draw = np.random.default_rng(1)
    samples, weights = draw.normal(size=(3, 17, 4, 2)), draw.random((3, 17)) * (draw.random((3, 17)) < 0.6)
    weights /= weights.sum(1, keepdims=True)
    mean, std = kernels.moments(torch.tensor(samples, dtype=dtype), torch.tensor(weights, dtype=dtype))
    wanted = np.einsum("mk,mkhd->mhd", weights, samples)
    off = np.einsum("mk,mkhd->mhd", weights, (samples - wanted[:, None]) ** 2)
    np.testing.assert_allclose(mean.numpy(), wanted, atol=1e-6)
    np.testing.assert_allclose(std.numpy(), off**0.5, rtol=1e-5)


def test_the_best_is_kept_while_nothing_is_better():
    samples, weights = torch.randn(2, 5, 3, 1), torch.full((2, 5), 0.2)
    returns = torch.tensor([[1.0, 4, 2, 4, 0], [1, 1, 0, 1, -torch.inf]])
    weights[1] = torch.tensor([1.0, 0, 0, 0, 0])
    kept = torch.zeros(3, 3, 1), torch.tensor([3.0, 0, 2]), torch.zeros(3)
    kernels.update_best(np.array([2, 0]), samples, returns, weights, kept)
    assert torch.equal(kept[0][2], samples[0, 1]) and not kept[0][:2].any()
    assert kept[1].tolist() == [3, 0, 4] and kept[2].tolist() == pytest.approx([1, 0, 2.2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_is_the_same_to_the_last_bit_compiled_and_not(dtype, monkeypatch):
    keys, iteration = torch.tensor([3, -(2**62), 0]), torch.tensor([0, 1, 2])
    drawn = [fold(keys[:, None], iteration, 5), normals(keys, iteration, (9, 5, 3), dtype=dtype)]
    monkeypatch.setattr(noise, "HAVE_NUMBA", False)
    again = [fold(keys[:, None], iteration, 5), normals(keys, iteration, (9, 5, 3), dtype=dtype)]
    assert all(torch.equal(a, b) for a, b in zip(drawn, again))
    assert keys.tolist() == [3, -(2**62), 0] and drawn[1].dtype == dtype


@pytest.mark.parametrize("rows", [slice(None), torch.tensor([2, 0])])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_proposal_samples_and_refits_alike_compiled_and_not(dtype, rows, monkeypatch):
    box = BoxActions(torch.tensor([-1.0, -2], dtype=dtype), torch.tensor([1.0, 3], dtype=dtype))
    mean, white = torch.rand(3, 5, 2, dtype=dtype) - 0.5, torch.randn(3, 40, 5, 2, dtype=dtype)
    weights = torch.softmax(torch.randn(3, 40, dtype=dtype), -1) * (torch.arange(40) % 3 > 0)
    count = len(mean[rows])
    found = []
    for numba in (kernels.HAVE_NUMBA, False):
        monkeypatch.setattr(kernels, "HAVE_NUMBA", numba)
        proposal = Gaussian.around(mean.clone(), box, 0.5)
        samples = proposal.sample(rows, white[:count].clone())
        proposal.refit(rows, samples, weights[:count], smoothing=0.3, min_std=0.1, adapt_std=True)
        found.append((samples, proposal.mean, proposal.std))
    for compiled, plain in zip(*found):
        torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-5)
    assert (found[0][0] >= box.low).all() and (found[0][0] <= box.high).all()
