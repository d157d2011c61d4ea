from __future__ import annotations

import multiprocessing
import os
import secrets
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import pytest

from streamseg.errors import FrameOverrunError, RingGoneError, StageError
from streamseg.ipc import ring as ring_module
from streamseg.ipc.ring import RingName, RingReader, RingWriter, block_folder, last_sequence, remove_blocks
from streamseg.messages import Image


@pytest.fixture
def prefix() -> Iterator[str]:
    name = f"streamseg-test-{secrets.token_hex(3)}"
    yield name
    remove_blocks(name)


def picture(value: int, height: int = 48, width: int = 64) -> Image:
    return np.full((height, width, 3), value % 251, np.uint8)


def test_a_frame_is_read_until_its_slot_is_taken(prefix: str) -> None:
    writer, reader = RingWriter(prefix, 0, 48, 64, slots=4), RingReader()
    for seq in range(6):
        writer.write(seq, picture(seq))
    for seq in range(2, 6):
        assert (reader.read(writer.ring, seq) == seq).all()
    for seq in (0, 1, 6):
        with pytest.raises(FrameOverrunError):
            reader.read(writer.ring, seq)
    assert last_sequence(writer.ring) == 5
    reader.close()
    writer.close()


def test_a_smaller_frame_keeps_its_shape(prefix: str) -> None:
    writer, reader = RingWriter(prefix, 0, 48, 64), RingReader()
    writer.write(0, picture(7, 31, 47))
    assert reader.read(writer.ring, 0).shape == (31, 47, 3)
    reader.close()
    writer.close()


def test_a_new_epoch_is_mapped_and_the_old_one_refused(prefix: str) -> None:
    reader = RingReader()
    first = RingWriter(prefix, 0, 48, 64)
    first.write(0, picture(1))
    reader.read(first.ring, 0)
    first.close()
    remove_blocks(first.ring.name)
    second = RingWriter(prefix, 1, 96, 64)
    second.write(1, picture(2, 96))
    assert (reader.read(second.ring, 1) == 2).all()
    with pytest.raises(RingGoneError):
        reader.read(first.ring, 0)
    reader.close()
    second.close()


def replace(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(bytes(64) + content[64:])


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(64))


def empty(path: Path) -> None:
    path.unlink()
    path.touch()


def shorten(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1])


@pytest.mark.parametrize("damage", [Path.unlink, replace, overwrite, empty, shorten])
def test_a_ring_that_is_gone_is_no_overrun_and_its_frames_move_to_a_new_one(
    prefix: str, damage: Callable[[Path], None]
) -> None:
    writer = RingWriter(prefix, 0, 48, 64, slots=4)
    for seq in range(6):
        writer.write(seq, picture(seq, 48 if seq % 2 else 31))
    assert writer.intact()
    damage(block_folder() / writer.ring.name)
    assert not writer.intact()
    with pytest.raises(RingGoneError):
        RingReader().read(writer.ring, 5)
    assert last_sequence(writer.ring) is None

    moved, reader = writer.move(1), RingReader()
    assert moved.intact()
    assert (moved.ring.epoch, moved.ring.slots, moved.ring.slot_bytes) == (1, 4, writer.ring.slot_bytes)
    for seq in range(2, 6):
        assert (reader.read(moved.ring, seq) == seq).all()
        assert reader.read(moved.ring, seq).shape == (48 if seq % 2 else 31, 64, 3)
    with pytest.raises(FrameOverrunError):
        reader.read(moved.ring, 1)
    reader.close()
    moved.close()


def test_frames_overwritten_from_outside_are_neither_an_overrun_nor_moved(prefix: str) -> None:
    writer, reader = RingWriter(prefix, 0, 48, 64), RingReader()
    writer.write(0, picture(0))
    assert (reader.read(writer.ring, 0) == 0).all()
    path = block_folder() / writer.ring.name
    size = path.stat().st_size
    os.truncate(path, 0)
    os.truncate(path, size)
    assert not writer.intact()
    with pytest.raises(RingGoneError, match="was overwritten"):
        reader.read(writer.ring, 0)
    with pytest.raises(StageError, match="was overwritten by another program"):
        writer.move(1)
    reader.close()
    writer.close()


def test_a_ring_that_cannot_be_mapped_is_an_error_of_the_stage(prefix: str) -> None:
    writer = RingWriter(prefix, 0, 48, 64)
    path = block_folder() / writer.ring.name
    path.unlink()
    path.mkdir()
    try:
        with pytest.raises(StageError, match="cannot be read"):
            RingReader().read(writer.ring, 0)
        assert not writer.intact()
    finally:
        path.rmdir()
    writer.close()


def test_a_frame_that_changes_under_the_reader_is_never_returned(prefix: str) -> None:
    """Another process writes round the ring as fast as it can; every picture returned is whole."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    here, there = context.Pipe()
    child = context.Process(target=_write_for_ever, args=(prefix, stop, there))
    child.start()
    reader = RingReader()
    try:
        ring: RingName = here.recv()
        whole = refused = 0
        for _ in range(3000):
            seq = last_sequence(ring) or 0
            try:
                image = reader.read(ring, seq)
            except FrameOverrunError:
                refused += 1
                continue
            assert (image == seq % 251).all()
            whole += 1
    finally:
        stop.set()
        reader.close()
        child.join(10)
    assert child.exitcode == 0
    assert whole
    assert refused


def _write_for_ever(prefix: str, stop: Event, there: multiprocessing.connection.Connection) -> None:
    writer = RingWriter(prefix, 0, 480, 640, slots=3)
    there.send(writer.ring)
    seq = 0
    while not stop.is_set():
        writer.write(seq, picture(seq, 480, 640))
        seq += 1
    writer.close()


def test_a_dead_readers_mapping_leaves_the_block_alone(prefix: str) -> None:
    writer = RingWriter(prefix, 0, 48, 64)
    writer.write(0, picture(9))
    context = multiprocessing.get_context("spawn")
    child = context.Process(target=_read_and_die, args=(writer.ring,))
    child.start()
    child.join(20)
    assert (block_folder() / writer.ring.name).exists()
    writer.close()


def _read_and_die(ring: RingName) -> None:
    RingReader().read(ring, 0)
    multiprocessing.current_process().kill()


def test_too_little_shared_memory_is_an_error_before_it_is_used(prefix: str) -> None:
    with pytest.raises(StageError, match="free"):
        RingWriter(prefix, 0, 8192, 8192, slots=100_000)
    assert not list(block_folder().glob(f"{prefix}*"))


def test_a_full_device_is_an_error_and_leaves_nothing(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ring_module, "_reserve", refuse)
    with pytest.raises(StageError, match="No space left"):
        RingWriter(prefix, 0, 48, 64)
    assert not list(block_folder().glob(f"{prefix}*"))


def test_without_fallocate_the_file_is_extended(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.posix_fallocate")
    writer, reader = RingWriter(prefix, 0, 48, 64), RingReader()
    writer.write(3, picture(3))
    assert (reader.read(writer.ring, 3) == 3).all()
    reader.close()
    writer.close()
