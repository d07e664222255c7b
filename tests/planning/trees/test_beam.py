"""Beam search against a slow reference in plain Python, on random trees that are functions of the path alone."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spaces import indexed

from forethought.planning import BoxActions, Budget, Expansion, aplan, keys_of, plan
from forethought.planning.interface import DiscreteActions, SampledActions, Size, action_count
from forethought.planning.states import ListStates
from forethought.planning.trees.beam import BFS, Beam, affordable
from forethought.planning.trees.nodes import EVALUATED, SOLVED
from forethought.planning.usage import NODES

Path = tuple[int, ...]


class World:
    """States are (problem, slots walked); all numbers are drawn from a generator seeded with the state.

    n: slots, None for an unbounded offer of which slots k and k + distinct are the same state. depth: where all ends.
    """

    cost, most_tokens = 1, 0

    def __init__(self, n=3, depth=4, ends=0.15, dead_end=0.0, distinct=None, nan=0.0, logits=False):
        self.actions, self.depth, self.ends, self.dead_end, self.nan = indexed(n), depth, ends, dead_end, nan
        self.distinct, self.logits = distinct, logits

    def numbers(self, state):
        rng = random.Random(repr(state))
        over = len(state[1]) >= self.depth or rng.random() < self.ends
        reward = float("nan") if rng.random() < self.nan else rng.uniform(-1, 1)
        logits = [rng.gauss(0, 1) for _ in range(action_count(self.actions))]
        return reward, 0.0 if over else 0.9, 0.0 if over else rng.uniform(-1, 1), rng.random() < self.dead_end, logits

    def after(self, state, slot):
        return state[0], (*state[1], slot if self.distinct is None else slot % self.distinct)

    def expansion(self, states):
        columns = [self.numbers(s) for s in states]
        reward, discount, value = (np.array([c[i] for c in columns], np.float32) for i in range(3))
        dead_end = np.array([c[3] and c[1] == 0 for c in columns], bool)
        logits = np.array([c[4] for c in columns], np.float32) if self.logits else None
        return Expansion(reward, discount, value, logits, dead_end=dead_end)

    def start(self, problems):
        root = Expansion(*(np.full(len(problems), x, np.float32) for x in (0, 1, 0)))
        root.logits = self.expansion([(p, ()) for p in problems]).logits
        return [(p, ()) for p in problems], root

    def expand(self, states, slots, *, to_end=False, evaluate="all"):
        reached = [self.after(s, int(a)) for s, a in zip(states, slots)]
        return reached, self.expansion(reached)


class AsyncWorld(World):
    async def start(self, problems):
        return super().start(problems)

    async def expand(self, states, slots, *, to_end=False, evaluate="all"):
        return super().expand(states, slots, to_end=to_end, evaluate=evaluate)


class Reference:
    """Beam search as one would write it on a slate; `opened` are (parent's path, slot), `kept` the frontiers."""

    def __init__(self, world: World, problem=0):
        self.world, self.root = world, (problem, ())
        self.opened: list[tuple[Path, int]] = []
        self.kept: list[list[list[Path]]] = []

    def worth(self, state):
        """Return of the path and discounted value, in float32 like the tree's."""
        total, scale = np.float32(0), np.float32(1)
        for length in range(1, len(state[1]) + 1):
            reward, discount, value, _, _ = self.world.numbers((state[0], state[1][:length]))
            total, scale = total + scale * np.float32(reward), scale * np.float32(discount)
        return total + scale * np.float32(value)

    def offered(self, state):
        n = action_count(self.world.actions) or None
        if n is None:
            return itertools.count()
        logits = self.world.numbers(state)[4] if self.world.logits else [0.0] * n
        return sorted(range(n), key=lambda a: -logits[a])

    def draw(self, draws, state, width):
        """One round: as many draws as distinct children are missing, 2 x width in all; whether there were any."""
        found = {self.world.after(state, slot) for slot in draws}
        slots = itertools.islice(self.offered(state), len(draws), None)
        new = list(itertools.islice(slots, min(width - len(found), 2 * width - len(draws))))
        draws += new
        self.opened += [(state[1], slot) for slot in new if (state[1], slot) not in self.opened]
        return bool(new)

    def sweep(self, beam, width, horizon=0):
        """Returns whether a wider beam, or more children, would have opened more."""
        frontier, by_beam, by_width = [self.root], False, False
        layers = []
        while frontier and (horizon == 0 or len(layers) < horizon):
            drawn = {state: [] for state in frontier}
            while any([self.draw(drawn[state], state, width) for state in frontier]):
                pass
            pool = []
            for rank, state in enumerate(frontier):
                draws = drawn[state]
                by_width |= len(draws) != (action_count(self.world.actions) or None)
                found = {self.world.after(state, slot): slot for slot in reversed(draws)}
                pool += [(-self.worth(s), rank, slot, s) for s, slot in found.items() if self.world.numbers(s)[1] > 0]
            pool.sort()
            by_beam |= len(pool) > beam
            frontier = [p[-1] for p in pool[:beam]]
            layers.append([s[1] for s in frontier])
        self.kept.append(layers)
        return by_beam, by_width


def edges(search, row=0):
    """(parent's path, slot) of every node of a row in the order of ids, which is that of opening."""
    tree = search.tree
    ids = sorted(tree.evaluated(row))
    return [(path_of(tree, row, int(tree.nodes["parent"][row, n])), int(tree.nodes["action"][row, n])) for n in ids]


def path_of(tree, row, node) -> Path:
    return tuple(int(s) for s in tree.actions_along(row, tree.path(row, node)))


def leaves_of(world, root, horizon):
    """Every path that ends or has come to the horizon."""
    paths, done = [root], []
    for _ in range(horizon):
        paths = [world.after(p, a) for p in paths for a in range(action_count(world.actions))]
        done += [p for p in paths if world.numbers(p)[1] == 0]
        paths = [p for p in paths if world.numbers(p)[1] > 0]
    return done + paths


@pytest.mark.parametrize("logits", [False, True])
def test_a_beam_as_wide_as_the_tree_finds_the_best_path(logits):
    world = World(n=3, depth=9, logits=logits)
    out = plan(Beam(beam=1000, children=3, horizon=4), world, range(12), Budget(nodes=500))
    for b in range(12):
        reference = Reference(world, b)
        best = max(leaves_of(world, (b, ()), 4), key=reference.worth)
        assert tuple(out.plan.actions[b]) == best[1]
        assert out.plan.value[b] == pytest.approx(reference.worth(best), abs=1e-6)
    assert set(out.plan.stop_reason) == {"exhausted"}


def test_an_optimum_by_exhaustion_is_found_without_widths_too():
    world = World(n=2, depth=6)
    out = plan(Beam(horizon=6), world, range(10), Budget(nodes=200))
    for b in range(10):
        reference = Reference(world, b)
        best = max(leaves_of(world, (b, ()), 6), key=reference.worth)
        assert out.plan.value[b] == pytest.approx(reference.worth(best), abs=1e-6)


@pytest.mark.parametrize(
    ("world", "horizon"),
    [(World(None, 5), None), (World(None, 5, distinct=2), None), (World(4, 5, logits=True), 5), (World(4, 5), 3)],
)
def test_fixed_widths_are_the_reference_layer_by_layer(world, horizon):
    out = plan(Beam(beam=3, children=2, horizon=horizon), world, range(8), Budget(nodes=200))
    for b in range(8):
        reference = Reference(world, b)
        reference.sweep(3, 2, horizon or 0)
        assert sorted(edges(out.search, b)) == sorted(reference.opened)
    assert set(out.plan.stop_reason) == {"exhausted"}


def test_breadth_first_of_tree_of_thoughts_keeps_the_same_states_in_each_depth():
    world = World(None, depth=4, ends=0.0)
    search = BFS(beam=5, children=3).begin(world.start([0])[1], SampledActions(), Size(100), keys=keys_of(0, 1))
    states, layers = ListStates([(0, ())], 0), []
    states.put(np.zeros(1, np.int32), np.zeros(1, np.int32), [(0, ())])
    while not search.done[0]:
        query = search.ask(np.array([100], np.int32))
        if len(query):
            layers.append(list(dict.fromkeys(query.parent.tolist())))
            answer(world, states, search, query)
    reference = Reference(world)
    reference.sweep(5, 3)
    kept = [[()], *reference.kept[0][:-1]]
    assert [[path_of(search.tree, 0, n) for n in layer] for layer in layers] == kept
    assert len(edges(search)) == 3 + 3 * 3 + 2 * 5 * 3


def answer(world, states, search, query):
    reached, said = world.expand(states.get(query.row, query.parent), query.action)
    said.duplicate_of = states.put(query.row, query.node, reached, query.parent)
    search.tell(query, said)


@pytest.mark.parametrize("distinct", [None, 3])
@pytest.mark.parametrize("given", [{}, {"beam": 2}, {"children": 2}])
def test_without_widths_sweeps_widen_and_pay_only_for_what_is_new(distinct, given):
    world, budget = World(None, depth=4, distinct=distinct), 150
    out = plan(Beam(**given), world, range(5), Budget(nodes=budget))
    for b in range(5):
        reference = Reference(world, b)
        beam, width = given.get("beam", 1), given.get("children", 1)
        while len(reference.opened) < budget:
            by_beam, by_width = reference.sweep(beam, width)
            if not ((by_beam and "beam" not in given) or (by_width and "children" not in given)):
                break
            if "beam" in given or ("children" not in given and width <= beam):
                width *= 2
            else:
                beam *= 2
        assert sorted(edges(out.search, b)) == sorted(reference.opened[:budget])
        assert out.plan.stop_reason[b] == ("budget" if len(reference.opened) >= budget else "exhausted")
        assert out.charged[b, NODES] == min(budget, len(reference.opened))


def test_what_a_smaller_budget_opens_is_the_beginning_of_a_larger_run():
    world = World(None, depth=5, distinct=4)
    large = edges(plan(Beam(), world, [0], Budget(nodes=90)).search)
    for nodes in (1, 2, 5, 17, 40, 89):
        assert edges(plan(Beam(), world, [0], Budget(nodes=nodes)).search) == large[:nodes]


@pytest.mark.parametrize("trees", [2, 4])
def test_sub_beams_never_compete(trees):
    world = World(None, depth=5, ends=0.0)
    out = plan(Beam(beam=1, children=3, trees=trees), world, [0], Budget(nodes=200))
    reference = Reference(world)
    opened = [((), slot) for slot in range(trees)]
    for slot in range(trees):
        reference.opened, reference.root = [], (0, (slot,))
        reference.sweep(1, 3)
        opened += reference.opened
    assert sorted(edges(out.search)) == sorted(opened)


def test_dead_ends_and_states_without_numbers_are_never_chosen():
    world = World(3, depth=4, ends=0.3, dead_end=0.5, nan=0.1)
    out = plan(Beam(horizon=4), world, range(30), Budget(nodes=60))
    for b, path in enumerate(out.plan.actions):
        walked = [world.numbers((b, tuple(path[:i].tolist()))) for i in range(1, len(path) + 1)]
        assert all(np.isfinite(reward) for reward, *_ in walked)
        assert not walked or walked[-1][1] > 0 or not walked[-1][3]


def test_text_ends_at_its_best_solution_or_else_its_best_open_state():
    world = World(None, depth=4)
    for nodes in (1, 2, 3, 10, 60):
        out = plan(Beam(), world, range(10), Budget(nodes=nodes))
        for b in range(10):
            solved = [f.value for f in out.plan.finished[b]]
            tree = out.search.tree
            nodes = tree.nodes[b]
            told = sorted(range(1, tree.capacity), key=lambda n: nodes["event_index"][n])
            ids = [n for n in told if nodes["terminal"][n] == SOLVED and nodes["status"][n] == EVALUATED]
            assert [f.node for f in out.plan.finished[b]] == ids
            assert out.plan.best[b] == (ids[int(np.argmax(solved))] if solved else tree.best_open(b))
            if solved:
                assert out.plan.value[b] == pytest.approx(max(solved), abs=1e-6)


def test_rewards_of_one_sign_do_not_make_shallow_states_look_best():
    class Costly(World):
        def numbers(self, state):
            return -1.0 - 0.1 * state[1][-1] if state[1] else 0.0, 1.0, 0.0, False, []

    out = plan(Beam(horizon=5), Costly(3), [0], Budget(nodes=70))
    assert out.plan.actions[0].tolist() == [0] * 5 and out.plan.value[0] == pytest.approx(-5)


@pytest.mark.parametrize("nodes", [64, 256, 4096])
def test_the_first_beam_of_control_is_the_widest_that_the_budget_completes(nodes):
    for n, horizon in ((2, 20), (11, 5), (3, 8)):
        beam = affordable(nodes, n, horizon)
        layers = [min(beam, n**d) * n for d in range(horizon)]
        wider = [min(beam + 1, n**d) * n for d in range(horizon)]
        assert (sum(layers) <= nodes or beam == 1) and (sum(wider) > nodes or n**horizon <= beam + 1)


@pytest.mark.parametrize("world", [World(3, 6), World(None, 5, distinct=3)])
def test_a_row_of_a_batch_is_the_row_alone(world):
    together = plan(Beam(horizon=6), world, range(6), Budget(nodes=50))
    for b in range(6):
        alone = plan(Beam(horizon=6), world, [b], Budget(nodes=50))
        assert edges(together.search, b) == edges(alone.search)
        assert together.plan.actions[b].tolist() == alone.plan.actions[0].tolist()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), budget=st.integers(1, 60), n=st.sampled_from([None, 2, 3]), data=st.data())
def test_any_order_of_tells_and_drops_opens_the_same_within_the_budget(seed, budget, n, data):
    world = World(n, depth=4)
    rng = random.Random(seed)
    planner = Beam(horizon=4, trees=data.draw(st.sampled_from([1, 1, 2])), beam=data.draw(st.sampled_from([None, 2])))
    plain = plan(planner, world, range(2), Budget(nodes=budget))
    search = planner.begin(world.start(range(2))[1], indexed(n), Size(budget), keys=keys_of(0, 2))
    states = ListStates([], 0)
    states.put(np.arange(2, dtype=np.int32), np.zeros(2, np.int32), [(0, ()), (1, ())])
    opened, flying = np.zeros(2, np.int32), []
    for turn in range(10_000):
        if search.done.all() and not flying:
            break
        query = search.ask(np.full(2, budget, np.int32) - opened)
        opened += np.bincount(query.row, minlength=2).astype(np.int32)
        assert (opened <= budget).all() and not search.done[query.row].any()
        flying += [query.take([i]) for i in range(len(query))]
        rng.shuffle(flying)
        first = [leaf for leaf in flying if turn < 200 and rng.random() < 0.2]
        for leaf in first:
            flying.remove(leaf)
            search.drop(leaf)
            opened[leaf.row[0]] -= 1
        for leaf in flying[:3]:
            flying.remove(leaf)
            answer(world, states, search, leaf)
            with pytest.raises(ValueError, match="told twice"):
                search.tell(leaf, world.expand(states.get(leaf.row, leaf.parent), leaf.action)[1])
    for b in range(2):
        assert sorted(edges(search, b)) == sorted(edges(plain.search, b)) and len(edges(search, b)) == opened[b]
        assert opened[b] == budget if search.stop_reason[b] == "budget" else search.stop_reason[b] == "exhausted"
        assert search.plan().actions[b].tolist() == plain.plan.actions[b].tolist()
    assert search.plan().stop_reason == search.stop_reason


async def test_awaiting_one_call_at_a_time_gives_the_same_nodes():
    fixed = dict(distinct=3, depth=4)
    awaited = await aplan(Beam(), AsyncWorld(None, **fixed), 0, Budget(nodes=40), key=7)
    locked = plan(Beam(), World(None, **fixed), [0], Budget(nodes=40))
    assert sorted(edges(awaited.search)) == sorted(edges(locked.search))
    assert awaited.plan.actions[0].tolist() == locked.plan.actions[0].tolist()


def test_merged_children_carry_both_priors_and_one_value():
    world = World(None, depth=3, distinct=2, ends=0.0)
    out = plan(Beam(beam=4, children=4), world, [0], Budget(nodes=100))
    tree = out.search.tree
    assert len(tree.children(0, 0)) == 2
    assert [tree.nodes[0, c].multiplicity for c in tree.children(0, 0)] == [4, 4]
    assert len(set(path_of(tree, 0, f.node) for f in out.plan.finished[0])) == len(out.plan.finished[0]) == 8


def test_a_row_that_begins_at_its_end_is_done_and_a_row_without_room_too():
    world = World(3, 4)
    root = world.start([0, 1])[1]
    root.discount = np.array([0, 1], np.float32)
    search = Beam(horizon=2).begin(root, DiscreteActions(3), Size(10), keys=keys_of(0, 2))
    assert not len(search.ask(np.array([10, 0], np.int32)))
    assert search.stop_reason == ["exhausted", "budget"] and search.plan().path == [[0], [0]]


def test_wrong_settings_say_what_is_allowed():
    with pytest.raises(ValueError, match="beam is an integer, at least 1 or None, got 0"):
        Beam(beam=0)
    with pytest.raises(ValueError, match="DiscretizedActions"):
        Beam().begin(World().start([0])[1], BoxActions(-torch.ones(1), torch.ones(1)), Size(4), keys=keys_of(0, 1))
