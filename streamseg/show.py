"""The window: a subscriber that shows the overlay.

Its process must not load PyAV: with both loaded, OpenCV's window can hang.
"""

from __future__ import annotations

import ctypes
import math
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from streamseg.client import Subscriber
from streamseg.errors import NoDisplayError, SubscriptionTimeoutError
from streamseg.messages import Image, PixelAspect, SourceState
from streamseg.monitor.texts import waiting_text
from streamseg.printable import printable
from streamseg.redaction import redact
from streamseg.render import Sizes
from streamseg.wire.limits import SIDE

_TITLE = "streamseg"
_KEYS_THAT_END = frozenset(map(ord, "qQ\x1b"))
_POLL_S = 0.03
_HEARTBEAT_S = 1.0
"""Seconds within which the state of a source follows its first picture."""
_ENDED_S = 5.0
"""Seconds for which a source that has ended stays in the grid, while others go on."""
_LARGEST = (1280, 720)
_TILE = (640, 360)
"""Width and height of a source's place among several."""
_GREY = 32
_PROBE = "import cv2; cv2.namedWindow('streamseg'); cv2.destroyAllWindows()"
_PROBE_TIMEOUT_S = 30.0


def show(
    endpoint: str,
    *,
    source: str | None = None,
    secret_key_file: Path | None = None,
    server_key_file: Path | None = None,
) -> None:
    """Show the results of a pipeline until the user presses q or Esc or closes the window, or the run ends.

    Call `require_display` before: where no window can be opened, Qt aborts the process.

    While no pictures come, the window says why: no pipeline, or the camera is lost.

    Args:
        endpoint: ZeroMQ address of the publisher.
        source: Name of the source; None for any source of the endpoint.
        secret_key_file: File with the window's secret key, for a publisher that admits certain keys only.
        server_key_file: File with that publisher's public key.

    Raises:
        NoDisplayError: OpenCV has no windows.
        UsageError: The endpoint, the source name or a key file is invalid.
    """
    _let_qt_own_events()
    with Subscriber(
        endpoint, source=source, view="overlay", secret_key_file=secret_key_file, server_key_file=server_key_file
    ) as subscriber:
        try:
            cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        except cv2.error as error:
            raise NoDisplayError(
                f"OpenCV cannot open a window: {error.err}; install opencv-python, not opencv-python-headless"
            ) from error
        try:
            _show_results(subscriber, f"waiting for {redact(endpoint)}" + (f", source {source}" if source else ""))
        finally:
            cv2.destroyAllWindows()


def _let_qt_own_events() -> None:
    """Load the system's libX11-xcb, which Qt then calls instead of the one in OpenCV's wheel.

    Through it Qt tells libX11, which the wheel lacks, that libxcb reads the events. The wheel's libX11-xcb 1.6 writes
    this into the wrong field of libX11 1.7 and later. libX11 then takes events too, and a window whose Expose event it
    took remains black.
    """
    with suppress(OSError):  # no such library: another system, or no X11
        ctypes.CDLL("libX11-xcb.so.1", mode=ctypes.RTLD_GLOBAL)


def _show_results(subscriber: Subscriber, waiting: str) -> None:
    tiles, shape = Tiles(waiting), None
    cv2.resizeWindow(_TITLE, 640, 360)
    cv2.imshow(_TITLE, tiles.picture(subscriber.states, time.monotonic()))
    while not _ended_by_user():
        try:
            result = subscriber.latest(_POLL_S)
        except SubscriptionTimeoutError:
            cv2.imshow(_TITLE, tiles.picture(subscriber.states, time.monotonic()))
            continue
        if result is None:
            return
        if result.image is None:
            continue
        tiles.add(result.source, square_pixels(result.image, result.pixel_aspect), time.monotonic())
        picture = tiles.picture(subscriber.states, time.monotonic())
        if picture.shape != shape:
            shape = picture.shape
            scale = min(1.0, _LARGEST[0] / shape[1], _LARGEST[1] / shape[0])
            cv2.resizeWindow(_TITLE, max(round(shape[1] * scale), 1), max(round(shape[0] * scale), 1))
        cv2.imshow(_TITLE, picture)


class Tiles:
    """The newest picture of each source: of one source as it is, of several in a grid, in the order of their names."""

    def __init__(self, waiting: str) -> None:
        """Begin without a picture; `waiting` is what to say until there is a pipeline."""
        self._waiting = waiting
        self._pictures: dict[str, Image] = {}
        self._arrived_s: dict[str, float] = {}
        self._began_s = time.monotonic()

    def add(self, source: str, picture: Image, now_s: float) -> None:
        """Take the newest picture of a source, shape (height, width, 3), uint8, BGR."""
        self._pictures[source] = picture
        self._arrived_s[source] = now_s

    def picture(self, states: Mapping[str, SourceState], now_s: float) -> Image:
        """What the window shows. A source that sends nothing says why, and for how long."""
        if states:  # otherwise the whole pipeline is away
            for name in self._pictures.keys() - states.keys():
                if now_s - self._arrived_s[name] > _ENDED_S:
                    del self._pictures[name]
        names = sorted(self._pictures.keys() | states.keys()) or [""]
        if len(names) == 1:
            return self._tile(names[0], states, now_s, alone=True)
        columns = math.ceil(math.sqrt(len(names)))
        width, height = _TILE
        scene = np.full((height * math.ceil(len(names) / columns), width * columns, 3), _GREY, np.uint8)
        for place, name in enumerate(names):
            tile = self._tile(name, states, now_s, alone=False)
            scale = min(width / tile.shape[1], height / tile.shape[0])
            size = max(round(tile.shape[1] * scale), 1), max(round(tile.shape[0] * scale), 1)
            left = place % columns * width + (width - size[0]) // 2
            top = place // columns * height + (height - size[1]) // 2
            scene[top : top + size[1], left : left + size[0]] = cv2.resize(tile, size, interpolation=cv2.INTER_AREA)
        return scene

    def _tile(self, name: str, states: Mapping[str, SourceState], now_s: float, *, alone: bool) -> Image:
        picture = self._pictures.get(name)
        idle_s = now_s - self._arrived_s.get(name, self._began_s)
        own = {source: state for source, state in states.items() if source == name}
        text = waiting_text(own, idle_s, self._waiting) if picture is None or idle_s >= _POLL_S else None
        if states and not own and idle_s > _HEARTBEAT_S:
            text = f"ended {idle_s:.0f} s ago"
        if picture is None:
            width, height = _TILE
            picture = np.full((height, width, 3), _GREY, np.uint8)
            text = text or self._waiting
        if text is None:
            return picture
        return _with_text(picture, text if alone else f"{name}: {text}")


def square_pixels(picture: Image, pixel_aspect: PixelAspect) -> Image:
    """Stretch a picture so that its pixels are square; none is lost, unless it would become larger than any frame."""
    height, width = picture.shape[:2]
    wide, high = pixel_aspect
    stretched = (max(width, width * wide / high), max(height, height * high / wide))
    scale = min(1.0, SIDE / max(stretched))
    size = max(round(stretched[0] * scale), 1), max(round(stretched[1] * scale), 1)
    return picture if size == (width, height) else np.asarray(cv2.resize(picture, size), np.uint8)


def _ended_by_user() -> bool:
    if cv2.waitKey(1) & 0xFF in _KEYS_THAT_END:
        return True
    try:
        return cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) < 1
    except cv2.error:  # OpenCV 5 with Qt raises once its only window is closed
        return True


def _with_text(picture: Image, text: str) -> Image:
    """A copy of the picture with a dark band and the text at its upper edge."""
    scene, sizes = picture.copy(), Sizes.of(*picture.shape[:2])
    font = cv2.FONT_HERSHEY_SIMPLEX, 1.2 * sizes.text_scale, (255, 255, 255), sizes.text_thickness, cv2.LINE_AA
    room = picture.shape[1] - 4 * sizes.line_margin
    (text_width, _), _ = cv2.getTextSize(text, font[0], font[1], font[3])
    lines = textwrap.wrap(printable(text), max(int(0.85 * len(text) * room / max(text_width, 1)), 1))
    band = scene[: (len(lines) + 1) * sizes.line_height]
    cv2.convertScaleAbs(band, dst=band, alpha=0.35)
    for place, line in enumerate(lines):
        cv2.putText(scene, line, (2 * sizes.line_margin, round((place + 1.3) * sizes.line_height)), *font)
    return scene


def require_display() -> None:
    """Check that this machine can open a window.

    Raises:
        NoDisplayError: It has no usable display.
    """
    if not sys.platform.startswith("linux"):
        return
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    remedy = "record with --record, or watch from a machine with a display"
    if not display:
        raise NoDisplayError(f"there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set); {remedy}")
    # In a process of its own: without a usable display Qt does not raise, it aborts.
    try:
        probe = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NoDisplayError(f"display {display} did not respond within {_PROBE_TIMEOUT_S:g} s; {remedy}") from error
    if probe.returncode:
        reason = next(
            (line.strip() for line in probe.stderr.splitlines() if "display" in line or "rror" in line),
            "the window system refused",
        )
        raise NoDisplayError(f"no window can be opened on display {display} ({reason}); {remedy}")
