"""Fingerprints are stored on tapes and in result files, so their digits must never change."""

from __future__ import annotations

import hashlib

from forethought.planning.fingerprint import fingerprint


def test_fingerprints_are_the_hash_of_the_concatenated_parts():
    assert fingerprint(["ab", b"c"]) == hashlib.sha256(b"abc").hexdigest()[:16]
    assert fingerprint(["ab", b"c"], "blake2b") == hashlib.blake2b(b"abc", digest_size=8).hexdigest()
    assert fingerprint(part for part in ("a", "b", "c")) == fingerprint(["abc"])
