"""Limits of a message. Senders stay within them; receivers check them before they allocate."""

from __future__ import annotations

from typing import Final

PARTS: Final = 4
"""Parts of a message."""
PART_BYTES: Final = 4 * 1024 * 1024
"""Bytes of one part."""
HEADER_BYTES: Final = 1024 * 1024
"""Bytes of the header."""
EVENT_BYTES: Final = 64 * 1024
"""Bytes of the header of a message that is not a result."""
LINE: Final = 4096
"""Characters that a sender keeps of a line for people."""
RUN_ID: Final = 128
"""Characters of the name of a run."""
SOURCES: Final = 256
"""Sources that a reader follows which does not name one."""
OBJECTS: Final = 1024
"""Objects of a result."""
SIDE: Final = 8192
"""Pixels of a frame's width or height."""
RATIO: Final = 65_535
"""Either number of a pixel's aspect ratio."""
RAW_BYTES: Final = 16 * 1024 * 1024
"""Bytes of all masks of a result, uncompressed: eight pixels per byte."""
COUNTS_BYTES: Final = 4 * 1024 * 1024
"""Bytes of all run lengths in a line of JSON. A circle as high as a 4K frame has 4,500."""
SAFE_INTEGER: Final = 2**53 - 1
"""Largest integer that every JSON reader keeps exactly; larger ones are sent as decimal strings."""
INT64: Final = 2**63 - 1
"""Largest number in a decimal string."""

READERS: Final = 256
"""Connections to a publisher at a time."""
READER_MESSAGE_BYTES: Final = 1024
"""Bytes of one message of a reader to the publisher, also of the handshake."""
READER_BYTES: Final = 256 * 1024
"""Bytes that a reader may send over one connection. Those of all open connections together: `READERS_BYTES`."""
READERS_BYTES: Final = 4 * 1024 * 1024
TOPIC_BYTES: Final = 128
"""Bytes of one subscription."""
READER_TOPICS: Final = 128
"""Subscriptions of one connection at a time. Those of all connections together: `TOPICS`."""
TOPICS: Final = 4096
REQUEST_BYTES: Final = 64 * 1024
"""Bytes of a request to a running pipeline."""
REQUEST_ID: Final = 64
"""Characters of the id of a request."""
CONTROLLERS: Final = 16
"""Connections that send requests, at a time."""
HANDSHAKE_S: Final = 10
"""Seconds within which a connection finishes its handshake."""

FRAME_BYTES: Final = 32 * 1024 * 1024
"""Bytes of a frame that a program sends to the pipeline: a raw one of 3840 x 2160 pixels has 24,883,200."""
FRAME_HEADER_BYTES: Final = 4096
"""Bytes of the header of a message between such a program and the pipeline."""
REASON: Final = 500
"""Characters of the reason of a refusal."""
CLOCK: Final = 64
"""Characters of the name of a clock."""
PROGRAMS: Final = 4
"""Connections to a source that takes frames of other programs, at a time. One of them is its sender."""
