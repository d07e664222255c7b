"""Physical systems as batched torch dynamics."""

from .base import Dynamics
from .bouncer import Bouncer
from .cartpole import CartPole
from .pendulum import Pendulum
from .reacher import Reacher
from .swingup import SwingUp

KNOWN: dict[str, Dynamics] = {
    system.env_id: system for system in (Pendulum(), CartPole(), Bouncer(), SwingUp(), Reacher())
}
"""Systems by gymnasium id: what a saved model that was given their reward or termination is loaded with."""

__all__ = ["KNOWN", "Bouncer", "CartPole", "Dynamics", "Pendulum", "Reacher", "SwingUp"]
