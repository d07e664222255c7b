"""Worlds whose best decisions are known: by Riccati's equation, by value iteration, on the pendulum by iLQR.

A plan's gap is what is lost for good by following it: the best return from the start, minus the return of the plan's
actions carried out and then continued as well as can be, as a share of the mean size of the best return. So plans of
any length are measured alike, and nothing that a planner says of itself counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...control.dynamics import Pendulum
from ...control.world_models.analytic import AnalyticModel
from ...planning import ILQR, BoxActions, Budget, fixed_plan, plan
from ...planning.testing.linear_quadratic import LinearQuadratic, quadratic
from ...planning.testing.problems import Table
from ...planning.trajopt.lqr import Regulator, dare
from ...planning.wrappers.discretized_actions import DiscretizedActions
from ...planning.wrappers.terminal_value import TerminalValue

TORQUES = 9
"""Values of an action that a planner over slots is offered where actions are vectors."""

STARTS = 16


@dataclass(frozen=True)
class Answered:
    """A world with B starts.

    model: over vectors or slots. optimum: best returns [K], float64, of the model's states [K, ...].
    """

    name: str
    model: Any
    starts: Any
    optimum: Callable[[Tensor], Tensor]

    @property
    def vectors(self) -> bool:
        return isinstance(self.model.actions, BoxActions)

    def offered(self, slots: bool) -> Any:
        """The model with its own actions, or (slots) as a planner over slots is to see it."""
        return DiscretizedActions(self.model, TORQUES) if slots and self.vectors else self.model

    def gaps(self, model: Any, plans: Sequence[Any]) -> Tensor:
        """[B] gaps of plans, slots or vectors [length >= 1, ...] of every start, for a `model` that was `offered`."""
        best = self.optimum(model.start(self.starts)[0])
        return (best - self.worth(model, plans)) / best.abs().mean()

    def worth(self, model: Any, plans: Sequence[Any]) -> Tensor:
        """[B] returns, float64, of plans carried out and then continued as well as can be."""
        if not all(len(p) for p in plans):
            raise ValueError("a plan of no action decides nothing")
        states = model.start(self.starts)[0].clone()
        total, weight = torch.zeros(len(states)).double(), torch.ones(len(states)).double()
        for t in range(max(map(len, plans))):
            rows = torch.tensor([b for b, p in enumerate(plans) if len(p) > t])
            actions = torch.stack([torch.as_tensor(plans[b][t]) for b in rows.tolist()])
            reached, said = model.expand(states[rows], actions, evaluate="none")
            total[rows] += weight[rows] * torch.as_tensor(said.reward)
            weight[rows] *= torch.as_tensor(said.discount)
            states[rows] = reached
        return total + weight * self.optimum(states)


def linear(seed: int) -> Answered:
    """A double integrator (position, speed; force within +-8, which never binds on the best way), without end.

    The final cost is the Riccati equation's, so that the best return is -x'Px whatever a planner's horizon.
    """
    a, b = torch.tensor([[1.0, 0.1], [0.0, 1.0]]).double(), torch.tensor([[0.005], [0.1]]).double()
    q, r = torch.diag(torch.tensor([1.0, 0.1])).double(), torch.tensor([[0.05]]).double()
    cost, bound = dare(a, b, q, r).cost, torch.tensor([8.0]).double()
    starts = torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (STARTS, 2)))
    return Answered(
        "LQ", LinearQuadratic(a, b, q, r, cost, BoxActions(-bound, bound)), starts, lambda x: -quadratic(x, cost)
    )


def table(seed: int) -> Answered:
    """32 states with 4 actions each that lead anywhere and pay 0 to 1, discount 7/8, nothing known at the leaves."""
    draw = np.random.default_rng(seed)
    shape = (32, 4)
    reward = draw.random(shape, np.float32).astype(np.float64)
    model = Table(draw.integers(0, shape[0], shape), reward, np.full(shape, 0.875))
    best = torch.from_numpy(model.optimum())
    return Answered("table", model, np.arange(STARTS), lambda states: best[states])


def pendulum(seed: int) -> Answered:
    """Pendulum-v1 near its upright rest, from where the torque can hold it but often only at its bound.

    At the leaves stands the cost-to-go of the regulator at rest, which is smooth; the best return is that of iLQR over
    40 steps, two seconds, after which every start is at rest.
    """
    at_rest = upright(Pendulum())
    model = TerminalValue(AnalyticModel(Pendulum(), dtype=torch.float64), lambda x: -quadratic(x, at_rest.cost))
    spread = np.random.default_rng(seed).uniform(-1, 1, (STARTS, 2))
    starts = torch.from_numpy(spread * [0.15, 0.25])
    return Answered("pendulum", model, starts, lambda states: by_ilqr(model, states, at_rest.gain))


def upright(dynamics: Pendulum) -> Regulator:
    """The regulator of the pendulum linearised at its upright rest, its cost that of the task."""

    def move(state: Tensor, torque: Tensor) -> Tensor:
        return dynamics.step(state[None], torque[None])[0][0]

    rest = torch.zeros(2, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    a, b = torch.autograd.functional.jacobian(move, rest)  # type: ignore[no-untyped-call]
    return dare(a, b, np.diag([1.0, 0.1]), [[0.001]])


def by_ilqr(model: Any, states: Tensor, gain: Tensor, steps: int = 40) -> Tensor:
    """[K] returns, float64, of iLQR's plans, leaf value included.

    It begins with what the law u = -gain x would do: idle, the pendulum falls, and iLQR finds the best way to fall.
    """
    box, at, walked = model.actions, states, []
    for _ in range(steps):
        walked.append((-at @ gain.T).clamp(box.low, box.high).to(box.low))
        at = model.expand(at, walked[-1], evaluate="none")[0]
    planner, budget = ILQR(horizon=steps, tolerance=1e-6), Budget(nodes=65_536)
    found = plan(planner, model, states, budget, after=fixed_plan(torch.stack(walked, 1), box)).plan
    total, weight = torch.zeros(len(states)).double(), torch.ones(len(states)).double()
    for t in range(steps):
        states, said = model.expand(states, found.vectors[:, t])
        total, weight = total + weight * said.reward, weight * said.discount
    return total + weight * said.value


WORLDS: tuple[Callable[[int], Answered], ...] = (linear, table, pendulum)
