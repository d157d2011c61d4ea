"""What a message may take. Senders stay within these limits, receivers check them before they allocate anything."""

from __future__ import annotations

from typing import Final

PARTS: Final = 4
"""Parts of a message."""
PART_BYTES: Final = 4 * 1024 * 1024
"""Bytes of one part."""
HEADER_BYTES: Final = 1024 * 1024
"""Bytes of the header."""
OBJECTS: Final = 1024
"""Objects of a result."""
SIDE: Final = 8192
"""Pixels of a frame's width or height."""
RAW_BYTES: Final = 64 * 1024 * 1024
"""Bytes of all masks of a result, packed eight pixels to the byte and not compressed."""
SAFE_INTEGER: Final = 2**53 - 1
"""The largest whole number that every JSON reader keeps exactly; larger ones travel as decimal strings."""
INT64: Final = 2**63 - 1
"""The largest number that a decimal string may hold."""
