"""Runs `streamseg run` on the true scene with two subscribers, and keeps what it published."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import zmq

from streamseg.bench.memory import family_mb
from streamseg.bench.true_scene import FPS, SCENE_URL
from streamseg.errors import StageError
from streamseg.messages import Result
from streamseg.sources.crossing import read_number
from streamseg.wire.protocol import ResultView, decode, topic

_SOURCE = "main"
_START_S = 120.0
"""Within which the stages must be ready."""
_FIRST_KEYFRAME_S = 20.0
"""How long the first keyframe is waited for; where it does not come, as on a machine that is far too slow, that is what is measured."""
_END_S = 20.0
_POLL_MS = 100
_QUEUE = 1000
_PUBLISHING = "publishing on "
_METRICS = "metrics on "
_KEYFRAMES = "streamseg_keyframes_segmented_total"
_PICTURE_EVERY = 15
"""Of so many drawn pictures one is kept, to read the frame's number from."""
_DISTRIBUTION = "streamseg_bench-1.0.dist-info"


@dataclass(frozen=True, slots=True)
class WholeRunOptions:
    """What is run.

    Attributes:
        folder: Where files may be left; also the cache, so that exports of seeded weights go with it.
        detector_weights: YOLOX-Nano's.
        segmenter_weights: MobileSAM's.
        seconds: How long is counted, from the first keyframe on.
        recording: A file to record the overlay to; None for none.
    """

    folder: Path
    detector_weights: Path
    segmenter_weights: Path
    seconds: float
    recording: Path | None = None


@dataclass(frozen=True, slots=True)
class WholeRun:
    """What a run published while it was counted.

    Attributes:
        seconds: How long that was.
        messages: Each result of the view `masks`, as it came.
        pictures: How many results of the view `overlay` came.
        keyframes: How many frames the segmenter answered.
        rss_mb: Memory of all its processes, once a second; None where the system does not say.
        first_pts_ns: Presentation time of the scene's frame 0.
    """

    seconds: float
    messages: list[list[bytes]]
    pictures: int
    keyframes: int
    rss_mb: list[float | None]
    first_pts_ns: int

    def frame_number(self, result: Result) -> int:
        """Which frame of the scene a result is of."""
        return round((result.pts_ns - self.first_pts_ns) * FPS / 1e9)


def run_whole(options: WholeRunOptions) -> WholeRun:
    """Run the pipeline until it has been counted for `options.seconds`.

    Raises:
        StageError: It did not start, ended before, or published nothing.
    """
    with _Program(options) as program:
        endpoint = program.endpoint()
        with (
            _Listener(endpoint, "masks", lambda _: True) as masks,
            _Listener(endpoint, "overlay", _now_and_then) as overlay,
        ):
            program.wait_for(lambda: program.keyframes() > 0, _FIRST_KEYFRAME_S)
            masks.take()
            rss_mb = []
            began, overlays, keyframes = time.monotonic(), overlay.count, program.keyframes()
            while (left := began + options.seconds - time.monotonic()) > 0:
                rss_mb.append(program.rss_mb())
                program.check()
                time.sleep(min(1.0, left))
            seconds, messages, pictures = time.monotonic() - began, masks.take(), overlay.count - overlays
            if not messages:
                raise StageError(
                    f"the pipeline that is measured published nothing within {seconds:.0f} s after its first keyframe"
                )
            return WholeRun(
                seconds, messages, pictures, program.keyframes() - keyframes, rss_mb, _first_pts_ns(overlay.take())
            )


class _Program:
    """`streamseg run` as a process, with the stand-in models as plug-ins; ended with the block."""

    def __init__(self, options: WholeRunOptions) -> None:
        plugins = _offer_stand_ins(options.folder / "plugins")
        settings = {
            "device": "cpu",
            "publish.bind": "tcp://127.0.0.1:*",
            "detector.weights": str(options.detector_weights),
            "segmenter.weights": str(options.segmenter_weights),
        }
        command = [
            "run",
            "--source",
            SCENE_URL,
            "--detector",
            "true-boxes",
            "--segmenter",
            "true-masks",
            "--metrics",
            "127.0.0.1:0",
        ]
        command += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        if options.recording is not None:
            command += ["--record", str(options.recording), "--yes"]
        path = os.pathsep.join(filter(None, (str(plugins), os.environ.get("PYTHONPATH"))))
        self._lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "streamseg.cli", *command],
            env={**os.environ, "PYTHONPATH": path, "STREAMSEG_CACHE": str(options.folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, name="standard error", daemon=True)

    def __enter__(self) -> _Program:
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()

    def endpoint(self) -> str:
        """Where it publishes; waits until it does."""
        return self._said(_PUBLISHING)

    def keyframes(self) -> int:
        """How many frames the segmenter has answered so far, by the run's own metrics."""
        directly = urllib.request.build_opener(
            urllib.request.ProxyHandler({})
        )  # a proxy knows nothing of this machine's loopback
        with directly.open(self._said(_METRICS), timeout=_START_S) as answer:
            lines = answer.read().decode().splitlines()
        return int(float(next(line for line in lines if line.startswith(_KEYFRAMES)).split()[-1]))

    def _said(self, beginning: str) -> str:
        """The rest of a line that it writes when it is ready."""
        if not self.wait_for(lambda: any(line.startswith(beginning) for line in self._lines), _START_S):
            raise StageError(
                f"the pipeline was not ready within {_START_S:.0f} s; see whether `streamseg run` works on this machine"
            )
        return next(line.removeprefix(beginning) for line in self._lines if line.startswith(beginning))

    def wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until a condition holds; whether it came to that.

        Raises:
            StageError: The program ended before.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_MS / 1000)
        return True

    def check(self) -> None:
        """See that it runs.

        Raises:
            StageError: It does not.
        """
        if self._process.poll() is not None:
            self._reader.join()
            said = self._lines[-1] if self._lines else f"exit status {self._process.returncode}"
            raise StageError(f"the pipeline that is measured ended: {said}")

    def rss_mb(self) -> float | None:
        """Memory of all its processes."""
        return family_mb(self._process.pid)

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                self._lines.append(line.rstrip())


class _Listener:
    """A subscriber that keeps messages as they come, unread, so that it takes next to nothing of the processor."""

    def __init__(self, endpoint: str, view: ResultView, wanted: Callable[[int], bool]) -> None:
        """Subscribe; `wanted` says of which messages, by their place, more is kept than their number."""
        self.count = 0
        self._topic = topic(_SOURCE, view)
        self._wanted = wanted
        self._endpoint = endpoint
        self._kept: list[list[bytes]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name=f"listen to {view}", daemon=True)

    def __enter__(self) -> _Listener:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def take(self) -> list[list[bytes]]:
        """What was kept since the last time."""
        kept, self._kept = self._kept, []
        return kept

    def _listen(self) -> None:
        with zmq.Context() as context, context.socket(zmq.SUB) as socket:
            socket.linger, socket.rcvhwm = 0, _QUEUE
            socket.subscribe(self._topic)
            socket.connect(self._endpoint)
            while not self._stop.is_set():
                if socket.poll(_POLL_MS):
                    parts = socket.recv_multipart()
                    if self._wanted(self.count):
                        self._kept.append(parts)
                    self.count += 1


def _now_and_then(place: int) -> bool:
    return place % _PICTURE_EVERY == 0


def _first_pts_ns(pictures: list[list[bytes]]) -> int:
    """When the scene's frame 0 would have been presented, from the numbers in the pictures.

    Raises:
        StageError: No number could be read, or capture was started again meanwhile, which gives frames other times.
    """
    found = set()
    for parts in pictures:
        message = decode(parts).message
        if isinstance(message, Result) and message.jpeg is not None:
            image = cv2.imdecode(np.frombuffer(message.jpeg, np.uint8), cv2.IMREAD_COLOR)
            number = None if image is None else read_number(np.asarray(image, np.uint8))
            if number is not None:
                found.add(message.pts_ns - round(number * 1e9 / FPS))
    if len(found) != 1:
        raise StageError(
            f"the pictures of the run tell {len(found)} beginnings of the scene; expected one: let nothing restart its stages"
        )
    return found.pop()


def _offer_stand_ins(folder: Path) -> Path:
    """Lay down the record of a package that offers the stand-in models, as an installer does; what they are is in this package."""
    information = folder / _DISTRIBUTION
    information.mkdir(parents=True, exist_ok=True)
    (information / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: streamseg-bench\nVersion: 1.0\n", encoding="utf-8"
    )
    (information / "entry_points.txt").write_text(
        "[streamseg.detectors]\ntrue-boxes = streamseg.bench.true_boxes:TrueBoxes\n"
        "[streamseg.segmenters]\ntrue-masks = streamseg.bench.true_masks:TrueMasks\n",
        encoding="utf-8",
    )
    return folder
