"""Runs `streamseg run` on the drawn scene with two subscribers, and keeps what it publishes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import zmq

from streamseg.bench.machine import family_cpu_s, family_rss_mb
from streamseg.bench.true_models import FPS, SCENE_URL
from streamseg.errors import StageError
from streamseg.messages import ResultMessage
from streamseg.sources.crossing import read_number
from streamseg.wire.limits import PART_BYTES
from streamseg.wire.protocol import ResultView, decode, topic

_READY_S = 120.0
"""Within which all stages must be ready."""
_FIRST_KEYFRAME_S = 20.0
"""Counting starts after this time even without a keyframe: on a machine that is far too slow, that is the result."""
_END_S = 60.0
_POLL_MS = 100
_QUEUE = 1000
_KEYFRAMES = re.compile(r'^streamseg_keyframes_segmented_total\{source="(.+)"\} (\S+)$', re.MULTILINE)
_PICTURE_EVERY = 15
"""The overlay's subscriber keeps one of so many pictures, to read the frame's number from."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What is measured: a drawn scene that writes its number into each frame, a detector and a segmenter.

    Attributes:
        source: The scene's URL.
        fps: Its frames a second.
        names: Of the sources; each is that scene.
    """

    source: str
    detector: str
    segmenter: str
    fps: int = FPS
    names: tuple[str, ...] = ("main",)


WHOLE: Final = Measured(SCENE_URL, "true-boxes", "true-masks")
"""Both networks in full, five objects that cross."""


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """What a pipeline published while it was counted.

    Attributes:
        seconds: Duration of the count.
        results: Every result of the view `masks`.
        pictures: Number of results of the view `overlay`.
        keyframes: Number of segmented keyframes of each source.
        rss_mb: Memory of all its processes, once a second.
        first_pts_ns: Presentation time of the scene's frame 0 for each source.
        fps: Frames a second of the scene.
        cpu_s: Processor time of all its processes; None without `/proc`.
    """

    seconds: float
    results: list[ResultMessage]
    pictures: int
    keyframes: dict[str, int]
    rss_mb: list[float]
    first_pts_ns: dict[str, int]
    fps: int = FPS
    cpu_s: float | None = None

    def frame_number(self, result: ResultMessage) -> int:
        """Return the number of the scene's frame that a result belongs to."""
        return round((result.pts_ns - self.first_pts_ns[result.source]) * self.fps / 1e9)


def run_pipeline(
    folder: Path,
    settings: Sequence[str],
    seconds: float,
    recording: Path | None = None,
    measured: Measured = WHOLE,
) -> PipelineRun:
    """Run the pipeline, and count for some seconds from its first keyframe on.

    Args:
        folder: For temporary files; also the cache, so that networks exported for random weights vanish with it.
        settings: `KEY=VALUE` each.
        seconds: Duration of the count.
        recording: Where to record the overlay; None records nothing.
        measured: The scene and the models.

    Raises:
        StageError: The pipeline did not start, ended too early, or published nothing.
    """
    masks: list[list[bytes]] = []
    overlays: list[list[bytes]] = []
    with (
        closing(_Program(folder, settings, recording, measured)) as program,
        _subscribed(program.announced("publishing on "), measured.names, masks, overlays),
    ):
        program.wait_for(lambda: all(program.keyframes().values()), _FIRST_KEYFRAME_S)
        began, first, first_overlay, keyframes = time.monotonic(), len(masks), len(overlays), program.keyframes()
        rss_mb: list[float] = []
        cpu_s = family_cpu_s(program.process.pid)
        while (left := began + seconds - time.monotonic()) > 0:
            program.check()
            rss_mb += filter(None, [family_rss_mb(program.process.pid)])
            time.sleep(min(1.0, left))
        counted, last, pictures = time.monotonic() - began, len(masks), len(overlays) - first_overlay
        keyframes = {source: count - keyframes[source] for source, count in program.keyframes().items()}
        cpu_s = None if cpu_s is None else (family_cpu_s(program.process.pid) or cpu_s) - cpu_s
    results = [result for parts in masks[first:last] if isinstance(result := decode(parts), ResultMessage)]
    if not results:
        raise StageError(f"the pipeline published nothing within {counted:.0f} s after its first keyframe")
    first_pts_ns = _first_pts_ns(overlays, measured.fps)
    return PipelineRun(counted, results, pictures, keyframes, rss_mb, first_pts_ns, measured.fps, cpu_s)


class _Program:
    """`streamseg run` as a process, with the stand-in models as plug-ins."""

    def __init__(self, folder: Path, settings: Sequence[str], recording: Path | None, measured: Measured) -> None:
        command = ["run", *(word for name in measured.names for word in ("--source", f"{name}={measured.source}"))]
        command += ["--detector", measured.detector, "--segmenter", measured.segmenter]
        command += ["--metrics", "127.0.0.1:0", "--set", "publish.bind=tcp://127.0.0.1:*"]
        command += [part for setting in settings for part in ("--set", setting)]
        if recording is not None:
            command += ["--record", str(recording), "--yes"]
        path = os.pathsep.join(filter(None, (str(_register_models(folder / "plugins")), os.environ.get("PYTHONPATH"))))
        self._log = folder / "run.log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "streamseg.cli", *command],
                env={**os.environ, "PYTHONPATH": path, "STREAMSEG_CACHE": str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def close(self) -> None:
        """Stop it as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_END_S)
        self.process.kill()
        self.process.wait()

    def keyframes(self) -> dict[str, int]:
        """Read the number of segmented keyframes of each source from its metrics."""
        # Without a proxy: the address is on this machine's loopback.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.announced("metrics on "), timeout=_READY_S) as response:
            text = response.read().decode()
        return {source: int(float(count)) for source, count in _KEYFRAMES.findall(text)}

    def wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until a condition holds; return False after the given time."""
        deadline = time.monotonic() + seconds
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_MS / 1000)
        return True

    def check(self) -> None:
        """Raise `StageError` if the program ended."""
        if self.process.poll() is not None:
            reason = (self._lines() or [f"exit status {self.process.returncode}"])[-1]
            raise StageError(f"the measured pipeline ended: {reason}")

    def announced(self, beginning: str) -> str:
        """Wait for the line of standard error that begins so, and return the rest of it."""
        if not self.wait_for(lambda: any(line.startswith(beginning) for line in self._lines()), _READY_S):
            raise StageError(
                f"the pipeline was not ready within {_READY_S:.0f} s; check that `streamseg run` works here"
            )
        return next(line.removeprefix(beginning) for line in self._lines() if line.startswith(beginning))

    def _lines(self) -> list[str]:
        return self._log.read_text().splitlines()


@contextmanager
def _subscribed(
    endpoint: str, sources: Sequence[str], masks: list[list[bytes]], overlays: list[list[bytes]]
) -> Iterator[None]:
    """Append the messages of both views to the lists as they arrive; pictures are empty lists but for a few."""
    stop = threading.Event()
    with ThreadPoolExecutor(2) as threads:
        listening = (
            threads.submit(_listen, endpoint, sources, "masks", 1, masks, stop),
            threads.submit(_listen, endpoint, sources, "overlay", _PICTURE_EVERY, overlays, stop),
        )
        try:
            yield
        finally:
            stop.set()
    for each in listening:
        each.result()


def _listen(
    endpoint: str,
    sources: Sequence[str],
    view: ResultView,
    keep_every: int,
    received: list[list[bytes]],
    stop: threading.Event,
) -> None:
    """Subscribe without decoding anything, so that listening takes next to no processor time."""
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.linger, socket.rcvhwm, socket.maxmsgsize = 0, _QUEUE, PART_BYTES
        for source in sources:
            socket.subscribe(topic(source, view))
        socket.connect(endpoint)
        while not stop.is_set():
            if socket.poll(_POLL_MS):
                parts = socket.recv_multipart()
                received.append(parts if len(received) % keep_every == 0 else [])


def _first_pts_ns(pictures: list[list[bytes]], fps: int) -> dict[str, int]:
    """Compute the presentation time of the scene's frame 0 from the numbers drawn in the pictures, for each source."""
    times: dict[str, Counter[int]] = defaultdict(Counter)
    for parts in filter(None, pictures):
        message = decode(parts)
        if isinstance(message, ResultMessage) and message.jpeg is not None:
            image = cv2.imdecode(np.frombuffer(message.jpeg, np.uint8), cv2.IMREAD_COLOR)
            number = None if image is None else read_number(np.asarray(image, np.uint8))
            if number is not None:
                times[message.source][message.pts_ns - round(number * 1e9 / fps)] += 1
    return {source: _most_frequent(counts) for source, counts in times.items()}


def _most_frequent(times: Counter[int]) -> int:
    # A label may cover a part of the number.
    start_ns, count = max(times.items(), key=lambda pair: pair[1])
    if 2 * count <= times.total():
        raise StageError(f"the scene starts at {len(times)} times; expected one: run it again with no stage restarting")
    return start_ns


def _register_models(folder: Path) -> Path:
    """Write the metadata of a package whose entry points are the stand-in models, as an installer would."""
    metadata = folder / "streamseg_bench-1.0.dist-info"
    metadata.mkdir(parents=True, exist_ok=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: streamseg-bench\nVersion: 1.0\n", "utf-8")
    (metadata / "entry_points.txt").write_text(
        "[streamseg.detectors]\ntrue-boxes = streamseg.bench.true_models:TrueBoxes\n"
        "crowd-boxes = streamseg.bench.crowd_scene:CrowdBoxes\n"
        "[streamseg.segmenters]\ntrue-masks = streamseg.bench.true_models:TrueMasks\n",
        "utf-8",
    )
    return folder
