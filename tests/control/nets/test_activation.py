"""SiLU in place agrees with torch's."""

import pytest
import torch
from torch.nn.functional import silu

from forethought.control.nets import activation
from forethought.control.nets.activation import silu_inplace, silu_scale


@pytest.mark.parametrize("members", [(), (1,), (3,)])
@pytest.mark.parametrize("compiled", [True, False])
def test_a_view_is_changed_in_place_and_its_neighbours_are_not(members, compiled, monkeypatch):
    monkeypatch.setattr(activation, "HAVE_NUMBA", compiled and activation.HAVE_NUMBA)
    x = 4 * torch.randn(*members, 6, 37)
    factor = silu_scale(x)
    assert compiled or factor == 1
    whole, wanted = factor * x, factor * x
    wanted[..., :-1, :] = factor * silu(whole[..., :-1, :].double() / factor)
    silu_inplace(whole[..., :-1, :])()
    torch.testing.assert_close(whole, wanted, atol=1e-6, rtol=1e-6)


def test_it_is_accurate_for_every_magnitude_and_keeps_nan_and_infinity():
    x = torch.cat((torch.linspace(-200, 200, 40_001), torch.tensor([0.0, -0.0, 1e-30, 3e38])))
    factor = silu_scale(x)
    found = factor * x
    wanted = factor * silu(found.double() / factor)
    silu_inplace(found[None])()
    torch.testing.assert_close(found.double(), wanted, atol=1e-30, rtol=5e-7)
    near = x.abs() < 8
    torch.testing.assert_close(found[near].double(), wanted[near], atol=0, rtol=5e-7)
    lost = factor * torch.tensor([[torch.nan, torch.inf]])
    silu_inplace(lost)()
    assert bool(lost[0, 0].isnan()) and float(lost[0, 1] / factor) == torch.inf


def test_other_types_are_left_to_torch():
    x = torch.randn(3, 5, dtype=torch.float64)
    wanted = silu(x)
    silu_inplace(x)()
    assert silu_scale(x) == 1 and torch.equal(x, wanted)
