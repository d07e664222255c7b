"""Train a process reward model: a copy of the policy that says after every line whether the solution is still right."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...planning.files import whole_folder
from ...planning.fingerprint import fingerprint
from ...planning.tensor_file import check_finite
from ..builtin.data import IGNORE, StoryVocabulary
from ..builtin.init import freeze_previous_token_heads
from ..builtin.muon import Muon
from ..builtin.tokenizer import CRITIQUE, NO, YES
from ..builtin.train import BETAS, split_parameters
from ..checkpoint import load_checkpoint, save_checkpoint
from ..critics.reward_formats import REWARD_FORMATS
from .batches import BatchSampler, Schedule
from .examples import LabelLogits, can_pack, label_logits
from .labels import Labels
from .problems import ProblemSource
from .samplers import PolicySampler

LOG_EVERY = 40
TRAINABLE_FORMATS = ("builtin", "math_shepherd", "rlhflow")
"""The reward formats that read label tokens, which any causal model can be trained to predict."""

IGNORED_CONFIG = ("_name_or_path", "transformers_version")
"""Entries of a configuration that depend on where and by which version it was read."""


class RewardTraining:
    """A training at some step: the copy of the policy, its optimisers and its batches.

    model, tokenizer: the policy, which is trained in place; `sampler` samples with another copy. Batches are a function
    of the schedule and the step, so the checkpoint contains none.

    Errors: ValueError for a reward format that reads no label tokens or whose tokens the tokenizer lacks, and for a
    checkpoint in `out` that belongs to another training or has an older format.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        sampler: PolicySampler,
        labels: Labels,
        source: ProblemSource,
        schedule: Schedule,
        out: Path,
    ) -> None:
        name = schedule.reward_format
        if name not in TRAINABLE_FORMATS:
            raise ValueError(f"no reward format {name!r} to train in; there are {', '.join(TRAINABLE_FORMATS)}")
        self.model, self.tokenizer, self.sampler, self.labels = model.eval(), tokenizer, sampler, labels
        self.schedule, self.out, self.step = schedule, out, 0
        self.reward_format = REWARD_FORMATS[name](tokenizer)
        pad = tokenizer.pad_token_id
        self.pad = int(tokenizer.eos_token_id or 0) if pad is None else int(pad)
        builtin = can_pack(model) and has_builtin_tokens(tokenizer)
        trains_validity = builtin and labels.name == "exact" and name == "builtin"
        vocab = StoryVocabulary(tokenizer) if trains_validity else None
        most = int(model.config.max_position_embeddings)
        self.batches = BatchSampler(schedule, source, sampler, labels, self.reward_format, most, vocab)
        self.policy = policy_fingerprint(model)
        torch.manual_seed(schedule.seed)
        self.token_head = torch.nn.Linear(model.config.hidden_size, 1).to(model.device)
        self.optimizers = make_optimizers(model, self.token_head)
        if builtin and model.config.attention_bias:
            freeze_previous_token_heads(model)
        self._load()

    def advance(self) -> tuple[float, float]:
        """One optimiser step; returns the losses of labels and of token validity."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.schedule.learning_rate_at(self.step)
        found = label_logits(self.model, self.batches.batch(self.step), self.pad)
        label, validity = label_loss(found, self.reward_format.labels), validity_loss(found, self.token_head)
        (label + self.schedule.validity_weight * validity + text_loss(found, self.model)).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        losses = float(label.detach()), float(validity.detach())
        if not all(map(math.isfinite, losses)):
            raise ValueError(f"the training diverged at step {self.step}: its losses are {losses}")
        return losses

    def _parts(self) -> tuple[dict[str, torch.nn.Module], dict[str, torch.optim.Optimizer]]:
        """The networks and the optimisers by their names in a checkpoint."""
        optimizers = {f"optimizer{i}": one for i, one in enumerate(self.optimizers)}
        return {"model": self.model, "token_head": self.token_head}, optimizers

    def save(self) -> None:
        """Write everything that resuming exactly needs, in one atomic move. Errors: ValueError for a NaN."""
        save_checkpoint(self.out, self.step, self.settings(), *self._parts())

    def settings(self) -> dict[str, Any]:
        """What decides the weights: the schedule, the labels and the policy."""
        return asdict(self.schedule) | {
            "labels": self.labels.name, "rollouts": self.labels.times, "policy": self.policy,
        }  # fmt: skip

    def _load(self) -> None:
        if found := load_checkpoint(self.out, self.settings(), self.model.device):
            found.restore(*self._parts())
            self.step = found.step


def train(
    training: RewardTraining,
    log: Callable[[str], None] = print,
    stop_at: int | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> Path:
    """Train to the end of the schedule, or stop before the step `stop_at`; returns `out/model`, the model's folder.

    watch: called after every step with the steps made and the steps in all.
    """
    schedule, began, sums = training.schedule, time.perf_counter(), [0.0, 0.0]
    end = min(schedule.steps, schedule.steps if stop_at is None else stop_at)
    while training.step < end:
        sums = [a + b for a, b in zip(sums, training.advance())]
        if watch is not None:
            watch(training.step, end)
        if training.step % LOG_EVERY == 0:
            label, validity = (total / LOG_EVERY for total in sums)
            seconds = time.perf_counter() - began
            log(f"step {training.step} label {label:.4f} validity {validity:.4f} seconds {seconds:.0f}")
            began, sums = time.perf_counter(), [0.0, 0.0]
        if training.step % schedule.checkpoint_every == 0 or training.step == end:
            training.save()
    return export(training)


def export(training: RewardTraining) -> Path:
    """Write the model and its tokenizer, in Hugging Face format. Errors: ValueError for weights that are NaN."""
    folder = training.out / "model"
    check_finite(training.model.state_dict().items(), str(folder))
    with whole_folder(folder, last="config.json") as beside:
        training.model.save_pretrained(beside)
        training.tokenizer.save_pretrained(beside)
    return folder


def has_builtin_tokens(tokenizer: Any) -> bool:
    """Whether the built-in reasoner's critique, verdicts and equals sign are single tokens."""
    return all(len(tokenizer.encode(text, add_special_tokens=False)) == 1 for text in (CRITIQUE, YES, NO, " ="))


def make_optimizers(model: Any, token_head: torch.nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of a model that reads packed trees, Adam for the rest; AdamW alone for other models."""
    if not can_pack(model):
        return [torch.optim.AdamW(model.parameters(), betas=BETAS, weight_decay=0.0)]
    matrices, others = split_parameters(model, token_head)
    return [torch.optim.Adam(others, betas=BETAS, eps=1e-9), Muon(matrices)]


def label_loss(found: LabelLogits, labels: tuple[int, int]) -> Tensor:
    """The mean cross-entropy of soft labels: `target` on the right label's token, the rest on the wrong one's.

    Over the whole vocabulary, as in Math-Shepherd, so that no other token is expected there.
    """
    logs = F.log_softmax(found.logits, -1)[:, list(labels)]
    each = -(found.target * logs[:, 0] + (1 - found.target) * logs[:, 1])
    return (each * found.count).sum() / found.count.sum()


def validity_loss(found: LabelLogits, token_head: torch.nn.Module) -> Tensor:
    """The mean loss of token validity; 0 where there are no such labels. The head is discarded after training."""
    if found.valid is None or found.hidden is None or not bool((found.valid != IGNORE).any()):
        return found.logits.new_zeros(())
    has_label = found.valid != IGNORE
    logits = token_head(found.hidden[has_label])[:, 0]
    return F.binary_cross_entropy_with_logits(logits, found.valid[has_label].float())


def text_loss(found: LabelLogits, model: Any) -> Tensor:
    """The mean loss of target tokens, which are results of arithmetic; 0 where there are none."""
    if found.targets is None or found.hidden is None or not bool((found.targets != IGNORE).any()):
        return found.logits.new_zeros(())
    has_target = found.targets != IGNORE
    return F.cross_entropy(model.lm_head(found.hidden[has_target]), found.targets[has_target])


def policy_fingerprint(model: Any) -> str:
    """A hash of the policy's configuration and weights, the same wherever its folder is."""
    config = {name: value for name, value in model.config.to_dict().items() if name not in IGNORED_CONFIG}
    weights = (
        name.encode() + weight.detach().float().cpu().numpy().tobytes()
        for name, weight in sorted(model.state_dict().items())
    )
    return fingerprint(chain([json.dumps(config, sort_keys=True, default=str)], weights), "blake2b")
