"""SiLU in place is torch's."""

import pytest
import torch
from torch.nn.functional import silu

from forethought.control.models import activation
from forethought.control.models.activation import silu_of


@pytest.mark.parametrize("members", [(), (1,), (3,)])
@pytest.mark.parametrize("compiled", [True, False])
def test_places_between_others_change_and_those_do_not(members, compiled, monkeypatch):
    monkeypatch.setattr(activation, "HAVE_NUMBA", compiled and activation.HAVE_NUMBA)
    whole = 4 * torch.randn(*members, 6, 37)
    places, wanted = whole[..., :-1, :], whole.clone()
    wanted[..., :-1, :] = silu(places)
    silu_of(places)()
    torch.testing.assert_close(whole, wanted, atol=1e-6, rtol=1e-6)


def test_every_size_of_number_and_what_is_none():
    x = torch.cat((torch.linspace(-200, 200, 40_001), torch.tensor([0.0, -0.0, 1e-30, 3e38])))
    wanted = silu(x.double())
    silu_of((found := x.clone())[None])()
    torch.testing.assert_close(found.double(), wanted, atol=1e-30, rtol=5e-7)
    near = x.abs() < 8
    torch.testing.assert_close(found[near].double(), wanted[near], atol=0, rtol=5e-7)
    lost = torch.tensor([[torch.nan, torch.inf]])
    silu_of(lost)()
    assert bool(lost[0, 0].isnan()) and float(lost[0, 1]) == torch.inf


def test_other_types_are_torch_s():
    x = torch.randn(3, 5, dtype=torch.float64)
    wanted = silu(x)
    silu_of(x)()
    assert torch.equal(x, wanted)
