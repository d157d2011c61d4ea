from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from support.clips import number_of, write_clip

from streamseg.errors import SourceError, SourceRefusedError
from streamseg.messages import Frame
from streamseg.sources import SourceChange, SourceInfo, SourceSettings
from streamseg.sources.connection import Opened
from streamseg.sources.live import HEALTHY_S, LONGEST_RETRY_S, Backoff, LiveSource


class Impatient(threading.Event):
    """A stop event that records the waiting times and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        return self.is_set()


class Camera(LiveSource):
    """A live source that connects with a list of functions, one after another; the last one repeats."""

    def __init__(self, options: SourceSettings, *answers: Callable[[], Opened]) -> None:
        self.answers = list(answers)
        self.attempts = 0
        super().__init__(options, "the camera")

    def connect(self) -> Opened:
        self.attempts += 1
        return (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])()


def playing(clip: Path) -> Callable[[], Opened]:
    return lambda: Opened(av.open(str(clip)), SourceInfo(description="the camera (playing)", fps=30.0))


def absent() -> Opened:
    raise SourceError("the camera is absent")


def refusing() -> Opened:
    raise SourceRefusedError("the camera requires a password")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("live") / "clip.mp4", frames=10)


def test_a_lost_stream_is_announced_once_and_reconnects(clip: Path) -> None:
    camera = Camera(SourceSettings(url="x"), playing(clip), absent, absent, playing(clip))
    assert camera.info.description == "the camera (playing)"
    stop = Impatient()
    items: list[Frame | SourceChange] = []
    for item in camera.frames(0, stop):
        items.append(item)
        if len(items) == 22:
            stop.set()
    camera.close()

    changes = {number: item for number, item in enumerate(items) if isinstance(item, SourceChange)}
    assert changes == {
        10: SourceChange("disconnected", "the stream ended"),
        11: SourceChange("running", "the camera (playing)"),
    }
    frames = [item for item in items if isinstance(item, Frame)]
    assert [number_of(frame.image) for frame in frames] == [*range(10), *range(10)]
    times = [frame.pts_ns for frame in frames]
    assert times == sorted(set(times))
    assert camera.attempts == 4
    assert len(stop.waits) == 3
    for wait, longest in zip(stop.waits, (0.5, 1.0, 2.0), strict=True):
        assert 0.8 * longest <= wait <= longest


def test_without_wait_an_absent_source_fails_at_once() -> None:
    with pytest.raises(SourceError, match="absent"):
        Camera(SourceSettings(url="x"), absent)


def test_with_wait_an_absent_source_is_awaited(clip: Path) -> None:
    camera = Camera(SourceSettings(url="x", wait=True), absent, absent, playing(clip))
    assert camera.attempts == 0
    items = camera.frames(0, Impatient())
    assert next(items) == SourceChange("disconnected", "the camera is absent")
    assert next(items) == SourceChange("running", "the camera (playing)")
    assert isinstance(next(items), Frame)
    camera.close()


def test_a_refusal_ends_the_source_without_a_retry(clip: Path) -> None:
    camera = Camera(SourceSettings(url="x"), playing(clip), refusing)
    with pytest.raises(SourceRefusedError):
        list(camera.frames(0, Impatient()))
    assert camera.attempts == 2
    waiting = Camera(SourceSettings(url="x", wait=True), refusing)
    with pytest.raises(SourceRefusedError):
        list(waiting.frames(0, Impatient()))
    assert waiting.attempts == 1


def test_a_hanging_open_times_out_and_closes_later(clip: Path) -> None:
    answer = threading.Event()
    opened: list[Opened] = []

    def late() -> Opened:
        answer.wait(20)
        opened.append(playing(clip)())
        return opened[0]

    began = time.monotonic()
    with pytest.raises(SourceError, match=r"no picture within 0\.3 s"):
        Camera(SourceSettings(url="x", start_timeout=0.3), late)
    assert time.monotonic() - began < 15
    answer.set()
    deadline = time.monotonic() + 10
    while not opened or opened[0].container.input_was_opened:
        assert time.monotonic() < deadline, "the connection that came too late was left open"
        threading.Event().wait(0.01)


def test_stop_ends_a_hanging_open(clip: Path) -> None:
    hanging = threading.Event()
    stop = threading.Event()

    def hang() -> Opened:
        stop.set()
        hanging.wait(20)
        return playing(clip)()

    began = time.monotonic()
    assert list(Camera(SourceSettings(url="x", wait=True), hang).frames(0, stop)) == []
    assert time.monotonic() - began < 15
    hanging.set()


def test_a_stream_without_pictures_fails(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=5)
    content = clip.read_bytes()
    start, end = content.find(b"mdat") + 4, content.find(b"moov") - 4
    clip.write_bytes(content[:start] + bytes(end - start) + content[end:])
    with pytest.raises(SourceError, match="gave no picture: the stream ended"):
        Camera(SourceSettings(url="x"), playing(clip))


def test_waits_double_up_to_a_limit_and_restart_after_a_healthy_connection() -> None:
    backoff = Backoff(random.Random(1))
    waits = [backoff.seconds() for _ in range(10)]
    for wait, longest in zip(waits, (0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30), strict=True):
        assert 0.8 * longest <= wait <= longest
    assert len(set(waits)) == 10
    backoff.lasted(HEALTHY_S - 1)
    assert backoff.seconds() > 0.8 * LONGEST_RETRY_S - 1e-9
    backoff.lasted(HEALTHY_S)
    assert backoff.seconds() <= 0.5
