"""Searches over vectors in a problem with a known optimum, and by hand through ask and tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from forethought.planning.interface import (
    BoxActions,
    Expansion,
    Returns,
    SequenceQuery,
    Size,
)
from forethought.planning.noise import keys_of
from forethought.planning.rollout import rollout
from forethought.planning.sampling.gaussian import GaussianSearch
from forethought.planning.shooting import CEM, MPPI, BestOfN, Shooting
from forethought.planning.usage import NODES

PLANNERS = [BestOfN(), CEM(), MPPI()]
NAMES = ["best_of_n", "cem", "mppi"]


A = np.array([[1.0, 0.1], [0.0, 1.0]])
B = np.array([[0.0], [0.1]])
Q, R, FINAL = np.diag([1.0, 0.1]), np.array([[0.05]]), np.diag([5.0, 1.0])


@dataclass
class LinearQuadratic:
    """x' = A x + B u, reward -(x'Q x + u'R u) of the step, value -x'F x of what is reached."""

    actions: BoxActions = field(default_factory=lambda: BoxActions(torch.tensor([-4.0]), torch.tensor([4.0])))
    cost: int = 1

    def start(self, problems: Any) -> tuple[torch.Tensor, Expansion]:
        states = torch.as_tensor(problems, dtype=torch.float32)
        return states, Expansion(torch.zeros(len(states)), torch.ones(len(states)), torch.zeros(len(states)))

    def expand(self, states: Any, actions: Any, *, to_end: bool = False, evaluate: str = "all") -> Any:
        reward = -(quadratic(states, Q) + quadratic(actions, R))
        reached = (states[:, None] * torch.tensor(A, dtype=torch.float32)).sum(-1)
        reached = reached + actions * torch.tensor(B[:, 0], dtype=torch.float32)
        return reached, Expansion(reward, torch.ones_like(reward), -quadratic(reached, FINAL))


def quadratic(x: torch.Tensor, weight: np.ndarray) -> torch.Tensor:
    return (x[:, :, None] * x[:, None, :] * torch.tensor(weight, dtype=torch.float32)).sum((1, 2))


def riccati(horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Cost matrix and gain of the first of `horizon` steps (Bertsekas, Dynamic Programming 4.1)."""
    cost, gain = FINAL, np.zeros((1, 2))
    for _ in range(horizon):
        gain = np.linalg.solve(R + B.T @ cost @ B, B.T @ cost @ A)
        cost = Q + A.T @ cost @ (A - B @ gain)
    return cost, gain


STARTS = np.array([[1.0, 0.0], [-0.5, 0.5], [0.3, -0.8], [0.0, 1.0]])


def solve(planner: Shooting, nodes: int, seed: int = 0, starts: Any = STARTS, after: Any = None) -> Any:
    model = LinearQuadratic()
    states, root = model.start(starts)
    search = planner.begin(root, model.actions, Size(nodes), keys=keys_of(seed, len(starts)), after=after)
    remaining = np.full(len(starts), nodes)
    while not search.done.all():
        query = search.ask(remaining)
        answer = rollout(model, states[query.row], query)
        remaining[query.row] -= answer.usage[:, NODES].astype(int)
        search.tell(query, answer)
    assert (remaining >= 0).all()
    return search


def gaps(planner: Shooting, nodes: int, horizon: int = 10) -> float:
    """Mean share of the optimal cost lost, over starts and seeds, the plan scored anew from outside the search."""
    model, cost = LinearQuadratic(), riccati(horizon)[0]
    best = np.einsum("bi,ij,bj->b", STARTS, cost, STARTS)
    lost = []
    for seed in range(4):
        actions = solve(planner, nodes, seed).plan().actions
        scored = rollout(model, model.start(STARTS)[0], SequenceQuery(np.arange(4, dtype=np.int32), actions[:, None]))
        lost.append((-scored.returns[:, 0, 0].numpy() - best) / best)
    assert np.min(lost) > -1e-4
    return float(np.mean(lost))


def begin(planner: Shooting, nodes: int, rows: Any = 4, box: BoxActions | None = None, **more: Any) -> GaussianSearch:
    keys = keys_of(0, rows)
    root = Expansion(np.zeros(len(keys)), np.ones(len(keys)), np.zeros(len(keys)))
    search = planner.begin(root, box or LinearQuadratic().actions, Size(nodes), keys=keys, **more)
    assert isinstance(search, GaussianSearch)
    return search


def ask_once(planner: Shooting, nodes: int) -> SequenceQuery:
    return begin(planner, nodes).ask(np.full(4, nodes))


def score(query: SequenceQuery) -> Returns:
    """Any smooth return will do: the sequences' distance from 1, row by row."""
    return Returns(-(query.sequences - 1).square().sum((-1, -2))[..., None])


def part(query: SequenceQuery, index: Any) -> SequenceQuery:
    return SequenceQuery(query.row[index], query.sequences[index], None if query.keys is None else query.keys[index])


def finish(search: GaussianSearch, nodes: int) -> GaussianSearch:
    remaining = np.full(len(search.keys), nodes)
    while not search.done.all():
        query = search.ask(remaining)
        remaining[query.row] -= query.sequences.shape[1] * query.sequences.shape[2]
        search.tell(query, score(query))
    return search
