"""Train the built-in reasoner from scratch: `train(out)` repeats the training of the shipped weights from its seed."""

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

from ..text.formats import SETTINGS_FILE, write_settings
from .data import IGNORE, Batch, StoryVocabulary
from .evaluate import measure
from .init import freeze_previous_token_heads
from .muon import Muon
from .net import build_model, tree_hidden
from .sample import sample_solutions
from .schedule import BatchSampler, Schedule, draw_story
from .stories import held_out
from .tokenizer import CRITIQUE, NO, YES, save_tokenizer, story_tokenizer

REASONER_SETTINGS: dict[str, Any] = {
    "format": "plain", "prompt": "{question}\n", "delimiter": "\n", "critique": CRITIQUE, "yes": YES, "no": NO,
    "max_step_tokens": 40, "max_steps": 12,
}  # fmt: skip
"""The format that the reasoner is trained on, as its `forethought.json` states it."""
CHECKPOINT_FORMAT = 2
BETAS = (0.9, 0.98)
LOG_EVERY = 100
MAX_TOKENS = 200  # of a sampled solution


def train(
    out: Path,
    seed: int = 0,
    steps: int | None = None,
    schedule: Schedule | None = None,
    export: Path | None = None,
    log: Callable[[str], None] = print,
    stop_at: int | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> LlamaForCausalLM:
    """Train the reasoner, or resume the training whose checkpoint is in `out`.

    out: folder for the checkpoint and the finished model (`out/model`). export: a folder that gets the model at every
    checkpoint. stop_at: stop before this step, after a checkpoint. watch: called after every step with the steps made
    and the steps in all. The weights depend on the schedule only, not on how
    often the training was stopped.

    Errors: ValueError for a checkpoint of another schedule or of an older format.
    """
    torch.set_num_threads(1)
    schedule = schedule or Schedule()
    schedule = replace(schedule, seed=seed, steps=steps or schedule.steps)
    training = ReasonerTraining(schedule, out, log)
    end = min(schedule.steps, stop_at if stop_at is not None else schedule.steps)
    while training.step < end:
        training.advance()
        if watch is not None:
            watch(training.step, end)
        if training.step % schedule.checkpoint_every == 0 or training.step == end:
            training.save()
            training.export(export or out / "model")
        if training.step % schedule.evaluate_every == 0 or training.step == schedule.steps:
            training.report()
    return training.model


class ReasonerTraining:
    """A training at some step: the model, its optimisers and its batches."""

    def __init__(self, schedule: Schedule, out: Path, log: Callable[[str], None] = print) -> None:
        self.schedule, self.out, self.log, self.step = schedule, out, log, 0
        out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(schedule.seed)
        self.tokenizer: PreTrainedTokenizerFast = story_tokenizer()
        self.vocab = StoryVocabulary(self.tokenizer)
        self.model = build_model(schedule.shape, len(self.tokenizer), self.vocab.end, self.vocab.pad)
        self.token_head = torch.nn.Linear(schedule.shape.hidden, 1)
        freeze_previous_token_heads(self.model)
        matrices, others = split_parameters(self.model, self.token_head)
        self.optimizer = torch.optim.Adam(others, betas=BETAS, eps=1e-9, fused=True)
        self.muon = Muon(matrices)
        self.batches = BatchSampler(schedule, self.vocab)
        self.loss_sums = [0.0] * 4
        self.log_time = time.perf_counter()
        if (out / "state.pt").exists():
            self._load()

    def advance(self) -> None:
        """One optimiser step, after sampling from the model where the schedule says so."""
        if self.schedule.samples_at(self.step):
            self._sample()
        for group in (*self.optimizer.param_groups, *self.muon.param_groups):
            group["lr"] = self.schedule.learning_rate_at(self.step)
        batch = self.batches.batch(self.step)
        text, critique, validity = losses(self.model, batch, self.vocab, self.token_head)
        critique_weight = self.schedule.critique_weight_at(self.step)
        (text + critique_weight * critique + self.schedule.validity_weight * validity).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in (self.optimizer, self.muon):
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        self._log_losses(*(float(part.detach()) for part in (text, critique, validity)), batch.ids.numel())

    def _log_losses(self, *parts: float) -> None:
        self.loss_sums = [a + b for a, b in zip(self.loss_sums, parts)]
        if self.step % LOG_EVERY == 0:
            seconds = time.perf_counter() - self.log_time
            text, critique, validity, tokens = self.loss_sums
            self.log(
                f"step {self.step} text {text / LOG_EVERY:.4f} critique {critique / LOG_EVERY:.4f} "
                f"validity {validity / LOG_EVERY:.4f} tokens/s {tokens / seconds:.0f} seconds {seconds:.0f}"
            )
            self.loss_sums, self.log_time = [0.0] * 4, time.perf_counter()

    def _sample(self) -> None:
        """Add newly sampled solutions to the pool, which keeps those of the last two times as well."""
        schedule, rng = self.schedule, random.Random(f"{self.schedule.seed}/pool/{self.step}")
        # Batches use no indices below zero, so these stories are new to the model.
        first = -1 - self.step * schedule.sample_stories
        stories = [draw_story(schedule, first - i, None, rng) for i in range(schedule.sample_stories)]
        each = schedule.samples_per_story
        questions = [story.question for story in stories for _ in range(each)]
        texts = sample_solutions(self.model, self.tokenizer, questions, rng.choice((0.8, 0.8, 0.9, 1.0)), MAX_TOKENS)
        sampled = [(story, texts[i * each : (i + 1) * each]) for i, story in enumerate(stories)]
        self.batches.pool = self.batches.pool[-2 * schedule.sample_stories :] + sampled

    def save(self) -> None:
        """Write everything that resuming exactly needs, in one atomic move."""
        state = {
            "format": CHECKPOINT_FORMAT, "step": self.step, "model": self.model.state_dict(),
            "token_head": self.token_head.state_dict(), "optimizer": self.optimizer.state_dict(),
            "muon": self.muon.state_dict(), "random": torch.get_rng_state(), "pool": self.batches.pool,
            "schedule": self.schedule,
        }  # fmt: skip
        torch.save(state, self.out / "state.tmp")
        os.replace(self.out / "state.tmp", self.out / "state.pt")

    def _load(self) -> None:
        state = _read_checkpoint(self.out / "state.pt")
        if state["schedule"] != self.schedule:
            raise ValueError(f"the state in the folder belongs to another schedule: {state['schedule']}")
        self.model.load_state_dict(state["model"])
        self.token_head.load_state_dict(state["token_head"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.muon.load_state_dict(state["muon"])
        torch.set_rng_state(state["random"])
        self.batches.pool, self.step = state["pool"], state["step"]

    def export(self, folder: Path) -> None:
        """Write the model in Hugging Face format, each file in one atomic move."""
        export_model(self.model, self.tokenizer, folder)

    def report(self) -> None:
        """Log the figures on validation stories; torch's random state is left as it was."""
        before = torch.get_rng_state()
        table = measure(self.model, self.tokenizer, held_out("validation", 25), samples=4, selected_of=4)
        torch.set_rng_state(before)
        cells = {name: {k: round(v, 3) for k, v in row.items()} for name, row in table.items()}
        self.log(f"validation at step {self.step}: {json.dumps(cells)}")
        self.log_time = time.perf_counter()


def _read_checkpoint(path: Path) -> dict[str, Any]:
    """The checkpoint of a training. ValueError where it has another format."""
    try:
        # The checkpoint holds stories and the schedule as objects, so it is unpickled; it is this program's own file.
        state: dict[str, Any] = torch.load(path, weights_only=False)
    except (ImportError, AttributeError):  # classes that older checkpoints name and this release does not have
        state = {}
    if state.get("format") != CHECKPOINT_FORMAT:
        raise ValueError(
            f"{path} is a checkpoint of an older format and cannot be resumed; delete it, or give another --out, to "
            "train anew"
        )
    return state


def split_parameters(model: LlamaForCausalLM, *others: torch.nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """The matrices of the model's layers, which Muon trains, and all other parameters, which Adam trains."""
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    known = {id(p) for p in matrices}
    return matrices, [p for module in (model, *others) for p in module.parameters() if id(p) not in known]


def losses(
    model: LlamaForCausalLM, batch: Batch, vocab: StoryVocabulary, token_head: torch.nn.Linear
) -> tuple[Tensor, Tensor, Tensor]:
    """The mean losses of the solutions' text, of the critique's verdicts and of the tokens' validity; three scalars.

    The last is an auxiliary task: a label on every token shows where a line went wrong, which the verdict on the whole
    line does not. Its head is discarded after training.
    """
    hidden = tree_hidden(model, batch.ids, batch.positions, batch.mask)
    has_target, has_label = batch.targets != IGNORE, batch.valid != IGNORE
    is_verdict = (batch.ids == vocab.critique)[has_target]
    each = F.cross_entropy(model.lm_head(hidden[has_target]), batch.targets[has_target], reduction="none")
    validity = F.binary_cross_entropy_with_logits(token_head(hidden[has_label])[:, 0], batch.valid[has_label].float())
    verdicts = each[is_verdict].mean() if bool(is_verdict.any()) else each.new_zeros(())
    return each[~is_verdict].mean(), verdicts, validity


def export_model(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write weights, tokenizer and forethought.json into the folder, each file in one atomic move."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        temporary = Path(name)
        model.save_pretrained(temporary)
        save_tokenizer(tokenizer, temporary)
        write_settings(temporary / SETTINGS_FILE, REASONER_SETTINGS)
        for file in sorted(temporary.iterdir()):
            shutil.move(str(file), str(folder / file.name))
