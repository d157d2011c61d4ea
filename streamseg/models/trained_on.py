"""What a packaged network was trained on, as its file tells: so that nobody measures it on the same photographs."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

_FINGERPRINT_BYTES = 5


@dataclass(frozen=True, slots=True)
class TrainedOn:
    """Fingerprints of the photographs that a network was trained on, to exclude them from measurements."""

    fingerprints: frozenset[bytes]

    def saw(self, photograph: bytes) -> bool:
        """Whether a photograph with that content is among them."""
        return fingerprint(photograph) in self.fingerprints

    def encode(self) -> str:
        """Encode for the file."""
        return base64.b85encode(b"".join(sorted(self.fingerprints))).decode()

    @classmethod
    def decode(cls, text: str) -> TrainedOn:
        """The inverse of `encode`; raises ValueError."""
        joined = base64.b85decode(text)
        return cls(
            frozenset(joined[first : first + _FINGERPRINT_BYTES] for first in range(0, len(joined), _FINGERPRINT_BYTES))
        )


def fingerprint(photograph: bytes) -> bytes:
    """Return the first bytes of the SHA-256 of a file's content."""
    return hashlib.sha256(photograph).digest()[:_FINGERPRINT_BYTES]
