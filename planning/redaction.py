"""Secrets are taken out of a text before it is stored or shown."""

from __future__ import annotations

import os
import re

HIDDEN = "***"
SECRET_NAMES = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL")
"""An environment variable whose name contains one of these holds a secret."""

SHORTEST = 8
"""Characters; a shorter value of such a variable is no secret, and would be found in ordinary words."""

_PATTERNS = (
    (re.compile(r"(\w+://)[^\s/@'\"]+@"), rf"\1{HIDDEN}@"),  # user and password of an address
    (re.compile(r"(?i)(bearer\s+)[\w.~+/=-]{4,}"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)((?:api[-_]?key|authorization|password|access[-_]?token)['\"]?\s*[:=]\s*['\"]?)"
                r"(?!bearer\b)[^\s'\",;&}*]{4,}"), rf"\1{HIDDEN}"),
    (re.compile(r"\b(sk-|hf_)[\w-]{8,}"), rf"\1{HIDDEN}"),
)  # fmt: skip


def redact(text: str, *known: str) -> str:
    """The text without passwords in addresses, bearer tokens, keys, and values of secret environment variables.

    known: further secrets, which are taken out whatever they look like.
    """
    secrets = set(filter(None, known)) | {
        value for name, value in os.environ.items() if _is_secret(name) and len(value) >= SHORTEST
    }
    for value in sorted(secrets, key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    for pattern, hidden in _PATTERNS:
        text = pattern.sub(hidden, text)
    return text


def _is_secret(name: str) -> bool:
    return any(part in name.upper() for part in SECRET_NAMES)
