from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from support.pipeline_runs import until

from streamseg.errors import SourceError, StageError, StreamsegError
from streamseg.messages import Frame
from streamseg.sources import SourceChange, SourceInfo
from streamseg.stages.intake import Intake, Item

INTERVAL_NS = 20_000_000
WITHIN_S = 10.0


class Scene:
    """A source whose frame `n` is filled with `n`; `items` may stand in for its frames."""

    info = SourceInfo(description="scene")

    def __init__(self, length: int = 10, error: Exception | None = None, change_before: int | None = None) -> None:
        self.length = length
        self.given = 0
        self.closed = threading.Event()
        self._error = error
        self._change_before = change_before

    def frames(self, start: int, stop: threading.Event) -> Iterator[Frame | SourceChange]:
        for number in range(start, self.length):
            if stop.is_set():
                return
            if number == self._change_before:
                yield SourceChange("disconnected", "unplugged")
            self.given += 1
            yield Frame(np.full((2, 2, 3), number, np.uint8), number * INTERVAL_NS, time.monotonic_ns(), time.time_ns())
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self.closed.set()


class Reader:
    """A running intake; `woken` counts its wake-ups."""

    def __init__(
        self, scene: Scene, start: int = 0, limit: int | None = None, *, live: bool = False, paced: bool = False
    ) -> None:
        self.intake = Intake(scene, start, limit, live=live, paced=paced)
        self.woken = threading.Semaphore(0)
        self.intake.start(self.woken.release)

    def next(self) -> Item:
        assert self.woken.acquire(timeout=WITHIN_S)
        item = self.intake.take()
        assert item is not None
        return item

    def rest(self) -> list[Item]:
        """Every item up to the last, the reason of the end."""
        items = [self.next()]
        while isinstance(items[-1], Frame | SourceChange):
            items.append(self.next())
        return items


def numbers(items: list[Item]) -> list[int]:
    return [int(item.image[0, 0, 0]) for item in items if isinstance(item, Frame)]


def test_every_frame_in_order_and_then_the_reason() -> None:
    scene = Scene(10)
    reader = Reader(scene)
    reader.intake.release(None)
    items = reader.rest()
    assert numbers(items) == list(range(10))
    assert [item.pts_ns for item in items if isinstance(item, Frame)] == [number * INTERVAL_NS for number in range(10)]
    assert items[-1] == "end of source"
    assert scene.closed.wait(WITHIN_S)
    assert reader.intake.take() is None


@pytest.mark.parametrize(
    ("start", "limit", "expected"),
    [
        (4, None, [4, 5, 6, 7, 8, 9]),
        (0, 3, [0, 1, 2]),
        (4, 6, [4, 5]),
        (6, 6, []),
        (7, 6, []),
        (0, 99, list(range(10))),
    ],
)
def test_the_limit_counts_from_the_sources_beginning(start: int, limit: int | None, expected: list[int]) -> None:
    scene = Scene(10)
    reader = Reader(scene, start, limit)
    reader.intake.release(None)
    items = reader.rest()
    assert numbers(items) == expected
    assert items[-1] == "end of source"
    assert scene.given == len(expected)


def test_a_file_is_not_read_before_the_start_and_never_far_ahead() -> None:
    scene = Scene(10)
    reader = Reader(scene)
    assert not reader.woken.acquire(timeout=0.2)
    assert scene.given == 0
    reader.intake.release(None)
    reader.next()
    assert scene.given <= 4  # one taken, two waiting, one in the thread's hand
    assert numbers(reader.rest()) == list(range(1, 10))


class Camera(Scene):
    """A live scene that gives a frame at each `shoot`."""

    def __init__(self) -> None:
        super().__init__(100)
        self.trigger = threading.Semaphore(0)
        self.wanted = threading.Semaphore(0)

    def frames(self, start: int, stop: threading.Event) -> Iterator[Frame | SourceChange]:
        for frame in super().frames(0, stop):
            self.wanted.release()
            while not self.trigger.acquire(timeout=0.05):
                if stop.is_set():
                    return
            yield frame

    def shoot(self) -> None:
        """Give one frame, once the intake is done with the one before."""
        assert self.wanted.acquire(timeout=WITHIN_S)
        self.trigger.release()


def test_a_cameras_frames_before_the_start_are_dropped() -> None:
    camera = Camera()
    reader = Reader(camera, live=True)
    for _ in range(3):
        camera.shoot()
    assert camera.wanted.acquire(timeout=WITHIN_S)  # the intake is done with the third one
    reader.intake.release(time.monotonic_ns())
    camera.trigger.release()
    first = reader.next()
    assert isinstance(first, Frame)
    assert numbers([first]) == [3]
    assert first.pts_ns == 0
    camera.shoot()
    second = reader.next()
    assert isinstance(second, Frame)
    assert second.pts_ns - first.pts_ns == INTERVAL_NS
    reader.intake.stop()
    assert camera.closed.wait(WITHIN_S)


@pytest.mark.parametrize(("live", "shift_ns"), [(True, 7_000_000_001 - 4 * INTERVAL_NS), (False, 0)])
def test_only_a_camera_that_is_opened_again_needs_later_times_in_every_frame_mode(live: bool, shift_ns: int) -> None:
    camera = Scene(6)
    intake = Intake(camera, 4, None, live=live, paced=False)
    intake.release(None, after_pts_ns=7_000_000_000)
    woken = threading.Semaphore(0)
    intake.start(woken.release)
    for number in (4, 5):
        assert woken.acquire(timeout=WITHIN_S)
        frame = intake.take()
        assert isinstance(frame, Frame)
        assert frame.pts_ns == number * INTERVAL_NS + shift_ns


def test_a_paced_file_keeps_to_its_presentation_times() -> None:
    reader = Reader(Scene(5), paced=True)
    origin = time.monotonic_ns()
    reader.intake.release(origin)
    due = []
    for _ in range(5):
        frame = reader.next()
        assert isinstance(frame, Frame)
        assert frame.t_capture_ns >= origin + frame.pts_ns
        due.append(frame.pts_ns)
    assert [later - due[0] for later in due] == [number * INTERVAL_NS for number in range(5)]


def test_a_frame_put_back_comes_first() -> None:
    reader = Reader(Scene(3))
    reader.intake.release(None)
    frame = reader.next()
    assert isinstance(frame, Frame)
    reader.intake.put_back(frame)
    assert reader.intake.take() is frame
    assert numbers(reader.rest()) == [1, 2]


def test_stop_ends_a_reader_that_waits_for_room() -> None:
    scene = Scene(100)
    reader = Reader(scene)
    reader.intake.release(None)
    for _ in range(2):
        assert reader.woken.acquire(timeout=WITHIN_S)
    reader.intake.stop()
    assert scene.closed.wait(WITHIN_S)
    assert scene.given < 10


def test_stop_ends_a_reader_that_was_never_started() -> None:
    scene = Scene(100)
    reader = Reader(scene)
    reader.intake.stop()
    assert scene.closed.wait(WITHIN_S)
    assert scene.given == 0


def test_stop_ends_a_paced_reader_between_two_frames() -> None:
    scene = Scene(100)
    reader = Reader(scene, paced=True)
    reader.intake.release(time.monotonic_ns() + 3_600_000_000_000)
    until(lambda: scene.given == 1, WITHIN_S, "the first frame")
    reader.intake.stop()
    assert scene.closed.wait(WITHIN_S)


def test_changes_of_the_connection_keep_their_place_between_frames() -> None:
    reader = Reader(Scene(4, change_before=2))
    reader.intake.release(None)
    items = reader.rest()
    assert numbers(items[:2]) == [0, 1]
    assert items[2] == SourceChange("disconnected", "unplugged")
    assert numbers(items[3:]) == [2, 3]


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (SourceError("the cable is cut"), SourceError, "the cable is cut"),
        (RuntimeError("driver"), StageError, "RuntimeError: driver"),
    ],
)
def test_an_error_comes_after_the_frames_before_it(error: Exception, kind: type[StreamsegError], text: str) -> None:
    scene = Scene(2, error=error)
    reader = Reader(scene)
    reader.intake.release(None)
    items = reader.rest()
    assert numbers(items) == [0, 1]
    assert type(items[-1]) is kind
    assert text in str(items[-1])
    assert scene.closed.is_set()
