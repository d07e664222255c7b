"""What every benchmark does around its measuring: one thread while it runs, JSON where it was asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on a single thread within, on as many as before afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def write(result: Mapping[str, Any], out: Path | None, console: Console) -> None:
    """`result` as JSON in the file `out`, whose folder is made, or as `result.json` in a folder that is there; nothing
    where `out` is None."""
    if out is None:
        return
    if out.is_dir():
        out = out / "result.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    console.print(f"written to {out}", highlight=False, soft_wrap=True)
