"""Write imported trees as a tape, so that this package's planners run over them without a model.

Child k of a node becomes slot k of its state. The tape is written by the text model that will read it, on an engine
that answers with what the log contains.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...planning.files import whole_file
from ...planning.fingerprint import fingerprint
from ..critics.recorded import VALUE_TOKEN, RecordedCritic
from ..engines.base import Engine, EngineCounters, Generation, Sampling, Score
from ..tape.cached_engine import CachedEngine
from ..tape.sqlite import TapeFile
from ..tape.tape import Tape
from ..text.formats import SETTINGS_FILE, PlainFormat, write_settings
from ..text.state import TextState
from ..text_model import TextModel
from .tree_log import LoggedNode, LoggedTree, NodePath, read_trees, rescale_values

RIGHT, WRONG = "<|right|>", "<|wrong|>"
"""Tokens that end a finished solution, so that the recorded text itself says whether it is right."""

END = "<|end|>"
CONTEXT = 1 << 20
SAMPLING = Sampling(temperature=0.8, top_p=1.0, max_tokens=1 << 16)
"""The defaults of `forethought eval`, since sampling settings are part of every key of the tape. No step is longer."""


@dataclass(frozen=True)
class ImportSummary:
    """What was imported. scale: the range of the values where they had to be mapped to [0, 1], else None."""

    problems: int
    nodes: int
    finished: int
    scale: tuple[float, float] | None


async def import_trees(source: str | Path, out: str | Path) -> ImportSummary:
    """Write the trees of a text file (`tree_log.py`) to a new tape.

    Errors: ValueError that names the line that is wrong, or the tape that exists already.
    """
    trees = read_trees(Path(source))
    if Path(out).exists():
        raise ValueError(f"{out} exists already; choose another file")
    nodes = [node for tree in trees.values() for node in tree.nodes.values()]
    scale = rescale_values(nodes)
    engine = _LoggedEngine(_digest(trees))
    settings: dict[str, Any] = {
        "yes": "y", "no": "n", "ends": [RIGHT, WRONG],
        "max_step_tokens": SAMPLING.max_tokens, "max_steps": max(len(node.path) for node in nodes),
    }  # fmt: skip
    if not Path(out).parent.is_dir():
        raise ValueError(f"the tape {out} cannot be made: there is no folder {Path(out).parent}")
    with whole_file(out) as beside:
        await _write(TapeFile(beside), engine, Path(source).stem, trees, settings)
    return ImportSummary(len(trees), len(nodes), sum(node.correct is not None for node in nodes), scale)


async def _write(
    file: TapeFile, engine: _LoggedEngine, name: str, trees: Mapping[str, LoggedTree], settings: dict[str, Any]
) -> None:
    """Write all trees to a new tape and close it."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            write_settings(Path(folder, SETTINGS_FILE), {"format": "plain"} | settings)
            file.add_model(engine, name, folder)
        file.add_problems({question: tree.answer for question, tree in trees.items()})
        format = PlainFormat(engine.tokenizer, **settings)
        model = TextModel(engine, format, RecordedCritic(), SAMPLING, tape=Tape(file))
        for question, tree in trees.items():
            await _record(model, engine, question, tree)
    finally:
        file.close()


class _LoggedEngine(Engine):
    """An engine that answers each request with the step and the value of the node that was set last."""

    context = CONTEXT

    def __init__(self, digest: str) -> None:
        self.tokenizer, self.fingerprint, self.counters = byte_tokenizer(), f"import-{digest}", EngineCounters()
        self.node: LoggedNode | None = None

    async def generate(self, prompt: Sequence[int], sampling: Sampling, stream: int) -> Generation:
        """The node's step, with the token for right or wrong where it finishes the solution."""
        assert self.node is not None
        end = {None: "", True: RIGHT, False: WRONG}[self.node.correct]
        tokens = tuple(self.tokenizer.encode(f"{self.node.step}{end}\n", add_special_tokens=False))
        return Generation([tokens], [(0.0,) * len(tokens)], "end" if end else "stop")

    async def score(self, prompt: Sequence[int], choices: Sequence[int]) -> Score:
        """The logarithm of the node's value, as the log-probability of `VALUE_TOKEN`."""
        assert self.node is not None and self.node.value is not None
        return Score((math.log(self.node.value) if self.node.value > 0 else -math.inf,))


async def _record(model: TextModel, engine: _LoggedEngine, question: str, tree: LoggedTree) -> None:
    """Expand all nodes of a tree, parents first, so that the tape records them."""
    (root,), _ = await model.start([question])
    stack: list[tuple[TextState, NodePath]] = [(root, ())]
    while stack:
        state, path = stack.pop()
        for node in tree.children.get(path, ()):
            engine.node = node
            (child,), _ = await model.expand([state], [node.path[-1]], evaluate="none")
            if node.value is not None:
                await model.value.score(CachedEngine(engine, model.tape), model.format, child)
            stack.append((child, node.path))


def byte_tokenizer() -> Any:
    """A tokenizer with one token per byte, and the tokens that mark ends and values."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    byte_level = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    byte_level.decoder = decoders.ByteLevel()
    byte_level.add_special_tokens([END, RIGHT, WRONG, VALUE_TOKEN])
    return PreTrainedTokenizerFast(tokenizer_object=byte_level, eos_token=END)


def _digest(trees: Mapping[str, LoggedTree]) -> str:
    """16 hex digits of all trees."""
    rows = (
        (question, tree.answer, [(node.path, node.step, node.value, node.correct) for node in tree.nodes.values()])
        for question, tree in trees.items()
    )
    return fingerprint(map(repr, rows), "blake2b")
