"""Questions to a model that can be differentiated, beyond the returns of `SequenceQuery`, and how they are answered.

A model needs nothing new for this. Its actions are a `BoxActions`, its states are floating tensors (or tuples or dicts of
them), and `expand` (and `step`, where it has one) is made of torch operations that carry derivatives: no numpy, no
`torch.no_grad`. `check_model(..., gradients=True)` tells whether that is so.

| question | answer | nodes a candidate |
|---|---|---|
| `Walks` | returns, and the states and actions on the way, under a linear feedback law | H |
| `Slopes` | returns and their gradients by the actions, one backward pass | H + 2 H |
| `Curves` | derivatives of every step along a known trajectory: first, and second of the reward | 3 H (S + D) |
| `Curves(second=True)` | the same, and second ones of the dynamics | (3 + 2 S) H (S + D) |

In nodes, a Jacobian of a step counts S + D, each of its columns a direction that the step carries, and a backward pass
over H steps 2 H. The Hessian of the reward is a backward pass through what these S + D directions carry of it, and so
is that of each component of the next state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..interface import BoxActions, ModelError, Returns, SelfAnswering, SequenceQuery
from ..rollout import ReturnSum, candidate_starts, inner_step, particles_of, simulate, take
from ..scoring import refuse_constrained
from .jacobians import REMEDY, Steps, bent, differentiated, flat_of


@dataclass(slots=True)
class Walked(Returns):
    """Returns [M, K, 1], states [M, K, H + 1, S] (the start first, each one flat) and actions [M, K, H, D] as taken."""

    states: Tensor | None = None
    actions: Tensor | None = None


@dataclass(slots=True)
class Walks(SequenceQuery, SelfAnswering):
    """Sequences to walk, and to be told where they led.

    around [M, H, S], gains [M, H, D, S]: in the flat state x, step t takes sequence_t + gains_t (x - around_t), clipped
    to the model's box. Both None: the sequences as they are.
    """

    around: Tensor | None = None
    gains: Tensor | None = None

    def answer(self, model: Any, states: Any) -> Walked:
        """Errors: ModelError for a model of several particles, or states that are no floating tensors."""
        _one_particle(model)
        refuse_constrained(model, "a feedback law")
        count, number, steps, _ = self.sequences.shape
        states, flat = candidate_starts(model, states, self)
        run = ReturnSum(count * number, flat)
        passed, taken = [flat_of(states)], []
        for t in range(steps):
            taken.append(self._action(model.actions, t, passed[-1]))
            states = one_step(model, states, taken[-1], run, t == steps - 1)
            passed.append(flat_of(states))
        usage, spent = run.usage_per_problem(count)
        shape = (count, number, -1)
        return Walked(
            run.total.view(count, number, 1),
            usage,
            spent,
            torch.stack(passed, 1).view(*shape, passed[0].shape[-1]),
            torch.stack(taken, 1).view(*shape, flat.shape[-1]),
        )

    def _action(self, box: BoxActions, t: int, at: Tensor) -> Tensor:
        """[M * K, D] what step t takes in the flat states `at` [M * K, S]."""
        wish = self.sequences[:, :, t]
        if self.gains is not None and self.around is not None:
            off = (at.view(*wish.shape[:2], -1) - self.around[:, None, t]).to(wish)
            wish = wish + torch.einsum("mds,mks->mkd", self.gains[:, t], off)
        return wish.clamp(box.low, box.high).flatten(0, 1)


def one_step(model: Any, states: Any, action: Tensor, run: ReturnSum, last: bool) -> Any:
    """The states after an action; `run` has its reward, after the last one the value too."""
    step = inner_step(model)
    if step is not None and not last:
        states, reward, discount = step.step(states, action)
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
class Sloped(Returns):
    """Returns [M, K, P] and slopes [M, K, P, H, D], their derivatives by the actions."""

    slopes: Tensor | None = None


@dataclass(slots=True)
class Slopes(SequenceQuery, SelfAnswering):
    """Sequences to score together with the gradients of their returns."""

    @property
    def nodes(self) -> int:
        return 3 * self.sequences.shape[1] * self.sequences.shape[2]

    def answer(self, model: Any, states: Any) -> Sloped:
        """Errors: ModelError for a model that cannot be differentiated."""
        refuse_constrained(model, "a gradient")
        count, number, steps, width = self.sequences.shape
        with torch.enable_grad():
            states, flat = candidate_starts(model, states, self)
            flat = flat.detach().requires_grad_()
            run = ReturnSum(flat.shape[1], flat)
            returns = differentiated(lambda: simulate(model, states, flat, run))
            if not returns.requires_grad:
                raise ModelError(f"returns carry no gradient by the actions; {REMEDY}")
            (slopes,) = differentiated(lambda: torch.autograd.grad(returns.sum(), flat))
        usage, spent = run.usage_per_problem(count)
        return Sloped(
            returns.detach().view(count, number, -1),
            3 * usage,
            None if spent is None else 3 * spent,
            slopes.transpose(0, 1).reshape(count, number, -1, steps, width),
        )


@dataclass(slots=True)
class Curved(Returns):
    """Derivatives of every step by z = (state, action) of n = S + D numbers, and the return [M, 1, 1] of the whole.

    moved [M, H, S, n]: Jacobian of the next state. slope [M, H, n], curve [M, H, n, n]: gradient and Hessian of the
    reward, in the last step of reward + discount x value. discount [M, H], taken as constant around the trajectory.
    bend [M, H, S, n, n]: Hessians of the next state's components, None unless asked for.
    """

    moved: Tensor | None = None
    slope: Tensor | None = None
    curve: Tensor | None = None
    discount: Tensor | None = None
    bend: Tensor | None = None


@dataclass(slots=True)
class Curves(SequenceQuery, SelfAnswering):
    """One sequence a row and the states [M, H, S] it passes, for derivatives of every step; all steps are one batch."""

    states: Tensor | None = None
    second: bool = False

    @property
    def nodes(self) -> int:
        assert self.states is not None
        size = self.states.shape[2]
        return curves_nodes(self.sequences.shape[2], size + self.sequences.shape[3], size if self.second else 0)

    def answer(self, model: Any, states: Any) -> Curved:
        """Errors: ModelError for a model that cannot be differentiated or has several particles."""
        assert self.states is not None
        _one_particle(model)
        steps = self.sequences.shape[2]
        z = torch.cat([self.states, self.sequences[:, 0].to(self.states)], -1)
        parts = [
            self._part(model, states, z[:, a:b], b == steps) for a, b in ((0, steps - 1), (steps - 1, steps)) if a < b
        ]
        total, discount, moved, slope, curve, bend, usage, spent = (_joined(part) for part in zip(*parts))
        if not bool(moved.any()):
            raise ModelError(f"the reached states carry no derivatives; {REMEDY}")
        reach = torch.cat([torch.ones_like(discount[:, :1]), discount[:, :-1].cumprod(1)], 1)
        returns = torch.where(reach != 0, reach * total, 0).sum(1)[:, None, None]
        return Curved(returns, usage.sum(1), spent.sum(1), moved, slope, curve, discount, bend)

    def _part(self, model: Any, pattern: Any, z: Tensor, last: bool) -> tuple[Any, ...]:
        """All that `Curved` holds of some steps z [M, T, n]: [M, T, ...] each, rewards and usage too."""
        count, steps, n = z.shape
        size = n - self.sequences.shape[3]
        rows = Steps(model, take(pattern, torch.zeros(1, dtype=torch.int64)), size, last)
        told = differentiated(lambda: bent(rows, z.flatten(0, 1), self.second))
        whole = tuple(None if x is None else x.reshape(count, steps, *x.shape[1:]) for x in told)
        factor = curves_nodes(1, n, size if self.second else 0) // n
        ledger = [factor * x.reshape(n, count, steps, -1).sum(0) for x in rows.ledger(n * count * steps)]
        return (*whole, *ledger)


def curves_nodes(steps: int, n: int, bends: int) -> int:
    """Nodes that `Curves` over so many steps cost, for n = S + D and Hessians of `bends` components of the state."""
    return steps * n * (1 + 2 * (1 + bends))


def _one_particle(model: Any) -> None:
    if particles_of(model) > 1:
        raise ModelError("trajectories of several particles have no one feedback law; plan on one member of the model")


def _joined(parts: tuple[Any, ...]) -> Any:
    """The parts [M, T, ...] along time."""
    if parts[0] is None:
        return None
    return torch.cat(parts, 1) if isinstance(parts[0], Tensor) else np.concatenate(parts, 1)
