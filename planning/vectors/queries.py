"""Queries to a differentiable model beyond the returns of `SequenceQuery`, and how a model answers them.

They need no method beyond `start`, `expand` and, where there is one, `step`; these must consist of torch operations
that carry derivatives (no numpy, no `torch.no_grad`), on states that are floating tensors or tuples or dicts of them.
`check_model(..., gradients=True)` tests that.

| query | answer | nodes per candidate |
|---|---|---|
| `Rollouts` | `Trajectories`: returns, states and actions under a linear feedback policy | H |
| `Gradients` | `ReturnGradients`: returns and their gradients by the actions, one backward pass | H + 2 H |
| `Linearization` | `StepDerivatives` along a known trajectory: first, and second of the reward | 3 H (S + D) |
| `Linearization(second=True)` | the same, and second derivatives of the dynamics | (3 + 2 S) H (S + D) |

Nodes are counted so: the Jacobian of a step is S + D nodes, one per direction, and a backward pass over H steps is 2 H.
The Hessian of the reward is a backward pass through those S + D directions, and so is the Hessian of each component of
the next state.

Shapes: M rows, K candidates, H steps, S components of a flat state, D of an action, n = S + D of z = (state, action).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ..interface import (
    BoxActions,
    Model,
    ModelError,
    Returns,
    SelfAnswering,
    SequenceQuery,
    States,
    Usage,
)
from ..rollout import ReturnSum, candidate_starts, inner_step, particles_of, simulate, take
from ..scoring import refuse_constrained
from .jacobians import REMEDY, Derivatives, FlatStep, derivatives_of, differentiated, flat_of, joined


@dataclass(slots=True)
class Trajectories(Returns):
    """Returns [M, K, 1], flat states [M, K, H + 1, S] from the start on, and the actions [M, K, H, D] taken."""

    states: Tensor | None = None
    actions: Tensor | None = None


@dataclass(slots=True)
class Rollouts(SequenceQuery, SelfAnswering):
    """Sequences whose trajectories are asked for.

    around [M, H, S], gains [M, H, D, S]: step t takes sequence_t + gains_t (x_t - around_t) in the flat state x_t,
    clipped to the model's box. Both None: the sequences without feedback.
    """

    around: Tensor | None = None
    gains: Tensor | None = None

    def answer(self, model: Model[States], states: States) -> Trajectories:
        """Errors: ModelError for a model with particles or a constraint, or states that are not floating tensors."""
        _require_one_particle(model)
        refuse_constrained(model, "a feedback law")
        count, number, steps, width = self.sequences.shape
        states, sequences = candidate_starts(model, states, self)
        run = ReturnSum(count * number, sequences)
        visited, taken = [flat_of(states)], []
        for t in range(steps):
            taken.append(self._action(cast(BoxActions, model.actions), t, visited[-1]))
            states = step_model(model, states, taken[-1], run, t == steps - 1)
            visited.append(flat_of(states))
        usage, spent = run.usage_per_problem(count)
        return Trajectories(
            run.total.view(count, number, 1),
            usage,
            spent,
            torch.stack(visited, 1).view(count, number, -1, visited[0].shape[-1]),
            torch.stack(taken, 1).view(count, number, -1, width),
        )

    def _action(self, box: BoxActions, t: int, x: Tensor) -> Tensor:
        """[M * K, D] actions of step t in flat states x [M * K, S]."""
        action = self.sequences[:, :, t]
        if self.gains is not None and self.around is not None:
            deviation = (x.view(*action.shape[:2], -1) - self.around[:, None, t]).to(action)
            action = action + torch.einsum("mds,mks->mkd", self.gains[:, t], deviation)
        return action.clamp(box.low, box.high).flatten(0, 1)


def step_model(model: Model[States], states: States, action: Tensor, run: ReturnSum, last: bool) -> States:
    """The next states; the reward is added to `run`, and after the last step the value of the reached states."""
    steppable = inner_step(model)
    if steppable is not None and not last:
        states, reward, discount = steppable.step(states, action)
        run.add_usage(None)
        run.add(reward, discount)
        return states
    states, said = model.expand(states, action, evaluate="all" if last else "none")
    run.add_usage(said)
    run.add(said.reward, said.discount)
    if last:
        run.total = run.bootstrapped("value", said.value)
    return states


@dataclass(slots=True)
class ReturnGradients(Returns):
    """Returns [M, K, P] and gradients [M, K, P, H, D], their derivatives by the actions."""

    gradients: Tensor | None = None


@dataclass(slots=True)
class Gradients(SequenceQuery, SelfAnswering):
    """Sequences to score together with the gradients of their returns."""

    @property
    def nodes(self) -> int:
        return gradients_nodes(self.sequences.shape[1], self.sequences.shape[2])

    def answer(self, model: Model[States], states: States) -> ReturnGradients:
        """Errors: ModelError for a model that cannot be differentiated or has a constraint."""
        refuse_constrained(model, "a gradient")
        count, number, steps, width = self.sequences.shape
        with torch.enable_grad():
            starts, actions = candidate_starts(model, states, self)
            actions = actions.detach().requires_grad_()
            run = ReturnSum(actions.shape[1], actions)
            returns = differentiated(lambda: simulate(model, starts, actions, run))
            if not returns.requires_grad:
                raise ModelError(f"returns carry no gradient by the actions; {REMEDY}")
            (gradients,) = differentiated(lambda: torch.autograd.grad(returns.sum(), actions))
        usage, spent = run.usage_per_problem(count)
        return ReturnGradients(
            returns.detach().view(count, number, -1),
            3 * usage,
            None if spent is None else 3 * spent,
            gradients.transpose(0, 1).reshape(count, number, -1, steps, width),
        )


def gradients_nodes(candidates: int, steps: int) -> int:
    """Nodes that `Gradients` of so many candidates and steps cost each row."""
    return 3 * candidates * steps


@dataclass(slots=True)
class StepDerivatives(Returns):
    """Derivatives of every step by z = (state, action), and the return [M, 1, 1] of the trajectory.

    f_z [M, H, S, n]: Jacobian of the next state. r_z [M, H, n], r_zz [M, H, n, n]: gradient and Hessian of the reward,
    in the last step of reward + discount x value. discount [M, H], taken as constant around the trajectory.
    f_zz [M, H, S, n, n]: Hessians of the next state's components, None unless asked for.
    """

    f_z: Tensor | None = None
    r_z: Tensor | None = None
    r_zz: Tensor | None = None
    discount: Tensor | None = None
    f_zz: Tensor | None = None


@dataclass(slots=True)
class Linearization(SequenceQuery, SelfAnswering):
    """One sequence per row and the states [M, H, S] it visits; asks for derivatives of every step, all in one batch.

    second: second derivatives of the dynamics too.
    """

    states: Tensor | None = None
    second: bool = False

    @property
    def nodes(self) -> int:
        assert self.states is not None
        size = self.states.shape[2]
        return linearization_nodes(self.sequences.shape[2], size + self.sequences.shape[3], size if self.second else 0)

    def answer(self, model: Model[States], states: States) -> StepDerivatives:
        """Errors: ModelError for a model that cannot be differentiated or has several particles."""
        assert self.states is not None
        _require_one_particle(model)
        steps = self.sequences.shape[2]
        z = torch.cat([self.states, self.sequences[:, 0].to(self.states)], -1)
        parts = [
            self._part(model, states, z[:, begin:end], end == steps)
            for begin, end in ((0, steps - 1), (steps - 1, steps))
            if begin < end
        ]
        found = joined([part.derivatives for part in parts])
        if not bool(found.f_z.any()):
            raise ModelError(f"the reached states carry no derivatives; {REMEDY}")
        discount = found.discount
        reach = torch.cat([torch.ones_like(discount[:, :1]), discount[:, :-1].cumprod(1)], 1)
        returns = torch.where(reach != 0, reach * found.reward, 0).sum(1)[:, None, None]
        usage = np.concatenate([part.usage for part in parts], 1).sum(1)
        spent = np.concatenate([part.spent for part in parts], 1).sum(1)
        return StepDerivatives(returns, usage, spent, found.f_z, found.r_z, found.r_zz, discount, found.f_zz)

    def _part(self, model: Model[States], states: States, z: Tensor, last: bool) -> _Part:
        """Derivatives of some of the steps, at z [M, T, n]."""
        count, steps, n = z.shape
        size = n - self.sequences.shape[3]
        step = FlatStep(model, take(states, torch.zeros(1, dtype=torch.int64)), size, last)
        found = differentiated(lambda: derivatives_of(step, z.flatten(0, 1), self.second))
        factor = linearization_nodes(1, n, size if self.second else 0) // n
        usage, spent = (factor * x.reshape(n, count, steps, -1).sum(0) for x in step.usage_of_call(n * count * steps))
        return _Part(found.map(lambda x: x.reshape(count, steps, *x.shape[1:])), usage, spent)


@dataclass
class _Part:
    """Derivatives [M, T, ...] of T steps, and their usage and spent [M, T, units]."""

    derivatives: Derivatives
    usage: Usage
    spent: Usage


def linearization_nodes(steps: int, n: int, hessians: int) -> int:
    """Nodes that `Linearization` of so many steps costs, for n = S + D and Hessians of so many state components."""
    return steps * n * (1 + 2 * (1 + hessians))


def _require_one_particle(model: Model[States]) -> None:
    if particles_of(model) > 1:
        raise ModelError(
            "a feedback law needs one trajectory, the model has several particles; plan on one member of it"
        )
