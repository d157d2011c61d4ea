"""Frames in shared memory: a ring of slots that one process writes and any number read.

The ring is a window, not a pool: frame `seq` lies in slot `seq mod slots` until frame `seq + slots` overwrites it.
Nothing locks a slot. A reader copies first and then checks that the slot still holds its frame (a sequence lock), so a
reader's death leaks nothing, and a slow reader gets an error, never a torn picture.
"""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamseg.errors import FrameOverrunError, RingGoneError, StageError
from streamseg.messages import Image

DEFAULT_SLOTS = 8
_MAGIC = 0x53534732
_ABI = 1
_HEADER_BYTES = 64
_BLOCK_HEADER = struct.Struct("<IIQQQ")
_FIELDS = 5
_GENERATION, _SEQ, _EPOCH, _HEIGHT, _WIDTH = range(_FIELDS)


class RingName(msgspec.Struct, frozen=True):
    """Names a ring: its block, its epoch, and its geometry."""

    name: str
    epoch: int
    slots: int
    slot_bytes: int


class _Block(NamedTuple):
    memory: mmap.mmap
    headers: list[NDArray[np.uint64]]
    pixels: list[NDArray[np.uint8]]


def block_folder() -> Path:
    """The folder of blocks: shared memory if the system mounts it, otherwise temporary files."""
    shared_memory = Path("/dev/shm")
    return shared_memory if shared_memory.is_dir() else Path(tempfile.gettempdir())


def remove_blocks(prefix: str) -> None:
    """Unlink every block of this user whose name begins with `prefix`. A process keeps the blocks that it maps."""
    for path in block_folder().glob(f"{prefix}*"):
        with suppress(FileNotFoundError, IsADirectoryError, PermissionError):  # what is no block of this user's stays
            path.unlink()


def ring_bytes(height: int, width: int) -> int:
    """Bytes of shared memory that a ring of frames of that size takes."""
    return _block_bytes(DEFAULT_SLOTS, _slot_bytes(height, width))


class RingWriter:
    """Creates a block and writes frames into it."""

    def __init__(self, prefix: str, epoch: int, height: int, width: int, slots: int = DEFAULT_SLOTS) -> None:
        """Create the block `<prefix>-<epoch>`.

        Raises:
            StageError: Shared memory has not enough room.
        """
        self._prefix, self._size = prefix, (height, width)
        self.ring = RingName(f"{prefix}-{epoch}", epoch, slots, _slot_bytes(height, width))
        self._block = _create(self.ring)
        self._newest = -1
        self._identity = _identity(self.ring)

    def intact(self) -> bool:
        """Whether readers still find this block under its name, with its header."""
        return _identity(self.ring) == self._identity and _has_header(self._block.memory, self.ring)

    def move(self, epoch: int) -> Self:
        """Create the block of another epoch with the same frames, and unmap this one.

        Raises:
            StageError: Shared memory has not enough room, or something has overwritten the frames.
        """
        if not self._holds_newest():
            raise StageError(f"{_path(self.ring)} was overwritten by another program")
        moved = type(self)(self._prefix, epoch, *self._size, self.ring.slots)
        for header, pixels in zip(self._block.headers, self._block.pixels, strict=True):
            if header[_GENERATION]:
                height, width = int(header[_HEIGHT]), int(header[_WIDTH])
                moved.write(int(header[_SEQ]), pixels[: height * width * 3].reshape(height, width, 3))
        del header, pixels
        self.close()
        return moved

    def write(self, seq: int, image: Image) -> None:
        """Put frame `seq`, shape (height, width, 3), uint8, into its slot, over the frame before it."""
        slot = seq % self.ring.slots
        header, pixels = self._block.headers[slot], self._block.pixels[slot]
        height, width = image.shape[:2]
        header[_GENERATION] += 1
        header[_SEQ], header[_EPOCH], header[_HEIGHT], header[_WIDTH] = seq, self.ring.epoch, height, width
        self._newest = seq
        pixels[: image.size].reshape(image.shape)[:] = image
        header[_GENERATION] += 1

    def close(self) -> None:
        """Unmap the block; the supervisor unlinks it."""
        _close(self._block)

    def _holds_newest(self) -> bool:
        """Whether the frame written last is still in its slot."""
        header = self._block.headers[self._newest % self.ring.slots]
        return self._newest < 0 or (header[_GENERATION] > 0 and header[_SEQ] == self._newest)


class RingReader:
    """Copies frames out of one source's rings, mapping each new block on first use."""

    def __init__(self) -> None:
        self._ring: RingName | None = None
        self._block: _Block | None = None

    def read(self, ring: RingName, seq: int) -> Image:
        """Copy frame `seq`: shape (height, width, 3), uint8, BGR.

        Raises:
            FrameOverrunError: The frame was overwritten before the copy was complete.
            RingGoneError: The ring was removed, or something else has its name.
            StageError: The ring cannot be mapped.
        """
        block = self._map(ring)
        slot = seq % ring.slots
        header, pixels = block.headers[slot], block.pixels[slot]
        before = header.copy()
        height, width = int(before[_HEIGHT]), int(before[_WIDTH])
        size = height * width * 3
        generation = int(before[_GENERATION])
        if (
            generation == 0
            or generation % 2
            or before[_SEQ] != seq
            or before[_EPOCH] != ring.epoch
            or size > ring.slot_bytes
        ):
            if not _has_header(block.memory, ring):
                raise RingGoneError(f"{_path(ring)} was overwritten")
            raise FrameOverrunError(f"frame {seq} is no longer in its slot")
        image = pixels[:size].reshape(height, width, 3).copy()
        if header[_GENERATION] != generation:
            raise FrameOverrunError(f"frame {seq} was overwritten while it was read")
        return image

    def close(self) -> None:
        """Unmap the block."""
        if self._block is not None:
            _close(self._block)
        self._ring = self._block = None

    def _map(self, ring: RingName) -> _Block:
        if self._block is not None and self._ring == ring:
            return self._block
        self.close()
        try:
            with _path(ring).open("r+b") as file:
                memory = mmap.mmap(file.fileno(), 0)
        except (FileNotFoundError, ValueError) as error:  # an empty file cannot be mapped
            raise RingGoneError(f"{_path(ring)} was removed") from error
        except OSError as error:
            raise StageError(f"{_path(ring)} cannot be read ({error.strerror}); see ulimit -n and ulimit -v") from error
        if not _has_header(memory, ring):
            memory.close()
            raise RingGoneError(f"{_path(ring)} was replaced")
        self._ring, self._block = ring, _views(memory, ring)
        return self._block


def last_sequence(ring: RingName) -> int | None:
    """The highest sequence number in a ring, whose writer may be dead; None without any frame or ring."""
    reader = RingReader()
    try:
        block = reader._map(ring)
        written = [int(header[_SEQ]) for header in block.headers if header[_GENERATION] > 0]
        del block
        return max(written, default=None)
    except RingGoneError:
        return None
    finally:
        reader.close()


def _slot_bytes(height: int, width: int) -> int:
    return -(-height * width * 3 // _HEADER_BYTES) * _HEADER_BYTES


def _block_bytes(slots: int, slot_bytes: int) -> int:
    return _HEADER_BYTES + slots * (_HEADER_BYTES + slot_bytes)


def _path(ring: RingName) -> Path:
    return block_folder() / ring.name


def _identity(ring: RingName) -> tuple[int, int, int] | None:
    """What tells the file of a ring from another one of its name; None without any."""
    try:
        found = _path(ring).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size


def _has_header(memory: mmap.mmap, ring: RingName) -> bool:
    whole = len(memory) == _block_bytes(ring.slots, ring.slot_bytes)
    return whole and _BLOCK_HEADER.unpack_from(memory) == _header(ring)


def _header(ring: RingName) -> tuple[int, ...]:
    return _MAGIC, _ABI, ring.epoch, ring.slots, ring.slot_bytes


def _create(ring: RingName) -> _Block:
    size = _block_bytes(ring.slots, ring.slot_bytes)
    path = _path(ring)
    free = shutil.disk_usage(path.parent).free
    if free < size:
        raise StageError(
            f"{path.parent} has {free >> 20} MiB free and the frames need {size >> 20}; free some, "
            "or give a container more with --shm-size"
        )
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise StageError(f"cannot create {path} ({error.strerror}); make {path.parent} writable") from error
    try:
        _reserve(descriptor, size)
        memory = mmap.mmap(descriptor, size)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise StageError(
            f"{path.parent} has no room for {size >> 20} MiB of frames ({error.strerror}); free some"
        ) from error
    finally:
        os.close(descriptor)
    _BLOCK_HEADER.pack_into(memory, 0, *_header(ring))
    return _views(memory, ring)


def _reserve(descriptor: int, size: int) -> None:
    """Allocate the memory now: touching a page that a full file system lacks would kill the process with SIGBUS."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)


def _views(memory: mmap.mmap, ring: RingName) -> _Block:
    headers, pixels = [], []
    for slot in range(ring.slots):
        start = _HEADER_BYTES + slot * (_HEADER_BYTES + ring.slot_bytes)
        headers.append(np.frombuffer(memory, np.uint64, _FIELDS, start))
        pixels.append(np.frombuffer(memory, np.uint8, ring.slot_bytes, start + _HEADER_BYTES))
    return _Block(memory, headers, pixels)


def _close(block: _Block) -> None:
    block.headers.clear()
    block.pixels.clear()
    block.memory.close()
