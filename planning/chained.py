"""One planner's plan taken up by another: sampling finds the valley, iLQR its floor.

Polished(CEM(), ILQR())     # half of the budget for each; what the first leaves over is the second's

A plan that is known already, such as a tree's, is taken up the same way: `Given`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .interface import ActionSpace, Bool, BoxActions, Expansion, Int, Keys, Plan, SequenceQuery, Size, WarmStartable
from .vectors.base import shifted


@dataclass(frozen=True)
class WarmStarted:
    """`first` plans, `then` begins with its plan; both are any planners over vectors, such as `CEM` and `ILQR`.

    share: of the nodes that are the first's, above 0 and below 1. Under a cap that is not in nodes the first gets
        `nodes` of them.
    """

    first: Any
    then: Any
    share: float = 0.5
    nodes: int = 1024

    def __post_init__(self) -> None:
        if not 0 < self.share < 1 or self.nodes < 1:
            raise ValueError(f"share is above 0 and below 1 and nodes at least 1, got {self.share} and {self.nodes}")

    def begin(
        self, root: Expansion, actions: ActionSpace, size: Size, *, keys: Keys, after: Any | None = None
    ) -> WarmStartedSearch:
        """See `Planner.begin`. Errors: ValueError for actions that are slots."""
        if not isinstance(actions, BoxActions):
            raise ValueError(f"Polished wants vectors within a BoxActions, got {actions}")
        return WarmStartedSearch(self, root, actions, size, keys, after)


class WarmStartedSearch(WarmStartable):
    """One run; see `interface.Search`. The second search begins when the first is done in every row."""

    def __init__(
        self, planner: WarmStarted, root: Expansion, box: BoxActions, size: Size, keys: Keys, after: Any | None
    ) -> None:
        self.planner, self.box, self.rows = planner, box, len(keys)
        self.taken = 0
        self.quota = np.full(self.rows, max(1, int(planner.share * size.nodes)) if size.exact else planner.nodes)
        small = Size(min(int(self.quota[0]), size.nodes))
        earlier = after.now if isinstance(after, WarmStartedSearch) else after
        self.first = planner.first.begin(root, box, small, keys=keys, after=earlier)
        used = min(small.nodes, int(getattr(self.first, "nodes", small.nodes)))
        self._then = (root, box, Size(max(1, size.nodes - used), size.exact), keys)
        self.second: Any = None

    @property
    def now(self) -> Any:
        """The search that is under way."""
        return self.first if self.second is None else self.second

    @property
    def done(self) -> Bool:
        self._go_on()
        done: Bool = self.now.done
        return done

    @property
    def stop_reason(self) -> list[str]:
        stop_reason: list[str] = self.now.stop_reason
        return stop_reason if self.second is not None else ["" for _ in stop_reason]

    def _go_on(self) -> None:
        if self.second is None and bool(self.first.done.all()):
            root, box, size, keys = self._then
            self.second = self.planner.then.begin(root, box, size, keys=keys, after=self.first)

    def ask(self, remaining: Int) -> SequenceQuery:
        """The next query of the search under way; the first's within its own part of the room."""
        self._go_on()
        if self.second is not None:
            asked: SequenceQuery = self.second.ask(remaining)
            return asked
        asked = self.first.ask(np.minimum(remaining, self.quota))
        self.quota[asked.row] -= asked.nodes if len(asked) else 0
        if not len(asked) and bool(self.first.done.all()):
            return self.ask(remaining)
        return asked

    def tell(self, query: Any, answer: Any) -> None:
        self.now.tell(query, answer)

    def drop(self, query: Any) -> None:
        self.now.drop(query)
        if self.second is None:
            self.quota[query.row] += query.nodes

    def advance(self, actions_taken: Any) -> None:
        """See `SequenceSearch.advance`."""
        self.now.advance(actions_taken)
        self.taken = self.now.taken

    def plan(self) -> Plan:
        """The plan of the search under way; the first's in rows of which the second was not told yet."""
        found: Plan = self.now.plan()
        if self.second is None:
            return found
        early = self.first.plan()
        told = self.second.iteration > 0
        found.value = np.where(told, found.value, early.value).astype(np.float32)
        return found


class Given(WarmStartable):
    """A plan that is known beforehand, as the `after` of any search over vectors.

    plans: per problem vectors [length, D], such as what `EliteActions.vectors` makes of a tree's plan, or a tensor
        [B, H, D]. Shorter ones repeat their last action up to the longest; an empty one is the middle of the box.

    plan(ILQR(), model, problems, budget, after=Given(plans, model.actions).outcome)
    """

    def __init__(self, plans: Sequence[Tensor] | Tensor, box: ActionSpace) -> None:
        if not isinstance(box, BoxActions):
            raise ValueError(f"Given wants vectors within a BoxActions, got {box}")
        self.box, self.rows, self.taken = box, len(plans), 0
        longest = max(1, max(len(p) for p in plans))
        each = [shifted(p.to(box.low).view(-1, len(box.low)), 0, longest, box, True) for p in plans]
        self.actions = torch.stack(each).clamp(box.low, box.high)

    @property
    def outcome(self) -> Any:
        """What `plan` takes as `after`."""
        return SimpleNamespace(search=self)

    def advance(self, actions: Any) -> None:
        """Steps [B, D] or [B, n, D] of the plan were taken."""
        self.taken += 1 if np.ndim(actions) == 2 else np.shape(actions)[1]

    def plan(self) -> Plan:
        value = np.zeros(self.rows, np.float32)
        return Plan(np.full(self.rows, -1, np.int32), [[] for _ in range(self.rows)], self.actions, value)
