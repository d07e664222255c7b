"""One decision by pytorch-mppi, TorchRL and mbrl-lib over given weights, where they are installed.

Each is used through its public planner, with a rollout written as in its documentation. The state is an observation per
member [E, 3]; all members get the same actions and their rewards are averaged (TS-infinity without noise).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Work = Callable[[], Any]


@dataclass(frozen=True)
class Net:
    """A network to roll out.

    members: E. call: from observation and action [K, E, 4] to change of observation and reward [K, E, 4].
    """

    members: int
    call: Callable[[Tensor], Tensor]

    def step(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Next observations [K, E, 3] and mean rewards [K] from observations [K, E, 3] and actions [K, 1]."""
        out = self.call(torch.cat((obs, action[:, None].expand(-1, self.members, -1)), -1))
        return obs + out[..., :3], out[..., 3].mean(-1)

    def start(self, rows: int) -> Tensor:
        """The initial observations [rows, E, 3]."""
        return torch.tensor([-1.0, 0.0, 0.5]).expand(rows, self.members, 3)


def by_pytorch_mppi(net: Net, candidates: int, horizon: int, iterations: int) -> Work | None:
    """`MPPI.command`; the reward is part of the state, since the cost function is given only states."""
    try:
        from pytorch_mppi import MPPI
    except ImportError:
        return None
    width = 3 * net.members

    def dynamics(state: Tensor, action: Tensor) -> Tensor:
        next_obs, reward = net.step(state[:, :width].view(-1, net.members, 3), action)
        return torch.cat((next_obs.flatten(1), reward[:, None]), 1)

    def cost(state: Tensor, action: Tensor) -> Tensor:
        return -state[:, width]

    bound = torch.tensor([2.0])
    planner = MPPI(
        dynamics, cost, width + 1, torch.eye(1), num_samples=candidates, horizon=horizon, u_min=-bound, u_max=bound
    )
    state = torch.cat((net.start(1).flatten(), torch.zeros(1)))
    return lambda: planner.command(state)


def by_torchrl(net: Net, candidates: int, horizon: int, iterations: int) -> Work | None:
    """`CEMPlanner` over an environment made of the network."""
    try:
        from tensordict import TensorDict
        from torchrl.data import Bounded, Composite, Unbounded
        from torchrl.envs import EnvBase
        from torchrl.modules import CEMPlanner
    except ImportError:
        return None

    class NetEnv(EnvBase):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(device="cpu", batch_size=[])
            self._batch_locked = False
            self.observation_spec = Composite(observation=Unbounded((net.members, 3)))
            self.action_spec, self.reward_spec = Bounded(-2.0, 2.0, (1,)), Unbounded((1,))

        def _reset(self, data: Any) -> Any:
            return TensorDict({"observation": net.start(1)[0]}, [])

        def _step(self, data: Any) -> Any:
            next_obs, reward = net.step(data["observation"], data["action"])
            done = torch.zeros(len(reward), 1, dtype=torch.bool)
            fields = {"observation": next_obs, "reward": reward[:, None], "done": done, "terminated": done}
            return TensorDict(fields, data.shape)

        def _set_seed(self, seed: int | None) -> None:
            pass

    planner = CEMPlanner(NetEnv(), horizon, iterations, candidates, max(1, round(0.15 * candidates)))
    begun = NetEnv().reset()
    return lambda: planner.planning(begun)


def by_mbrl(net: Net, candidates: int, horizon: int, iterations: int) -> Work | None:
    """`CEMOptimizer.optimize` over sequences, as its `TrajectoryOptimizer` calls it."""
    try:
        from mbrl.planning.trajectory_opt import CEMOptimizer
    except ImportError:
        return None
    bound = torch.full((horizon, 1), 2.0)
    planner = CEMOptimizer(iterations, 0.15, candidates, (-bound).tolist(), bound.tolist(), 0.1, torch.device("cpu"))

    def returns(sequences: Tensor) -> Tensor:
        obs, total = net.start(len(sequences)), torch.zeros(len(sequences))
        for t in range(horizon):
            obs, reward = net.step(obs, sequences[:, t])
            total = total + reward
        return total

    return lambda: planner.optimize(returns, x0=torch.zeros(horizon, 1))


PEERS: dict[str, tuple[str, Callable[[Net, int, int, int], Work | None]]] = {
    "pytorch-mppi": ("MPPI", by_pytorch_mppi),
    "torchrl": ("CEM", by_torchrl),
    "mbrl": ("CEM", by_mbrl),
}
