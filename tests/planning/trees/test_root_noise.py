"""Dirichlet noise at the root, against the moments of the Dirichlet distribution."""

from __future__ import annotations

import numpy as np
import pytest

from forethought.planning import MCTS, DiscreteActions, Expansion, SampledActions, Size, keys_of

LOGITS = np.log(np.array([0.5, 0.3, 0.2, 1.0], np.float32))
LOGITS[3] = -np.inf


def noisy_priors(alpha: float, fraction: float, rows: int) -> np.ndarray:
    zero = np.zeros(rows, np.float32)
    root = Expansion(zero, zero + 1, zero, np.tile(LOGITS, (rows, 1)))
    search = MCTS(dirichlet=(alpha, fraction)).begin(root, DiscreteActions(4), Size(4), keys=keys_of(0, rows))
    return search.tree.priors[np.arange(rows), search.tree.root].copy()


@pytest.mark.parametrize(("alpha", "fraction"), [(0.3, 0.25), (2.0, 1.0), (1.0, 0.0)])
def test_noise_of_the_root_has_the_moments_of_a_dirichlet_distribution(alpha: float, fraction: float) -> None:
    rows, n, p = 4000, 3, np.array([0.5, 0.3, 0.2])
    priors = noisy_priors(alpha, fraction, rows)
    assert (priors[:, 3] < 0).all()
    real = priors[:, :3]
    np.testing.assert_allclose(real.sum(1), 1, atol=1e-4)
    assert (real >= (1 - fraction) * p - 1e-4).all()
    deviation = fraction * np.sqrt((n - 1) / (n * n * (n * alpha + 1)))
    np.testing.assert_allclose(real.mean(0), (1 - fraction) * p + fraction / n, atol=5 * deviation / rows**0.5 + 1e-4)
    np.testing.assert_allclose(real.std(0), deviation, rtol=0.1, atol=1e-4)


def test_noise_needs_priors() -> None:
    zero = np.zeros(1, np.float32)
    with pytest.raises(ValueError, match="needs priors"):
        MCTS(dirichlet=(0.3, 0.25)).begin(
            Expansion(zero, zero + 1, zero), SampledActions(), Size(4), keys=keys_of(0, 1)
        )
