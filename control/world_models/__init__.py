"""Models of systems that planners ask: equations, networks, and wrappers of either."""

from ...planning.wrappers.action_repeat import ActionRepeat
from ...planning.wrappers.discretized_actions import DiscretizedActions
from ...planning.wrappers.terminal_value import TerminalValue, ValueFn
from .analytic import AnalyticModel
from .ensemble.disagreement_penalty import DisagreementPenalty
from .ensemble.fit import EnsembleReport, fit_ensemble
from .ensemble.model import EnsembleModel, Particles
from .ensemble.net import EnsembleConfig, StackedNet
from .load import load_model
from .mlp.fit import Fit, Report, config_for, fit_mlp
from .mlp.model import MLPModel
from .network import MLPConfig
from .residual.fit import fit_residual
from .residual.model import ResidualModel

__all__ = [
    "ActionRepeat",
    "AnalyticModel",
    "DisagreementPenalty",
    "DiscretizedActions",
    "EnsembleConfig",
    "EnsembleModel",
    "EnsembleReport",
    "Fit",
    "MLPConfig",
    "MLPModel",
    "Particles",
    "Report",
    "ResidualModel",
    "StackedNet",
    "TerminalValue",
    "ValueFn",
    "config_for",
    "fit_ensemble",
    "fit_mlp",
    "fit_residual",
    "load_model",
]
