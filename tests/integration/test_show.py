"""The window, on a virtual X display, following a real publisher socket."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import zmq
from support.leftovers import Place
from support.pipeline_runs import Run, until
from support.results import EMPTY_RESULT
from support.virtual_display import Display

from streamseg.errors import NoDisplayError
from streamseg.messages import End
from streamseg.show import require_display
from streamseg.wire.protocol import encode_event, encode_result

DEADLINE_S = 60.0
COLOURS_OF_A_TEXT, COLOURS_OF_A_SCENE = 100, 2000
WINDOWS = ("search", "--onlyvisible", "--name", "^streamseg$")
GREEN, GREY = (60, 180, 40), (32, 32, 32)
LIVE = (
    "run", "--source", "synthetic:?size=320x240&fps=15&frames=0", "--detector", "motion", "--segmenter", "nano",
    "--set", "publish.bind=tcp://127.0.0.1:*", "--show",
)  # fmt: skip


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
        first = replace(EMPTY_RESULT, width=320, height=240, jpeg=jpeg.tobytes())
        seq = 0
        while not self._stop.wait(0.03):
            while self._socket.poll(0):
                self._socket.recv()
            if self._end.is_set():
                self._socket.send_multipart(encode_event(End(run_id="run", source="cam", seq=seq, reason="done")))
            elif not self._pause.is_set():
                self._socket.send_multipart(encode_result(replace(first, seq=seq), "overlay").parts)
                seq += 1


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    publisher = Publisher()
    yield publisher
    publisher.close()


@contextmanager
def window(display: Display, endpoint: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    script = "import sys; from streamseg.show import show; show(sys.argv[1]); print('av' in sys.modules)"
    child = subprocess.Popen(
        [sys.executable, "-c", script, endpoint],
        env={**os.environ, "DISPLAY": display.name, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def eventually(condition: Callable[[], object], what: str) -> None:
    until(condition, DEADLINE_S, what)


def window_of(display: Display, child: subprocess.Popen[str]) -> str:
    """Wait for the child's window and return its number; the window of its probe belongs to another process."""
    search = ("search", "--all", "--onlyvisible", "--pid", str(child.pid), "--name", "^streamseg$")

    def appeared() -> bool:
        assert child.poll() is None, "the process ended before its window appeared"
        return display.xdotool(*search).strip().isdecimal()

    eventually(appeared, "the window's appearance")
    return display.xdotool(*search).strip()


def closed(child: subprocess.Popen[str]) -> bool:
    """Whether the process ended by itself, without error and without PyAV."""
    output, _ = child.communicate(timeout=DEADLINE_S)
    return child.returncode == 0 and output.strip() == "False"


def ask_to_close(display: Display, number: int) -> None:
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
    connection = x11.XOpenDisplay(display.name.encode())
    protocols, delete = (x11.XInternAtom(connection, name, 0) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW"))
    message = ClientMessage(type=33, window=number, message_type=protocols, format=32, data=(delete, 0, 0, 0, 0))
    x11.XSendEvent(connection, number, 0, 0, ctypes.byref(message))
    x11.XCloseDisplay(connection)


@pytest.mark.parametrize("key", ["q", "Escape"])
def test_the_picture_appears_and_a_key_ends_it(display: Display, publisher: Publisher, key: str) -> None:
    with window(display, publisher.endpoint) as child:
        number = window_of(display, child)
        eventually(display.shows(*GREEN), "the picture's appearance")
        display.press(key, number)
        assert closed(child)


def test_it_waits_for_the_first_picture_and_closing_it_ends_it(display: Display, publisher: Publisher) -> None:
    publisher.pause()
    with window(display, publisher.endpoint) as child:
        number = window_of(display, child)
        eventually(display.shows(*GREY), "the waiting picture's appearance")
        ask_to_close(display, int(number))
        assert closed(child)


def test_the_end_of_the_run_ends_it(display: Display, publisher: Publisher) -> None:
    with window(display, publisher.endpoint) as child:
        eventually(display.shows(*GREEN), "the picture's appearance")
        publisher.end()
        assert closed(child)


def test_qt_tells_the_systems_libx11_that_it_reads_the_events(
    display: Display, publisher: Publisher, tmp_path: Path
) -> None:
    loader = {"LD_DEBUG": "bindings", "LD_DEBUG_OUTPUT": str(tmp_path / "loader")}
    with window(display, publisher.endpoint, **loader) as child:
        window_of(display, child)
        log = (tmp_path / f"loader.{child.pid}").read_text()
    bound = [line for line in log.splitlines() if "`XSetEventQueueOwner'" in line]
    assert any("/libX11-xcb.so.1 " in line for line in bound), bound


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have a display always")
def test_no_display_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(NoDisplayError, match="there is no display") as caught:
        require_display()
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have a display always")
def test_a_display_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    free = next(number for number in range(50, 1000) if not Path(f"/tmp/.X11-unix/X{number}").exists())
    monkeypatch.setenv("DISPLAY", f":{free}")
    with pytest.raises(
        NoDisplayError, match=f"no window can be opened on display :{free} .*could not connect"
    ) as caught:
        require_display()
    assert "\n" not in str(caught.value)


def test_a_run_shows_itself_and_ends_with_its_window(display: Display, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", display.name)
    with Run(*LIVE) as run:
        eventually(lambda: display.colours() > COLOURS_OF_A_SCENE, "a picture of the scene")
        display.press("q", display.xdotool(*WINDOWS).strip())
        status, output, errors = run.finish(30)
    assert status == 0, errors
    assert "window closed" in output
    assert "Fatal" not in errors


def test_a_window_does_not_outlive_its_run(display: Display, place: Place) -> None:
    place.environment["DISPLAY"] = display.name
    with place.run(*LIVE) as run:
        eventually(lambda: display.colours() > COLOURS_OF_A_TEXT, "the waiting text")
        run.process.kill()
        eventually(lambda: not display.xdotool(*WINDOWS), "the window's end")
        eventually(lambda: not place.processes(), "the end of the stages")
    place.sweep()
