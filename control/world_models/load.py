"""From a folder to the model that was saved in it, of whatever kind."""

from __future__ import annotations

from pathlib import Path

from .ensemble.model import EnsembleModel
from .mlp.model import MLPModel
from .residual.model import ResidualModel
from .storage import read

Learned = MLPModel | EnsembleModel | ResidualModel


def load_model(folder: str | Path) -> Learned:
    """A model made by `forethought train` or saved by its own `save`.

    Errors: ValueError when the folder holds none, or one of another kind or format, or of another architecture.
    """
    kind = read(folder, "mlp", "ensemble", "residual")["kind"]
    if kind == "mlp":
        return MLPModel.load(folder)
    return EnsembleModel.load(folder) if kind == "ensemble" else ResidualModel.load(folder)
