"""Stepping a model along given actions: answers to `SequenceQuery`.

States are what the model makes them: a tensor [K, ...], or tuples, named tuples, dicts and lists of such. Nothing here
keeps them; only running returns and the running product of discounts are carried.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .interface import UNITS, Expansion, ModelError, Returns, SequenceQuery, Usage

Walk = Callable[[Any, Tensor], Tensor]
"""(states, actions [H, N, D]) -> returns [N]: discounted sums of rewards, and of the value where they lead."""


def take(states: Any, index: Tensor) -> Any:
    """The states at `index` (int64 [N], repeats allowed), whatever they are made of."""
    if isinstance(states, Tensor):
        return states[index.to(states.device)]
    if isinstance(states, np.ndarray):
        return states[index.cpu().numpy()]
    if isinstance(states, dict):
        return {name: take(part, index) for name, part in states.items()}
    if isinstance(states, tuple):
        parts = [take(part, index) for part in states]
        return type(states)(*parts) if hasattr(states, "_fields") else tuple(parts)
    return [states[i] for i in index.tolist()]


class Sum:
    """Running returns of N state sequences and what they cost. A finished one stops counting, the others go on."""

    def __init__(self, rows: int, like: Tensor, gamma: float = 1.0) -> None:
        self.like = like
        self.violation: Tensor | None = None
        self.gamma, self.rows = gamma, rows
        self.plain = 0
        self.usage: Usage | None = None
        self.spent: Usage | None = None

    @cached_property
    def total(self) -> Tensor:
        """[N] returns so far."""
        return self.like.new_zeros(self.rows)

    @cached_property
    def weight(self) -> Tensor:
        """[N] products of discounts so far, 0 after an end."""
        return self.like.new_ones(self.rows)

    def add(self, reward: Any, discount: Any) -> None:
        """One step: rewards and discounts [N]. What is said after an end counts for nothing, NaN included."""
        self.total = self.close("reward", reward)
        weight = self.weight * self._of("discount", discount)
        self.weight = torch.where(self.weight != 0, weight if self.gamma == 1 else weight * self.gamma, 0)

    def walked(self, steps: int, returns: Any) -> Tensor:
        """All steps at once: the returns [N]."""
        self.plain += steps
        return self._of("returns", returns)

    def violate(self, over: Tensor) -> None:
        """What the coming step violates, [N] at least 0; nothing after an end."""
        over = torch.where(self.weight != 0, over.detach().to(self.total), 0)
        self.violation = over if self.violation is None else self.violation + over

    def close(self, name: str, value: Any) -> Tensor:
        """The returns [N] if `value` [N] were all that comes after."""
        return torch.addcmul(self.total, self.weight, torch.where(self.weight != 0, self._of(name, value), 0))

    def charge(self, said: Expansion | None) -> None:
        """Add what a step cost; one node and one model call each where the model does not say."""
        if said is None or said.usage is None:
            self.plain += 1
            return
        if said.spent is not None and self.spent is None:
            self.spent = np.zeros_like(said.usage) if self.usage is None else self.usage.copy()
        if self.spent is not None:
            self.spent += said.usage if said.spent is None else said.spent
        self.usage = said.usage.copy() if self.usage is None else self.usage + said.usage

    def ledger(self, rows: int) -> tuple[Usage, Usage | None]:
        """Usage and spent of `rows` problems with N / rows sequences each, [rows, units]; spent None where the same."""
        plain = np.empty((rows, len(ONE)))
        plain[:] = self.plain * (self.rows // max(rows, 1)) * ONE
        usage = plain if self.usage is None else plain + per_row(self.usage, rows)
        return usage, None if self.spent is None else plain + per_row(self.spent, rows)

    def _of(self, name: str, given: Any) -> Tensor:
        number = torch.as_tensor(given).to(self.like)
        if number.shape != (self.rows,):
            raise ModelError(f"{name} wants shape [{self.rows}], got {list(number.shape)}")
        return number


ONE: Usage = np.array([float(unit in ("nodes", "model_calls")) for unit in UNITS])


@torch.no_grad()
def rollout(model: Any, states: Any, candidates: SequenceQuery, gamma: float = 1.0) -> Returns:
    """Answer `candidates` by stepping `model` to the horizon and asking for the value there.

    states: of the M problems asked about, in the order of `candidates.row`. gamma: a factor on every step beside the
        model's own discounts. Queries that bring an `answer` of their own (`derivatives.py`) are answered by it.
    A model may offer three things beyond the protocol. `step(states, actions) -> (states, reward, discount)` spares
    the inner steps everything that only leaves need; it is used where it costs one node, that is, where `model.cost` is
    no more than P. `walk`, a `Walk` or None, takes all steps at once, without derivatives, and is preferred where none
    are wanted and no constraint is to see each step. `particles` (P > 1) with `repeat(states, keys)` makes N states
    into N * P, the particles of one state side by side; keys uint64 [N] are alike for all candidates of a row, so
    that these are compared under the same noise. Usage counts K * H * P nodes and model calls unless the model says.

    Errors: ModelError naming field and shape.
    """
    own = getattr(candidates, "answer", None)
    if own is not None:
        told: Returns = own(model, states)
        return told
    count, number = candidates.sequences.shape[:2]
    states, flat = laid_out(model, states, candidates)
    run = Sum(flat.shape[1], flat, gamma)
    returns = follow(model, states, flat, run).view(count, number, int(getattr(model, "particles", 1)))
    over = None if run.violation is None else run.violation.view(returns.shape)
    return Returns(returns, *run.ledger(count), violation=over)


def laid_out(model: Any, states: Any, candidates: SequenceQuery) -> tuple[Any, Tensor]:
    """N = M * K * P states, particles of one candidate side by side, and the actions [H, N, D] to walk from them."""
    count, number = candidates.sequences.shape[:2]
    particles = int(getattr(model, "particles", 1))
    states = take(states, torch.from_numpy(np.arange(count).repeat(number)))
    flat = candidates.sequences.flatten(0, 1)
    if particles > 1:
        keys = np.zeros(count, np.uint64) if candidates.keys is None else candidates.keys
        states = model.repeat(states, np.repeat(keys, number))
        flat = flat.repeat_interleave(particles, 0)
    return states, flat.transpose(0, 1).contiguous()


def inner_step(model: Any) -> Any:
    """The model's `step`, None where it has none or it costs more than one node a particle."""
    bare = int(getattr(model, "cost", 1)) <= int(getattr(model, "particles", 1))
    return getattr(model, "step", None) if bare else None


def follow(model: Any, states: Any, actions: Tensor, run: Sum) -> Tensor:
    """Returns [N] of walking actions [H, N, D] from N states, inner ones by `step` where there is one."""
    step, measure = inner_step(model), getattr(model, "constraint", None)
    plain = step is not None and measure is None and run.gamma == 1 and not torch.is_grad_enabled()
    walk = getattr(model, "walk", None) if plain else None
    if walk is not None:
        return run.walked(len(actions), walk(states, actions))
    for action in actions[:-1]:
        if measure is not None:
            run.violate(excess(measure(states, action), run.rows))
        if step is None:
            states, said = model.expand(states, action, evaluate="none")
            run.charge(said)
            run.add(said.reward, said.discount)
        else:
            states, reward, discount = step(states, action)
            run.charge(None)
            run.add(reward, discount)
    if measure is not None:
        run.violate(excess(measure(states, actions[-1]), run.rows))
    _, said = model.expand(states, actions[-1])
    run.charge(said)
    run.add(said.reward, said.discount)
    return run.close("value", said.value)


def excess(measure: Any, rows: int, power: int = 1) -> Tensor:
    """[N] sums of max(0, g)^power of a constraint's g, [N] or [N, C]; what is NaN is violated beyond measure.

    Errors: ModelError for another shape.
    """
    g = torch.as_tensor(measure)
    if g.ndim not in (1, 2) or len(g) != rows:
        raise ModelError(f"constraint wants shape [{rows}] or [{rows}, C], got {list(g.shape)}")
    over = torch.where(torch.isnan(g), torch.inf, g.clamp(min=0)) ** power
    return over if g.ndim == 1 else over.sum(1)


def per_row(usage: Usage, rows: int) -> Usage:
    each: Usage = usage.reshape(rows, -1, len(UNITS)).sum(1)
    return each
