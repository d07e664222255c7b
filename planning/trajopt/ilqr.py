"""iLQR and DDP with bounds: walk a plan, take derivatives along it, improve it by a linear law, search along the step.

iLQR: Li and Todorov 2004, "Iterative linear quadratic regulator design for nonlinear biological movement systems";
DDP: Jacobson and Mayne 1970. Regularisation schedule and line search: Tassa, Erez and Todorov 2012, section II-F and
II-D; bounds: Tassa, Mansard and Todorov 2014. The model is any that can be differentiated (`derivatives.py`); the
mathematics of one improvement is in `backward.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..interface import ActionSpace, BoxActions, Expansion, Int, Keys, ModelError, Plan, SequenceQuery, Size
from ..vectors.base import Rows, SequenceSearch, carried, nothing, refuse_lost, returns_of
from ..vectors.queries import Curves, Walks, curves_nodes
from .backward import Law, Quadratic, backward, certificate

GROWTH, LEAST_MU, MOST_MU = 2.0, 1e-6, 1e10
"""Tassa 2012, section II-F: how the growth of mu grows, and its bounds; below the least it is 0."""

HALVINGS, ARMIJO, LONG, SHORT = 10, 1e-4, 0.5, 0.01
"""The most halvings of a step, and the share of the promised improvement that it must bring; a step at least as long
as the first of the other two lowers mu, one shorter than the second raises it (so crocoddyl's solvers do)."""


@dataclass(frozen=True, kw_only=True)
class ILQR:
    """The iterative linear-quadratic regulator with a box on the actions. One local optimum, found fast and certified.

    horizon: H, actions in a plan; shortened to a smaller budget. iterations: the most improvements.
    tolerance: it has converged when `Plan.gradient` is at most this share of 1 + |return|, or when an improvement
        promises less than the returns' type can tell.
    second: second derivatives of the dynamics too, which makes it DDP: fewer iterations, each of which costs more.
    repeat_last: whether a warm start fills its open end with the last action or the middle of the box.

    It begins with the plan of `after`, any search over vectors, else with the middle of the box: a stationary point
    there (a pendulum at rest) is never left, and a wall of the return never crossed; `WarmStarted` begins with what
    sampling found. An iteration costs 3 H (S + D) nodes and H for each step tried (`derivatives.py` counts).
    """

    horizon: int = 20
    iterations: int = 100
    tolerance: float = 1e-4
    second: bool = False
    repeat_last: bool = True

    def __post_init__(self) -> None:
        for name in ("horizon", "iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1, got {getattr(self, name)}")
        if not self.tolerance >= 0:
            raise ValueError(f"tolerance is at least 0, got {self.tolerance}")

    def begin(
        self, root: Expansion, actions: ActionSpace, size: Size, *, keys: Keys, after: Any | None = None
    ) -> ILQRSearch:
        """See `Planner.begin`. Errors: ValueError for actions that are slots."""
        if not isinstance(actions, BoxActions):
            raise ValueError(
                f"{type(self).__name__} wants vectors within a BoxActions, got {actions}; plan over slots with MCTS"
            )
        return ILQRSearch(self, root, actions, size, keys, after)


@dataclass(frozen=True, kw_only=True)
class DDP(ILQR):
    """Differential dynamic programming: `ILQR` with second derivatives of the dynamics."""

    second: bool = True


WALK, CURVE, TRY = range(3)
"""What a row wants next: its first plan walked, derivatives along its plan, a step tried."""


class ILQRSearch(SequenceSearch):
    """One run; a query holds the rows that want the same.

    actions [B, H, D] and states [B, H + 1, S] are the best plan so far, worth value [B]; gradient [B] its certificate.
    mu, growth, alpha [B]: regularisation, its growth, and the step being tried.
    """

    def __init__(
        self, planner: ILQR, root: Expansion, box: BoxActions, size: Size, keys: Keys, after: Any | None = None
    ) -> None:
        super().__init__(root, box, keys)
        self.planner, self.horizon = planner, max(1, min(planner.horizon, size.nodes))
        self.actions = carried(after, self.rows, box, self.horizon, planner.repeat_last)
        self.states: Tensor | None = None
        self.quadratic: Quadratic | None = None
        self.law: Law | None = None
        self.gradient = torch.full((self.rows,), torch.nan).to(self.value)
        self.mu = torch.zeros(self.rows, dtype=torch.float64, device=self.actions.device)
        self.growth, self.alpha = torch.ones_like(self.mu), torch.ones_like(self.mu)
        self.wants = np.full(self.rows, WALK)
        self.improved = np.zeros(self.rows, np.int64)

    def ask(self, remaining: Int) -> SequenceQuery:
        """The next query: of all free rows those that want what the first of them wants."""
        free = self._free()
        self._stop_reason[free & (np.asarray(remaining) < self._prices()[self.wants])] = "budget"
        rows = np.flatnonzero(free & ~self.done)
        if not len(rows):
            return nothing(self.actions)
        kind = self.wants[rows[0]]
        rows = rows[self.wants[rows] == kind]
        return self._query(rows, kind, self._at(rows), self._await(rows, 1))

    def _prices(self) -> NDArray[np.int64]:
        """[3] nodes that walking, derivatives and a step cost a row; unknown while no state was seen."""
        curves = 0
        if self.states is not None:
            size = self.states.shape[2]
            curves = curves_nodes(self.horizon, size + self.actions.shape[2], size if self.planner.second else 0)
        return np.array([self.horizon, curves, self.horizon])

    def _query(self, rows: NDArray[Any], kind: int, at: Rows, keys: Keys) -> SequenceQuery:
        row, plans = rows.astype(np.int32), self.actions[at][:, None]
        if kind == WALK:
            return Walks(row, plans, keys)
        assert self.states is not None
        around = self.states[at][:, :-1]
        if kind == CURVE:
            return Curves(row, plans, keys, around, self.planner.second)
        assert self.law is not None
        step = self.alpha[at][:, None, None] * self.law.feedforward[at]
        return Walks(row, (plans + step[:, None]).to(plans), keys, around, self.law.feedback[at].to(plans))

    def tell(self, query: Any, answer: Any) -> None:
        """See `SequenceSearch.tell`."""
        rows = self._waiting(query, "tell")
        if not len(rows):
            return
        kind, at = self.wants[rows[0]], self._at(rows)
        returns = returns_of(query, answer)[:, 0, 0].to(self.value)
        if kind == CURVE:
            self._curved(rows, at, query, answer)
        elif kind == WALK:
            refuse_lost(rows, torch.isfinite(returns)[:, None])
            self._moved(rows, at, returns, answer)
        else:
            self._tried(rows, at, returns, answer)
        self._told(rows)

    def _moved(self, rows: NDArray[Any], at: Rows, returns: Tensor, answer: Any) -> None:
        """These rows have a new plan, whose derivatives are wanted."""
        if self.states is None:
            self.states = answer.states.new_zeros(self.rows, *answer.states.shape[2:])
        self.actions[at], self.states[at] = answer.actions[:, 0].to(self.actions), answer.states[:, 0]
        self.value[at], self.gradient[at] = returns, torch.nan
        self.wants[rows] = CURVE

    def _curved(self, rows: NDArray[Any], at: Rows, query: Any, answer: Any) -> None:
        """Derivatives are there: certify, then improve or stop."""
        found = Quadratic.of(answer, query.sequences[:, 0], self.box)
        norm = certificate(found)
        if not bool(torch.isfinite(norm).any()):
            raise ModelError(f"derivatives of row(s) {rows.tolist()} are not finite; the model's functions have kinks "
                             "or poles there, or its states have run away")  # fmt: skip
        if self.quadratic is None:
            every = torch.zeros(self.rows, dtype=torch.int64, device=norm.device)
            self.quadratic = found.take(every)
        self.quadratic.put(at, found)
        self.gradient[at] = norm.to(self.gradient)
        self._stop_reason[rows[torch.isnan(norm).cpu().numpy()]] = "stalled"
        self._stop_reason[rows[(norm <= self._enough(at)).cpu().numpy()]] = "converged"
        self._improve(rows[~self.done[rows]])

    def _improve(self, rows: NDArray[Any]) -> None:
        """A law for each of these rows. One that promises nothing ends them: as converged where it is hardly
        regularised (Newton's decrement), else as stalled, and so does one that is not finite."""
        if not len(rows):
            return
        assert self.quadratic is not None
        at = self._at(rows)
        law = backward(self.quadratic.take(at), self.mu[at])
        self._keep(rows, at, law)
        ended = (~law.ok | (law.first <= self._noise(at))).cpu().numpy()
        plain = (law.ok & (self.mu[at] <= self._enough(at))).cpu().numpy()
        self._stop_reason[rows[ended]] = np.where(plain[ended], "converged", "stalled")

    def _enough(self, at: Rows) -> Tensor:
        """[M] the certificate at which these rows have converged."""
        return self.planner.tolerance * (1 + self.value[at].abs())

    def _noise(self, at: Rows) -> Tensor:
        """[M] differences of returns that mean nothing in the type they are computed in."""
        return 4 * torch.finfo(self.value.dtype).eps * (1 + self.value[at].abs())

    def _keep(self, rows: NDArray[Any], at: Rows, law: Law) -> None:
        if self.law is None:
            every = torch.zeros(self.rows, dtype=torch.int64, device=law.first.device)
            self.law = Law(*(getattr(law, n)[every] for n in ("feedforward", "feedback", "first", "second", "ok")))
        for name in ("feedforward", "feedback", "first", "second", "ok"):
            getattr(self.law, name)[at] = getattr(law, name)
        self.alpha[at] = 1.0
        self.wants[rows] = TRY

    def _firmer(self, rows: NDArray[Any]) -> NDArray[Any]:
        """More regularisation for these rows; those of them that can have more."""
        at = self._at(rows)
        self.growth[at] = (self.growth[at] * GROWTH).clamp(min=GROWTH)
        self.mu[at] = (self.mu[at] * self.growth[at]).clamp(min=LEAST_MU)
        spent = (self.mu[at] > MOST_MU).cpu().numpy()
        self._stop_reason[rows[spent]] = "stalled"
        return rows[~spent]

    def _looser(self, at: Rows) -> None:
        self.growth[at] = (self.growth[at] / GROWTH).clamp(max=1 / GROWTH)
        mu = self.mu[at] * self.growth[at]
        self.mu[at] = torch.where(mu >= LEAST_MU, mu, 0)

    def _tried(self, rows: NDArray[Any], at: Rows, returns: Tensor, answer: Any) -> None:
        """A step was walked: take it where it brought enough, else halve it, at last regularise more."""
        assert self.law is not None
        alpha = self.alpha[at]
        promised = alpha * self.law.first[at] + alpha.square() * self.law.second[at]
        brought = (returns - self.value[at]).double()
        good = (torch.isfinite(returns) & (brought > ARMIJO * promised)).cpu().numpy()
        self.alpha[at] = alpha / 2
        if good.any():
            part = torch.from_numpy(np.flatnonzero(good)).to(returns.device)
            taken = rows[good]
            length = alpha[part].cpu().numpy()
            self._looser(self._at(taken[length >= LONG]))
            self._firmer(taken[length < SHORT])
            self._moved(taken, self._at(taken), returns[part], _Part(answer.actions[part], answer.states[part]))
            self.improved[taken] += 1
            self._stop_reason[taken[self.improved[taken] >= self.planner.iterations]] = "exhausted"
        short = rows[~good]
        self._improve(self._firmer(short[self.alpha[self._at(short)].cpu().numpy() < 0.5**HALVINGS]))

    def plan(self) -> Plan:
        """The best plan so far, tensor [B, H, D] within the box, with its certificate."""
        return self._found(self.actions, self.value, self.gradient)


@dataclass
class _Part:
    """The actions and states of some rows of an answer."""

    actions: Tensor
    states: Tensor
