"""Paths of slots against a slow reference sampler in plain Python, and what refits do to them."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from spaces import indexed

from forethought.planning import CEM, MPPI, BestOfN, Budget, Expansion, PathSettings, aplan, keys_of, plan
from forethought.planning.interface import DiscreteActions, Size, action_count
from forethought.planning.noise import uniforms
from forethought.planning.states import ListStates
from forethought.planning.trees.categorical import refit
from forethought.planning.trees.nodes import AWAITED
from forethought.planning.usage import NODES


class World:
    """States are (problem, slots walked); all numbers are drawn from a generator seeded with the state.

    n: slots, None for an unbounded offer of which slots k and k + distinct are the same state. depth: where all ends.
    good: with it, a path's only reward is how many of its slots are `good` (0.1 each).
    """

    cost, most_tokens = 1, 0

    def __init__(self, n=3, depth=5, ends=0.0, dead_end=0.0, distinct=None, good=None, value=True):
        self.actions, self.depth, self.ends, self.dead_end = indexed(n), depth, ends, dead_end
        self.distinct, self.good, self.value = distinct, good, value

    def numbers(self, state):
        rng = random.Random(repr(state))
        over = len(state[1]) >= self.depth or rng.random() < self.ends
        reward, value = rng.uniform(-1, 1), rng.uniform(-1, 1) if self.value and not over else 0.0
        if self.good is not None and state[1]:
            reward, value = 0.1 * (state[1][-1] == self.good), 0.0
        logits = [rng.gauss(0, 1) for _ in range(action_count(self.actions))]
        return reward, 0.0 if over else 1.0, value, over and rng.random() < self.dead_end, logits

    def after(self, state, slot):
        return state[0], (*state[1], slot if self.distinct is None else slot % self.distinct)

    def expansion(self, states):
        columns = [self.numbers(s) for s in states]
        reward, discount, value = (np.array([c[i] for c in columns], np.float32) for i in range(3))
        logits = np.array([c[4] for c in columns], np.float32) if action_count(self.actions) else None
        return Expansion(reward, discount, value, logits, dead_end=np.array([c[3] for c in columns], bool))

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


def sampled(world, problem, key, candidate, horizon):
    """The path that candidate of a row draws from softmax(logits) at every state, in plain Python."""
    state = (problem, ())
    for depth in range(horizon):
        _, discount, _, _, logits = world.numbers(state)
        if discount == 0:
            break
        u = float(uniforms(np.array([key], np.uint64), candidate, depth, dtype=torch.float64))
        mass = np.exp(np.array(logits) - max(logits))
        state = world.after(state, int(np.searchsorted(np.cumsum(mass / mass.sum()), u, side="right")))
    return state[1]


def worth(world, problem, path):
    total = sum(world.numbers((problem, path[:i]))[0] for i in range(1, len(path) + 1))
    return total + world.numbers((problem, path))[2] * world.numbers((problem, path))[1]


def path_of(tree, row, node):
    return tuple(int(s) for s in tree.actions_along(row, tree.path(row, node)))


def nodes_of(search, row=0):
    return sorted(path_of(search.tree, row, n) for n in search.tree.evaluated(row))


def in_order(search):
    """(parent's path, slot) in the order of opening."""
    tree = search.tree
    return [
        (path_of(tree, 0, int(tree.nodes["parent"][0, n])), int(tree.nodes["action"][0, n]))
        for n in sorted(tree.evaluated(0))
    ]


def merging(planner, world, budget):
    """`plan` for one row, by a driver that looks for equal siblings in followed solutions too."""
    search = planner.begin(world.start([0])[1], world.actions, Size(budget), keys=keys_of(0, 1))
    states, left = ListStates([], 0), budget
    states.put(np.zeros(1, np.int32), np.zeros(1, np.int32), [(0, ())])
    while not search.done[0]:
        query = search.ask(np.array([left], np.int32))
        left -= len(query)
        if len(query):
            reached, said = world.expand(states.get(query.row, query.parent), query.action)
            said.duplicate_of = states.put(query.row, query.node, reached, query.parent)
            search.tell(query, said)
    return search


def test_best_of_n_over_slots_is_the_reference_sampler():
    world, keys = World(3, ends=0.2), keys_of(5, 4)
    out = plan(BestOfN(horizon=4, population=20), world, range(4), Budget(nodes=80), keys=keys)
    for b in range(4):
        paths = [sampled(world, b, keys[b], i, 4) for i in range(20)]
        prefixes = {p[:i] for p in paths for i in range(1, len(p) + 1)}
        assert nodes_of(out.search, b) == sorted(prefixes)
        best = max(paths, key=lambda p: worth(world, b, p))
        assert tuple(out.plan.actions[b]) == best
        assert out.plan.value[b] == pytest.approx(worth(world, b, best), abs=1e-5)
        shares = Counter(p[0] for p in paths)
        assert out.plan.weights[b].tolist() == pytest.approx([shares[a] / 20 for a in range(3)])
    assert set(out.plan.stop_reason) == {"exhausted"}


def test_samples_follow_the_softmax_of_the_logits():
    world, rows = World(3, depth=3), 3000
    out = plan(BestOfN(horizon=2, population=1), world, [0] * rows, Budget(nodes=2), seed=1)
    counts = Counter(tuple(a.tolist()) for a in out.plan.actions)
    policy = {}
    for first in range(3):
        for second in range(3):
            pair = [np.exp(world.numbers((0, path))[4]) for path in ((), (first,))]
            policy[first, second] = pair[0][first] / pair[0].sum() * pair[1][second] / pair[1].sum()
    observed = [counts[p] for p in policy]
    assert chisquare(observed, np.array(list(policy.values())) * rows).pvalue > 1e-3


def test_best_of_n_over_an_unbounded_offer_takes_a_fresh_slot_of_the_root_and_first_slots_from_there_on():
    world = World(None, depth=4, ends=0.15)
    out = plan(BestOfN(), world, [3], Budget(nodes=30))
    expected, candidate = [], 0
    while len(expected) < 30:
        state = (3, ())
        while world.numbers(state)[1] > 0:
            slot = 0 if state[1] else candidate
            expected.append((state[1], slot))
            state = world.after(state, slot)
        candidate += 1
    assert in_order(out.search) == expected[:30]
    assert out.plan.stop_reason == ["budget"]


def test_two_equal_first_steps_are_followed_by_samples_of_their_own():
    world = World(None, depth=3, distinct=2)
    search = merging(BestOfN(population=4), world, 100)
    assert in_order(search) == [
        ((), 0), ((0,), 0), ((0, 0), 0),
        ((), 1), ((1,), 0), ((1, 0), 0),
        ((), 2), ((0,), 1), ((0, 1), 0),
        ((), 3), ((1,), 1), ((1, 1), 0),
    ]  # fmt: skip
    assert [f.visits for f in search.plan().finished[0]] == [1, 1, 1, 1]
    assert search.plan().weights[0].tolist() == [0.5, 0.5]


def test_a_candidate_that_ends_where_another_did_is_a_second_vote():
    search = merging(BestOfN(population=6), World(None, depth=1, distinct=2), 100)
    assert [f.visits for f in search.plan().finished[0]] == [3, 3]


@pytest.mark.parametrize("planner", [BestOfN(), CEM(), MPPI()])
def test_the_answer_at_a_smaller_budget_is_read_off_a_larger_run(planner):
    world = World(None, depth=4, distinct=5)
    large = in_order(plan(planner, world, [0], Budget(nodes=60)).search)
    for nodes in (1, 3, 10, 25, 59):
        assert in_order(plan(planner, world, [0], Budget(nodes=nodes)).search) == large[:nodes]


@pytest.mark.parametrize(("n", "to_end", "evaluate"), [(None, True, "finished"), (3, False, "all")])
def test_queries_say_whether_they_follow_and_what_is_to_be_judged(n, to_end, evaluate):
    world = World(n)
    search = BestOfN(horizon=5).begin(world.start([0])[1], indexed(n), Size(50), keys=keys_of(0, 1))
    query = search.ask(np.array([50], np.int32))
    assert (query.to_end, query.evaluate) == (to_end, evaluate)
    assert len(query) == 1 if n is None else len(query) > 1
    unvalued = BestOfN(paths=PathSettings(evaluate="none"))
    silent = unvalued.begin(world.start([0])[1], indexed(n), Size(50), keys=keys_of(0, 1))
    assert silent.ask(np.array([50], np.int32)).evaluate == "none"


def test_candidates_begin_only_where_the_room_holds_them_whole():
    world = World(3, depth=10)
    search = BestOfN(horizon=5).begin(world.start([0, 1])[1], DiscreteActions(3), Size(100), keys=keys_of(0, 2))
    query = search.ask(np.array([17, 3], np.int32))
    assert search.iterations["drawn"].tolist() == [3, 1]
    assert np.bincount(query.row).tolist() == [len(set(query.action[query.row == 0])), 1]


@pytest.mark.compiled
@pytest.mark.parametrize("planner", [CEM(population=20, iterations=5), MPPI(population=20, iterations=5)])
@pytest.mark.parametrize("n", [4, None])
def test_refits_concentrate_on_good_prefixes(planner, n):
    world, rows = World(n, depth=6, good=0 if n is None else 2), 20
    if n is None:
        world.after = lambda state, slot: (state[0], (*state[1], random.Random(f"{state}{slot}").randrange(4)))
    refitted = plan(planner, world, range(rows), Budget(nodes=1000))
    single = plan(BestOfN(population=100), world, range(rows), Budget(nodes=1000))
    first, last = single.search.scores[:, :100].mean(1), refitted.search.scores[:, :20].mean(1)
    assert (last > first).mean() >= 0.8 and last.mean() > first.mean() + 0.04
    assert refitted.charged[:, NODES].mean() < 0.8 * single.charged[:, NODES].mean()


def test_counts_are_weights_scaled_by_the_effective_number_and_added_along_paths():
    world = World(3, depth=2)
    out = plan(BestOfN(population=6, horizon=2), world, [0], Budget(nodes=100))
    search, tree = out.search, out.search.tree
    leaves = np.array([c for r in tree.children(0, 0) for c in tree.children(0, r)][:3], np.int32)
    weights = np.array([0.5, 0.25, 0.25])
    counts = np.full((1, tree.capacity), 8.0)
    refit(tree.block, counts, 0, leaves, weights, 0.25)
    number = 1 / (weights**2).sum()
    expected = Counter()
    for leaf, weight in zip(leaves, weights):
        for node in tree.path(0, int(leaf)):
            expected[node] += 0.75 * weight * number
    for node in [0, *tree.evaluated(0)]:
        assert counts[0, node] == pytest.approx(2 + expected[node])
    assert search.stop_reason == ["exhausted"]


def test_kept_candidates_are_weighed_again():
    world = World(None, depth=3, distinct=6)
    search = plan(CEM(keep=2, population=5, iterations=6), world, [0, 1], Budget(nodes=300)).search
    tree = search.tree
    for b in range(2):
        ranked = sorted(tree.finished(b), key=lambda f: -f.value)
        assert {f.node for f in ranked[:2]} == set(search.kept[b].tolist())


@pytest.mark.parametrize("planner", [BestOfN(), CEM(), MPPI()])
def test_a_small_tree_is_exhausted_or_the_row_stalls(planner):
    out = plan(planner, World(2, depth=3), range(5), Budget(nodes=1000))
    assert set(out.plan.stop_reason) <= {"exhausted", "stalled"} and (out.charged[:, NODES] <= 14).all()


def test_without_prior_mass_one_elite_is_where_it_converges():
    out = plan(CEM(elites=0.01, paths=PathSettings(prior=0.0)), World(None, depth=3), range(3), Budget(nodes=500))
    assert out.plan.stop_reason == ["converged"] * 3


def test_answer_mean_takes_the_most_weighted_first_action():
    world = World(3, depth=8)
    out = plan(MPPI(horizon=4, population=30, iterations=3), world, range(6), Budget(nodes=400))
    for b in range(6):
        assert out.plan.actions[b][0] == np.argmax(out.plan.weights[b]) and len(out.plan.actions[b]) == 4


def test_width_caps_the_distinct_children_of_a_node():
    world = World(None, depth=4)
    search = plan(CEM(paths=PathSettings(width=3)), world, [0], Budget(nodes=60)).search
    tree = search.tree
    assert max(len(tree.children(0, n)) for n in [0, *tree.evaluated(0)]) == 3


@pytest.mark.parametrize("planner", [BestOfN(horizon=4), CEM(horizon=4), MPPI(horizon=4)])
@pytest.mark.parametrize("n", [3, None])
def test_dead_ends_are_never_chosen(planner, n):
    world = World(n, depth=4, ends=0.3, dead_end=0.6)
    out = plan(planner, world, range(20), Budget(nodes=40))
    for b, path in enumerate(out.plan.actions):
        assert not world.numbers((b, tuple(int(s) for s in path)))[3] or not len(path)


@pytest.mark.parametrize("planner", [BestOfN(horizon=4), CEM(horizon=4), MPPI(horizon=4)])
@pytest.mark.parametrize("n", [3, None])
def test_a_row_of_a_batch_is_the_row_alone(planner, n):
    world, keys = World(n, depth=6, ends=0.1), keys_of(3, 5)
    together = plan(planner, world, range(5), Budget(nodes=70), keys=keys)
    for b in range(5):
        alone = plan(planner, world, [b], Budget(nodes=70), keys=keys[b : b + 1])
        assert nodes_of(together.search, b) == nodes_of(alone.search)
        assert together.plan.actions[b].tolist() == alone.plan.actions[0].tolist()
        assert together.plan.stop_reason[b] == alone.plan.stop_reason[0]


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    budget=st.integers(1, 60),
    n=st.sampled_from([None, 2, 3]),
    planner=st.sampled_from([BestOfN, CEM, MPPI]),
    parallel=st.sampled_from([None, 1, 3]),
)
def test_any_order_of_tells_and_drops_keeps_the_contract(seed, budget, n, planner, parallel):
    world, rng = World(n, depth=4, ends=0.2), random.Random(seed)
    chosen = planner(horizon=3, min_population=3, paths=PathSettings(parallel=parallel))
    search = chosen.begin(world.start(range(2))[1], indexed(n), Size(budget), keys=keys_of(seed, 2))
    states, opened, flying = ListStates([], 0), np.zeros(2, np.int32), []
    states.put(np.arange(2, dtype=np.int32), np.zeros(2, np.int32), [(0, ()), (1, ())])
    for turn in range(10_000):
        if search.done.all() and not flying:
            break
        query = search.ask(np.full(2, budget, np.int32) - opened)
        opened += np.bincount(query.row, minlength=2).astype(np.int32)
        flying += [query.take([i]) for i in range(len(query))]
        assert (opened <= budget).all()
        waiting = {int(leaf.row[0]) for leaf in flying}
        assert all(search.done[b] or b in waiting for b in range(2))
        rng.shuffle(flying)
        for leaf in [leaf for leaf in flying if turn < 200 and rng.random() < 0.2]:
            flying.remove(leaf)
            search.drop(leaf)
            opened[leaf.row[0]] -= 1
            with pytest.raises(ValueError, match="not awaited"):
                search.drop(leaf)
        for leaf in flying[:3]:
            flying.remove(leaf)
            reached, said = world.expand(states.get(leaf.row, leaf.parent), leaf.action)
            states.put(leaf.row, leaf.node, reached, leaf.parent)
            search.tell(leaf, said)
            with pytest.raises(ValueError, match="told twice"):
                search.tell(leaf, said)
    plain = plan(chosen, world, range(2), Budget(nodes=budget), keys=keys_of(seed, 2))
    for b in range(2):
        assert (search.tree.nodes["status"][b] != AWAITED).all()
        assert opened[b] == len(nodes_of(search, b))
        assert search.stop_reason[b] != "budget" or opened[b] == budget
        if parallel == 1:
            assert (
                nodes_of(search, b) == nodes_of(plain.search, b) and search.stop_reason[b] == plain.plan.stop_reason[b]
            )


@pytest.mark.parametrize("planner", [BestOfN(), CEM(), MPPI()])
async def test_awaiting_one_call_at_a_time_gives_the_same_nodes(planner):
    fixed = dict(distinct=3, depth=4)
    awaited = await aplan(planner, AsyncWorld(None, **fixed), 0, Budget(nodes=40), key=7)
    locked = plan(planner, World(None, **fixed), [0], Budget(nodes=40), keys=np.array([7], np.uint64))
    assert in_order(awaited.search) == in_order(locked.search)
    assert awaited.plan.actions[0].tolist() == locked.plan.actions[0].tolist()


def test_replaying_the_journal_gives_the_same_tree():
    world = World(3, depth=6)
    search = plan(CEM(horizon=4), world, [0, 1], Budget(nodes=80)).search
    again = CEM(horizon=4).begin(world.start([0, 1])[1], DiscreteActions(3), Size(80), keys=keys_of(0, 2))
    for verb, first, second in search.journal:
        if verb == "ask":
            asked = again.ask(first)
            assert (asked.node == second.node).all() and (asked.action == second.action).all()
        else:
            again.tell(first, second)
    assert (again.tree.block == search.tree.block).all()


def test_a_row_that_begins_at_its_end_is_done_and_a_row_without_room_too():
    world = World(3, 4)
    root = world.start([0, 1])[1]
    root.discount = np.array([0, 1], np.float32)
    search = CEM(horizon=2).begin(root, DiscreteActions(3), Size(10), keys=keys_of(0, 2))
    assert not len(search.ask(np.array([10, 0], np.int32)))
    assert search.stop_reason == ["exhausted", "budget"] and search.plan().path == [[0], [0]]
