"""A model as files: download, a check that nothing is missing, and a fingerprint without loading the weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from ...planning.fingerprint import fingerprint

DOWNLOADED = ["*.json", "*.safetensors", "*.bin", "*.model", "*.txt"]
"""Patterns of the files that are downloaded from the hub."""

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin")

HASHED_BYTES = 1 << 26
"""Bytes of a weight file that enter the fingerprint: all of a shorter file, blocks spread evenly over a longer one."""

BLOCK = 1 << 14
"""Bytes of one such block."""


def downloaded(model: str | Path, *, weights: bool = True) -> Path:
    """The folder of a model in Hugging Face format, downloaded if `model` is a hub id.

    weights: whether the folder must contain weights. Errors: ValueError that names what is missing and where.
    """
    path = Path(model)
    if not path.is_dir():
        from huggingface_hub import snapshot_download

        try:
            path = Path(snapshot_download(str(model), allow_patterns=DOWNLOADED if weights else ["*.json", "*.txt"]))
        except (OSError, ValueError) as error:
            raise ValueError(f"there is no model {model}: {error}") from error
    if weights:
        check_folder(path)
    return path


def check_folder(path: Path, *, weights: bool = True) -> None:
    """ValueError that names what a model folder lacks: configuration, weights (unless not needed) or tokenizer."""
    missing = []
    if not (path / "config.json").is_file():
        missing.append("config.json")
    if weights and not any(any(path.glob(pattern)) for pattern in WEIGHT_FILES):
        missing.append("weights (model.safetensors)")
    if not any((path / name).is_file() for name in TOKENIZER_FILES):
        missing.append("a tokenizer (tokenizer.json, or tokenizer.model)")
    if missing:
        raise ValueError(f"the model folder {path} lacks {' and '.join(missing)}")


def folder_fingerprint(folder: Path, tokenizer: Any, runtime: str) -> str:
    """16 hex digits of configuration, weight files, tokenizer and `runtime`, which says how the model is run."""
    weights = sorted([*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")])
    blocks = (block for path in weights for block in (path.name.encode(), *_sampled_blocks(path)))
    return fingerprint(chain([runtime, (folder / "config.json").read_bytes()], blocks, [tokenizer_text(tokenizer)]))


def tokenizer_text(tokenizer: Any) -> str:
    """Vocabulary, rules and chat template of a tokenizer as text, for fingerprints."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    return f"{rules}{getattr(tokenizer, 'chat_template', None)}"


def _sampled_blocks(path: Path) -> Iterator[bytes]:
    """The size of a file and those of its blocks that enter the fingerprint."""
    size = path.stat().st_size
    yield size.to_bytes(8, "little")
    step = BLOCK if size <= HASHED_BYTES else size * BLOCK // HASHED_BYTES
    with path.open("rb") as file:
        for start in range(0, size, step):
            file.seek(start)
            yield file.read(BLOCK)
