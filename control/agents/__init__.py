"""Agents: from observations to actions, by planning."""

from .mpc import MPCAgent

__all__ = ["MPCAgent"]
