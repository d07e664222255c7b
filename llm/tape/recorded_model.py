"""What a tape stores in place of a model: its tokenizer and settings, in a zip archive that may come from a stranger.

Only files of a tokenizer that are data are accepted, by their names: no code, no pickle, no path.
"""

from __future__ import annotations

import io
import stat
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..text.formats import SETTINGS_FILE

FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "vocab.txt", "chat_template.jinja", "chat_template.json", "tokenizer.model", "spiece.model",
    "sentencepiece.bpe.model", "tekken.json", SETTINGS_FILE,
)  # fmt: skip
"""The names of the files that are stored and accepted; each is JSON, text or a SentencePiece model."""

MAX_BYTES = 1 << 28
"""The largest size of all files together, unpacked."""


@dataclass(frozen=True)
class RecordedModel:
    """A model that recorded on a tape, without its weights. files: of its tokenizer and settings, by name."""

    name: str
    fingerprint: str
    context: int
    files: Mapping[str, bytes]

    def unpack(self, folder: Path) -> None:
        """Write the files to a folder that `AutoTokenizer` and `format_for` can read."""
        for name, content in self.files.items():
            if name not in FILES:
                raise ValueError(f"no file of a tokenizer: {name!r}")
            (folder / name).write_bytes(content)


def pack_files(tokenizer: Any, folder: str | Path | None) -> bytes:
    """The tokenizer's files and the folder's settings as a zip archive."""
    buffer = io.BytesIO()
    with tempfile.TemporaryDirectory() as made, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        tokenizer.save_pretrained(made)
        settings = Path(folder, SETTINGS_FILE) if folder is not None else None
        for path in [*sorted(Path(made).glob("*")), *([settings] if settings and settings.is_file() else [])]:
            if path.is_file() and path.name in FILES:
                archive.write(path, path.name)
    return buffer.getvalue()


def unpack_files(packed: bytes) -> dict[str, bytes]:
    """The files of an archive by name.

    Errors: ValueError for a damaged archive, and for one with other files, links, or more than `MAX_BYTES`.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            entries = archive.infolist()
            _check_entries(entries)
            return {entry.filename: _read(archive, entry) for entry in entries}
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError, zipfile.zlib.error) as error:  # type: ignore[attr-defined]
        raise ValueError(f"its tokenizer's files are damaged ({error})") from None


def _check_entries(entries: list[zipfile.ZipInfo]) -> None:
    names = [entry.filename for entry in entries]
    for entry in entries:
        mode = entry.external_attr >> 16
        if entry.filename not in FILES or stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise ValueError(f"it holds {entry.filename[:80]!r}, which is no file of a tokenizer")
    if len(set(names)) < len(names):
        raise ValueError("it holds a file of its tokenizer twice")
    if sum(entry.file_size for entry in entries) > MAX_BYTES:
        raise ValueError(f"its tokenizer's files are larger than {MAX_BYTES >> 20} MiB")


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """The content of a file, no more than it says."""
    with archive.open(entry) as file:
        content = file.read(entry.file_size + 1)
    if len(content) != entry.file_size:
        raise ValueError(f"{entry.filename} is larger than the archive says")
    return content
