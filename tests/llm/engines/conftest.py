"""What tests of several engines share."""

import asyncio

import pytest
from time_limits import TimeLimits


@pytest.fixture
def limits(monkeypatch):
    """The time limits of attempts and requests to servers, which pass when a test says so."""
    limits = TimeLimits()
    monkeypatch.setattr(asyncio, "timeout", limits)
    return limits
