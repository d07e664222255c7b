"""A simulator of one's own as a model: anything with `get_state`, `set_state` and `step`, such as MuJoCo.

This is planning with the true dynamics, as in model predictive control with a physics engine (Tassa et al. 2012). It
has no derivatives. A state is stepped by loading it into the simulator, and afterwards the simulator is put back into
the state that it had, so that planning does not move it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
import torch
from torch import Tensor

from ...planning.interface import (
    ActionSpace,
    BoxActions,
    DiscreteActions,
    Evaluate,
    Expansion,
    Kind,
    ModelError,
    Offering,
    Vectorised,
)
from ...planning.spaces import action_indices

NO_DERIVATIVES = (
    "a simulator has no derivatives; plan with CEM, ICEM, MPPI or BestOfN, or with DiscretizedActions by MCTS"
)


class Simulator(Protocol):
    """What a `SimulatorModel` needs of a simulator.

    The state must hold all that the next steps depend on, random generators included: the same state and action must
    lead to the same result. It may be anything that `copy.deepcopy` copies: numbers, arrays, tuples, dicts.
    """

    def get_state(self) -> Any: ...

    def set_state(self, state: Any, /) -> object: ...

    def step(self, action: Any, /) -> Any:
        """Gymnasium's (obs, reward, terminated, truncated, info), or (reward, terminated) for short."""
        ...


@runtime_checkable
class Acting(Protocol):
    """A simulator that says what its actions are."""

    @property
    def action_space(self) -> Any: ...


@dataclass(frozen=True, eq=False)
class SimulatorState:
    """state: a copy of what the simulator returned. over: the episode ended in it. reward: of the step that led to it.

    States with equal contents are equal.
    """

    state: Any
    over: bool = False
    reward: float = 0.0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SimulatorState):
            return NotImplemented
        return (self.over, self.reward) == (other.over, other.reward) and same(self.state, other.state)

    def __hash__(self) -> int:
        return hash((self.over, self.reward))


States = list[SimulatorState]


class SimulatorModel(Offering, Vectorised[States]):
    """A simulator as a deterministic `Model`. Problems are B states as its `get_state` returns them.

    simulator: one, or several of the same kind, which share the states of a batch and step them in threads (of use
        where `step` releases Python's lock, as MuJoCo does).
    actions: a space of this package or of gymnasium, a `Discrete` (of any start) or a bounded `Box` of floats; by
        default the simulator's own `action_space`.
    value: return still to come of a simulator's state; None means 0. gamma: factor on everything after a step.
    A terminal state is absorbing, with reward 0 and discount 0. A truncation by a time limit is no end.

    Errors: TypeError for a simulator without the three methods, ValueError for other spaces of actions.
    """

    cost = 1

    def __init__(
        self,
        simulator: Simulator | Sequence[Simulator],
        actions: ActionSpace | gymnasium.Space[Any] | None = None,
        *,
        value: Callable[[Any], float] | None = None,
        gamma: float = 1.0,
    ) -> None:
        if not 0.0 < gamma <= 1.0:
            raise ValueError(f"gamma is in (0, 1], got {gamma}")
        self.simulators = list(simulator) if isinstance(simulator, Sequence) else [simulator]
        if not self.simulators:
            raise ValueError("a SimulatorModel needs at least one simulator")
        for each in self.simulators:
            _check_simulator(each)
        self.space = actions if actions is not None else _space_of(self.simulators[0])
        self.actions, self.value, self.gamma = _actions_of(self.space), value, gamma

    def start(self, problems: Any) -> tuple[States, Expansion]:
        """Problems are B states of the simulator."""
        states = [SimulatorState(deepcopy(state)) for state in problems]
        return states, self._expansion(states, start=True)

    def expand(
        self, states: States, actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[States, Expansion]:
        taken = self._as_taken(actions)
        reached = self._each(len(states), lambda simulator, i: self._step(simulator, states[i], taken[i]))
        return reached, self._expansion(reached, values=evaluate != "none")

    def offer(self, kind: type[Kind]) -> Kind | None:
        """`Vectorised` for vectors of actions, where whole sequences are stepped without copying the states between."""
        return None if kind is Vectorised and not isinstance(self.actions, BoxActions) else super().offer(kind)

    def rollout_returns(self, states: States, actions: Tensor) -> Tensor:
        """See `Vectorised`."""
        taken = [self._as_taken(each) for each in actions]

        def total(simulator: Simulator, i: int) -> float:
            if states[i].over:
                return 0.0
            simulator.set_state(deepcopy(states[i].state))
            result, weight = 0.0, 1.0
            for each in taken:
                reward, over = reward_and_end(simulator.step(each[i]))
                result, weight = result + weight * reward, weight * self.gamma
                if over:
                    return result
            return result if self.value is None else result + weight * self.value(deepcopy(simulator.get_state()))

        return torch.tensor(self._each(len(states), total), dtype=torch.float64).to(actions)

    def _step(self, simulator: Simulator, before: SimulatorState, action: Any) -> SimulatorState:
        if before.over:
            return SimulatorState(before.state, True)
        simulator.set_state(deepcopy(before.state))
        reward, over = reward_and_end(simulator.step(action))
        return SimulatorState(deepcopy(simulator.get_state()), over, reward)

    def _each(self, count: int, call: Callable[[Simulator, int], Any]) -> list[Any]:
        """`call` for each of `count` rows, by all simulators side by side, which are as before afterwards."""
        results: list[Any] = [None] * count

        def share(first: int) -> None:
            simulator = self.simulators[first]
            with unmoved(simulator):
                for i in range(first, count, len(self.simulators)):
                    results[i] = call(simulator, i)

        if len(self.simulators) == 1:
            share(0)
            return results
        with ThreadPoolExecutor(len(self.simulators)) as pool:
            list(pool.map(share, range(min(count, len(self.simulators)))))
        return results

    def _as_taken(self, actions: Any) -> list[Any]:
        """K actions as the simulator takes them: integers from the space's start on, or arrays of its shape."""
        if isinstance(actions, Tensor) and actions.requires_grad:
            raise ModelError(NO_DERIVATIVES)
        if isinstance(self.actions, DiscreteActions):
            start = int(self.space.start) if isinstance(self.space, gymnasium.spaces.Discrete) else 0
            return [start + i for i in action_indices(actions, self.actions.n, "cpu").tolist()]
        vectors = torch.as_tensor(actions).detach().cpu().numpy()
        if isinstance(self.space, gymnasium.spaces.Box):
            vectors = vectors.astype(self.space.dtype).reshape(len(vectors), *self.space.shape)
        return [vector.copy() for vector in vectors]

    def _expansion(self, states: States, *, start: bool = False, values: bool = True) -> Expansion:
        def column(numbers: list[float]) -> Tensor:
            return torch.tensor(numbers, dtype=torch.float64)

        worth = [0.0] * len(states)
        if self.value is not None and values:
            worth = [0.0 if each.over else float(self.value(deepcopy(each.state))) for each in states]
        gamma = 1.0 if start else self.gamma
        discount = [0.0 if each.over else gamma for each in states]
        return Expansion(column([each.reward for each in states]), column(discount), column(worth))


class MujocoSimulator:
    """A gymnasium environment with MuJoCo physics as a `Simulator`; wrappers around it are left out.

    Its state is all that MuJoCo's integration depends on, warm starts of the solver included (`mjSTATE_INTEGRATION`),
    where `set_state(qpos, qvel)` of the environment has positions and velocities alone.

    Errors: TypeError for an environment without MuJoCo's model and data.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        import mujoco

        self.env: Any = env.unwrapped
        self.mujoco: Any = mujoco
        model, data = (vars(self.env).get(name) for name in ("model", "data"))
        if not isinstance(model, mujoco.MjModel) or not isinstance(data, mujoco.MjData):
            raise TypeError(f"{type(self.env).__name__} is no environment with MuJoCo physics")
        self.action_space, self.content = env.action_space, mujoco.mjtState.mjSTATE_INTEGRATION
        self.size = mujoco.mj_stateSize(model, self.content)

    def get_state(self) -> Any:
        """float64 [size]."""
        state = np.empty(self.size)
        self.mujoco.mj_getState(self.env.model, self.env.data, state, self.content)
        return state

    def set_state(self, state: Any) -> None:
        """Set it, and compute what MuJoCo derives from it, such as the positions of bodies."""
        self.mujoco.mj_setState(self.env.model, self.env.data, state, self.content)
        self.mujoco.mj_forward(self.env.model, self.env.data)
        self.mujoco.mj_setState(self.env.model, self.env.data, state, self.content)  # the warm start has moved on

    def step(self, action: Any) -> Any:
        return self.env.step(action)


@contextmanager
def unmoved(simulator: Simulator) -> Iterator[None]:
    """Put the simulator back into the state that it has now, also after an error."""
    before = deepcopy(simulator.get_state())
    try:
        yield
    finally:
        simulator.set_state(before)


def reward_and_end(answer: Any) -> tuple[float, bool]:
    """What `Simulator.step` returned, as the reward and whether the episode ended. Errors: ModelError otherwise."""
    if not isinstance(answer, tuple) or len(answer) not in (2, 5):
        raise ModelError(
            "step must return (obs, reward, terminated, truncated, info) or (reward, terminated), got "
            f"{type(answer).__name__}{f' of {len(answer)}' if isinstance(answer, tuple) else ''}"
        )
    reward, over = answer[:2] if len(answer) == 2 else answer[1:3]
    for name, number in (("reward", reward), ("terminated", over)):
        if np.size(number) != 1:
            raise ModelError(f"step must return one number as {name}, got shape {list(np.shape(number))}")
    return float(np.asarray(reward, np.float64).item()), bool(np.asarray(over).item())


def same(a: Any, b: Any) -> bool:
    """Whether two states have equal contents."""
    if isinstance(a, np.ndarray | Tensor):
        return type(a) is type(b) and a.shape == b.shape and bool(np.all(np.asarray(a) == np.asarray(b)))
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def _check_simulator(simulator: Any) -> None:
    absent = [name for name in ("get_state", "set_state", "step") if not callable(getattr(simulator, name, None))]
    if absent:
        raise TypeError(
            f"{type(simulator).__name__} is no simulator: it lacks {', '.join(absent)}; "
            "MujocoSimulator(env) gives them to a MuJoCo environment of gymnasium"
        )


def _space_of(simulator: Simulator) -> gymnasium.Space[Any] | ActionSpace:
    """Its own `action_space`. Errors: ValueError without one."""
    if not isinstance(simulator, Acting):
        raise ValueError(f"{type(simulator).__name__} has no action_space: give SimulatorModel its actions")
    return simulator.action_space


def _actions_of(space: Any) -> ActionSpace:
    if isinstance(space, BoxActions | DiscreteActions):
        return space
    if isinstance(space, gymnasium.spaces.Discrete):
        return DiscreteActions(int(space.n))
    if isinstance(space, gymnasium.spaces.Box) and np.issubdtype(space.dtype, np.floating):
        low, high = (torch.from_numpy(x.reshape(-1).astype(np.float32)) for x in (space.low, space.high))
        return BoxActions(low, high)
    raise ValueError(f"a SimulatorModel needs a Discrete or a bounded Box of floats as its actions, got {space}")
