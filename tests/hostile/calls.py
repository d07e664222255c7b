"""Hostile calls of the public API: what is called, the error that must come, and a word of its message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from forethought import control, evals, llm, planning
from forethought.planning import Budget, DiscreteActions, Expansion, ModelError

NAN, INF = float("nan"), float("inf")
WRONG: tuple[type[Exception], ...] = (ValueError, TypeError)
COUNTS: list[Any] = [0, -1, 1.5, NAN, "x", True, [3]]
NUMBERS: list[Any] = [NAN, INF, "x", None, [1.0]]


@dataclass(frozen=True)
class Call:
    """name: of the row. work: what is called. word: what the message must contain. errors: their types."""

    name: str
    work: Callable[[], Any]
    word: str
    errors: tuple[type[Exception], ...] = WRONG


def settings(kind: Callable[..., Any], values: list[Any], *names: str, **given: Any) -> Iterator[Call]:
    """One call for each setting and wrong value; the message must contain the setting's name."""
    for name in names:
        for value in values:
            yield Call(f"{kind.__name__}({name}={value!r})", partial(kind, **{**given, name: value}), name)


PLANNERS = [
    *settings(planning.CEM, COUNTS, "horizon", "iterations", "population", "min_population"),
    *settings(planning.CEM, NUMBERS[:3], "decay", "smoothing"),
    *settings(planning.MPPI, COUNTS[:5], "horizon", "iterations"),
    *settings(planning.MPPI, [NAN, INF, "x", -1.0, 0.0], "temperature"),
    *settings(planning.ICEM, COUNTS[:5], "horizon", "population"),
    *settings(planning.BestOfN, COUNTS[:5], "horizon"),
    *settings(planning.CEM, ["nope", 3, None, NAN], "risk", "answer"),
    *settings(planning.GaussianSettings, [NAN, INF, "x", -1.0], "std", "min_std"),
    *settings(planning.GaussianSettings, [NAN, INF, "x"], "noise_beta"),
    *settings(planning.GaussianSettings, [-1, 1.5, "x", NAN], "reuse_elites"),
    *settings(planning.PathSettings, [0, -1, 1.5, "x"], "width", "parallel"),
    *settings(planning.PathSettings, [NAN, INF, -1.0, "x"], "prior"),
    *settings(planning.MCTS, [0, -1, 1.5, "x", NAN], "simulations", "leaves"),
    *settings(planning.MCTS, NUMBERS[:4], "c_init", "c_base", "c_uct"),
    *settings(planning.MCTS, ["nope", 3, None], "selection", "normalise"),
    *settings(planning.GumbelSettings, [0, -1, 1.5, "x"], "considered"),
    *settings(planning.GumbelSettings, NUMBERS[:3], "value_scale", "maxvisit_init"),
    *settings(planning.WideningSettings, [0, -1, 1.5, "x"], "width"),
    *settings(planning.Beam, [0, -1, 1.5, "x", NAN], "beam", "children", "horizon", "trees"),
    *settings(planning.Beam, ["nope", None, 3], "evaluate"),
    *settings(planning.Rebase, [0, -1, 1.5, "x"], "width", "horizon"),
    *settings(planning.Rebase, [NAN, INF, 0.0, -1.0, "x"], "temperature"),
    *settings(planning.ILQR, COUNTS[:5], "horizon", "iterations"),
    *settings(planning.ILQR, [NAN, INF, -1.0, "x"], "tolerance"),
    *settings(planning.DDP, COUNTS[:5], "horizon"),
    *settings(planning.GradientShooting, COUNTS[:5], "horizon", "iterations", "starts", "memory"),
    *settings(planning.GradientShooting, [NAN, INF, "x", -1.0], "rate", "tolerance", "std"),
    *settings(planning.GradientShooting, ["sgd", None, 3], "optimiser"),
    *settings(planning.WarmStarted, [NAN, -0.1, 1.5, "x"], "share", first=planning.CEM(), then=planning.ILQR()),
    *settings(planning.WarmStarted, [0, -1, 1.5, "x"], "nodes", first=planning.CEM(), then=planning.ILQR()),
    *settings(Budget, [-1, 1.5, NAN, "x", True], "nodes", "model_calls", "generated_tokens"),
    *settings(Budget, [NAN, -1.0, "x"], "seconds"),
    Call("Budget()", Budget, "budget"),
    *[Call(f"DiscreteActions({n!r})", partial(DiscreteActions, n), "n is") for n in (0, -1, 1.5, "x", None, NAN)],
]


def box(low: Any, high: Any, dtype: torch.dtype = torch.float32) -> Any:
    return planning.BoxActions(torch.tensor(low, dtype=dtype), torch.tensor(high, dtype=dtype))


SPACES = [
    Call("a box upside down", partial(box, [1.0], [-1.0]), "low"),
    Call("a box of NaN", partial(box, [NAN], [1.0]), "finite"),
    Call("an infinite box", partial(box, [-INF], [1.0]), "finite"),
    Call("a box of two sizes", partial(box, [0.0], [1.0, 2.0]), "low"),
    Call("a box without components", partial(box, [], []), "component"),
    Call("a box of half precision", partial(box, [0.0], [1.0], torch.float16), "float"),
    Call("a box of integers", partial(box, [0], [1], torch.int64), "float"),
    Call("a box of lists", lambda: planning.BoxActions([0.0], [1.0]), "low"),  # type: ignore[arg-type]
]


class Broken:
    """A model of three actions whose answers have one field replaced."""

    cost: Any = 1

    def __init__(self, where: str = "", field: str = "", value: Any = None, actions: Any = None, cost: Any = 1) -> None:
        self.where, self.field, self.value, self.cost = where, field, value, cost
        self.actions = DiscreteActions(3) if actions is None else actions

    def _answer(self, where: str, count: int) -> Any:
        zero = np.zeros(count, np.float32)
        fields: dict[str, Any] = {"reward": zero, "discount": zero + 1, "value": zero,
                                  "logits": np.zeros((count, 3), np.float32)}  # fmt: skip
        if where == self.where:
            fields[self.field] = self.value(count) if callable(self.value) else self.value
        return Expansion(**fields)

    def start(self, problems: Any) -> Any:
        return torch.zeros(len(problems), 1), self._answer("start", len(problems))

    def expand(self, states: Any, actions: Any, **wishes: Any) -> Any:
        return states + 1, self._answer("expand", len(actions))


def full(value: float) -> Callable[[int], Any]:
    return lambda count: np.full(count, value, np.float32)


def shaped(*shape: int) -> Callable[[int], Any]:
    return lambda count: np.zeros((count + shape[0], *shape[1:]), np.float32)


VALUES: dict[str, Any] = {
    "too long": shaped(1), "two dimensions": shaped(0, 2), "a text": "x", "None": None, "a dict": {},
      "objects": lambda n: np.array([None] * n),
}  # fmt: skip
ONE: Any = [0]


def planned(model: Any, planner: Any = None) -> Any:
    return planning.plan(planner or planning.MCTS(), model, ONE, 12)


def checked(model: Any, **given: Any) -> Any:
    return planning.check_model(model, [0, 1], **given)


MODEL_ERRORS = (ModelError, ValueError, TypeError)
MODELS = [
    *[Call(f"plan with {field} of {where}: {name}", partial(planned, Broken(where, field, value)), "the model's",
      MODEL_ERRORS)
      for where in ("start", "expand") for field in ("reward", "discount", "value") for name, value in VALUES.items()
      if (where, field) != ("start", "reward")],
    *[Call(f"plan with logits of {where}: {name}", partial(planned, Broken(where, "logits", value)), "logits",
      MODEL_ERRORS)
      for where in ("start", "expand") for name, value in (("of two actions", shaped(0, 2)), ("flat", shaped(0)),
        ("a text", "x"))],
    *[Call(f"check_model: discount {x}", partial(checked, Broken("expand", "discount", full(x))), "discount",
      MODEL_ERRORS)
      for x in (2.0, NAN, INF, -3.0)],
    *[Call(f"check_model: {field} {x}", partial(checked, Broken("expand", field, full(x))), field, MODEL_ERRORS)
      for field in ("reward", "value") for x in (NAN, INF)],
    *[Call(f"check_model: cost {x!r}", partial(checked, Broken(cost=x)), "cost", MODEL_ERRORS)
      for x in (0, -1, None, "x", NAN, 1.5)],
    *[Call(f"check_model: steps {x!r}", partial(checked, Broken(), steps=x), "steps", MODEL_ERRORS) for x in (0,
      -1, 1.5, "x")],
    *[Call(f"plan with {type(planner).__name__} over vectors it cannot take",
           partial(planned, Broken(actions=box([-1.0], [1.0])), planner), "action", MODEL_ERRORS)
      for planner in (planning.MCTS(), planning.Beam(), planning.Rebase())],
    *[Call(f"plan with {type(planner).__name__} over indices", partial(planned, Broken(), planner), "action",
      MODEL_ERRORS)
      for planner in (planning.ILQR(), planning.DDP(), planning.GradientShooting())],
    *[Call(f"plan with a budget of {budget!r}", lambda budget=budget: planning.plan(planning.MCTS(), Broken(), ONE,
      budget), word)
      for budget, word in ((-1, "nodes"), (1.5, "nodes"), ("x", "nodes"), (None, "budget"), (NAN, "nodes"), (True,
        "nodes"))],
    Call("plan in an environment", lambda: planned(control.DynamicsEnv(control.Pendulum())), "environment"),
    Call("a negative discount and a beam", partial(planned, Broken("expand", "discount", full(-1.0)),
      planning.Beam()), "MCTS", MODEL_ERRORS),
    Call("a negative discount and paths", partial(planned, Broken("expand", "discount", full(-1.0)),
      planning.CEM()), "MCTS", MODEL_ERRORS),
    *[Call(f"ActionRepeat of {k!r}", lambda k=k: planning.ActionRepeat(Broken(), k), "k is") for k in (0, -1, 1.5,
      "x")],
    *[Call(f"DiscretizedActions of {n!r}", lambda n=n: planning.DiscretizedActions(control.PENDULUM.analytic(), n),
      "value")
      for n in (0, 1, -1, 1.5, "x")],
    *[Call(f"Penalised by {x!r}", lambda x=x: planning.Penalised(Broken(), x), "weight") for x in (NAN, -1.0, INF,
      "x")],
    *[Call(f"LambdaReturn of {x!r}", lambda x=x: planning.LambdaReturn(Broken(), x), "lambda") for x in (NAN, -0.1,
      1.1, "x")],
    *[Call(f"TerminalValue with gamma {x!r}", lambda x=x: planning.TerminalValue(Broken(), lambda s: s, x), "gamma")
      for x in (NAN, -0.5, 1.5, "x")],
]  # fmt: skip

EYE = torch.eye(2)
MATRICES = [
    Call("dare with complex matrices", lambda: planning.dare(EYE * 1j, EYE, EYE, EYE), "complex"),
    Call("dare with NaN", lambda: planning.dare(EYE * NAN, EYE, EYE, EYE), "NaN"),
    Call("dare with a wrong shape", lambda: planning.dare(torch.ones(2, 3), EYE, EYE, EYE), "a"),
    Call("lqr without an optimal action", lambda: planning.lqr(EYE, EYE, EYE, EYE * -9, EYE, horizon=3), "definite"),
    *[
        Call(f"lqr over {h!r} steps", lambda h=h: planning.lqr(EYE, EYE, EYE, EYE, EYE, horizon=h), "horizon")
        for h in (0, -1, 1.5)
    ],
]

CONTROL = [
    *[Call(f"collect {n!r} steps", lambda n=n: control.collect("Pendulum-v1", n), "step") for n in (0, -1, 1.5,
      "x", None)],
    *settings(control.PETS, [0, -1, 1.5, "x"], "steps", "random_steps", "envs", "nodes", "action_repeat", "members"),
    *settings(control.Fit, [0, -1, 1.5, "x"], "epochs", "patience", "batch_size"),
    *settings(control.Fit, [NAN, INF, -1.0, "x"], "learning_rate", "weight_decay"),
    *settings(control.Fit, [NAN, 0.0, 1.0, -0.1, "x"], "held_out"),
    *settings(control.EnsembleConfig, [0, -1, 1.5, "x"], "members", env_id="E", obs_dim=2, n_actions=2,
      termination="learned"),
    *settings(control.MLPConfig, [0, -1, 1.5, "x"], "obs_dim", env_id="E", n_actions=2, termination="learned"),
    *settings(control.MLPConfig, [-1, 1.5, "x"], "layers", env_id="E", obs_dim=2, n_actions=2, termination="learned"),
    *settings(control.MLPConfig, [0, -1, 1.5, "x"], "hidden", env_id="E", obs_dim=2, n_actions=2,
      termination="learned"),
    *settings(control.Pendulum, [NAN, INF, 0.0, -1.0, "x"], "mass", "length", "dt"),
    Call("load_model of nothing", lambda: control.load_model("/no/such/folder"), "/no/such/folder", (*WRONG,
      OSError)),
    Call("task_named('nope')", lambda: control.task_named("nope"), "pendulum"),
    *[Call(f"view for {kind!r}", lambda kind=kind: control.view_of(control.PENDULUM, kind), "view")
      for kind in ("graphs", None, 3)],
    Call("run_episodes without seeds", lambda: control.run_episodes(planning.CEM(), control.PENDULUM.analytic(),
      "Pendulum-v1", [], 8), "seed"),
    Call("run_episodes without a cap", lambda: control.run_episodes(planning.CEM(), control.PENDULUM.analytic(),
      "Pendulum-v1", [0]), "budget"),
]  # fmt: skip


def text_settings(**given: Any) -> Any:
    return evals.EvalSettings(**{"task": "stories", **given})


LANGUAGE = [
    *[Call(f"gold_answer({gold!r})", partial(llm.gold_answer, gold), "gold") for gold in (
        "", "x", "4:30", "2,5", "1 2", "x=5 or x=7", None, [], {}, NAN, "2\\sqrt{3}", "#### ", True)],
    *[Call(f"make_critic({text!r})", partial(llm.make_critic, text), "") for text in (
        "nope", "", "+", "self+", "*self", "2*", "nan*self", "-1*self", "self*self")],
    *[Call(f"load_text_model(model={name!r})", partial(llm.load_text_model, name), "model", (*WRONG, OSError))
      for name in (
        "/no/such", "./nope", "", "~/nope", Path("nope"))],
    *[Call(f"load_text_model(engine={name!r})", partial(llm.load_text_model, engine=name), "engine") for name in (
        "nope", "", "[red]", "Transformers")],
    *[Call(f"load_text_model({name}={value!r})", partial(llm.load_text_model, **{name: value}), name)
      for name, values in {"temperature": [NAN, -1.0, INF, "x"], "max_steps": [0, -1, 1.5, "x"], "top_p": [0.0,
        1.5, NAN, "x"],
                           "replicas": [0, -1, 1.5, "x"]}.items() for value in values],
    *[Call(f"load_text_model(max_step_tokens={value!r})", partial(llm.load_text_model, max_step_tokens=value),
      "max_tokens")
      for value in (0, -1, 1.5, "x")],
    Call("a tape that is a text", lambda: llm.TapeFile(__file__), "tape", (*WRONG, OSError)),
    Call("a tape that is missing", lambda: llm.TapeFile("/no/such/tape", read_only=True), "/no/such", (*WRONG,
      OSError)),
    Call("import of nothing", lambda: asyncio.run(llm.import_trees("/no/such.jsonl", "/no/such.tape")), "no",
      (*WRONG, OSError)),
]  # fmt: skip

EVALS = [
    *[Call(f"EvalSettings({name}={value!r})", partial(text_settings, **{name: value}), name.split("_")[0])
      for name, values in {
          "limit": COUNTS, "width": COUNTS, "in_flight": COUNTS[:5], "replicas": COUNTS[:5], "max_steps": COUNTS[:5],
          "max_step_tokens": COUNTS[:5], "shots": [-1, 5, 1.5, "x"], "seed": [-1, 1.5, "x", 1 << 64],
          "temperature": [NAN, INF, -1.0, "x", None], "unit": ["x", "", None, 3], "engine": ["x", "", None, 3],
          "reasoning": ["x", "", None], "answer_by": ["x", ""], "value": ["x", ""], "against": ["x", 3],
          "action_repeat": [2], "terminal_value": [True], "delimiter": [""],
      }.items() for value in values if value is not None or name in ("temperature", "unit", "engine", "reasoning")],
    *[Call(f"EvalSettings(budgets={value!r})", partial(text_settings, budgets=value), "budget")
      for value in (0, -1, "x", 1.5, [], True)],
    *[Call(f"EvalSettings(planners={value!r})", partial(text_settings, planners=value), "planner") for value in (
        "nope", "", [], 3, ["bfs", "bfs"], {"a": "nope"}, object())],
    *[Call(f"EvalSettings(task={value!r})", partial(evals.EvalSettings, task=value), "task") for value in ("nope",
      "", 3, [], object())],
    *[Call(f"solve({value!r})", partial(evals.solve, value), "question") for value in ("", "  ", None, 3, [])],
    *[Call(f"make_task({value!r})", partial(evals.make_task, value), "task") for value in ("nope", "", "[red]")],
    *[Call(f"grade_numeric against {gold!r}", partial(evals.grade_numeric, "#### 3", gold), "gold")
      for gold in ("x", "", "1,2", "4:30")],
    *[Call(f"estimate({scores!r})", partial(evals.estimate, scores), "x") for scores in (["x"],)],
    Call("paired of unequal lengths", lambda: evals.paired([1.0], [1.0, 0.0]), "pair"),
]  # fmt: skip

CALLS: list[Call] = [*PLANNERS, *SPACES, *MODELS, *MATRICES, *CONTROL, *LANGUAGE, *EVALS]
