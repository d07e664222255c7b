"""Train the embedded reasoner from nothing: `train(out)` repeats the shipped weights' run from its seed."""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from .data import IGNORE, Batch, Words
from .evaluate import measure
from .init import hold
from .muon import Muon
from .net import build_model, tree_hidden
from .sample import sample_solutions
from .schedule import Feed, Plan, draw_story
from .stories import held_out
from .tokenizer import CRITIQUE, NO, YES, save_tokenizer, story_tokenizer

MANNERS = {
    "format": "plain", "prompt": "{question}\n", "delimiter": "\n", "critique": CRITIQUE, "yes": YES, "no": NO,
    "max_step_tokens": 40, "max_steps": 12,
}  # fmt: skip
BETAS = (0.9, 0.98)
LOG_EVERY = 100
MAX_TOKENS = 200  # of a sampled solution


def train(
    out: Path,
    seed: int = 0,
    steps: int | None = None,
    plan: Plan | None = None,
    export: Path | None = None,
    log: Callable[[str], None] = print,
    stop_at: int | None = None,
) -> LlamaForCausalLM:
    """Train the reasoner, or go on with the run whose state lies in `out`.

    out: folder for the state and the finished model (`out/model`). export: a folder that gets the model
    at every checkpoint. stop_at: leave off before this step, after a checkpoint. The weights depend on
    the plan alone, not on how often the run was stopped.
    """  # fmt: skip
    torch.set_num_threads(1)
    plan = plan or Plan()
    plan = replace(plan, seed=seed, steps=steps or plan.steps)
    run = Run(plan, out, log)
    end = min(plan.steps, stop_at if stop_at is not None else plan.steps)
    while run.step < end:
        run.advance()
        if run.step % plan.checkpoint_every == 0 or run.step == end:
            run.save()
            run.export(export or out / "model")
        if run.step % plan.evaluate_every == 0 or run.step == plan.steps:
            run.report()
    return run.model


class Run:
    """A training run: the model, its optimiser and its feed, at some step."""

    def __init__(self, plan: Plan, out: Path, log: Callable[[str], None] = print) -> None:
        self.plan, self.out, self.log, self.step = plan, out, log, 0
        out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(plan.seed)
        self.tokenizer: PreTrainedTokenizerFast = story_tokenizer()
        self.words = Words(self.tokenizer)
        self.model = build_model(plan.shape, len(self.tokenizer), self.words.end, self.words.pad)
        self.sounder = torch.nn.Linear(plan.shape.hidden, 1)
        hold(self.model)
        matrices, others = split_parameters(self.model, self.sounder)
        self.optimizer = torch.optim.Adam(others, betas=BETAS, eps=1e-9, fused=True)
        self.muon = Muon(matrices)
        self.feed = Feed(plan, self.words)
        self.sums = [0.0] * 4
        self.clock = time.perf_counter()
        if (out / "state.pt").exists():
            self._load()

    def advance(self) -> None:
        """One optimiser step, after sampling from the model where the plan says so."""
        if self.plan.draws_at(self.step):
            self._sample()
        for group in (*self.optimizer.param_groups, *self.muon.param_groups):
            group["lr"] = self.plan.rate_at(self.step)
        batch = self.feed.batch(self.step)
        text, critique, sound = losses(self.model, batch, self.words, self.sounder)
        (text + self.plan.critique_at(self.step) * critique + self.plan.sound_weight * sound).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in (self.optimizer, self.muon):
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        self._note(*(float(part.detach()) for part in (text, critique, sound)), batch.ids.numel())

    def _note(self, *parts: float) -> None:
        self.sums = [a + b for a, b in zip(self.sums, parts)]
        if self.step % LOG_EVERY == 0:
            seconds = time.perf_counter() - self.clock
            text, critique, sound, tokens = self.sums
            self.log(
                f"step {self.step} text {text / LOG_EVERY:.4f} critique {critique / LOG_EVERY:.4f} "
                f"sound {sound / LOG_EVERY:.4f} tokens/s {tokens / seconds:.0f} seconds {seconds:.0f}"
            )
            self.sums, self.clock = [0.0] * 4, time.perf_counter()

    def _sample(self) -> None:
        """Put solutions of the model's own in the pool, two thirds of which are kept from the times before."""
        plan, rng = self.plan, random.Random(f"{self.plan.seed}/pool/{self.step}")
        # Indices below zero are never used by the feed, so these stories are new to the model.
        first = -1 - self.step * plan.sample_stories
        stories = [draw_story(plan, first - i, None, rng) for i in range(plan.sample_stories)]
        questions = [story.question for story in stories for _ in range(plan.samples_each)]
        texts = sample_solutions(self.model, self.tokenizer, questions, rng.choice((0.8, 0.8, 0.9, 1.0)), MAX_TOKENS)
        each = plan.samples_each
        fresh = [(story, texts[i * each : (i + 1) * each]) for i, story in enumerate(stories)]
        self.feed.pool = self.feed.pool[-2 * plan.sample_stories :] + fresh

    def save(self) -> None:
        """Write everything that going on exactly needs, in one move."""
        state = {
            "step": self.step, "model": self.model.state_dict(), "sounder": self.sounder.state_dict(),
            "optimizer": self.optimizer.state_dict(), "muon": self.muon.state_dict(),
            "random": torch.get_rng_state(), "pool": self.feed.pool, "plan": self.plan,
        }  # fmt: skip
        torch.save(state, self.out / "state.tmp")
        os.replace(self.out / "state.tmp", self.out / "state.pt")

    def _load(self) -> None:
        # The state holds stories and the plan, so it is unpickled whole; it is this run's own file.
        state: dict[str, Any] = torch.load(self.out / "state.pt", weights_only=False)
        if state["plan"] != self.plan:
            raise ValueError(f"the state in the folder belongs to another plan: {state['plan']}")
        self.model.load_state_dict(state["model"])
        self.sounder.load_state_dict(state["sounder"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.muon.load_state_dict(state["muon"])
        torch.set_rng_state(state["random"])
        self.feed.pool, self.step = state["pool"], state["step"]

    def export(self, folder: Path) -> None:
        """Write the model in Hugging Face format, each file in one move."""
        export_model(self.model, self.tokenizer, folder)

    def report(self) -> None:
        """Log how the model does on validation stories; the run's random state is left as it was."""
        before = torch.get_rng_state()
        table = measure(self.model, self.tokenizer, held_out("validation", 25), samples=4, chosen_of=4)
        torch.set_rng_state(before)
        cells = {name: {k: round(v, 3) for k, v in row.items()} for name, row in table.items()}
        self.log(f"validation at step {self.step}: {json.dumps(cells)}")
        self.clock = time.perf_counter()


def split_parameters(model: LlamaForCausalLM, *others: torch.nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """The matrices of the model's layers, which Muon trains, and everything else, which Adam trains."""
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    known = {id(p) for p in matrices}
    return matrices, [p for module in (model, *others) for p in module.parameters() if id(p) not in known]


def losses(
    model: LlamaForCausalLM, batch: Batch, words: Words, sounder: torch.nn.Linear
) -> tuple[Tensor, Tensor, Tensor]:
    """The mean losses of the solutions' text, of the critique's verdicts and of the tokens' soundness; three scalars.

    The last is a task for training alone: a verdict on every token tells where a line went wrong, which
    the one on the whole line leaves to be found. Its head is thrown away.
    """
    hidden = tree_hidden(model, batch.ids, batch.positions, batch.mask)
    taught, judged = batch.goals != IGNORE, batch.sound != IGNORE
    asks = (batch.ids == words.critique)[taught]
    each = F.cross_entropy(model.lm_head(hidden[taught]), batch.goals[taught], reduction="none")
    sound = F.binary_cross_entropy_with_logits(sounder(hidden[judged])[:, 0], batch.sound[judged].float())
    return each[~asks].mean(), each[asks].mean() if bool(asks.any()) else each.new_zeros(()), sound


def export_model(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write weights, tokenizer and forethought.json into the folder, each file replaced in one move."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        fresh = Path(name)
        model.save_pretrained(fresh)
        save_tokenizer(tokenizer, fresh)
        (fresh / "forethought.json").write_text(json.dumps(MANNERS, indent=1) + "\n")
        for file in sorted(fresh.iterdir()):
            shutil.move(str(file), str(folder / file.name))
