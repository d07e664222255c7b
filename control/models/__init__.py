"""Models of systems that planners ask: equations, networks, and wrappers of either."""

from .analytic import AnalyticModel, ValueFn
from .fit import Fit, Report, config_for, fit_mlp
from .mlp import MLPConfig, MLPModel
from .wrappers import GridActions, Hold, WithValue

__all__ = [
    "AnalyticModel",
    "Fit",
    "GridActions",
    "Hold",
    "MLPConfig",
    "MLPModel",
    "Report",
    "ValueFn",
    "WithValue",
    "config_for",
    "fit_mlp",
]
