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


def fake_modules(monkeypatch, modules):
    """Make these names of modules importable, each with the given attributes."""
    for name, attributes in modules.items():
        module = ModuleType(name)
        for attribute, value in attributes.items():
            setattr(module, attribute, value)
        monkeypatch.setitem(sys.modules, name, module)


def returns_of(net, sequences):
    obs, total = net.start(len(sequences)), torch.zeros(len(sequences))
    for t in range(sequences.shape[1]):
        obs, reward = net.step(obs, sequences[:, t])
        total = total + reward
    return total


def test_mbrl_optimises_the_returns_of_the_network(monkeypatch):
    class Optimizer:
        def __init__(self, iterations, elite_share, population, lower, upper, *rest):
            self.settings = iterations, population, lower, upper

        def optimize(self, returns, x0):
            sequences = torch.linspace(-2, 2, 5)[:, None, None].expand(-1, *x0.shape)
            return self.settings, sequences, returns(sequences)

    names = ("mbrl", "mbrl.planning", "mbrl.planning.trajectory_opt")
    fake_modules(monkeypatch, {name: {"CEMOptimizer": Optimizer} for name in names})
    net = mpc.net_of(mpc.models()["mlp"])
    with torch.no_grad():
        settings, sequences, found = mpc_peers.by_mbrl(net, 16, 3, 2)()
        torch.testing.assert_close(found, returns_of(net, sequences))
    assert settings == (2, 16, [[-2.0]] * 3, [[2.0]] * 3)


def test_torchrl_plans_in_an_environment_of_the_network(monkeypatch):
    class Data(dict):
        def __init__(self, fields, shape):
            super().__init__(fields)
            self.shape = shape

    class Env:
        def __init__(self, device, batch_size):
            self.batch_size = batch_size

        def reset(self):
            return self._reset(None)

    class Planner:
        def __init__(self, env, horizon, iterations, candidates, elites):
            self.env, self.settings = env, (horizon, iterations, candidates, elites)

        def planning(self, begun):
            obs, total = begun["observation"].expand(4, -1, -1), torch.zeros(4)
            pushes = torch.linspace(-2, 2, 4)[:, None]
            for _ in range(3):
                step = self.env._step(Data({"observation": obs, "action": pushes}, [4]))
                obs, total = step["observation"], total + step["reward"][:, 0]
                assert not step["done"].any() and step["terminated"].shape == (4, 1)
            return self.settings, pushes[:, None].expand(-1, 3, -1), total

    def nothing(*args, **settings):
        return None

    fake_modules(monkeypatch, {
        "tensordict": {"TensorDict": Data},
        "torchrl": {},
        "torchrl.data": {"Bounded": nothing, "Composite": nothing, "Unbounded": nothing},
        "torchrl.envs": {"EnvBase": Env},
        "torchrl.modules": {"CEMPlanner": Planner},
    })  # fmt: skip
    net = mpc.net_of(mpc.models()["mlp"])
    with torch.no_grad():
        settings, sequences, found = mpc_peers.by_torchrl(net, 20, 3, 2)()
        torch.testing.assert_close(found, returns_of(net, sequences))
    assert settings == (3, 2, 20, 3)
