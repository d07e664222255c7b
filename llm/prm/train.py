"""Train a process reward model: a copy of the policy that answers, after every line, whether it leads to the truth."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..builtin.data import IGNORE, Words
from ..builtin.init import hold
from ..builtin.muon import Muon
from ..builtin.tokenizer import CRITIQUE, NO, YES
from ..builtin.train import BETAS, split_parameters
from ..critics.reward_formats import REWARD_FORMATS
from .batches import Feed, Plan
from .examples import Marked, packs, read
from .labels import Labels
from .problems import Source
from .samplers import Writer

LOG_EVERY = 40
FORMATS = ("builtin", "math_shepherd", "rlhflow")
"""The reward formats that read label tokens, which any causal model can be trained to say."""

PASSING = ("_name_or_path", "transformers_version")
"""Of a configuration what says where and by what it was read."""


class Run:
    """A training run at some step: the copy of the policy, its optimisers and its feed.

    model, tokenizer: the policy, which is trained in place; `writer` writes with another copy. Lessons are a function
    of the plan and the step, so the state on disk holds none.

    Errors: ValueError for a reward format that reads no label tokens, or whose tokens the tokenizer lacks, and for a
    state in `out` that belongs to another training.
    """

    def __init__(
        self, model: Any, tokenizer: Any, writer: Writer, labels: Labels, source: Source, plan: Plan, out: Path
    ) -> None:  # fmt: skip
        if plan.reward_format not in FORMATS:
            raise ValueError(f"no reward format {plan.reward_format!r} to train in; there are {', '.join(FORMATS)}")
        self.model, self.tokenizer, self.writer, self.labels = model.eval(), tokenizer, writer, labels
        self.plan, self.out, self.step = plan, out, 0
        self.reads: Any = REWARD_FORMATS[plan.reward_format](tokenizer)
        pad = tokenizer.pad_token_id
        self.pad = int(tokenizer.eos_token_id or 0) if pad is None else int(pad)
        ours = packs(model) and speaks_ours(tokenizer)
        by_token = ours and labels.name == "exact" and plan.reward_format == "builtin"
        words = Words(tokenizer) if by_token else None
        self.feed = Feed(plan, source, writer, labels, self.reads, int(model.config.max_position_embeddings), words)
        self.policy = fingerprint(model)
        torch.manual_seed(plan.seed)
        self.sounder = torch.nn.Linear(model.config.hidden_size, 1).to(model.device)
        self.optimizers = optimizers(model, self.sounder)
        if ours and model.config.attention_bias:
            hold(model)
        if (out / "state.pt").exists():
            self._load()

    def advance(self) -> tuple[float, float]:
        """One optimiser step; the losses of labels and of tokens."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.plan.rate_at(self.step)
        found = read(self.model, self.feed.batch(self.step), self.pad)
        label, sound = label_loss(found, self.reads.labels), sound_loss(found, self.sounder)
        (label + self.plan.sound * sound + text_loss(found, self.model)).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        return float(label.detach()), float(sound.detach())

    def save(self) -> None:
        """Write everything that going on exactly needs, in one move."""
        state = {
            "step": self.step, "model": self.model.state_dict(), "sounder": self.sounder.state_dict(),
            "optimizers": [one.state_dict() for one in self.optimizers], "plan": self.settings(),
        }  # fmt: skip
        self.out.mkdir(parents=True, exist_ok=True)
        torch.save(state, self.out / "state.tmp")
        os.replace(self.out / "state.tmp", self.out / "state.pt")

    def settings(self) -> dict[str, Any]:
        """What decides the weights: the plan, the labels and the policy."""
        times = getattr(self.labels, "times", None)
        return asdict(self.plan) | {"labels": self.labels.name, "rollouts": times, "policy": self.policy}

    def _load(self) -> None:
        state: dict[str, Any] = torch.load(self.out / "state.pt", map_location=self.model.device, weights_only=True)
        kept, now = state["plan"], self.settings()
        if kept != now:
            other = [f"{name} {kept.get(name)!r}, now {now[name]!r}" for name in now if kept.get(name) != now[name]]
            raise ValueError(f"the training in {self.out} is another ({', '.join(other)}); give another --out")
        self.model.load_state_dict(state["model"])
        self.sounder.load_state_dict(state["sounder"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"]):
            optimizer.load_state_dict(kept)
        self.step = state["step"]


def train(run: Run, log: Callable[[str], None] = print, stop_at: int | None = None) -> Path:
    """Go on with the run to its end, or before the step `stop_at`; the folder of the model so far, `out/model`."""
    plan, began, sums = run.plan, time.perf_counter(), [0.0, 0.0]
    end = min(plan.steps, plan.steps if stop_at is None else stop_at)
    while run.step < end:
        sums = [a + b for a, b in zip(sums, run.advance())]
        if run.step % LOG_EVERY == 0:
            label, sound = (total / LOG_EVERY for total in sums)
            log(f"step {run.step} label {label:.4f} token {sound:.4f} seconds {time.perf_counter() - began:.0f}")
            began, sums = time.perf_counter(), [0.0, 0.0]
        if run.step % plan.checkpoint_every == 0 or run.step == end:
            run.save()
    return export(run)


def export(run: Run) -> Path:
    """Write the model and its tokenizer, in Hugging Face format."""
    folder = run.out / "model"
    run.model.save_pretrained(folder)
    run.tokenizer.save_pretrained(folder)
    return folder


def speaks_ours(tokenizer: Any) -> bool:
    """Whether the built-in reasoner's signs are single tokens."""
    return all(len(tokenizer.encode(sign, add_special_tokens=False)) == 1 for sign in (CRITIQUE, YES, NO, " ="))


def optimizers(model: Any, sounder: torch.nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of a model that reads packed trees, Adam for the rest; Adam alone for any other."""
    if not packs(model):
        return [torch.optim.AdamW(model.parameters(), betas=BETAS, weight_decay=0.0)]
    matrices, others = split_parameters(model, sounder)
    return [torch.optim.Adam(others, betas=BETAS, eps=1e-9), Muon(matrices)]


def label_loss(found: Marked, labels: tuple[int, int]) -> Tensor:
    """The mean cross-entropy of soft labels: share on the right label's token, the rest on the wrong one's.

    Over the whole vocabulary, as Math-Shepherd's, so that nothing but labels is expected at a mark.
    """
    logs = F.log_softmax(found.logits, -1)[:, list(labels)]
    each = -(found.share * logs[:, 0] + (1 - found.share) * logs[:, 1])
    return (each * found.count).sum() / found.count.sum()


def sound_loss(found: Marked, sounder: torch.nn.Module) -> Tensor:
    """The mean loss of the verdicts on tokens; 0 where there are none. Their head is thrown away after training."""
    if found.sound is None or found.hidden is None or not bool((found.sound != IGNORE).any()):
        return found.logits.new_zeros(())
    judged = found.sound != IGNORE
    return F.binary_cross_entropy_with_logits(sounder(found.hidden[judged])[:, 0], found.sound[judged].float())


def text_loss(found: Marked, model: Any) -> Tensor:
    """The mean loss of the tokens to be written, those of sums; 0 where there are none."""
    if found.goals is None or found.hidden is None or not bool((found.goals != IGNORE).any()):
        return found.logits.new_zeros(())
    taught = found.goals != IGNORE
    return F.cross_entropy(model.lm_head(found.hidden[taught]), found.goals[taught])


def fingerprint(model: Any) -> str:
    """A hash of the weights that a run began with, wherever they lie."""
    told = {name: given for name, given in model.config.to_dict().items() if name not in PASSING}
    digest = hashlib.blake2b(json.dumps(told, sort_keys=True, default=str).encode(), digest_size=8)
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode() + weight.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()
