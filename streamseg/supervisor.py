"""The supervisor: starts the stages, waits until they are ready, watches, restarts and stops them."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import secrets
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from streamseg.errors import StageError, error_from_name
from streamseg.ipc.control import (
    Acknowledged,
    Announce,
    Assignment,
    ControlWriter,
    Detected,
    Failed,
    Finished,
    LinkAddress,
    LogLine,
    Progress,
    Published,
    Ready,
    Resend,
    RingCreated,
    SourceChanged,
    Start,
    Stop,
    ToStage,
    ToSupervisor,
    read_from_stage,
)
from streamseg.ipc.instance import Instance
from streamseg.ipc.links import link_address
from streamseg.ipc.ring import RingName, last_sequence, remove_segments
from streamseg.plan import RunPlan

_READY_S = 90.0
_HUNG_S = 10.0
_HUNG_TURNS = 20
_RESTARTS = 5
_RESTARTS_WITHIN_S = 60.0
_FIRST_BACK_OFF_S = 0.1
_STOP_S = 2.0
_TERMINATE_S = 1.0
_TICK_S = 0.05


@dataclass(frozen=True, slots=True)
class StageEntry:
    """A stage of the pipeline's table.

    Attributes:
        module: Run as a program; imported nowhere else, so that a failing import stays in the child.
        cores: Share of the machine's cores that the stage's threads may take, at least one.
        niceness: Added to the process's own.
    """

    name: str
    module: str
    cores: float
    niceness: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: the last frame published (None without one), and why."""

    last_seq: int | None
    reason: str


class Observer(Protocol):
    """Is told what happens, on the supervisor's thread."""

    def prepared(self, stage: str, ready: Ready) -> None:
        """A stage has said that it is ready."""

    def published(self, published: Published) -> None:
        """A frame has been published."""

    def changed(self, stage: str, state: str, detail: str) -> None:
        """The source or a stage changed."""

    def logged(self, level: int, text: str) -> None:
        """A stage wrote a log line."""


@dataclass(eq=False)
class _Child:
    """One process of a stage."""

    entry: StageEntry
    process: subprocess.Popen[bytes]
    control: ControlWriter
    ready: bool = False
    failure: Failed | None = None
    hung: bool = False
    spawned_s: float = field(default_factory=time.monotonic)
    progress_s: float = field(default_factory=time.monotonic)
    turn_s: float = 0.0

    def send(self, message: ToStage) -> None:
        """Send; where the child is gone, its end of file will tell."""
        try:
            self.control.send(message)
        except OSError:
            logging.getLogger(__name__).debug("%s is gone", self.entry.name)

    def close(self) -> None:
        """Close the pipe to a child that has ended."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # messages that the child never read
            self.process.stdin.close()


class Supervisor:
    """Runs one pipeline. `run` blocks; `stop` and `kill` may be called from a signal handler or another thread."""

    def __init__(
        self, plan: RunPlan, stages: Sequence[StageEntry], links: Sequence[str], instance: Instance, observer: Observer, *, tap: bool
    ) -> None:
        self._plan = plan
        self._tap = tap
        self._stages = stages
        self._instance = instance
        self._observer = observer
        self._live = plan.config.resolved_mode == "live"
        self._key = secrets.token_bytes(16)
        self.links = tuple(LinkAddress(name, link_address(instance.directory, f"{name}.sock")) for name in links)
        self._run_id = secrets.token_hex(8)
        self._events: queue.SimpleQueue[tuple[_Child, ToSupervisor | None]] = queue.SimpleQueue()
        self._children: dict[str, _Child] = {}
        self._restarts: dict[str, deque[float]] = {entry.name: deque() for entry in stages}
        self._due: dict[str, float] = {}
        self._origin_ns: int | None = None
        self._published = self._detected = self._acknowledged = -1
        self._tracker_state = b""
        self._ring: RingName | None = None
        self._finished: Finished | None = None
        self._stop_reason: str | None = None
        self._killed = False

    @property
    def key(self) -> bytes:
        """Authenticates messages on the run's links."""
        return self._key

    def stop(self, reason: str) -> None:
        """Ask for an orderly end."""
        self._stop_reason = self._stop_reason or reason

    def kill(self) -> None:
        """End at once."""
        self._stop_reason = self._stop_reason or "killed"
        self._killed = True

    def run(self) -> Outcome:
        """Run the pipeline to its end.

        Raises:
            StreamsegError: A stage could not start, or failed too often; nothing is left running.
        """
        try:
            for entry in self._stages:
                self._spawn(entry)
            while self._finished is None and self._stop_reason is None:
                self._step()
        finally:
            self._stop_children(self._stop_reason or "failed")
            self._pass_on_last_words()
        last = self._published if self._published >= 0 else None
        return Outcome(last, self._stop_reason or (self._finished.reason if self._finished else "failed"))

    def _step(self) -> None:
        try:
            child, message = self._events.get(timeout=_TICK_S)
        except queue.Empty:
            pass
        else:
            if self._children.get(child.entry.name) is child:
                self._handle(child, message)
        now = time.monotonic()
        for name, due in list(self._due.items()):
            if now >= due:
                del self._due[name]
                self._spawn(next(entry for entry in self._stages if entry.name == name))
        for child in self._children.values():
            self._check_alive(child, now)
        duration = self._plan.config.duration
        if duration is not None and self._origin_ns is not None and time.monotonic_ns() - self._origin_ns >= duration * 1e9:
            self.stop("duration is over")

    def _handle(self, child: _Child, message: ToSupervisor | None) -> None:
        match message:
            case None:
                self._handle_death(child)
            case Ready():
                self._handle_ready(child, message)
            case Failed():
                child.failure = message
            case Progress(turn_ns):
                child.progress_s, child.turn_s = time.monotonic(), turn_ns / 1e9
            case Published():
                self._published = max(self._published, message.seq)
                self._tracker_state = message.tracker_state or self._tracker_state
                self._observer.published(message)
                self._acknowledge()
            case Detected(seq):
                self._detected = max(self._detected, seq)
                self._acknowledge()
            case RingCreated(ring):
                if self._ring is not None:
                    remove_segments(self._ring.name)
                self._ring = ring
            case SourceChanged(state, detail):
                self._announce("capture", state, detail)
            case LogLine(level, text):
                self._observer.logged(level, text)
            case Finished():
                self._finished = message

    def _handle_ready(self, child: _Child, ready: Ready) -> None:
        child.ready, child.progress_s = True, time.monotonic()
        self._observer.prepared(child.entry.name, ready)
        if self._origin_ns is not None:
            child.send(Start(self._origin_ns))
            capture = self._children.get("capture")
            if capture is not None and capture is not child and capture.ready:
                capture.send(Resend(min(self._published, self._detected)))
            self._announce(child.entry.name, "running", "")
        elif len(self._children) == len(self._stages) and all(other.ready for other in self._children.values()):
            self._origin_ns = time.monotonic_ns()
            for other in self._children.values():
                other.send(Start(self._origin_ns))

    def _handle_death(self, child: _Child) -> None:
        name = child.entry.name
        status = child.process.wait()
        child.close()
        del self._children[name]
        if child.failure is not None:
            raise error_from_name(child.failure.error, child.failure.message)
        cause = "hung" if child.hung else f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
        if self._origin_ns is None:
            raise StageError(f"{name} {cause} before it was ready; run with --verbose to see why")
        self._schedule_restart(name, cause)

    def _schedule_restart(self, name: str, cause: str) -> None:
        now, restarts = time.monotonic(), self._restarts[name]
        while restarts and now - restarts[0] > _RESTARTS_WITHIN_S:
            restarts.popleft()
        if len(restarts) >= _RESTARTS:
            raise StageError(f"{name} {cause}, after {_RESTARTS} restarts within {_RESTARTS_WITHIN_S:.0f} s; run with --verbose to see why")
        self._due[name] = now + _FIRST_BACK_OFF_S * 2 ** len(restarts)
        restarts.append(now)
        self._announce(name, "restarting", cause)

    def _check_alive(self, child: _Child, now: float) -> None:
        if not child.ready:
            waits = child.entry.name == "capture" and self._plan.config.source.wait
            if not waits and now - child.spawned_s > _READY_S + self._plan.config.source.start_timeout:
                child.failure = Failed(
                    "StageError", f"{child.entry.name} was not ready after {_READY_S:.0f} s; run with --verbose to see why"
                )
                child.process.kill()
        elif not child.hung and now - child.progress_s > max(_HUNG_S, _HUNG_TURNS * child.turn_s):
            child.hung = True
            child.process.kill()

    def _acknowledge(self) -> None:
        """Widen capture's window: publish is done with a frame, and detect has read it."""
        done = min(self._published, self._detected)
        capture = self._children.get("capture")
        if not self._live and done > self._acknowledged and capture is not None:
            self._acknowledged = done
            capture.send(Acknowledged(done))

    def _announce(self, stage: str, state: str, detail: str) -> None:
        self._observer.changed(stage, state, detail)
        publish = self._children.get("publish")
        if publish is not None:
            publish.send(Announce(stage, state, detail))

    def _spawn(self, entry: StageEntry) -> None:
        threads = str(self._threads(entry))
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", entry.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        child = _Child(entry, process, ControlWriter(process.stdin))
        self._children[entry.name] = child
        stdout = process.stdout

        def listen() -> None:
            for message in read_from_stage(stdout):
                self._events.put((child, message))
            stdout.close()
            self._events.put((child, None))

        threading.Thread(target=listen, name=f"listen to {entry.name}", daemon=True).start()
        child.send(self._assignment(entry))

    def _assignment(self, entry: StageEntry) -> Assignment:
        resume = self._published
        if entry.name == "capture":
            self._acknowledged = -1
            resume = min(self._published, self._detected)
            if self._live and self._ring is not None:
                resume = max(self._published, last_sequence(self._ring) or 0)
        elif entry.name == "detect":
            self._detected = self._published
        return Assignment(
            stage=entry.name,
            config=self._plan.config,
            run_id=self._run_id,
            key=self._key,
            instance=self._instance.name,
            links=self.links,
            models=self._plan.models,
            detector_weights=_text(self._plan.detector_weights),
            segmenter_weights=_text(self._plan.segmenter_weights),
            threads=self._threads(entry),
            niceness=entry.niceness,
            epoch=0 if self._ring is None else self._ring.epoch + 1,
            resume_after=resume if resume >= 0 else None,
            tracker_state=self._tracker_state,
            log_level=logging.getLogger("streamseg").getEffectiveLevel(),
            tap=self._tap,
        )

    def _threads(self, entry: StageEntry) -> int:
        if entry.cores and self._plan.config.threads is not None:
            return self._plan.config.threads
        return max(1, round(_available_cores() * entry.cores))

    def _stop_children(self, reason: str) -> None:
        for child in self._children.values():
            if child.ready:
                child.send(Stop(reason))
            else:
                child.process.terminate()
        self._wait_for_exit(_STOP_S)
        for child in self._children.values():
            child.process.terminate()
        self._wait_for_exit(_TERMINATE_S)
        for child in self._children.values():
            child.process.kill()
            child.process.wait()
            child.close()

    def _pass_on_last_words(self) -> None:
        """Tell the observer what was published and logged while the stages were ending."""
        while not self._events.empty():
            match self._events.get()[1]:
                case Published() as published:
                    self._published = max(self._published, published.seq)
                    self._observer.published(published)
                case LogLine(level, text):
                    self._observer.logged(level, text)

    def _wait_for_exit(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._killed and time.monotonic() < deadline and any(child.process.poll() is None for child in self._children.values()):
            time.sleep(_TICK_S / 5)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
