"""The drivers: `aplan` is `plan` awaited, budgets hold under any concurrency, failures leave nothing behind."""

from __future__ import annotations

import asyncio
import random
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forethought.planning import CEM, MCTS, UNITS, BestOfN, Budget, IndexedActions, ModelError, aplan, keys_of, plan
from forethought.planning import receding_horizon as drive
from forethought.planning.budget import Ledger
from forethought.planning.interface import EdgeQuery, Size
from forethought.planning.states import ListStates, TensorStates, fields_of, store_for
from forethought.planning.testing.problems import Table, TargetProblem, bandit, chain
from forethought.planning.trees.beam import Beam
from forethought.planning.trees.mcts import WideningSettings
from forethought.planning.trees.nodes import AWAITED
from forethought.planning.usage import GENERATED_TOKENS, MODEL_CALLS, NODES

MakeTable = Callable[..., Table]


@dataclass
class Awaited:
    """A table as an `AsyncModel`: each call takes a random number of turns of the event loop; call `fails` raises."""

    model: Table
    seed: int = 0
    fails: int = -1
    most_tokens: int = 0
    usage: bool = False
    calls: int = 0
    opened: int = 0
    flying: int = 0
    most_flying: int = 0
    draw: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self.draw.seed(self.seed)

    @property
    def actions(self) -> IndexedActions:
        return self.model.actions

    @property
    def cost(self) -> int:
        return self.model.cost

    async def start(self, problems: Any) -> Any:
        states, said = self.model.start(problems)
        return list(states), said

    async def expand(self, states: Any, actions: Any, *, to_end: bool = False, evaluate: Any = "all") -> Any:
        self.calls += 1
        self.opened += len(actions)
        self.flying += 1
        self.most_flying = max(self.most_flying, self.flying)
        if self.calls - 1 == self.fails:
            self.flying -= 1
            raise ConnectionError("the line is dead")
        for _ in range(self.draw.randrange(6)):
            await asyncio.sleep(0)
        self.flying -= 1
        batch = states if self.model.sampled else torch.stack(states)
        reached, said = self.model.expand(batch, actions, to_end=to_end, evaluate=evaluate)
        if self.usage:
            said.usage = np.zeros((len(actions), len(UNITS)))
            said.usage[:, [NODES, MODEL_CALLS]] = 1
            said.usage[:, GENERATED_TOKENS] = [self.draw.randint(1, self.most_tokens) for _ in actions]
        return list(reached), said


ONE_IN_FLIGHT = [MCTS(), MCTS(selection="uct"), MCTS(selection="gumbel"), MCTS(backup="max"), BestOfN()]


@pytest.mark.parametrize("planner", ONE_IN_FLIGHT, ids=["puct", "uct", "gumbel", "max", "best of n"])
async def test_aplan_with_one_call_in_flight_is_plan_node_for_node(planner: Any, table: MakeTable) -> None:
    model, key = table(5, sampled=True), keys_of(3, 1)
    together = plan(planner, model, [2], Budget(nodes=40), keys=key)
    awaited = await aplan(planner, Awaited(model), 2, Budget(nodes=40), key=int(key[0]), close=False)
    np.testing.assert_array_equal(together.search.tree.block, awaited.search.tree.block)
    np.testing.assert_array_equal(together.search.tree.priors, awaited.search.tree.priors)
    np.testing.assert_array_equal(together.charged, awaited.charged)
    assert together.plan.path == awaited.plan.path


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    leaves=st.integers(1, 6),
    cap=st.integers(1, 25),
    unit=st.sampled_from(["nodes", "model_calls", "generated_tokens"]),
)
def test_caps_hold_under_any_concurrency(seed: int, leaves: int, cap: int, unit: str) -> None:
    model = Awaited(chain(30, sampled=True), seed, most_tokens=3, usage=True)
    planner = MCTS(leaves=leaves) if seed % 2 else Beam(beam=leaves, children=2)
    done = asyncio.run(aplan(planner, model, 0, Budget(**{unit: cap}), close=False))
    column = UNITS.index(unit)
    assert done.charged[0, column] <= cap
    assert done.charged[0, column] > cap - (3 if unit == "generated_tokens" else 1) or done.search.done[0]
    assert done.charged[0, MODEL_CALLS] == model.opened
    assert not done.search.tree.nodes["pending"][0].any()
    assert model.most_flying <= leaves or not isinstance(planner, MCTS)
    np.testing.assert_allclose(sum(done.node_usage.values()), done.charged[0])


def test_a_node_that_costs_several_is_reserved_whole() -> None:
    ledger = Ledger(Budget(nodes=10), 1, cost=4)
    query = plan(MCTS(), bandit([0.0, 1.0]), [0], Budget(nodes=1)).search.journal[0][2]
    assert ledger.remaining().tolist() == [2]
    ledger.reserve(query)
    assert ledger.remaining().tolist() == [1]
    usage = np.zeros((1, len(UNITS)))
    usage[0, NODES] = 1
    ledger.charge(query, usage)
    assert ledger.remaining().tolist() == [2] and ledger.charged[0, NODES] == 1
    ledger.reserve(query)
    ledger.release(query)
    assert ledger.remaining().tolist() == [2]


@pytest.mark.parametrize("leaves", [1, 5])
def test_seconds_are_a_stop_time_after_which_nothing_starts(leaves: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10**6))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    model = Awaited(chain(60, sampled=True))
    done = asyncio.run(aplan(MCTS(leaves=leaves), model, 0, Budget(seconds=20.0), close=False))
    assert done.plan.stop_reason == ["budget"] and 0 < model.opened <= 20 * leaves
    assert done.charged[0, NODES] == model.opened and not done.search.tree.headers["in_flight"].any()
    many = plan(MCTS(), chain(60), [0, 0], Budget(seconds=20.0))
    assert many.plan.stop_reason == ["budget"] * 2 and 0 < many.charged[0, NODES] <= 20


# closing


@pytest.mark.parametrize("charges", [False, True])
def test_a_plan_always_answers_and_closing_is_outside_the_cap_inside_the_ledger(charges: bool) -> None:
    model = Awaited(chain(12, sampled=True), most_tokens=3, usage=charges)
    done = asyncio.run(aplan(MCTS(), model, 0, Budget(nodes=1)))
    assert done.charged[0, NODES] == 1 and model.calls == 1 + done.completion[0, MODEL_CALLS]
    np.testing.assert_allclose(done.spent, done.charged + done.completion)
    [end] = done.ends
    assert end.number == 12  # the state after the last
    assert (done.completion[0, GENERATED_TOKENS] > 0) == charges or done.completion[0, MODEL_CALLS] == 0


def test_what_is_finished_already_needs_no_closing() -> None:
    model = Awaited(bandit([0.1, 0.9], sampled=True))
    done = asyncio.run(aplan(MCTS(), model, 0, Budget(nodes=8)))
    assert not done.completion.any() and done.plan.value[0] == pytest.approx(0.9)


def test_closing_gives_up_on_a_world_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forethought.planning.driver.MAX_COMPLETION_STEPS", 7)
    endless = Table(np.zeros((1, 2), int), np.zeros((1, 2)), np.ones((1, 2)))
    done = asyncio.run(aplan(MCTS(), Awaited(endless), 0, Budget(nodes=3)))
    assert done.completion[0, MODEL_CALLS] == 7


# failures


@pytest.mark.parametrize("fails", [0, 3, 7])
def test_a_call_that_raises_reaches_the_caller_and_leaves_nothing_pending(fails: int) -> None:
    kept: list[Any] = []

    @dataclass(frozen=True)
    class Watched(MCTS):
        def begin(self, *args: Any, **kwargs: Any) -> Any:
            kept.append(super().begin(*args, **kwargs))
            return kept[-1]

    with pytest.raises(ConnectionError, match="the line is dead"):
        asyncio.run(aplan(Watched(leaves=4), Awaited(chain(30, sampled=True), fails=fails), 0, Budget(nodes=30)))
    [search] = kept
    assert not search.tree.nodes["pending"][0].any() and not search.tree.headers["in_flight"].any()
    assert (search.tree.nodes["status"][0] != AWAITED).all()
    assert len(search.ask(np.full(1, 30, np.int32))) and np.isfinite(search.plan().value).all()


def test_a_wrong_shape_in_mid_run_is_a_model_error_with_nothing_pending(table: MakeTable) -> None:
    class Short(Awaited):
        async def expand(self, states: Any, actions: Any, **wishes: Any) -> Any:
            reached, said = await super().expand(states, actions, **wishes)
            if self.calls > 3:
                said.reward = said.reward[:0]
            return reached, said

    with pytest.raises(ModelError, match="reward has shape"):
        asyncio.run(aplan(MCTS(leaves=3), Short(table(1)), 0, Budget(nodes=20)))


def test_too_few_states_are_a_model_error() -> None:
    store = ListStates([1], 0)
    with pytest.raises(ModelError, match="states are 1, expected 2"):
        store.put(np.zeros(2, np.int32), np.arange(2, dtype=np.int32), [7])


# decisions one after the other


def walk_on(model: Table, states: np.ndarray, log: list[Any]) -> Callable[[Any], Any]:
    """The real world is the model itself."""
    here = [np.asarray(states)]

    def act(taken: Any) -> Any:
        alive = model.discount[here[0], taken] != 0
        log.append(model.reward[here[0], taken])
        here[0] = model.next[here[0], taken]
        return here[0], alive

    return act


def test_a_reused_tree_keeps_ids_and_size_over_many_decisions(table: MakeTable) -> None:
    model = table(3, states=40, slots=3, ends=0.15)
    model.logits[:] = 0
    log: list[Any] = []
    sizes, kept = set(), 0
    planner, starts = MCTS(reuse=True, selection="uct"), np.arange(6)
    before: dict[tuple[int, int], Any] = {}
    for outcome in drive(planner, model, starts, walk_on(model, starts, log), Budget(nodes=30), 25):
        tree = outcome.search.tree
        sizes.add((tree.block.shape, tree.priors.shape, outcome.states.blocks[0].shape))
        for row in range(6):
            states = {n: int(outcome.states.get(np.array([row]), np.array([n]))[0]) for n in tree.evaluated(row)}
            kept += sum(before.get((row, n)) == s for n, s in states.items())
            for n, s in states.items():
                parent = int(outcome.states.get(np.array([row]), np.array([int(tree.nodes["parent"][row, n])]))[0])
                if n != tree.root[row]:
                    assert model.next[parent, tree.actions_along(row, tree.path(row, n))[-1]] == s
                before[row, n] = s
        assert (outcome.charged[:, NODES] <= 30).all()
    assert len(sizes) == 1 and kept > 100 and len(log) > 5


def test_reuse_takes_the_best_actions_of_a_deterministic_world(table: MakeTable) -> None:
    model = table(8, states=6, slots=2, ends=0.0, gamma=0.5)
    model.logits[:] = 0
    q = model.reward + model.discount * model.optimum()[model.next]
    here = np.arange(6)
    for outcome in drive(
        MCTS(reuse=True, selection="uct", backup="max"), model, here, walk_on(model, here, []), Budget(nodes=200), 4
    ):
        for state, actions in zip(here, outcome.plan.actions):
            assert q[state, actions[0]] > q[state].max() - 0.05
        here = model.next[here, [a[0] for a in outcome.plan.actions]]


def test_noise_at_a_reused_root_opens_no_slot_twice(table: MakeTable) -> None:
    model = table(4, states=8, slots=5, ends=0.0)
    planner = MCTS(reuse=True, dirichlet=(0.3, 0.5))
    for outcome in drive(planner, model, np.arange(4), walk_on(model, np.arange(4), []), Budget(nodes=20), 8):
        tree = outcome.search.tree
        for row in range(4):
            slots = [
                tuple(tree.actions_along(row, tree.path(row, n))) for n in tree.evaluated(row) if n != tree.root[row]
            ]
            assert len(slots) == len(set(slots))


def test_warm_starts_of_vectors_go_on_from_the_plan_before() -> None:
    aim, problems = TargetProblem(torch.tensor([0.6])), torch.zeros(2)
    planner = CEM(horizon=4)

    def act(taken: Any) -> Any:
        assert taken.shape == (2, 1)
        return problems, np.array([True, False])

    far = [
        float((o.plan.actions - 0.6).abs().mean())
        for o in drive(planner, aim, problems, act, Budget(nodes=160), 4, warm=True)
    ]
    assert len(far) == 4 and far[-1] < max(far[0], 0.1)


def test_decisions_end_when_no_row_is_alive() -> None:
    outcomes = list(drive(MCTS(), chain(3), [0, 0], lambda taken: ([0, 0], np.zeros(2, bool)), Budget(nodes=10), 5))
    assert len(outcomes) == 1


# stores

Pair = namedtuple("Pair", "place speed")


@pytest.mark.parametrize(
    "start",
    [
        torch.arange(2.0),
        (torch.arange(2.0), torch.zeros(2, 3)),
        Pair(torch.arange(2.0), torch.zeros(2, 3)),
        {"h": torch.arange(2.0), "z": torch.zeros(2, 3)},
    ],
    ids=["tensor", "tuple", "namedtuple", "dict"],
)
def test_states_of_tensors_come_back_as_they_were_put(start: Any) -> None:
    store = store_for(start, 3)
    assert isinstance(store, TensorStates)
    row, node = np.array([0, 1], np.int32), np.array([2, 1], np.int32)
    store.put(row, node, start)
    back = store.get(row[::-1].copy(), node[::-1].copy())
    assert type(back) is type(start)
    for put, got in zip(fields_of(start), fields_of(back), strict=True):
        assert torch.equal(got, put.flip(0))


@pytest.mark.parametrize("name", ["usage", "spent"])
def test_usage_of_another_shape_is_a_model_error(name: str) -> None:
    ledger, query = Ledger(Budget(nodes=8), 2), EdgeQuery(*np.zeros((4, 2), np.int32))
    ledger.reserve(query)
    fine = np.ones((2, len(UNITS)))
    usage = {"usage": fine, "spent": fine} | {name: np.ones((2, 3))}
    with pytest.raises(ModelError, match=f"{name} has shape"):
        ledger.charge(query, **usage)


def test_duplicates_of_nodes_outside_the_tree_are_a_model_error(table: MakeTable) -> None:
    model = table(0)
    states, root = model.start([0])
    search = MCTS().begin(root, model.actions, Size(8), keys=keys_of(0, 1))
    query = search.ask(np.array([8], np.int32))
    answer = model.expand(states, query.action)[1]
    answer.duplicate_of = np.array([1000], np.int32)
    with pytest.raises(ModelError, match="outside"):
        search.tell(query, answer)


def test_states_of_another_shape_are_a_model_error() -> None:
    store = store_for(torch.zeros(2, 3), 4)
    with pytest.raises(ModelError, match="states have shape"):
        store.put(np.zeros(2, np.int32), np.arange(2, dtype=np.int32), torch.zeros(2, 4))


def test_equal_siblings_are_found_and_forgotten_with_the_parents_id() -> None:
    store = ListStates(["a"], 0)
    row = np.zeros(1, np.int32)

    def put(node: int, state: str, parent: int) -> Any:
        return store.put(row, np.array([node], np.int32), [state], np.array([parent], np.int32))

    assert put(1, "b", 0) is None and put(2, "c", 0) is None
    assert put(3, "b", 0).tolist() == [1]
    assert put(4, "b", 1) is None  # of another parent
    assert put(1, "d", 2) is None  # the id is given to another node
    assert put(5, "b", 1) is None
    assert store.get(row, np.array([5]))[0] == "b"


def test_twins_share_one_node_are_charged_and_draws_are_capped_at_twice_the_width() -> None:
    outcome = plan(MCTS(widening=WideningSettings(width=3)), bandit([0.5], sampled=True), [0], Budget(nodes=20))
    assert outcome.charged[0, NODES] == 6 and outcome.plan.stop_reason == ["exhausted"]
    assert len(outcome.plan.finished[0]) == 1
