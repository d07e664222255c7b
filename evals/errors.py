"""The errors that the command line prints as one line, without a traceback."""

from __future__ import annotations


class BadInput(ValueError):
    """The user asked for something that cannot be done; the message says what, without a traceback."""


class RunStopped(RuntimeError):
    """A run ended early for the reason in the message; the same call continues it."""
