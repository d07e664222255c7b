"""`forethought bench mpc`: equal work for all, one table, and libraries that are not installed are left out."""

import json
import sys
from types import ModuleType

import pytest
import torch

from forethought.evals.bench import mpc, mpc_peers
from forethought.planning import Budget, plan
from forethought.planning.shooting import MPPI
from forethought.planning.usage import NODES


@pytest.mark.parametrize("name", ["mlp", "ensemble"])
def test_peers_roll_out_the_same_weights_to_the_same_returns(name):
    model = mpc.models()[name]
    net, pushes = mpc.net_of(model), torch.randn(6, 4, 1).clamp(-2, 2)
    seen, total = net.start(6), torch.zeros(6)
    for t in range(4):
        seen, reward = net.step(seen, pushes[:, t])
        total = total + reward

    mine = torch.zeros(6, net.members)
    start = model.start(mpc.OBSERVATION.expand(6, -1))[0]
    for member in range(net.members):
        at = start
        for t in range(4):
            if name == "mlp":
                at, reward, _ = model.step(at, pushes[:, t])
            else:
                out = model.means(at, pushes[:, t])[member]
                at, reward, _ = model.apply_prediction(at, pushes[:, t], out)
            mine[:, member] += reward
    torch.testing.assert_close(total, mine.mean(1), atol=1e-4, rtol=1e-4)


def test_everyone_is_charged_what_the_table_says():
    model = mpc.models()["ensemble"]
    outcome = plan(MPPI(horizon=3, population=10, iterations=1), model, mpc.OBSERVATION, Budget(nodes=10 * 3 * 5))
    assert outcome.charged[0, NODES] == 150


def test_a_peer_without_its_package_is_left_out_and_named(tmp_path, monkeypatch, capsys):
    for module in ("pytorch_mppi", "torchrl.modules", "tensordict", "mbrl.planning.trajectory_opt"):
        monkeypatch.setitem(sys.modules, module, None)
    names = {"ours", "matrix products", "matrix products, transposed"}
    result = mpc.main(tmp_path / "mpc.json", candidates=8, horizon=2, repeats=1)
    assert {row["implementation"] for row in result["rows"]} == names and len(result["rows"]) == 8
    assert "not installed and therefore not measured: pytorch-mppi, torchrl, mbrl" in capsys.readouterr().out
    assert json.loads((tmp_path / "mpc.json").read_text())["candidates"] == 8


def test_an_installed_peer_is_measured(monkeypatch):
    asked = []

    class Fake:
        def __init__(self, dynamics, cost, nx, sigma, **settings):
            self.walk, self.cost, self.settings = dynamics, cost, settings

        def command(self, state):
            rows = state.expand(self.settings["num_samples"], -1)
            reached = self.walk(rows, torch.zeros(len(rows), 1))
            asked.append(tuple(reached.shape))
            return self.cost(reached, None)

    module = ModuleType("pytorch_mppi")
    module.MPPI = Fake
    monkeypatch.setitem(sys.modules, "pytorch_mppi", module)
    work = mpc_peers.by_pytorch_mppi(mpc.net_of(mpc.models()["mlp"]), 16, 2, 1)
    with torch.no_grad():
        assert work().shape == (16,) and asked == [(16, 4)]
