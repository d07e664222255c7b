"""Random numbers against scipy's distributions, published outputs and their spectrum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from forethought.planning.noise import coloured, fold, keys_of, normals, uniforms


def test_normals_are_normal_and_independent_across_rows_and_iterations() -> None:
    keys = keys_of(5, 200)
    first, second = normals(keys, 0, (50, 8, 2)), normals(keys, 1, (50, 8, 2))
    assert stats.kstest(first.flatten().numpy(), "norm").pvalue > 1e-3
    assert abs(float(first.mean())) < 0.01 and abs(float(first.std()) - 1) < 0.01
    assert abs(stats.skew(first.flatten())) < 0.03 and abs(stats.kurtosis(first.flatten())) < 0.06
    flat = first.flatten(1).double()
    between_rows = torch.corrcoef(flat)[~torch.eye(200, dtype=torch.bool)] * flat.shape[1] ** 0.5
    assert stats.kstest(between_rows[::7].numpy(), "norm").pvalue > 1e-3
    for other in (second, first.roll(1, 1), first.roll(1, 2), first.flip(3)):
        pair = np.corrcoef(first.flatten(), other.flatten())[0, 1]
        assert abs(pair) * first.numel() ** 0.5 < 4


def test_noise_belongs_to_the_row_and_the_candidate() -> None:
    keys = keys_of(5, 6)
    whole = normals(keys, 3, (9, 5, 1))
    assert torch.equal(normals(keys[[4, 1]], 3, (9, 5, 1)), whole[[4, 1]])
    assert torch.equal(normals(keys, 3, (4, 5, 1)), whole[:, :4])
    iterations = torch.tensor([3, 0, 3, 1, 3, 2])
    assert torch.equal(normals(keys, iterations, (9, 5, 1))[[0, 2, 4]], whole[[0, 2, 4]])
    np.testing.assert_allclose(normals(keys, 3, (9, 5, 1), dtype=torch.float64).float(), whole, rtol=1e-5, atol=1e-6)


def test_hash_is_splitmix64() -> None:
    """The first outputs of SplitMix64 from seed 0, as its authors' C program prints them."""
    wanted = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    got = [int(fold(np.zeros(1, np.uint64), i)) % 2**64 for i in range(3)]
    assert got == wanted


def test_uniforms_are_uniform_and_keyed_by_every_counter() -> None:
    keys = keys_of(1, 300)
    draws = uniforms(keys[:, None].view(np.uint64), torch.arange(300))
    assert draws.shape == (300, 300) and float(draws.min()) >= 0 and float(draws.max()) < 1
    assert stats.kstest(draws.flatten().numpy(), "uniform").pvalue > 1e-3
    assert float(uniforms(keys[:1], 1, 2)) != float(uniforms(keys[:1], 2, 1))
    assert float(uniforms(keys[:1], 4)) == float(uniforms(keys[:3], 4)[0])


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0])
def test_coloured_noise_has_unit_variance_and_its_spectrum(beta: float) -> None:
    noise = coloured(normals(keys_of(2, 64), 0, (64, 32, 2)), beta)
    assert abs(float(noise.var()) - 1) < 0.02
    power = torch.fft.rfft(noise, dim=-2).abs().square().mean((0, 1, 3))[1:16].log()
    slope = np.polyfit(np.log(np.arange(1, 16)), power.numpy(), 1)[0]
    assert abs(slope + beta) < 0.05
