"""iLQR and DDP with bounds on the actions.

iLQR: Li and Todorov 2004, "Iterative linear quadratic regulator design for nonlinear biological movement systems";
DDP: Jacobson and Mayne 1970. Regularisation schedule and line search: Tassa, Erez and Todorov 2012, sections II-F and
II-D; bounds: Tassa, Mansard and Todorov 2014. The model is any that can be differentiated (`vectors/queries.py`); the
equations of one iteration are in `backward.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..interface import (
    ActionSpace,
    BoxActions,
    Expansion,
    Int,
    Keys,
    Plan,
    Returns,
    SequenceQuery,
    Size,
    WarmStartable,
)
from ..settings_checks import check_flags, check_integers, check_numbers
from ..vectors.base import (
    NO_FINITE_RETURN,
    RowNumbers,
    Rows,
    SequenceSearch,
    any_finite,
    checked_returns,
    empty_query,
)
from ..vectors.queries import Linearization, Rollouts, StepDerivatives, Trajectories, linearization_nodes
from ..vectors.warm_start import initial_sequences
from .backward import LinearPolicy, QuadraticModel, backward_pass, certificate

MU_FACTOR, MU_MIN, MU_MAX = 2.0, 1e-6, 1e10
"""Tassa 2012, section II-F: the factor by which the growth of mu changes, and bounds of mu, which is in multiples of
the size of returns (`QuadraticModel.unit`); below MU_MIN it is 0."""

MAX_HALVINGS, ARMIJO, LONG_STEP, SHORT_STEP = 10, 1e-4, 0.5, 0.01
"""The most halvings of a step, and the fraction of the expected improvement that a step must achieve. An accepted step
of at least LONG_STEP decreases mu, one below SHORT_STEP increases it (as in crocoddyl's solvers)."""


@dataclass(frozen=True, kw_only=True)
class ILQR:
    """The iterative linear-quadratic regulator with bounds: one local optimum, with a certificate.

        maximise    sum_t (d_0 .. d_{t-1}) r(x_t, u_t)  +  (d_0 .. d_{H-1}) value(x_H)
        subject to  x_{t+1} = f(x_t, u_t),  low <= u_t <= high

    Each iteration, around the best trajectory (x_bar, u_bar) so far:

        linearize       f_z, r_z, r_zz along the trajectory                    Linearization
        backward pass   k_t, K_t by the equations of `backward.py`            backward_pass
        line search     u_t = u_bar_t + alpha k_t + K_t (x_t - x_bar_t), clipped, with alpha = 1, 1/2, 1/4 ..
                        until the return rises by ARMIJO times the expected improvement

    horizon: H; shortened to a smaller budget. iterations: the most improvements.
    tolerance: it has converged when `Plan.gradient` is at most this fraction of |return|, when the next step would
        change no action by more than this fraction of its half-range, or when the expected improvement is within
        rounding errors of the return. None of these depends on the unit of the reward.
    second: second derivatives of the dynamics too, which makes it DDP: fewer iterations, each of which costs more.
    repeat_last: as in `GaussianSettings`.

    It begins with the plan of `after`, any search over vectors, else with the middle of the box. It never leaves a
    stationary point there (a pendulum at rest) and never crosses a region of lower return; `WarmStarted` begins with
    the plan of a sampling planner. An iteration costs 3 H (S + D) nodes (see `Linearization`), and H for each step
    tried.
    """

    horizon: int = 20
    iterations: int = 100
    tolerance: float = 1e-4
    second: bool = False
    repeat_last: bool = True

    def __post_init__(self) -> None:
        check_integers(self, 1, "horizon", "iterations")
        check_numbers(self, "tolerance", least=0)
        check_flags(self, "second", "repeat_last")

    def begin(
        self, root: Expansion, actions: ActionSpace, size: Size, *, keys: Keys, after: WarmStartable | None = None
    ) -> ILQRSearch:
        """See `Planner.begin`. Errors: ValueError for indexed actions."""
        if not isinstance(actions, BoxActions):
            name = type(self).__name__
            raise ValueError(f"{name} plans vectors within BoxActions, got {actions}; plan over indices with MCTS")
        return ILQRSearch(self, root, actions, size, keys, after)


@dataclass(frozen=True, kw_only=True)
class DDP(ILQR):
    """Differential dynamic programming (Jacobson and Mayne 1970; Tassa et al. 2014): `ILQR` with second derivatives of
    the dynamics, the term V_x . f_zz of Q_zz in `backward.py`. Settings and errors are those of `ILQR`."""

    second: bool = True


NO_DERIVATIVES = (
    "derivatives are not finite; the model's functions have kinks or poles there, or its states have diverged"
)

ROLLOUT, LINEARIZE, LINE_SEARCH = range(3)
"""What a row asks next: the trajectory of its first plan, derivatives along its plan, or the trajectory of a step."""


class ILQRSearch(SequenceSearch):
    """One run; a query holds the rows that are in the same phase.

    actions [B, H, D] and states [B, H + 1, S] are the best trajectory so far, of return value [B]; gradient [B] is its
    certificate. mu, growth [B]: regularisation and its growth, Tassa's mu and delta. alpha [B]: the step size being
    tried. phase [B]: see `ROLLOUT`. improvements [B]: accepted steps.
    """

    def __init__(
        self,
        planner: ILQR,
        root: Expansion,
        box: BoxActions,
        size: Size,
        keys: Keys,
        after: WarmStartable | None = None,
    ) -> None:
        super().__init__(root, box, keys)
        self.planner, self.horizon = planner, max(1, min(planner.horizon, size.nodes))
        self.actions = initial_sequences(after, self.rows, box, self.horizon, planner.repeat_last)
        self.states: Tensor | None = None
        self.quadratic: QuadraticModel | None = None
        self.policy: LinearPolicy | None = None
        self.gradient = torch.full((self.rows,), torch.nan).to(self.value)
        self.mu = torch.zeros(self.rows, dtype=torch.float64, device=self.actions.device)
        self.growth, self.alpha = torch.ones_like(self.mu), torch.ones_like(self.mu)
        self.phase = np.full(self.rows, ROLLOUT)
        self.improvements = np.zeros(self.rows, np.int64)

    def ask(self, remaining: Int) -> SequenceQuery:
        """The next query, about all idle rows in the phase of the first of them."""
        idle = self._idle()
        self._stop_reason[idle & (np.asarray(remaining) < self._nodes_of_phases()[self.phase])] = "budget"
        rows = np.flatnonzero(idle & ~self.done)
        if not len(rows):
            return empty_query(self.actions)
        phase = self.phase[rows[0]]
        rows = rows[self.phase[rows] == phase]
        return self._query(rows, phase, self._index(rows), self._mark_pending(rows, 1))

    def _nodes_of_phases(self) -> NDArray[np.int64]:
        """[3] nodes per row; those of a linearization are unknown until a state was seen, and not needed before."""
        nodes = 0
        if self.states is not None:
            size = self.states.shape[2]
            hessians = size if self.planner.second else 0
            nodes = linearization_nodes(self.horizon, size + self.actions.shape[2], hessians)
        return np.array([self.horizon, nodes, self.horizon])

    def _query(self, rows: RowNumbers, phase: int, index: Rows, keys: Keys) -> SequenceQuery:
        row, plans = rows.astype(np.int32), self.actions[index][:, None]
        if phase == ROLLOUT:
            return Rollouts(row, plans, keys)
        assert self.states is not None
        around = self.states[index][:, :-1]
        if phase == LINEARIZE:
            return Linearization(row, plans, keys, around, self.planner.second)
        assert self.policy is not None
        step = self.alpha[index][:, None, None] * self.policy.feedforward[index]
        return Rollouts(row, (plans + step[:, None]).to(plans), keys, around, self.policy.feedback[index].to(plans))

    def tell(self, query: SequenceQuery, answer: Returns) -> None:
        """See `SequenceSearch.tell`."""
        rows = self._pending_rows(query, "tell")
        if not len(rows):
            return
        phase, index = self.phase[rows[0]], self._index(rows)
        returns = checked_returns(query, answer)[:, 0, 0].to(self.value)
        if phase == LINEARIZE:
            assert isinstance(answer, StepDerivatives)
            self._linearized(rows, index, query, answer)
        else:
            assert isinstance(answer, Trajectories) and answer.actions is not None and answer.states is not None
            if phase == ROLLOUT:
                self._begin(rows, returns, answer.actions, answer.states)
            else:
                self._line_search(rows, index, returns, answer.actions, answer.states)
        self._mark_told(rows)

    def _begin(self, rows: RowNumbers, returns: Tensor, actions: Tensor, states: Tensor) -> None:
        """Take the trajectories of the first plans, of those rows whose return is finite."""
        valid = any_finite(torch.isfinite(returns)[:, None])
        self._end_invalid(rows, valid, NO_FINITE_RETURN)
        part, rows = torch.from_numpy(np.flatnonzero(valid)).to(returns.device), rows[valid]
        if len(rows):
            self._accept(rows, self._index(rows), returns[part], actions[part], states[part])

    def _accept(self, rows: RowNumbers, index: Rows, returns: Tensor, actions: Tensor, states: Tensor) -> None:
        """Make trajectories [M, 1, H, D] and [M, 1, H + 1, S] the best of these rows; linearize there next."""
        if self.states is None:
            self.states = states.new_zeros(self.rows, *states.shape[2:])
        self.actions[index], self.states[index] = actions[:, 0].to(self.actions), states[:, 0]
        self.value[index], self.gradient[index] = returns, torch.nan
        self.phase[rows] = LINEARIZE

    def _linearized(self, rows: RowNumbers, index: Rows, query: SequenceQuery, answer: StepDerivatives) -> None:
        """Certify these rows by their derivatives, then stop or compute a policy."""
        found = QuadraticModel.of(answer, query.sequences[:, 0], self.box)
        norm = certificate(found)
        found.unit = torch.maximum(self.value[index].abs().double(), norm)
        if self.quadratic is None:
            every = torch.zeros(self.rows, dtype=torch.int64, device=norm.device)
            self.quadratic = found.take(every)
        self.quadratic.put(index, found)
        self.gradient[index] = norm.to(self.gradient)
        finite = torch.isfinite(norm).cpu().numpy()
        self._stop_reason[rows[~finite]] = "stalled"
        self._end_invalid(rows, finite | (self.improvements[rows] > 0), NO_DERIVATIVES)
        self._stop_reason[rows[(norm <= self._tolerance_of(index)).cpu().numpy()]] = "converged"
        self._improve(rows[~self.done[rows]])

    def _improve(self, rows: RowNumbers) -> None:
        """Compute a policy for each of these rows and begin its line search.

        A row whose step is within the tolerance, or whose expected improvement (Newton's decrement) is within rounding
        errors, ends: as converged where mu is small, else as stalled. So does a row whose policy is not finite.
        """
        if not len(rows):
            return
        assert self.quadratic is not None
        index = self._index(rows)
        policy = backward_pass(self.quadratic.take(index), self.mu[index])
        self._begin_line_search(rows, index, policy)
        unregularised = policy.finite & (self.mu[index] <= self.planner.tolerance)
        longest = (policy.feedforward.abs() / self.quadratic.half_range).amax((1, 2))
        arrived = unregularised & (longest <= self.planner.tolerance) & (policy.expected_quadratic <= 0)
        ended = (~policy.finite | arrived | (policy.expected_linear <= self._rounding_error(index))).cpu().numpy()
        self._stop_reason[rows[ended]] = np.where(unregularised.cpu().numpy()[ended], "converged", "stalled")

    def _tolerance_of(self, index: Rows) -> Tensor:
        """[M] the certificate at which these rows have converged."""
        return self.planner.tolerance * self.value[index].abs()

    def _rounding_error(self, index: Rows) -> Tensor:
        """[M] differences of returns that are below the precision of their type."""
        return 4 * torch.finfo(self.value.dtype).eps * self.value[index].abs()

    def _begin_line_search(self, rows: RowNumbers, index: Rows, policy: LinearPolicy) -> None:
        if self.policy is None:
            self.policy = policy.take(torch.zeros(self.rows, dtype=torch.int64, device=policy.finite.device))
        self.policy.put(index, policy)
        self.alpha[index] = 1.0
        self.phase[rows] = LINE_SEARCH

    def _increase_regularization(self, rows: RowNumbers) -> RowNumbers:
        """Increase mu of these rows (Tassa 2012, section II-F). Returns those still below MU_MAX; the others stall."""
        index = self._index(rows)
        self.growth[index] = (self.growth[index] * MU_FACTOR).clamp(min=MU_FACTOR)
        self.mu[index] = (self.mu[index] * self.growth[index]).clamp(min=MU_MIN)
        exceeded = (self.mu[index] > MU_MAX).cpu().numpy()
        self._stop_reason[rows[exceeded]] = "stalled"
        return rows[~exceeded]

    def _decrease_regularization(self, index: Rows) -> None:
        """Decrease mu of these rows; below MU_MIN it is 0."""
        self.growth[index] = (self.growth[index] / MU_FACTOR).clamp(max=1 / MU_FACTOR)
        mu = self.mu[index] * self.growth[index]
        self.mu[index] = torch.where(mu >= MU_MIN, mu, 0)

    def _line_search(self, rows: RowNumbers, index: Rows, returns: Tensor, actions: Tensor, states: Tensor) -> None:
        """Accept the step where the return rose enough; else halve it, and after MAX_HALVINGS increase mu."""
        assert self.policy is not None
        alpha = self.alpha[index]
        linear, quadratic = self.policy.expected_linear[index], self.policy.expected_quadratic[index]
        expected = alpha * linear + alpha.square() * quadratic
        improvement = (returns - self.value[index]).double()
        accepted = (torch.isfinite(returns) & (improvement > ARMIJO * expected)).cpu().numpy()
        self.alpha[index] = alpha / 2
        if accepted.any():
            part = torch.from_numpy(np.flatnonzero(accepted)).to(returns.device)
            improved = rows[accepted]
            length = alpha[part].cpu().numpy()
            self._decrease_regularization(self._index(improved[length >= LONG_STEP]))
            self._increase_regularization(improved[length < SHORT_STEP])
            self._accept(improved, self._index(improved), returns[part], actions[part], states[part])
            self.improvements[improved] += 1
            self._stop_reason[improved[self.improvements[improved] >= self.planner.iterations]] = "exhausted"
        rejected = rows[~accepted]
        too_short = self.alpha[self._index(rejected)].cpu().numpy() < 0.5**MAX_HALVINGS
        self._improve(self._increase_regularization(rejected[too_short]))

    def plan(self) -> Plan:
        """The best plan so far, tensor [B, H, D] within the box, with its certificate."""
        return self._make_plan(self.actions, self.value, self.gradient)
