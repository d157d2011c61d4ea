"""Where the frames of every source lie between processes: what a stage sees of the rings."""

from __future__ import annotations

from typing import Protocol, Self

from streamseg.ipc.ring import RingName, RingReader, RingWriter
from streamseg.messages import Image


class FrameWriter(Protocol):
    """A ring to write frames into."""

    ring: RingName

    def intact(self) -> bool:
        """Whether readers still find the ring; anything of the same user may remove it."""
        ...

    def move(self, epoch: int) -> Self:
        """Make a ring of another epoch with the same frames, and unmap this one.

        Raises:
            StageError: Shared memory has not enough room, or something has overwritten the frames.
        """
        ...

    def write(self, seq: int, image: Image) -> None:
        """Put frame `seq`, shape (height, width, 3), uint8, BGR, into its slot, over the frame before it."""
        ...

    def close(self) -> None:
        """Unmap the ring."""
        ...


class FrameMemory(Protocol):
    """Where frames lie between processes."""

    def create(self, prefix: str, epoch: int, height: int, width: int) -> FrameWriter:
        """Make a ring for frames of that size.

        Raises:
            StageError: Shared memory has not enough room.
        """
        ...

    def read(self, ring: RingName, seq: int) -> Image:
        """Copy frame `seq`: shape (height, width, 3), uint8, BGR.

        Raises:
            FrameOverrunError: The frame was overwritten before the copy was complete.
            RingGoneError: The ring was removed, or something else has its name.
            StageError: The ring cannot be mapped.
        """
        ...

    def forget(self, prefix: str) -> None:
        """Unmap the rings of one source."""
        ...

    def close(self) -> None:
        """Unmap all rings."""
        ...


class SharedFrames:
    """Frames in shared memory, from any number of rings."""

    def __init__(self) -> None:
        self._readers: dict[str, RingReader] = {}

    def create(self, prefix: str, epoch: int, height: int, width: int) -> RingWriter:
        """Make the ring `<prefix>-<epoch>`; see `FrameMemory`."""
        return RingWriter(prefix, epoch, height, width)

    def read(self, ring: RingName, seq: int) -> Image:
        """Copy frame `seq`; see `FrameMemory`."""
        source = ring.name.removesuffix(f"-{ring.epoch}")
        return self._readers.setdefault(source, RingReader()).read(ring, seq)

    def forget(self, prefix: str) -> None:
        """Unmap the blocks of one source; see `FrameMemory`."""
        if prefix in self._readers:
            self._readers.pop(prefix).close()

    def close(self) -> None:
        """Unmap every block."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
