"""Agents: from observations to actions, by planning."""

from ..policies.mpc import MPCPolicy

__all__ = ["MPCPolicy"]
