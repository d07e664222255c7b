"""Warm-start one planner with another's plan, or with a plan that is known already.

WarmStarted(CEM(), ILQR())                            # half of the budget for each; ILQR gets what CEM leaves over
plan(ILQR(), ..., after=fixed_plan(plans, actions))   # begin with given sequences, such as a tree's plan
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from .interface import (
    Actions,
    ActionSpace,
    Bool,
    BoxActions,
    Expansion,
    Int,
    Keys,
    Plan,
    Planner,
    Returns,
    SequenceQuery,
    Size,
    WarmStartable,
)
from .settings_checks import check_integers, check_numbers
from .vectors.base import SequenceSearch
from .vectors.warm_start import SequenceWarmStart, shifted


@dataclass(frozen=True)
class WarmStarted:
    """`first` plans, and `then` begins with its plan; both are any planners over vectors, such as `CEM` and `ILQR`.

    share: fraction of the nodes that `first` may use, above 0 and below 1. nodes: how many it may use under a budget in
        another unit.
    """

    first: Planner
    then: Planner
    share: float = 0.5
    nodes: int = 1024

    def __post_init__(self) -> None:
        check_numbers(self, "share", above=0, below=1)
        check_integers(self, 1, "nodes")

    def begin(
        self, root: Expansion, actions: ActionSpace, size: Size, *, keys: Keys, after: WarmStartable | None = None
    ) -> WarmStartedSearch:
        """See `Planner.begin`. Errors: ValueError for indexed actions."""
        if not isinstance(actions, BoxActions):
            raise ValueError(f"WarmStarted plans vectors within BoxActions, got {actions}")
        return WarmStartedSearch(self, root, actions, size, keys, after)


class WarmStartedSearch(SequenceWarmStart):
    """One run; see `interface.Search`. The second search begins when the first is done in every row.

    first, second: the two searches; second is None while the first runs. first_remaining [B]: nodes the first may still
    use.
    """

    most_nodes: int | None = None

    def __init__(
        self,
        planner: WarmStarted,
        root: Expansion,
        box: BoxActions,
        size: Size,
        keys: Keys,
        after: WarmStartable | None,
    ) -> None:
        super().__init__(box, len(keys))
        self.planner = planner
        nodes = max(1, int(planner.share * size.nodes)) if size.exact else planner.nodes
        self.first_remaining = np.full(self.rows, nodes)
        first_size = Size(min(nodes, size.nodes))
        earlier = after.current if isinstance(after, WarmStartedSearch) else after
        self.first = cast(VectorSearch, planner.first.begin(root, box, first_size, keys=keys, after=earlier))
        most = self.first.most_nodes
        used = first_size.nodes if most is None else min(first_size.nodes, most)
        self._second_arguments = (root, Size(max(1, size.nodes - used), size.exact), keys)
        self.second: VectorSearch | None = None

    @property
    def current(self) -> VectorSearch:
        """The search that is running."""
        return self.first if self.second is None else self.second

    @property
    def done(self) -> Bool:
        self._begin_second()
        return self.current.done

    @property
    def evaluated(self) -> Bool:
        return self.first.evaluated

    @property
    def stop_reason(self) -> list[str]:
        stop_reason = self.current.stop_reason
        return stop_reason if self.second is not None else ["" for _ in stop_reason]

    def _begin_second(self) -> None:
        """Begin the second search once the first is done in every row."""
        if self.second is None and bool(self.first.done.all()):
            root, size, keys = self._second_arguments
            second = self.planner.then.begin(root, self.box, size, keys=keys, after=self.first)
            self.second = cast(VectorSearch, second)

    def ask(self, remaining: Int) -> SequenceQuery:
        """The next query of the running search; the first search sees only the nodes of its share."""
        self._begin_second()
        if self.second is not None:
            return self.second.ask(remaining)
        query = self.first.ask(np.minimum(remaining, self.first_remaining))
        self.first_remaining[query.row] -= query.nodes if len(query) else 0
        if not len(query) and bool(self.first.done.all()):
            return self.ask(remaining)
        return query

    def tell(self, query: SequenceQuery, answer: Returns) -> None:
        """See `SequenceSearch.tell`."""
        self.current.tell(query, answer)

    def drop(self, query: SequenceQuery) -> None:
        """See `SequenceSearch.drop`."""
        self.current.drop(query)
        if self.second is None:
            self.first_remaining[query.row] += query.nodes

    def advance(self, actions: Actions) -> None:
        """See `SequenceWarmStart.advance`."""
        self.current.advance(actions)
        self.taken = self.current.taken

    def plan(self) -> Plan:
        """The plan of the running search; its value is the first's in rows of which the second was told nothing yet."""
        found = self.current.plan()
        if self.second is None:
            return found
        found.value = np.where(self.second.evaluated, found.value, self.first.plan().value).astype(np.float32)
        return found


VectorSearch = SequenceSearch | WarmStartedSearch


class FixedPlan(SequenceWarmStart):
    """Sequences [B, H, D] that are known beforehand, as the plan of a search that need not run."""

    def __init__(self, actions: Tensor, box: BoxActions) -> None:
        super().__init__(box, len(actions))
        self.actions = actions

    def plan(self) -> Plan:
        value = np.zeros(self.rows, np.float32)
        return Plan(np.full(self.rows, -1, np.int32), [[] for _ in range(self.rows)], self.actions, value)


@dataclass(frozen=True)
class FixedOutcome:
    """What `plan` takes as `after` in place of an earlier `Outcome`, for a plan that no search made."""

    search: FixedPlan


def fixed_plan(plans: Sequence[Tensor] | Tensor, actions: ActionSpace) -> FixedOutcome:
    """Given plans as the `after` of `plan`, for any planner over vectors.

    plans: per problem vectors [length, D], such as what `EliteActions.vectors` makes of a tree's plan, or a tensor
        [B, H, D]. Shorter ones repeat their last action up to the longest; an empty one is the middle of the box.
    actions: the action space of the model.

    plan(ILQR(), model, problems, budget, after=fixed_plan(plans, model.actions))

    Errors: ValueError for indexed actions.
    """
    if not isinstance(actions, BoxActions):
        raise ValueError(f"fixed_plan takes vectors within BoxActions, got {actions}")
    longest = max(1, max(len(p) for p in plans))
    flat = [p.to(actions.low).view(-1, len(actions.low)) for p in plans]
    each = [shifted(p, 0, longest, actions, repeat_last=True) for p in flat]
    return FixedOutcome(FixedPlan(torch.stack(each).clamp(actions.low, actions.high), actions))
