"""The window, on a virtual X display, following a real publisher socket."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import pytest
import zmq
from PIL import ImageGrab
from support.pipeline_runs import Run

from streamseg.errors import NoDisplayError
from streamseg.messages import Dropped, End, Models, Result, Timings
from streamseg.show import show
from streamseg.wire.protocol import encode_end, encode_result

DEADLINE_S = 40.0
NEEDED = ("Xvfb", "xdotool")
COLOURS_OF_A_SCENE = 2000
ATTEMPTS = 5
PAINTED_WITHIN_S = 20.0

Started = TypeVar("Started")


@pytest.fixture(scope="module")
def display(continuous_integration: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A virtual display's name."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        reason = f"needs {' and '.join(missing)}: apt-get install xvfb xdotool"
        if continuous_integration:
            pytest.fail(reason)
        pytest.skip(reason)
    reading, writing = os.pipe()
    log = tmp_path_factory.mktemp("xvfb") / "log"
    with log.open("wb") as output, os.fdopen(reading) as number:
        server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writing), "-noreset", "-nolisten", "tcp", "-screen", "0", "800x600x24"],
            stderr=output,
            pass_fds=[writing],
        )
        os.close(writing)
        try:
            name = number.readline().strip()
            assert name, log.read_text()
            yield f":{name}"
        finally:
            server.terminate()
            server.wait()


class Publisher:
    """Publishes a picture of one colour, over and over, until told otherwise."""

    def __init__(self) -> None:
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.XPUB)
        self._socket.setsockopt(zmq.LINGER, 1000)
        self.endpoint = f"tcp://127.0.0.1:{self._socket.bind_to_random_port('tcp://127.0.0.1')}"
        self._stop, self._pause, self._end = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def pause(self) -> None:
        self._pause.set()

    def end(self) -> None:
        self._end.set()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        _, jpeg = cv2.imencode(".jpg", np.full((240, 320, 3), (40, 180, 60), np.uint8))
        first = Result(
            run_id="run",
            epoch=0,
            seq=0,
            source="cam",
            width=320,
            height=240,
            pts_ns=0,
            t_capture_unix_ns=0,
            timings=Timings(),
            dropped=Dropped(),
            models=Models(detector="motion", segmenter="nano"),
            boxes_seq=None,
            objects=(),
            jpeg=jpeg.tobytes(),
        )
        seq = 0
        while not self._stop.wait(0.03):
            while self._socket.poll(0):
                self._socket.recv()
            if self._end.is_set():
                self._socket.send_multipart(encode_end(End(run_id="run", source="cam", seq=seq, reason="done")))
            elif not self._pause.is_set():
                self._socket.send_multipart(encode_result(replace(first, seq=seq), "overlay").parts)
                seq += 1


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    publisher = Publisher()
    yield publisher
    publisher.close()


@contextmanager
def window(display: str, endpoint: str) -> Iterator[subprocess.Popen[str]]:
    script = "import sys; from streamseg.show import show; show(sys.argv[1]); print('av' in sys.modules)"
    child = subprocess.Popen(
        [sys.executable, "-c", script, endpoint],
        env={**os.environ, "DISPLAY": display},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


@contextmanager
def painted(display: str, start: Callable[[], AbstractContextManager[Started]]) -> Iterator[Started]:
    """What `start` starts, once its window shows anything.

    Where there is no window manager, Qt now and then gets neither MapNotify nor Expose of a window that the server has mapped (they are
    missing in its own log of events), and paints nothing from then on. Such a window is given up for another.
    """
    for _ in range(ATTEMPTS):
        with start() as started:
            deadline = time.monotonic() + PAINTED_WITHIN_S
            while picture_of(display) < 2 and time.monotonic() < deadline:
                time.sleep(0.05)
            if picture_of(display) > 1:
                yield started
                return
    pytest.fail(f"{ATTEMPTS} windows remained black")


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.05)


def xdotool(display: str, *words: str) -> str:
    return subprocess.run(
        ["xdotool", *words], env={**os.environ, "DISPLAY": display}, capture_output=True, text=True, check=False
    ).stdout


def window_of(display: str, child: subprocess.Popen[str]) -> str:
    """The number of the child's window, once it is there; the window of its probe belongs to another process."""
    found = ""

    def there() -> bool:
        nonlocal found
        assert child.poll() is None, "the process ended before its window appeared"
        found = xdotool(
            display, "search", "--all", "--onlyvisible", "--pid", str(child.pid), "--name", "^streamseg$"
        ).strip()
        return found.isdecimal()

    eventually(there, "the window's appearance")
    return found


def shows(display: str, red: int, green: int, blue: int) -> Callable[[], bool]:
    """Whether the pixel at the middle of the published picture has that colour."""

    def shown() -> bool:
        pixel = np.asarray(ImageGrab.grab(xdisplay=display))[120, 160]
        return bool(np.abs(pixel.astype(int) - (red, green, blue)).max() < 12)

    return shown


def closed(child: subprocess.Popen[str]) -> bool:
    """Whether the process ended by itself, without error and without PyAV."""
    output, _ = child.communicate(timeout=DEADLINE_S)
    return child.returncode == 0 and output.strip() == "False"


def ask_to_close(display: str, number: int) -> None:
    """What a window manager does when the user clicks on the cross: the message WM_DELETE_WINDOW (ICCCM 4.2.8.1)."""

    class ClientMessage(ctypes.Structure):
        _fields_ = (
            ("type", ctypes.c_int),
            ("serial", ctypes.c_ulong),
            ("send_event", ctypes.c_int),
            ("display", ctypes.c_void_p),
            ("window", ctypes.c_ulong),
            ("message_type", ctypes.c_ulong),
            ("format", ctypes.c_int),
            ("data", ctypes.c_long * 5),
            ("padding", ctypes.c_long * 24),
        )

    x11 = ctypes.CDLL("libX11.so.6")
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XInternAtom.restype = ctypes.c_ulong
    x11.XInternAtom.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    x11.XSendEvent.argtypes = [ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
    x11.XCloseDisplay.argtypes = [ctypes.c_void_p]
    connection = x11.XOpenDisplay(display.encode())
    protocols, delete = (x11.XInternAtom(connection, name, 0) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW"))
    message = ClientMessage(type=33, window=number, message_type=protocols, format=32, data=(delete, 0, 0, 0, 0))
    x11.XSendEvent(connection, number, 0, 0, ctypes.byref(message))
    x11.XCloseDisplay(connection)


@pytest.mark.parametrize("key", ["q", "Escape"])
def test_the_picture_appears_and_a_key_ends_it(display: str, publisher: Publisher, key: str) -> None:
    with painted(display, lambda: window(display, publisher.endpoint)) as child:
        number = window_of(display, child)
        eventually(shows(display, 60, 180, 40), "the picture's appearance")
        xdotool(display, "key", "--window", number, key)
        assert closed(child)


def test_it_waits_for_the_first_picture_and_closing_it_ends_it(display: str, publisher: Publisher) -> None:
    publisher.pause()
    with painted(display, lambda: window(display, publisher.endpoint)) as child:
        number = window_of(display, child)
        eventually(shows(display, 32, 32, 32), "the waiting picture's appearance")
        ask_to_close(display, int(number))
        assert closed(child)


def test_the_end_of_the_run_ends_it(display: str, publisher: Publisher) -> None:
    with painted(display, lambda: window(display, publisher.endpoint)) as child:
        eventually(shows(display, 60, 180, 40), "the picture's appearance")
        publisher.end()
        assert closed(child)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have a display always")
def test_no_display_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(NoDisplayError, match="there is no display") as caught:
        show("tcp://127.0.0.1:5555")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have a display always")
def test_a_display_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    free = next(number for number in range(50, 1000) if not Path(f"/tmp/.X11-unix/X{number}").exists())
    monkeypatch.setenv("DISPLAY", f":{free}")
    with pytest.raises(
        NoDisplayError, match=f"no window can be opened on display :{free} .*could not connect"
    ) as caught:
        show("tcp://127.0.0.1:5555")
    assert "\n" not in str(caught.value)


def test_a_run_shows_itself_and_ends_with_its_window(display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", display)
    options = ["--detector", "motion", "--segmenter", "nano", "--set", "publish.bind=tcp://127.0.0.1:*"]
    with painted(
        display, lambda: Run("run", "--source", "synthetic:?size=320x240&fps=15&frames=0", *options, "--show")
    ) as run:
        eventually(lambda: picture_of(display) > COLOURS_OF_A_SCENE, "a picture of the scene")
        xdotool(display, "search", "--name", "streamseg", "windowfocus", "key", "q")
        status, output, errors = run.finish(30)
    assert status == 0, errors
    assert "window closed" in output


def test_a_window_does_not_outlive_its_run(display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", display)
    options = ["--detector", "motion", "--segmenter", "nano", "--set", "publish.bind=tcp://127.0.0.1:*"]
    with Run("run", "--source", "synthetic:?size=320x240&fps=15&frames=0", *options, "--show") as run:
        eventually(lambda: bool(xdotool(display, "search", "--onlyvisible", "--name", "^streamseg$")), "a window")
        run.process.kill()
        eventually(lambda: not xdotool(display, "search", "--onlyvisible", "--name", "^streamseg$"), "the window's end")


def picture_of(display: str) -> int:
    """How many colours there are on the screen."""
    return len(np.unique(np.asarray(ImageGrab.grab(xdisplay=display)).reshape(-1, 3), axis=0))
