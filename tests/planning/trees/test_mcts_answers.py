"""What MCTS makes of answers: in any form, wrong, late, dropped, and of copies of a search."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from slow_mcts import PLANNERS, MakeTable

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
from forethought.planning.testing.problems import bandit
from forethought.planning.trees.mcts import WideningSettings
from forethought.planning.usage import NODES


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
        with pytest.raises(ValueError, match="is one of"):
            MCTS(**wrong)
    for wrong in ({"leaves": 0}, {"simulations": 0}, {"normalise": (1.0, 1.0)}, {"normalise": "row"}):
        with pytest.raises(ValueError):
            MCTS(**wrong)
    with pytest.raises(ValueError, match="width"):
        WideningSettings(width=0)
    with pytest.raises(ValueError, match="fresh root"):
        MCTS(selection="gumbel", reuse=True)
