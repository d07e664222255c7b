"""Memory does not grow with decisions, and large searches are neither cut nor larger than they have to be."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from forethought.control import AnalyticModel, MLPConfig, MLPModel, MPCPolicy, Pendulum
from forethought.control.world_models.mlp.net import MLPNet
from forethought.planning import CEM, ILQR, MCTS, MPPI, Beam, Budget, DiscretizedActions, GaussianSettings, plan
from forethought.planning.testing.problems import TargetProblem
from forethought.planning.usage import NODES

STATM = Path("/proc/self/statm")
MIB = 2**20
SEEN = np.array([[-1.0, 0.0, 0.5]], np.float32)


def network(hidden=64):
    torch.manual_seed(0)
    config = MLPConfig("Pendulum-v1", 3, None, (-2.0,), (2.0,), hidden=hidden)
    return MLPModel(config, MLPNet(config))


def resident():
    """Bytes of this process in memory."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def objects():
    """How many Python objects are alive."""
    gc.collect()
    return len(gc.get_objects())


AGENTS = {
    "cem": lambda: MPCPolicy(CEM(horizon=20, keep=4, vectors=GaussianSettings(reuse_elites=4)), network(), 2048),
    "mppi": lambda: MPCPolicy(MPPI(horizon=20), network(), 2048),
    "ilqr": lambda: MPCPolicy(ILQR(horizon=10), AnalyticModel(Pendulum()), 150),
    "mcts, subtree kept": lambda: MPCPolicy(MCTS(reuse=True), DiscretizedActions(AnalyticModel(Pendulum()), 5), 40),
    "bfs": lambda: MPCPolicy(Beam(), DiscretizedActions(AnalyticModel(Pendulum()), 5), 40),
}


@pytest.mark.skipif(not STATM.exists(), reason="reads /proc")
@pytest.mark.parametrize("name", AGENTS)
def test_memory_is_flat_in_the_number_of_decisions(name):
    agent = AGENTS[name]()
    for _ in range(30):
        agent.decide(SEEN)
    before = resident(), objects()
    for _ in range(200):
        agent.decide(SEEN)
    tensors, kept = resident() - before[0], objects() - before[1]
    assert kept < 200, "one Python object a decision"
    assert tensors < 8 * MIB, "the samples of one decision of CEM are 0.2 MiB, those of 200 would be 30"


def test_a_budget_in_nodes_is_not_cut_however_large():
    outcome = plan(
        CEM(horizon=10, iterations=2), TargetProblem(torch.tensor([0.6])), [0.0, 0.0, 0.0], Budget(nodes=200_000)
    )
    assert (outcome.charged[:, NODES] == 200_000).all()
    tree = plan(Beam(), DiscretizedActions(AnalyticModel(Pendulum()), 5), SEEN, Budget(nodes=70_000))
    assert tree.charged[0, NODES] == 70_000


LARGE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30,) * 2)
import torch
from forethought.evals.bench.mpc import OBSERVATION, models
from forethought.planning import CEM, Budget, plan
from forethought.planning.usage import NODES
nodes = 16_384 * 50
outcome = plan(CEM(horizon=50, population=16_384, iterations=1), models()["mlp"], OBSERVATION, Budget(nodes=nodes))
assert outcome.charged[0, NODES] == nodes, outcome.charged
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_16384_candidates_of_50_steps_fit_in_4_gib():
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) < 4
