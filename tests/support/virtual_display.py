"""A virtual X display with a window manager, for tests of the window.

The window manager maps and frames windows as on a desktop.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageGrab

from streamseg.messages import Image
from support.pipeline_runs import until

PROGRAMS = ("Xvfb", "evilwm", "xdotool")
_READY_WITHIN_S = 20.0


class Display:
    """A running display; `name` is what the environment variable DISPLAY holds."""

    def __init__(self, name: str) -> None:
        self.name = name

    def xdotool(self, *words: str) -> str:
        """Run xdotool and return what it prints; nothing where it finds no window."""
        environment = {**os.environ, "DISPLAY": self.name}
        return subprocess.run(["xdotool", *words], env=environment, capture_output=True, text=True, check=False).stdout

    def press(self, key: str, window: str) -> None:
        """Press and release a key in a window.

        With --window, xdotool would send the release to the window alone. Once the press has ended that window, the
        server would take the key for held down and repeat it in the next one.
        """
        self.xdotool("windowfocus", "--sync", window)
        self.xdotool("key", key)

    def pixels(self) -> Image:
        """The screen, RGB."""
        return np.asarray(ImageGrab.grab(xdisplay=self.name))

    def colours(self) -> int:
        """The number of different colours on the screen."""
        red, green, blue = np.moveaxis(self.pixels().astype(np.uint32), 2, 0)
        return np.unique(red << 16 | green << 8 | blue).size

    def shows(self, red: int, green: int, blue: int, *, pixels: int = 10_000) -> Callable[[], bool]:
        """A condition: at least that many pixels of the screen have that colour, give or take JPEG's error."""

        def shown() -> bool:
            difference = np.abs(self.pixels().astype(int) - (red, green, blue)).max(axis=2)
            return bool(np.count_nonzero(difference < 12) >= pixels)

        return shown


@contextmanager
def virtual_display(folder: Path) -> Iterator[Display]:
    """Start a display of 800x600 and its window manager; their output goes to files in the folder."""
    reading, writing = os.pipe()
    with (folder / "xvfb.log").open("wb") as output, os.fdopen(reading) as number:
        server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writing), "-noreset", "-nolisten", "tcp", "-screen", "0", "800x600x24"],
            stderr=output,
            pass_fds=[writing],
        )
        os.close(writing)
        try:
            name = number.readline().strip()
            assert name, (folder / "xvfb.log").read_text()
            display = Display(f":{name}")
            with _window_manager(display, folder):
                yield display
        finally:
            server.terminate()
            server.wait()


@contextmanager
def _window_manager(display: Display, folder: Path) -> Iterator[None]:
    # "fixed" is the one font that every X server has.
    with (folder / "evilwm.log").open("wb") as output:
        manager = subprocess.Popen(["evilwm", "--display", display.name, "--fn", "fixed"], stderr=output)
        try:
            until(lambda: display.xdotool("get_num_desktops").strip(), _READY_WITHIN_S, "the window manager's start")
            yield
        finally:
            manager.terminate()
            manager.wait()


@pytest.fixture(scope="module")
def display(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Display]:
    """A virtual display; skips where its programs are not installed, which on CI is a failure."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        reason = f"{' and '.join(missing)} not found: apt-get install {' '.join(name.lower() for name in PROGRAMS)}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with virtual_display(tmp_path_factory.mktemp("display")) as started:
        yield started
