"""MCTS as a slow reference written from the papers, and the settings that are compared with it.

`Slow` is one tree of Python objects that recomputes everything it needs at every step; it shares no code with the
kernels. Sources: Schrittwieser et al. 2020 (MuZero), appendix B; Kocsis and Szepesvari 2006 (UCT); Danihelka et al.
2022 (Gumbel); Couetoux et al. 2011 (progressive widening); Liu et al. 2020 (WU-UCT).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from forethought.planning import (
    MCTS,
    Budget,
    Expansion,
    plan,
)
from forethought.planning.testing.problems import Table
from forethought.planning.trees.mcts import GumbelSettings, WideningSettings
from forethought.planning.trees.nodes import DUPLICATE
from forethought.planning.trees.selection import halving_visits

MakeTable = Callable[..., Table]


@dataclass(eq=False)
class Node:
    state: Any
    parent: Node | None = None
    slot: int = 0
    reward: float = 0.0
    discount: float = 1.0
    raw: float = 0.0
    ended: bool = False
    awaited: bool = False
    twin: Node | None = None
    copies: int = 1
    priors: dict[int, float] | None = None
    children: dict[int, Node] = field(default_factory=dict)
    returns: list[float] = field(default_factory=list)
    backed: float = 0.0

    @property
    def q(self) -> float:
        return self.reward + self.discount * self.backed

    def below(self) -> list[Node]:
        """Children that are states of their own."""
        return [c for _, c in sorted(self.children.items()) if c.twin is None]

    def pending(self) -> int:
        return int(self.awaited) + sum(c.pending() for c in self.children.values())

    def n(self) -> int:
        """Visits, those under way included."""
        return len(self.returns) + self.pending()


class Slow:
    """One tree over one row of a `Table`, by the book."""

    def __init__(self, planner: MCTS, model: Table, start: int, limit: int, gumbel: Any = None) -> None:
        self.p, self.model, self.limit, self.gumbel = planner, model, limit, gumbel
        self.unbounded = model.sampled
        self.closing = planner.terminal == "close" or (planner.terminal is None and self.unbounded)
        self.widening = planner.widening.progressive
        if self.widening == "auto":
            self.widening = (1.0, 0.5) if self.unbounded else None
        self.low, self.high = math.inf, -math.inf
        self.walks, self.order = 0, []
        self.root = Node(None)
        self.fill(self.root, *model.start([start]))

    def fill(self, node: Node, state: Any, said: Expansion) -> None:
        node.state = state
        node.reward, node.discount, node.raw = float(said.reward[0]), float(said.discount[0]), float(said.value[0])
        node.ended = node.discount == 0
        node.returns, node.backed, node.awaited = [node.raw], node.raw, False
        if not self.unbounded:
            logits = said.logits[0].astype(np.float64)
            p = np.exp(logits - logits.max())
            node.priors = {a: float(x) for a, x in enumerate(p / p.sum()) if logits[a] > -math.inf}

    def fresh(self, node: Node) -> int | None:
        """The unopened slot that comes next, None where there is none."""
        if self.unbounded:
            full = len(node.below()) >= self.p.widening.width or len(node.children) >= 2 * self.p.widening.width
            return None if full else next(k for k in range(99) if k not in node.children)
        left = [(-p, a) for a, p in node.priors.items() if a not in node.children]
        return min(left)[1] if left else None

    def closed(self, node: Node) -> bool:
        if node.awaited or not self.closing:
            return False
        if node.ended:
            return True
        return self.fresh(node) is None and all(self.closed(c) for c in node.below())

    def span(self, node: Node) -> tuple[float, float]:
        if self.p.normalise == "tree":
            return self.low, self.high
        if self.p.normalise == "siblings":
            seen = [node.backed] + [c.q for c in node.below() if c.returns]
            return min(seen), max(seen)
        return self.p.normalise

    def choose(self, node: Node) -> Node | int | None:
        """A child to walk to, a slot to open, or None."""
        if self.p.selection == "gumbel":
            return self.choose_gumbel(node)
        total, slot = node.n(), self.fresh(node)
        walkable = [c for c in node.below() if not self.closed(c)]
        if self.widening and slot is not None:
            c, alpha = self.widening
            if not walkable or len(node.below()) < max(1, c * total**alpha):
                return slot
            slot = None
        if slot is not None and self.p.selection == "uct":
            return slot
        low, high = self.span(node)
        scale = lambda q: (q - low) / (high - low) if high > low else 0.0  # noqa: E731
        blank = scale(node.backed) if self.unbounded or self.p.first_play == "parent" else 0.0
        bonus = math.sqrt(total) * (self.p.c_init + math.log((total + self.p.c_base + 1) / self.p.c_base))
        options: list[tuple[float, int, Node | int]] = []
        for child in walkable:
            value = scale(child.q) if child.returns else blank
            if self.p.selection == "uct":
                value += self.p.c_uct * math.sqrt(math.log(total) / child.n())
            else:
                value += bonus * self.prior(node, child) / (1 + child.n())
            options.append((-value, child.slot, child))
        if slot is not None:
            p = 1 / self.p.widening.width if self.unbounded else node.priors[slot]
            options.append((-(blank + bonus * p), slot, slot))
        return min(options, key=lambda o: o[:2])[2] if options else None

    def prior(self, node: Node, child: Node) -> float:
        if self.unbounded:
            return child.copies / len(node.children)
        return sum(node.priors[s] for s, c in node.children.items() if c is child or c.twin is child)

    def improved(self, node: Node) -> dict[int, tuple[float, float]]:
        """slot -> (log prior, sigma of the completed Q); equations 8, 10 and appendix D."""
        seen = {s: c for s, c in node.children.items() if c.returns and c.twin is None}
        visits = sum(c.n() for c in node.below())
        mixed = node.raw
        if seen:
            mass = sum(node.priors[s] for s in seen)
            mixed = (node.raw + visits * sum(node.priors[s] * c.q for s, c in seen.items()) / mass) / (1 + visits)
        every = [seen[a].q if a in seen else mixed for a in range(self.model.next.shape[1])]
        span = max(max(every) - min(every), 1e-8)
        gumbel, most = self.p.gumbel, max([c.n() for c in node.below()], default=0)
        scale = (gumbel.maxvisit_init + most) * gumbel.value_scale
        return {a: (math.log(p), scale * (every[a] - min(every)) / span) for a, p in node.priors.items()}

    def choose_gumbel(self, node: Node) -> Node | int | None:
        better = self.improved(node)
        n = {a: node.children[a].n() if a in node.children else 0 for a in better}
        free = [a for a in better if a not in node.children or not self.closed(node.children[a])]
        if not free:
            return None
        if node is self.root:
            considered = min(self.p.gumbel.considered, len(node.priors))
            due = halving_visits(considered, self.limit)[min(node.n() - 1, self.limit - 1)]
            free = [a for a in free if n[a] == due] or free
            a = max(free, key=lambda a: (self.gumbel[a] + sum(better[a]), -a))
        else:
            top = max(sum(better[a]) for a in free)
            mass = {a: math.exp(sum(better[a]) - top) for a in free}
            share = 1 + sum(n.values())
            a = max(free, key=lambda a: (mass[a] / sum(mass.values()) - n[a] / share, -a))
        return node.children.get(a, a)

    def ask(self) -> list[Node]:
        """Up to `leaves` leaves; empty when the limit is reached or everything is closed."""
        out: list[Node] = []
        while len(out) < self.p.leaves and self.walks < self.limit and not self.closed(self.root):
            node: Node | int | None = self.root
            while isinstance(node, Node) and not node.ended and not node.awaited:
                above, node = node, self.choose(node)
            if isinstance(node, Node) and node.awaited:
                break
            self.walks += 1
            if isinstance(node, Node):
                node.returns.append(node.raw)
                self.back_up(node, node.raw)
            elif node is None:
                above.returns.append(above.raw)
                self.back_up(above, above.raw)
            else:
                child = above.children[node] = Node(None, above, node, awaited=True)
                self.order.append(child)
                out.append(child)
        return out

    def tell(self, node: Node) -> None:
        state, said = self.model.expand(node.parent.state, np.array([node.slot]))
        if self.unbounded:
            for other in self.order:
                if other.parent is node.parent and other.returns and other.state == state:
                    node.twin, node.awaited = other, False
                    other.copies += 1
                    return
        self.fill(node, state, said)
        self.back_up(node, node.raw)

    def back_up(self, node: Node, value: float) -> None:
        while node.parent is not None:
            self.low, self.high = min(self.low, node.q), max(self.high, node.q)
            value = node.reward + node.discount * value
            node = node.parent
            node.returns.append(value)
            known = [c.q for c in node.below() if c.returns]
            node.backed = max(known) if self.p.backup == "max" else sum(node.returns) / len(node.returns)

    def run(self) -> Slow:
        while leaves := self.ask():
            for leaf in leaves:
                self.tell(leaf)
        return self


def same_tree(slow: Slow, search: Any, row: int) -> None:
    """Node for node: where it hangs, how often it was visited, what it is worth, whether it is closed or merged."""
    nodes = search.tree.nodes[row, : len(slow.order) + 1]
    ids = {id(slow.root): 0} | {id(n): i + 1 for i, n in enumerate(slow.order)}
    assert [ids[id(n.parent)] for n in slow.order] == nodes["parent"][1:].tolist()
    assert [n.slot for n in slow.order] == nodes["action"][1:].tolist()
    assert [len(n.returns) for n in [slow.root, *slow.order]] == nodes["visits"].tolist()
    assert [n.twin is not None for n in slow.order] == (nodes["status"][1:] == DUPLICATE).tolist()
    own = [i for i, n in enumerate(slow.order, 1) if n.twin is None]
    np.testing.assert_allclose(nodes["q"][own], [slow.order[i - 1].q for i in own], rtol=1e-4, atol=1e-5)
    if slow.closing:
        assert [slow.closed(slow.order[i - 1]) for i in own] == nodes["exhausted"][own].astype(bool).tolist()
    assert search.tree.headers["next_id"][row] == len(nodes)
    assert not nodes["pending"].any()


PLANNERS = {
    "puct, by tree": MCTS(),
    "puct, by siblings": MCTS(normalise="siblings"),
    "puct, unvisited lowest": MCTS(first_play="lowest"),
    "puct, by siblings, unvisited lowest": MCTS(normalise="siblings", first_play="lowest"),
    "puct, by bounds, unvisited lowest": MCTS(normalise=(-3.0, 4.0), c_init=2.0, c_base=100.0, first_play="lowest"),
    "puct, four leaves, unvisited lowest": MCTS(leaves=4, first_play="lowest"),
    "puct, closing, unvisited lowest": MCTS(terminal="close", first_play="lowest"),
    "puct, by bounds": MCTS(normalise=(-3.0, 4.0), c_init=2.0, c_base=100.0),
    "puct, max backup": MCTS(backup="max"),
    "puct, four leaves": MCTS(leaves=4),
    "puct, closing": MCTS(terminal="close"),
    "puct, widening": MCTS(widening=WideningSettings(progressive=(1.5, 0.4))),
    "uct": MCTS(selection="uct"),
    "uct, closing, three leaves": MCTS(selection="uct", terminal="close", leaves=3, c_uct=0.7),
    "uct, max, siblings": MCTS(selection="uct", backup="max", normalise="siblings"),
    "gumbel": MCTS(selection="gumbel"),
    "gumbel, two considered": MCTS(
        selection="gumbel", gumbel=GumbelSettings(considered=2, value_scale=0.3, maxvisit_init=20.0)
    ),
    "gumbel, closing": MCTS(selection="gumbel", terminal="close"),
    "gumbel, max, four leaves": MCTS(selection="gumbel", backup="max", leaves=4),
}
ENDLESS = {
    "puct": MCTS(),
    "puct, wide": MCTS(widening=WideningSettings(width=6, progressive=None)),
    "puct, absorbing": MCTS(terminal="absorb", widening=WideningSettings(width=5)),
    "puct, five leaves": MCTS(leaves=5, widening=WideningSettings(width=5, progressive=(2.0, 0.5))),
    "uct": MCTS(selection="uct", widening=WideningSettings(width=5)),
    "uct, max, unwidened": MCTS(selection="uct", backup="max", widening=WideningSettings(progressive=None)),
}


def compared(planner: MCTS, model: Table, simulations: int = 60) -> Any:
    starts = list(range(4))
    outcome = plan(replace(planner, simulations=simulations), model, starts, Budget(nodes=simulations), seed=3)
    for row in starts:
        noise = outcome.search.noise[row] if planner.selection == "gumbel" else None
        same_tree(Slow(planner, model, row, simulations, noise).run(), outcome.search, row)
    return outcome
