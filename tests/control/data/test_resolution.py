"""Observations keep the resolution that the environment gives them, also through a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forethought.control import join
from forethought.control.agents.checkpoint import TrainingState, load_state, save_state
from forethought.control.data.transitions import Transitions, transitions_of


def step(before: Any, after: Any) -> Transitions:
    return transitions_of([(before, np.zeros(1, np.float32), 0.0, after, False, False)])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (np.float16, torch.float32),
        (np.float32, torch.float32),
        (np.uint8, torch.float32),
        (np.int64, torch.float64),
        (np.float64, torch.float64),
    ],
)
def test_every_number_of_the_environments_type_is_kept(given: Any, kept: torch.dtype) -> None:
    most = 2**53 - 1 if given is np.int64 else np.iinfo(given).max if np.issubdtype(given, np.integer) else 1 / 3
    data = step(np.array([most], given), np.array([0], given))
    assert data.obs.dtype == data.next_obs.dtype == kept
    assert data.obs.numpy().astype(given)[0] == np.array([most], given)[0]


def test_a_small_change_of_a_large_number_survives_a_checkpoint(tmp_path: Path) -> None:
    far = step(np.array([1e9]), np.array([1e9 + 0.001]))
    save_state(tmp_path, {"steps": "1"}, TrainingState([far], []))
    again = load_state(tmp_path, {"steps": "1"}).rounds[0]
    assert all(
        torch.equal(x, y) and x.dtype == y.dtype for x, y in zip(far.tensors().values(), again.tensors().values())
    )
    assert float((again.next_obs - again.obs)[0, 0]) == pytest.approx(0.001, rel=1e-3)
    near = step(np.array([1.0], np.float32), np.array([2.0], np.float32))
    assert join([near, far]).obs.dtype == torch.float64
