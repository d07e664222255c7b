"""Load a learned model of any kind from its folder."""

from __future__ import annotations

from pathlib import Path

from .ensemble.model import EnsembleModel
from .mlp.model import MLPModel
from .residual.model import ResidualModel
from .storage import read_settings

LearnedModel = MLPModel | EnsembleModel | ResidualModel
"""What the trainings of this package learn; `load_model` loads each of them."""


def load_model(folder: str | Path) -> LearnedModel:
    """The model that `forethought train`, or a model's own `save`, wrote to `folder`.

    Errors: ValueError where the folder holds none, or one of another kind, format or architecture.
    """
    kind = read_settings(folder, "mlp", "ensemble", "residual")["kind"]
    try:
        if kind == "mlp":
            return MLPModel.load(folder)
        return EnsembleModel.load(folder) if kind == "ensemble" else ResidualModel.load(folder)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, OverflowError, MemoryError) as error:
        if isinstance(error, ValueError) and str(folder) in str(error):
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ValueError(f"the model in {folder} cannot be used ({reason}); train it again") from None
