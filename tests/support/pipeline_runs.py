"""Runs the command in a process of its own, and reads its recordings."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
import numpy as np
import psutil
from numpy.typing import NDArray
from pycocotools import mask as coco

from streamseg.sinks.parts import existing_parts

STAGES = ("capture", "detect", "segment", "publish", "hub")
"""Of every run."""
RECORDING_STAGES = (*STAGES, "record")
"""Of a run that writes files."""


LOADING: Final = re.compile(r"loading [^\n]* \.\.\.\n")
"""What a command prints that takes longer than a moment to start."""


class RecordMask(msgspec.Struct):
    """COCO's run-length encoding of one mask."""

    size: tuple[int, int]
    counts: str

    def bits(self) -> NDArray[np.bool_]:
        """Shape (height, width)."""
        return np.asarray(coco.decode({"size": list(self.size), "counts": self.counts.encode()}), dtype=np.bool_)


class RecordObject(msgspec.Struct):
    """One object of a record."""

    tracker_id: int | None
    class_id: int
    class_name: str
    confidence: float
    xyxy: tuple[float, float, float, float]
    mask: RecordMask | None
    origin_seq: str | None
    method: str


class Record(msgspec.Struct):
    """One line of a JSON Lines recording: the keys that tests read."""

    seq: str
    source: str
    width: int
    height: int
    pts_ns: str
    boxes_seq: str | None
    objects: list[RecordObject]


def read_records(path: Path) -> list[Record]:
    """Every complete line of a recording."""
    decoder = msgspec.json.Decoder(Record)
    return [decoder.decode(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


class Recording:
    """The newest part of a recording that grows."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def newest(self) -> Record | None:
        """Its last complete line."""
        parts = existing_parts(self._path)
        lines = parts[-1].read_bytes().splitlines(keepends=True)[-2:] if parts else []
        complete = [line for line in lines if line.endswith(b"\n")]
        return msgspec.json.decode(complete[-1], type=Record) if complete else None

    @property
    def seq(self) -> int:
        """The newest frame; -1 without any."""
        return -1 if (newest := self.newest) is None else int(newest.seq)

    @property
    def has_own_boxes(self) -> bool:
        """Whether the boxes of the newest frame were found on it."""
        return (newest := self.newest) is not None and newest.boxes_seq == newest.seq

    @property
    def segmented(self) -> int:
        """The newest keyframe that a mask of the newest frame was made on; -1 without one."""
        objects = [] if (newest := self.newest) is None else newest.objects
        return max((int(item.origin_seq) for item in objects if item.origin_seq is not None), default=-1)


def until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.01)


def free_endpoint() -> str:
    """A loopback endpoint with a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


class Run:
    """`streamseg …` as a process, which ends with the block in any case."""

    def __init__(
        self,
        *arguments: str,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        python: str | Path = sys.executable,
        wrapper: Sequence[str] = (),
    ) -> None:
        self.process = subprocess.Popen(
            [*wrapper, python, "-m", "streamseg.cli", *arguments],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "COLUMNS": "200", **(environment or {})},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        children = self.stages()
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        for child in children.values():
            if child.is_running():
                child.kill()

    def stages(self, source: str | None = None) -> dict[str, psutil.Process]:
        """The living stages by name: of a run with one source, or of one of several sources."""
        try:
            children = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return {}
        return {name: child for child in children for name in RECORDING_STAGES if _is_stage(child, name, source)}

    def finish(self, seconds: float) -> tuple[int, str, str]:
        """Wait for its end: exit code, standard output, standard error without the lines of a slow machine."""
        output, errors = self.process.communicate(timeout=seconds)
        lines = [line for line in errors.splitlines(keepends=True) if not LOADING.fullmatch(line)]
        return self.process.returncode, output, "".join(lines)


def _is_stage(process: psutil.Process, name: str, source: str | None) -> bool:
    try:
        command: Sequence[str] = process.cmdline()
    except psutil.Error:
        return False
    if source is not None:
        return f"streamseg {source}: {name}" in command
    return any(part in (f"streamseg.stages.{name}", f"streamseg {name}") for part in command)
