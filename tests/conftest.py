"""What holds for every test."""

from __future__ import annotations

import os

import pytest
import torch
from hypothesis import HealthCheck, settings

# on a busy machine an example takes as long as it takes
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """torch computes on one thread, here and in the processes that tests start: results are then the same everywhere,
    and tests that run side by side do not slow each other down."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
