"""Physical systems as batched torch functions: equations of motion, reward and termination, without any planning.

base.py: the interface `Dynamics` and checks of input shapes.
pendulum.py, cartpole.py: gymnasium's Pendulum-v1 and CartPole-v1.
bouncer.py, swingup.py, reacher.py: systems of this package: a bouncing mass, a cart-pole swing-up, a two-link arm.
"""

from .base import Dynamics, Startable
from .bouncer import Bouncer
from .cartpole import CartPole
from .pendulum import Pendulum
from .reacher import Reacher
from .swingup import SwingUp

KNOWN: dict[str, Dynamics] = {
    system.env_id: system for system in (Pendulum(), CartPole(), Bouncer(), SwingUp(), Reacher())
}
"""Dynamics by gymnasium id. A learned model with a given reward or termination takes it from here."""

__all__ = ["KNOWN", "Bouncer", "CartPole", "Dynamics", "Pendulum", "Reacher", "Startable", "SwingUp"]
