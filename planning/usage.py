"""What calls cost: the units of usage arrays, and the usage of answers that do not say what they cost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UNITS = (
    "nodes", "model_calls", "generated_tokens", "prompt_tokens", "cached_tokens", "value_tokens", "seconds", "flops",
)  # fmt: skip
"""The columns of every usage array. A node is a reached state; in control it is one state and action through the
dynamics of one member. `prompt_tokens` are those computed, `cached_tokens` those found in a cache; `value_tokens` are
all tokens a critic or reward model computed. `flops` are floating-point operations for all tokens but the cached ones,
0 where the model does not say how many it takes."""

NODES, MODEL_CALLS, GENERATED_TOKENS, PROMPT_TOKENS, _, VALUE_TOKENS, SECONDS, FLOPS = range(len(UNITS))
"""The index of each unit in a usage array, but for cached tokens, which nothing reads by index."""

Usage = NDArray[np.float64]
"""[K, len(UNITS)] cost of each of K answers; None in its place means one node and one model call each."""

ONE_STEP_USAGE: Usage = np.zeros(len(UNITS))
ONE_STEP_USAGE[[NODES, MODEL_CALLS]] = 1
ONE_STEP_USAGE.flags.writeable = False


def no_usage(rows: int) -> Usage:
    """[rows, units] of zeros, to be added to."""
    return np.zeros((rows, len(UNITS)))


def nodes_and_calls(rows: int, each: int) -> Usage:
    """[rows, units]: `each` nodes and as many model calls in every row."""
    return np.tile(each * ONE_STEP_USAGE, (rows, 1))


def usage_or_one_step(usage: Usage | None, rows: int) -> Usage:
    """[rows, units]: `usage`, or one node and one model call per row where it is None."""
    return np.tile(ONE_STEP_USAGE, (rows, 1)) if usage is None else usage
