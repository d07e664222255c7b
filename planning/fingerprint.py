"""Fingerprints: short hashes that say whether two runs used the same model or the same data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

Parts = Iterable[bytes | str]


def fingerprint(parts: Parts, algorithm: Literal["sha256", "blake2b"] = "sha256") -> str:
    """16 hex digits of the concatenated parts.

    algorithm: SHA-256 for engines, whose fingerprint is in every key of a tape; BLAKE2b for data, files of models and
        logs. Both are kept, since what is stored has to stay readable.
    """
    digest = hashlib.sha256() if algorithm == "sha256" else hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()[:16]
