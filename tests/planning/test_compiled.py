"""Records with attributes, in kernels and without, and the cache of machine code that is older than its sources."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from forethought.planning.compiled import forget_stale, record_type
from forethought.planning.trees.nodes import HEADER, NODE, WORDS


def test_a_record_is_a_view_of_its_words_and_survives_pickling() -> None:
    words = np.zeros((2, WORDS), np.int32)
    node = words.view(NODE)[1, 0]
    node.visits, node.q = 3, np.float32(0.5)
    assert words[1].any() and not words[0].any()
    again = pickle.loads(pickle.dumps(words.view(NODE)))[1, 0]
    assert (again.visits, again.q) == (3, 0.5)
    assert NODE.itemsize == HEADER.itemsize == 4 * WORDS
    with pytest.raises(AttributeError, match="vists"):
        _ = node.vists


def test_a_field_that_numpy_would_shadow_is_refused() -> None:
    with pytest.raises(ValueError, match="'size'"):
        record_type([("size", "i4")])


@pytest.mark.parametrize("changed", ["inner.py", "deeper/kernel.py"])
def test_machine_code_older_than_any_kernel_of_any_folder_is_deleted(tmp_path: Path, changed: str) -> None:
    for folder in (tmp_path, tmp_path / "deeper"):
        (folder / "__pycache__").mkdir(parents=True)
        (folder / "__pycache__" / "kernel.nbi").write_text("")
        os.utime(folder / "__pycache__" / "kernel.nbi", (100, 100))
    for name, time in (("inner.py", 50), ("deeper/kernel.py", 50), ("plain.py", 200)):
        (tmp_path / name).write_text("import numpy" if name == "plain.py" else "from .compiled import njit")
        os.utime(tmp_path / name, (time, time))
    forget_stale(tmp_path)
    assert len(list(tmp_path.rglob("*.nbi"))) == 2
    os.utime(tmp_path / changed, (150, 150))
    forget_stale(tmp_path)
    assert not list(tmp_path.rglob("*.nbi"))
