"""World models: what planners ask about the next state and the reward. One folder for each family of learned models.

analytic.py: `AnalyticModel`, known equations of motion.
simulator.py: `SimulatorModel`, a simulator of one's own, and `MujocoSimulator`, gymnasium's MuJoCo environments as one.
mlp/: a deterministic multilayer perceptron.
ensemble/: ensembles of networks with uncertainty (PETS), and the penalty on their disagreement (MOPO).
residual/: known equations corrected by an ensemble.
load.py: `load_model`, for a model of any kind from its folder.

What the families share:
base.py: `OptionalValue`, models with an exchangeable value function.
config.py: `MLPConfig`, the configuration of a network.
normalized_net.py: `NormalizedNet`, networks with normalised inputs and outputs.
episode_rules.py: `EpisodeRules`, rewards, termination and discounts around a network's prediction.
fused_rollout.py: the returns of whole action sequences through one network.
spaces.py: `config_for`, the configuration that fits the spaces of an environment.
storage.py: saving models to folders and reading them.
"""

from .analytic import AnalyticModel
from .config import MLPConfig
from .ensemble.disagreement_penalty import DisagreementPenalty
from .ensemble.fit import EnsembleReport, fit_ensemble
from .ensemble.model import EnsembleModel, Particles
from .ensemble.net import EnsembleConfig, StackedNet
from .load import LearnedModel, load_model
from .mlp.fit import Fit, MLPReport, fit_mlp
from .mlp.model import MLPModel
from .residual.fit import fit_residual
from .residual.model import ResidualModel
from .simulator import MujocoSimulator, Simulator, SimulatorModel
from .spaces import config_for

__all__ = [
    "AnalyticModel",
    "DisagreementPenalty",
    "EnsembleConfig",
    "EnsembleModel",
    "EnsembleReport",
    "Fit",
    "LearnedModel",
    "MLPConfig",
    "MLPModel",
    "MLPReport",
    "MujocoSimulator",
    "Particles",
    "ResidualModel",
    "Simulator",
    "SimulatorModel",
    "StackedNet",
    "config_for",
    "fit_ensemble",
    "fit_mlp",
    "fit_residual",
    "load_model",
]
