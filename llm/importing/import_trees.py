"""Trees that other programs searched, written as a tape, so that our planners run over them without a model.

Child k of a node becomes slot k of its state. The tape is filled by the very text model that will read it, with an
engine that says what stands in the log.
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..critics.recorded import MARK, RecordedValue
from ..engines.base import Engine, EngineCounters, Generation, Sampling, Score
from ..tape.cached_engine import CachedEngine
from ..tape.sqlite import TapeFile
from ..tape.tape import Tape
from ..text.formats import SETTINGS, PlainFormat
from ..text.steps import TextState
from ..text_model import TextModel
from .tree_log import Node, Tree, read_trees, to_unit

RIGHT, WRONG = "<|right|>", "<|wrong|>"
"""Tokens that end a finished solution: the truth stands in the recorded text itself."""

END = "<|end|>"
CONTEXT = 1 << 20
SAMPLING = Sampling(temperature=0.8, top_p=1.0, max_tokens=1 << 16)
"""As `eval` asks by default, which is part of every key; no step is longer."""


@dataclass(frozen=True)
class Imported:
    """What was imported. scale: the range of the values where they had to be mapped to [0, 1], else None."""

    problems: int
    nodes: int
    finished: int
    scale: tuple[float, float] | None


async def import_trees(source: str | Path, out: str | Path) -> Imported:
    """Write the trees of a text file (`tree_log.py`) to a new tape.

    Errors: ValueError that names the line that is wrong, or a file that is there already.
    """
    trees = read_trees(Path(source))
    if Path(out).exists():
        raise ValueError(f"{out} exists already; choose another file")
    nodes = [node for tree in trees.values() for node in tree.nodes.values()]
    scale = to_unit(nodes)
    engine = _LogEngine(_digest(trees))
    settings = {
        "format": "plain", "yes": "y", "no": "n", "ends": [RIGHT, WRONG],
        "max_step_tokens": SAMPLING.max_tokens, "max_steps": max(len(node.path) for node in nodes),
    }  # fmt: skip
    file = TapeFile(out)
    try:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, SETTINGS).write_text(json.dumps(settings))
            file.add_model(engine, Path(source).stem, folder)
        file.add_problems({question: tree.answer for question, tree in trees.items()})
        settings.pop("format")
        format = PlainFormat(engine.tokenizer, **settings)  # type: ignore[arg-type]
        model = TextModel(engine, format, RecordedValue(), SAMPLING, tape=Tape(file))
        for question, tree in trees.items():
            await _write(model, engine, question, tree)
    finally:
        file.close()
    return Imported(len(trees), len(nodes), sum(node.correct is not None for node in nodes), scale)


class _LogEngine(Engine):
    """Says the step and the value of the node it is shown."""

    context = CONTEXT

    def __init__(self, digest: str) -> None:
        self.tokenizer, self.fingerprint, self.counters = byte_tokenizer(), f"import-{digest}", EngineCounters()
        self.node: Node | None = None

    async def generate(self, prompt: Sequence[int], sampling: Sampling, stream: int) -> Generation:
        assert self.node is not None
        mark = {None: "", True: RIGHT, False: WRONG}[self.node.correct]
        tokens = tuple(self.tokenizer.encode(f"{self.node.step}{mark}\n", add_special_tokens=False))
        return Generation([tokens], [(0.0,) * len(tokens)], "end" if mark else "stop")

    async def score(self, prompt: Sequence[int], choices: Sequence[int]) -> Score:
        assert self.node is not None and self.node.value is not None
        return Score((math.log(self.node.value) if self.node.value > 0 else -math.inf,))


async def _write(model: TextModel, engine: _LogEngine, question: str, tree: Tree) -> None:
    """Walk all of a tree, parents first."""
    (root,), _ = await model.start([question])
    waiting: list[tuple[TextState, tuple[int, ...]]] = [(root, ())]
    while waiting:
        state, path = waiting.pop()
        for node in tree.below.get(path, ()):
            engine.node = node
            (child,), _ = await model.expand([state], [node.path[-1]], evaluate="none")
            if node.value is not None:
                await model.value.score(CachedEngine(engine, model.tape), model.format, child)
            waiting.append((child, node.path))


def byte_tokenizer() -> Any:
    """A token per byte, and those that mark ends and values."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytes_ = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    bytes_.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bytes_.decoder = decoders.ByteLevel()
    bytes_.add_special_tokens([END, RIGHT, WRONG, MARK])
    return PreTrainedTokenizerFast(tokenizer_object=bytes_, eos_token=END)


def _digest(trees: Mapping[str, Tree]) -> str:
    """16 hex digits of all trees."""
    digest = hashlib.blake2b(digest_size=8)
    for question, tree in trees.items():
        rows = [(node.path, node.step, node.value, node.correct) for node in tree.nodes.values()]
        digest.update(repr((question, tree.answer, rows)).encode())
    return digest.hexdigest()
