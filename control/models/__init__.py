"""Models of systems that planners ask: equations, networks, and wrappers of either."""

from .analytic import AnalyticModel, ValueFn
from .cautious import Cautious
from .ensemble import EnsembleModel, Particles
from .fit import Fit, Report, config_for, fit_mlp
from .fit_ensemble import EnsembleReport, fit_ensemble
from .fit_residual import fit_residual
from .load import load_model
from .mlp import MLPModel
from .network import MLPConfig
from .residual import ResidualModel
from .stacked import EnsembleConfig, StackedNet
from .wrappers import GridActions, Hold, WithValue

__all__ = [
    "AnalyticModel",
    "Cautious",
    "EnsembleConfig",
    "EnsembleModel",
    "EnsembleReport",
    "Fit",
    "GridActions",
    "Hold",
    "MLPConfig",
    "MLPModel",
    "Particles",
    "Report",
    "ResidualModel",
    "StackedNet",
    "ValueFn",
    "WithValue",
    "config_for",
    "fit_ensemble",
    "fit_mlp",
    "fit_residual",
    "load_model",
]
