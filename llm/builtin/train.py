"""Train the built-in reasoner from scratch: `train(out)` repeats the training of the shipped weights from its seed."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from ...planning.files import whole_folder
from ...planning.tensor_file import check_finite
from ..checkpoint import load_checkpoint, save_checkpoint
from ..text.formats import SETTINGS_FILE, write_settings
from .data import IGNORE, Batch, StoryVocabulary
from .evaluate import measure
from .init import freeze_previous_token_heads
from .muon import Muon
from .net import build_model, tree_hidden
from .sample import sample_solutions
from .schedule import BatchSampler, Schedule, draw_story
from .stories import Story, held_out
from .tokenizer import CRITIQUE, NO, YES, save_tokenizer, story_tokenizer

REASONER_SETTINGS: dict[str, Any] = {
    "format": "plain", "prompt": "{question}\n", "delimiter": "\n", "critique": CRITIQUE, "yes": YES, "no": NO,
    "max_step_tokens": 40, "max_steps": 12,
}  # fmt: skip
"""The format that the reasoner is trained on, as its `forethought.json` states it."""
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
    and the steps in all. The weights depend on the schedule only, not on how often the training was stopped; with more
    `steps` than before, the training continues at the learning rates of the longer schedule.

    Errors: ValueError for a checkpoint of another schedule or format, and for a training that diverges.
    """
    torch.set_num_threads(1)
    schedule = schedule or Schedule()
    schedule = replace(schedule, seed=seed, steps=steps or schedule.steps)
    training = ReasonerTraining(schedule, out, log)
    end, folder = min(schedule.steps, stop_at if stop_at is not None else schedule.steps), export or out / "model"
    if training.step:
        training.export(folder)  # a training that was killed after its last checkpoint has not written it
    while training.step < end:
        training.advance()
        if watch is not None:
            watch(training.step, end)
        if training.step % schedule.checkpoint_every == 0 or training.step == end:
            training.save()
            training.export(folder)
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
        self._samples: list[tuple[int, list[list[str]]]] = []
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
        parts = [float(part.detach()) for part in (text, critique, validity)]
        if not all(map(math.isfinite, parts)):
            raise ValueError(f"the training diverged at step {self.step}: its losses are {parts}")
        self._log_losses(*parts, batch.ids.numel())

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
        stories, rng = stories_to_sample(self.schedule, self.step)
        each = self.schedule.samples_per_story
        questions = [story.question for story in stories for _ in range(each)]
        texts = sample_solutions(self.model, self.tokenizer, questions, rng.choice((0.8, 0.8, 0.9, 1.0)), MAX_TOKENS)
        self._samples = [*self._samples[-2:], (self.step, [texts[i * each :][:each] for i in range(len(stories))])]
        self.batches.pool = pool_of(self.schedule, self._samples)

    def _parts(self) -> tuple[dict[str, torch.nn.Module], dict[str, torch.optim.Optimizer]]:
        """The networks and the optimisers by their names in a checkpoint."""
        return {"model": self.model, "token_head": self.token_head}, {"adam": self.optimizer, "muon": self.muon}

    def save(self) -> None:
        """Write everything that resuming exactly needs, in one atomic move. Errors: ValueError for a NaN."""
        tensors, more = {"random": torch.get_rng_state()}, {"samples": self._samples}
        save_checkpoint(self.out, self.step, asdict(self.schedule), *self._parts(), tensors, more)

    def _load(self) -> None:
        found = load_checkpoint(self.out, asdict(self.schedule))
        if found is None:
            return
        self._samples = _checked_samples(found.more.get("samples"))
        found.restore(*self._parts())
        torch.set_rng_state(found.tensors["random"])
        self.step, self.batches.pool = found.step, pool_of(self.schedule, self._samples)

    def export(self, folder: Path) -> None:
        """Write the model in Hugging Face format, in one atomic move."""
        export_model(self.model, self.tokenizer, folder)

    def report(self) -> None:
        """Log the figures on validation stories; torch's random state is left as it was."""
        before = torch.get_rng_state()
        table = measure(self.model, self.tokenizer, held_out("validation", 25), samples=4, selected_of=4)
        torch.set_rng_state(before)
        cells = {name: {k: round(v, 3) for k, v in row.items()} for name, row in table.items()}
        self.log(f"validation at step {self.step}: {json.dumps(cells)}")
        self.log_time = time.perf_counter()


def stories_to_sample(schedule: Schedule, step: int) -> tuple[list[Story], random.Random]:
    """The stories whose solutions are sampled before a step, and the random numbers that follow."""
    rng = random.Random(f"{schedule.seed}/pool/{step}")
    # Batches use no indices below zero, so these stories are new to the model.
    first = -1 - step * schedule.sample_stories
    return [draw_story(schedule, first - i, None, rng) for i in range(schedule.sample_stories)], rng


def pool_of(schedule: Schedule, samples: Sequence[tuple[int, list[list[str]]]]) -> list[tuple[Story, list[str]]]:
    """The stories of several steps with their sampled texts."""
    return [pair for step, texts in samples for pair in zip(stories_to_sample(schedule, step)[0], texts)]


def _checked_samples(samples: Any) -> list[tuple[int, list[list[str]]]]:
    """The samples of a checkpoint. Errors: ValueError where they are no steps with texts."""
    try:
        found = [(step, [list(each) for each in texts]) for step, texts in samples]
        fine = all(type(step) is int for step, _ in found)
        fine = fine and all(isinstance(text, str) for _, texts in found for each in texts for text in each)
    except (TypeError, ValueError):
        fine = False
    if not fine:
        raise ValueError("the checkpoint is damaged: its samples are no texts")
    return found


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
    """Write weights, tokenizer and forethought.json into the folder, in one atomic move where it is new.

    Errors: ValueError for weights that are infinite or NaN.
    """
    check_finite(model.state_dict().items(), str(folder))
    with whole_folder(folder, last="config.json") as beside:
        model.save_pretrained(beside)
        save_tokenizer(tokenizer, beside)
        write_settings(beside / SETTINGS_FILE, REASONER_SETTINGS)
