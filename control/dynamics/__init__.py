"""Physical systems as batched torch dynamics."""

from .base import Dynamics
from .cartpole import CartPole
from .pendulum import Pendulum

KNOWN: dict[str, Dynamics] = {system.env_id: system for system in (Pendulum(), CartPole())}
"""Systems by gymnasium id: what a saved model that was given their reward or termination is loaded with."""

__all__ = ["KNOWN", "CartPole", "Dynamics", "Pendulum"]
