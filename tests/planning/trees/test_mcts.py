"""MCTS against a slow reference written from the papers, against mctx, and on problems with known answers.

`Slow` is one tree of Python objects that recomputes everything it needs at every step; it shares no code with the
kernels. Sources: Schrittwieser et al. 2020 (MuZero), appendix B; Kocsis and Szepesvari 2006 (UCT); Danihelka et al.
2022 (Gumbel); Couetoux et al. 2011 (progressive widening); Liu et al. 2020 (WU-UCT).
"""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forethought.planning import (
    MCTS,
    Budget,
    DiscreteActions,
    Expansion,
    ModelError,
    Size,
    keys_of,
    plan,
)
from forethought.planning.testing.problems import Table, bandit, chain
from forethought.planning.trees.mcts import GumbelSettings, WideningSettings
from forethought.planning.trees.nodes import DUPLICATE
from forethought.planning.trees.selection import halving_visits
from forethought.planning.usage import NODES

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


@pytest.mark.parametrize("name", PLANNERS)
@pytest.mark.parametrize("seed", range(3))
def test_trees_are_those_of_the_slow_reference(name: str, seed: int, table: MakeTable) -> None:
    compared(PLANNERS[name], table(seed, slots=2 + seed % 4))


@pytest.mark.parametrize("name", ENDLESS)
@pytest.mark.parametrize("seed", range(3))
def test_trees_over_unbounded_offers_are_those_of_the_slow_reference(name: str, seed: int, table: MakeTable) -> None:
    outcome = compared(ENDLESS[name], table(seed, slots=3, sampled=True, ends=0.3))
    if ENDLESS[name].widening.width > 4:
        assert (outcome.search.tree.nodes["status"] == DUPLICATE).any()


@pytest.mark.parametrize("name", PLANNERS)
def test_a_row_of_a_batch_is_the_same_row_alone(name: str, table: MakeTable) -> None:
    model, planner, keys = table(1, slots=4), PLANNERS[name], keys_of(5, 6)
    together = plan(planner, model, list(range(6)), Budget(nodes=40), keys=keys)
    for row in range(6):
        alone = plan(planner, model, [row], Budget(nodes=40), keys=keys[row : row + 1])
        np.testing.assert_array_equal(alone.search.tree.block[0], together.search.tree.block[row])
        np.testing.assert_array_equal(alone.plan.weights[0], together.plan.weights[row])
        assert alone.plan.path[0] == together.plan.path[row]


GOLDEN = json.loads((Path(__file__).parent / "data" / "mctx.json").read_text())


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda c: f"{c['kind']}-{c['simulations']}")
def test_visits_and_choices_are_those_of_mctx(case: dict[str, Any]) -> None:
    """Stored from mctx's muzero_policy (no noise, qtransform_by_parent_and_siblings) and gumbel_muzero_policy."""
    arrays = {k: np.array(case[k]) for k in ("next", "reward", "value", "logits", "discount")}
    model, starts = Table(**arrays), case["starts"]
    _, root = model.start(starts)
    root.logits = np.where(np.array(case["invalid"]) == 1, -np.inf, root.logits).astype(np.float32)
    gumbel = GumbelSettings(considered=case.get("considered", 16))
    planner = MCTS(selection=case["kind"], normalise="siblings", first_play="lowest", gumbel=gumbel)
    search = planner.begin(root, model.actions, Size(case["simulations"]), keys=keys_of(0, len(starts)))
    if case["kind"] == "gumbel":
        search.noise[:] = case["gumbel"]
    drive(search, model, starts, case["simulations"])
    assert len({str(v) for v in case["visits"]}) > 3
    for row, visits in enumerate(case["visits"]):
        nodes = search.tree.nodes[row]
        children = {int(nodes["action"][c]): c for c in search.tree.children(row, 0)}
        assert [int(nodes["visits"][children[a]]) if a in children else 0 for a in range(4)] == visits
        for a, c in children.items():
            assert nodes["q"][c] == pytest.approx(case["qvalues"][row][a], abs=1e-3)
    assert [int(a[0]) for a in search.plan().actions] == case["action"]
    if "action_weights" in case:
        np.testing.assert_allclose(search.plan().weights, case["action_weights"], atol=2e-3)


def drive(search: Any, model: Table, starts: list[int], nodes: int) -> None:
    """The lock-step loop, written out: what a reader would write."""
    states = dict(zip(((b, 0) for b in range(len(starts))), model.start(starts)[0]))
    remaining = np.full(len(starts), nodes, np.int32)
    while len(query := search.ask(remaining)):
        parents = torch.stack([states[b, p] for b, p in zip(query.row.tolist(), query.parent.tolist())])
        reached, answer = model.expand(parents, query.action)
        states.update({(b, n): s for b, n, s in zip(query.row.tolist(), query.node.tolist(), reached)})
        np.subtract.at(remaining, query.row, 1)
        search.tell(query, answer)


# problems with known answers


@pytest.mark.compiled
@pytest.mark.parametrize("selection", ["puct", "uct"])
@pytest.mark.parametrize("n", [64, 512])
def test_regret_on_a_bandit_is_within_the_bound_of_ucb1(selection: Any, n: int) -> None:
    """At most c^2 log n / gap^2 + 1 visits of a worse arm where pay is certain (Auer et al. 2002, theorem 1)."""
    arms = np.array([0.3, 0.9, 0.5, 0.1])
    found = plan(MCTS(selection=selection), bandit(list(arms)), [0], Budget(nodes=n)).plan
    assert found.actions[0].tolist() == [1]
    gaps = (0.9 - arms)[[0, 2, 3]] / 0.8
    assert (found.weights[0, [0, 2, 3]] * n <= 2 * np.log(n) / gaps**2 + 1).all()


def test_one_edge_far_worse_than_all_others_does_not_blind_puct_to_what_it_has_not_tried() -> None:
    """Behind slot 0 everything costs 1000. With unvisited edges at the low end of that range the first edge elsewhere
    that is no such disaster looks as good as can be, and is walked again and again."""
    next_ = np.array([[1, 2, 2, 2, 2], [2] * 5, [2] * 5])
    reward = np.array([[0, 0.1, 0.2, 0.3, 1.0], [-1000.0] * 5, [0.0] * 5])
    model = Table(next_, reward, np.array([[1.0, 0, 0, 0, 0], [0.0] * 5, [0.0] * 5]))
    found = {f: plan(MCTS(first_play=f), model, [0], Budget(nodes=12)).plan for f in ("parent", "lowest")}
    assert found["parent"].actions[0][0] == 4 and found["lowest"].actions[0][0] == 1


def test_gumbel_halves_a_bandit_down_to_the_best_arms() -> None:
    planner = MCTS(selection="gumbel", gumbel=GumbelSettings(value_scale=1.0))
    outcome = plan(planner, bandit([0.3, 0.9, 0.5, 0.1]), [0] * 5, Budget(nodes=32))
    assert [a.tolist() for a in outcome.plan.actions] == [[1]] * 5
    assert (outcome.plan.weights.argmax(1) == 1).all() and (outcome.plan.weights[:, 1] > 0.9).all()


@pytest.mark.parametrize("selection", ["puct", "uct"])
def test_a_closing_search_walks_a_chain_to_its_end_and_stops_when_all_is_known(selection: Any) -> None:
    found = plan(MCTS(selection=selection, terminal="close", choose="value"), chain(6), [0], Budget(nodes=100))
    assert found.plan.actions[0].tolist() == [1] * 6
    assert found.plan.stop_reason == ["exhausted"] and found.charged[0, NODES] == 12
    assert max(f.value for f in found.plan.finished[0]) == pytest.approx(1.0)


@pytest.mark.compiled
@pytest.mark.parametrize("seed", range(4))
def test_max_backup_converges_to_value_iteration(seed: int, table: MakeTable) -> None:
    model = table(seed, states=5, slots=2, gamma=0.5)
    model.logits[:] = 0.0
    best = model.optimum()
    planner = MCTS(selection="uct", backup="max", c_uct=4.0, choose="value")
    found = plan(planner, model, list(range(5)), Budget(nodes=1500)).plan
    np.testing.assert_allclose(found.value, best, atol=0.03)


@pytest.mark.compiled
@pytest.mark.parametrize("selection", ["puct", "uct", "gumbel"])
def test_mean_backup_takes_an_optimal_first_action(selection: Any, table: MakeTable) -> None:
    model = table(11, states=6, slots=3, gamma=0.6)
    model.logits[:] = 0.0
    q = model.reward + model.discount * model.optimum()[model.next]
    if selection == "gumbel":  # below the root it opens nothing that the values speak against, so these must be right
        model.value = model.optimum().astype(np.float32)
    planner = MCTS(selection=selection, gumbel=GumbelSettings(value_scale=1.0))
    found = plan(planner, model, list(range(6)), Budget(nodes=800)).plan
    for row, actions in enumerate(found.actions):
        assert q[row, int(actions[0])] > q[row].max() - 0.05


def test_halving_gives_equal_visits_to_the_survivors_of_each_round() -> None:
    assert halving_visits(4, 16) == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert halving_visits(1, 3) == [0, 1, 2]


# answers that break the contract, and those that come late, twice or never


def begun(planner: MCTS, slots: int = 3, rows: int = 2, nodes: int = 30) -> Any:
    zero = np.zeros(rows, np.float32)
    return planner.begin(Expansion(zero, zero + 1, zero), DiscreteActions(slots), Size(nodes), keys=keys_of(0, rows))


def answer(k: int, **fields: Any) -> Expansion:
    plain = {"reward": np.zeros(k), "discount": np.full(k, 0.9), "value": np.linspace(0.1, 0.7, k)}
    return Expansion(**{name: np.asarray(x, np.float32) for name, x in (plain | fields).items()})


ROOM = np.full(2, 30, np.int32)


@pytest.mark.parametrize("field", ["reward", "discount", "value", "logits", "dead_end", "duplicate_of"])
def test_a_field_of_a_wrong_shape_is_a_model_error_that_names_it(field: str) -> None:
    search = begun(MCTS())
    query = search.ask(ROOM)
    with pytest.raises(ModelError, match=field):
        search.tell(query, answer(2, **{field: np.zeros((2, 5) if field == "logits" else 3)}))
    search.tell(query, answer(2))


@pytest.mark.parametrize("convert", [torch.from_numpy, np.ndarray.tolist, lambda x: torch.from_numpy(x).bfloat16()])
def test_answers_may_be_tensors_lists_and_half_precision(convert: Any) -> None:
    search = begun(MCTS())
    query = search.ask(ROOM)
    plain = answer(2)
    search.tell(query, Expansion(convert(plain.reward), convert(plain.discount), convert(plain.value)))
    assert search.tree.nodes["visits"][:, 0].tolist() == [2, 2]


@pytest.mark.parametrize("field", ["reward", "discount", "value"])
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_closes_the_node_at_the_worst_value_seen(field: str, odd: float) -> None:
    search = begun(MCTS(terminal="close"), rows=1)
    for reward in (0.5, -0.25):
        search.tell(search.ask(ROOM[:1]), answer(1, reward=[reward], value=[0.0]))
    query = search.ask(ROOM[:1])
    search.tell(query, answer(1, **{field: [odd]}))
    node = int(query.node[0])
    assert search.tree.nodes["q"][0, node] == pytest.approx(-0.25)
    assert search.tree.nodes["exhausted"][0, node] == 1 and search.tree.headers["non_finite"].tolist() == [1]
    assert np.isfinite(search.plan().value).all() and node not in [f.node for f in search.plan().finished[0]]


def test_logits_that_are_not_finite_are_no_slots() -> None:
    search = begun(MCTS(), rows=1)
    search.tell(search.ask(ROOM[:1]), answer(1, logits=[[np.nan, np.inf, 0.5]]))
    np.testing.assert_array_equal(search.tree.priors[0, 1], [-1, -1, 1])


@pytest.mark.parametrize("planner", [MCTS(), MCTS(leaves=3), MCTS(selection="gumbel")], ids=["one", "three", "gumbel"])
def test_told_twice_dropped_twice_and_told_after_a_drop_are_value_errors(planner: MCTS) -> None:
    search = begun(planner)
    query = search.ask(ROOM)
    search.tell(query, answer(len(query)))
    for call in (lambda: search.tell(query, answer(len(query))), lambda: search.drop(query)):
        with pytest.raises(ValueError, match="not awaited"):
            call()
    query = search.ask(ROOM)
    search.drop(query)
    for call in (lambda: search.tell(query, answer(len(query))), lambda: search.drop(query)):
        with pytest.raises(ValueError, match="not awaited"):
            call()


@pytest.mark.parametrize("name", ["puct, by tree", "puct, four leaves", "uct", "gumbel", "puct, closing"])
def test_a_dropped_call_leaves_the_search_as_if_it_had_not_been_made(name: str, table: MakeTable) -> None:
    model, starts = table(2), [0, 1, 2]
    searches = []
    for failing in (False, True):
        states, root = model.start(starts)
        search = PLANNERS[name].begin(root, model.actions, Size(30), keys=keys_of(0, 3))
        known = dict(zip(((b, 0) for b in range(3)), states))
        remaining, calls = np.full(3, 30, np.int32), 0
        while len(query := search.ask(remaining)):
            calls += 1
            if failing and calls % 3 == 1:
                search.drop(query)
                assert not search.tree.nodes["pending"].any()
                query = search.ask(remaining)
            parents = torch.stack([known[b, p] for b, p in zip(query.row.tolist(), query.parent.tolist())])
            reached, said = model.expand(parents, query.action)
            known.update({(b, n): s for b, n, s in zip(query.row.tolist(), query.node.tolist(), reached)})
            np.subtract.at(remaining, query.row, 1)
            search.tell(query, said)
        searches.append(search)
    assert searches[0].stop_reason == searches[1].stop_reason
    for row in range(3):
        assert shape_of(searches[0].tree, row, 0) == shape_of(searches[1].tree, row, 0)


def shape_of(tree: Any, row: int, node: int) -> Any:
    """A tree without its ids."""
    inner = [(int(tree.nodes["action"][row, c]), shape_of(tree, row, c)) for c in tree.children(row, node)]
    return int(tree.nodes["visits"][row, node]), float(tree.nodes["q"][row, node]), inner


def strided(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([x, x], dim=-1)[..., 0]


def negated_lazily(x: torch.Tensor) -> torch.Tensor:
    return torch.complex(x, -x).conj().imag


FORMS: dict[str, Callable[[torch.Tensor], Any]] = {
    "numpy": lambda x: x.numpy(),
    "read-only": lambda x: np.frombuffer(x.numpy().tobytes(), np.float32).reshape(x.shape),
    "double": lambda x: x.double(),
    "strided": strided,
    "lazy sign": negated_lazily,
    "wants gradients": lambda x: x.clone().requires_grad_(),
    "parameter": torch.nn.Parameter,
}


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("form", FORMS)
def test_the_tree_is_the_same_in_whatever_form_its_numbers_come(form: str, rows: int) -> None:
    trees = []
    for convert in (lambda x: x, FORMS[form]):
        draw = torch.Generator().manual_seed(3)
        numbers = lambda *shape: torch.rand(*shape, generator=draw)  # noqa: E731, B023
        root = Expansion(*(convert(x) for x in (numbers(rows), numbers(rows), numbers(rows), numbers(rows, 2))))
        search = MCTS().begin(root, DiscreteActions(2), Size(12), keys=keys_of(0, rows))
        while len(query := search.ask(np.full(rows, 12, np.int32))):
            shapes = ((rows,), (rows,), (rows,), (rows, 2))
            search.tell(query, Expansion(*(convert(numbers(*shape)) for shape in shapes)))
        trees.append(search.tree)
    np.testing.assert_array_equal(trees[0].block, trees[1].block)
    np.testing.assert_array_equal(trees[0].priors, trees[1].priors)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda search: pickle.loads(pickle.dumps(search))])
def test_a_copy_of_a_search_goes_on_by_itself(again: Callable[[Any], Any], table: MakeTable) -> None:
    search = begun(MCTS())
    search.tell(query := search.ask(ROOM), answer(len(query)))
    twin, before = again(search), search.tree.block.copy()
    asked = twin.ask(ROOM)
    twin.tell(asked, Expansion(*(torch.zeros(len(asked)) for _ in range(3)), torch.zeros(len(asked), 3)))
    np.testing.assert_array_equal(search.tree.block, before)
    np.testing.assert_array_equal(search.ask(ROOM).node, asked.node)
    assert len(twin.journal) == 4 and (before != twin.tree.block).any()
    np.testing.assert_array_equal(twin.tree.nodes["visits"][:, 0], twin.tree.block[:, 0, 4])


@pytest.mark.parametrize("selection", ["puct", "uct", "gumbel"])
def test_plan_may_be_called_while_calls_are_under_way(selection: Any, table: MakeTable) -> None:
    model, search = table(4), begun(MCTS(selection=selection, leaves=3))
    for _ in range(8):
        query = search.ask(ROOM)
        found = search.plan()
        for row in range(2):
            assert not set(found.path[row]) & set(query.node[query.row == row].tolist())
            assert np.isfinite(found.weights[row]).all() and np.isfinite(found.value[row])
        search.tell(query, answer(len(query), value=np.random.default_rng(0).normal(size=len(query))))
    assert model.actions.n == 3


def test_gumbel_over_unbounded_offers_closes_finished_states_and_chooses_the_best_of_them() -> None:
    model = bandit([0.2, 0.9, 0.4, 0.1], sampled=True)
    found = plan(MCTS(selection="gumbel"), model, [0], Budget(nodes=20))
    assert found.plan.stop_reason == ["exhausted"] and found.charged[0, NODES] == 4
    offered = model.reward[0, model.taken(model.start([0] * 4)[0], range(4))]
    assert found.plan.actions[0].tolist() == [int(offered.argmax())] and np.isfinite(found.plan.weights).all()


def test_settings_that_do_not_exist_are_value_errors_that_list_what_does() -> None:
    for wrong in (
        {"first_play": "best"},
        {"selection": "alpha"},
        {"backup": "median"},
        {"terminal": "stop"},
        {"choose": "best"},
    ):
        with pytest.raises(ValueError, match="there are"):
            MCTS(**wrong)
    for wrong in ({"leaves": 0}, {"simulations": 0}, {"normalise": (1.0, 1.0)}, {"normalise": "row"}):
        with pytest.raises(ValueError):
            MCTS(**wrong)
    with pytest.raises(ValueError, match="width"):
        WideningSettings(width=0)
    with pytest.raises(ValueError, match="fresh root"):
        MCTS(selection="gumbel", reuse=True)
