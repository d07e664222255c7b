"""Problems whose optimal return is known: by Riccati's equation, by value iteration, and on the pendulum by iLQR.

The gap of a plan is the return that is lost by following it: the optimal return, minus the return of the plan's actions
followed by optimal ones, as a share of the mean magnitude of the optimal return. Plans of any length are comparable by
it, and it does not depend on what a planner estimates of its own plan.
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
from ...planning import ILQR, BoxActions, Budget, plan
from ...planning.chained import fixed_plan
from ...planning.testing.linear_quadratic import LinearQuadratic, quadratic
from ...planning.testing.problems import Table
from ...planning.trajopt.lqr import Regulator, dare
from ...planning.wrappers.discretized_actions import DiscretizedActions
from ...planning.wrappers.terminal_value import TerminalValue

BINS = 9
"""Values per action component for planners over indices, where the problem's actions are vectors."""

STARTS = 16


@dataclass(frozen=True)
class BenchmarkProblem:
    """A problem with B initial states.

    model: with vector or discrete actions. optimum: optimal returns [K], float64, of the model's states [K, ...].
    """

    name: str
    model: Any
    starts: Any
    optimum: Callable[[Tensor], Tensor]

    @property
    def has_vector_actions(self) -> bool:
        """Whether actions are vectors."""
        return isinstance(self.model.actions, BoxActions)

    def model_for(self, discrete: bool) -> Any:
        """The model with its own actions, or with discretised ones for a planner over indices (`discrete`)."""
        return DiscretizedActions(self.model, BINS) if discrete and self.has_vector_actions else self.model

    def gaps(self, model: Any, plans: Sequence[Any]) -> Tensor:
        """[B] gaps of plans, one of each start: indices or vectors [length >= 1, ...]. model: from `model_for`."""
        best = self.optimum(model.start(self.starts)[0])
        return (best - self.plan_returns(model, plans)) / best.abs().mean()

    def plan_returns(self, model: Any, plans: Sequence[Any]) -> Tensor:
        """[B] returns, float64, of plans that are followed by optimal actions. Errors: ValueError for an empty plan."""
        if not all(len(p) for p in plans):
            raise ValueError("a plan without actions has no gap")
        states = model.start(self.starts)[0].clone()
        total, weight = torch.zeros(len(states)).double(), torch.ones(len(states)).double()
        for t in range(max(map(len, plans))):
            rows = torch.tensor([b for b, p in enumerate(plans) if len(p) > t])
            actions = torch.stack([torch.as_tensor(plans[b][t]) for b in rows.tolist()])
            next_states, expansion = model.expand(states[rows], actions, evaluate="none")
            total[rows] += weight[rows] * torch.as_tensor(expansion.reward)
            weight[rows] *= torch.as_tensor(expansion.discount)
            states[rows] = next_states
        return total + weight * self.optimum(states)


def linear_quadratic(seed: int) -> BenchmarkProblem:
    """A double integrator without an end: position and speed, force within +-8, which never binds on optimal paths.

    The final cost is that of the Riccati equation, so the optimal return is -x'Px for every horizon.
    """
    a, b = torch.tensor([[1.0, 0.1], [0.0, 1.0]]).double(), torch.tensor([[0.005], [0.1]]).double()
    q, r = torch.diag(torch.tensor([1.0, 0.1])).double(), torch.tensor([[0.05]]).double()
    cost, bound = dare(a, b, q, r).cost, torch.tensor([8.0]).double()
    starts = torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (STARTS, 2)))
    model = LinearQuadratic(a, b, q, r, cost, BoxActions(-bound, bound))
    return BenchmarkProblem("LQ", model, starts, lambda x: -quadratic(x, cost))


def random_table(seed: int) -> BenchmarkProblem:
    """32 states with 4 actions each, random transitions, rewards in 0 to 1, discount 7/8, and no terminal value."""
    draw = np.random.default_rng(seed)
    shape = (32, 4)
    reward = draw.random(shape, np.float32).astype(np.float64)
    model = Table(draw.integers(0, shape[0], shape), reward, np.full(shape, 0.875))
    best = torch.from_numpy(model.optimum())
    return BenchmarkProblem("table", model, np.arange(STARTS), lambda states: best[states])


def upright_pendulum(seed: int) -> BenchmarkProblem:
    """Pendulum-v1 near its upright rest, from states where the torque can hold it, though often only at its bound.

    The terminal value is the cost-to-go of the regulator at rest, which is smooth. The optimal return is that of iLQR
    over 40 steps (two seconds), after which every start is at rest.
    """
    at_rest = upright_regulator(Pendulum())
    model = TerminalValue(AnalyticModel(Pendulum(), dtype=torch.float64), lambda x: -quadratic(x, at_rest.cost))
    spread = np.random.default_rng(seed).uniform(-1, 1, (STARTS, 2))
    starts = torch.from_numpy(spread * [0.15, 0.25])
    return BenchmarkProblem("pendulum", model, starts, lambda states: ilqr_returns(model, states, at_rest.gain))


def upright_regulator(dynamics: Pendulum) -> Regulator:
    """The LQR of the pendulum linearised at its upright rest, with the cost of the task."""

    def step(state: Tensor, torque: Tensor) -> Tensor:
        return dynamics.step(state[None], torque[None])[0][0]

    rest = torch.zeros(2, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    a, b = torch.autograd.functional.jacobian(step, rest)  # type: ignore[no-untyped-call]
    return dare(a, b, np.diag([1.0, 0.1]), [[0.001]])


def ilqr_returns(model: Any, states: Tensor, gain: Tensor, steps: int = 40) -> Tensor:
    """[K] returns, float64, of iLQR's plans with the terminal value.

    iLQR starts from the actions of the feedback law u = -gain x: from zero torque, under which the pendulum falls, it
    would find the best way of falling.
    """
    box, state, actions = model.actions, states, []
    for _ in range(steps):
        actions.append((-state @ gain.T).clamp(box.low, box.high).to(box.low))
        state = model.expand(state, actions[-1], evaluate="none")[0]
    feedback = fixed_plan(torch.stack(actions, 1), box)
    planner, budget = ILQR(horizon=steps, tolerance=1e-6), Budget(nodes=65_536)
    found = plan(planner, model, states, budget, after=feedback).plan
    if not isinstance(found.actions, Tensor):
        raise TypeError("iLQR plans vectors")
    total, weight = torch.zeros(len(states)).double(), torch.ones(len(states)).double()
    for t in range(steps):
        states, expansion = model.expand(states, found.vectors[:, t])
        total, weight = total + weight * expansion.reward, weight * expansion.discount
    return total + weight * expansion.value


PROBLEMS: tuple[Callable[[int], BenchmarkProblem], ...] = (linear_quadratic, random_table, upright_pendulum)
