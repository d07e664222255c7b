"""A model as files: where they lie, and what tells them from another's, without loading them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from .transformers.network import check_folder

FILES = ["*.json", "*.safetensors", "*.bin", "*.model", "*.txt"]
WHOLE = 1 << 26
"""Bytes of a weight file that are all read; of a longer one as many are, in blocks spread evenly over it."""
BLOCK = 1 << 14


def downloaded(model: str | Path, *, weights: bool = True) -> Path:
    """The folder of a model in Hugging Face format, downloaded where it is a hub id.

    weights: whether it must have any. Errors: ValueError that names what is missing where.
    """
    path = Path(model)
    if not path.is_dir():
        from huggingface_hub import snapshot_download

        try:
            path = Path(snapshot_download(str(model), allow_patterns=FILES if weights else ["*.json", "*.txt"]))
        except (OSError, ValueError) as error:
            raise ValueError(f"there is no model {model}: {error}") from error
    if weights:
        check_folder(path)
    return path


def fingerprint_of(folder: Path, tokenizer: Any, how: str) -> str:
    """16 hex digits of the configuration, the weight files, the tokenizer and `how` they are run."""
    digest = hashlib.sha256(how.encode())
    digest.update((folder / "config.json").read_bytes())
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]):
        digest.update(path.name.encode())
        _read(digest, path)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    words = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    digest.update(f"{words}{getattr(tokenizer, 'chat_template', None)}".encode())
    return digest.hexdigest()[:16]


def _read(digest: Any, path: Path) -> None:
    size = path.stat().st_size
    digest.update(size.to_bytes(8, "little"))
    step = BLOCK if size <= WHOLE else size * BLOCK // WHOLE
    with path.open("rb") as file:
        for start in range(0, size, step):
            file.seek(start)
            digest.update(file.read(BLOCK))
