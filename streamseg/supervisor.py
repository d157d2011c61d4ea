"""The supervisor: starts the stages, waits until they are ready, watches, restarts and stops them."""

from __future__ import annotations

import logging
import queue
import secrets
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from streamseg.errors import EndpointInUseError, StageError, error_from_name
from streamseg.ipc.child import StageProcess
from streamseg.ipc.control import (
    Acknowledged,
    Announce,
    Assignment,
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
    ToSupervisor,
)
from streamseg.ipc.instance import Instance
from streamseg.ipc.links import link_address
from streamseg.ipc.ring import RingName, last_sequence, remove_segments
from streamseg.plan import RunPlan
from streamseg.threads import available_cores

_READY_S = 90.0
_HUNG_S = 10.0
_HUNG_TURNS = 20
_RESTARTS = 5
_RESTARTS_WITHIN_S = 60.0
_FIRST_BACK_OFF_S = 0.1
_STOP_S = 2.0
_TERMINATE_S = 1.0
_TICK_S = 0.05
_STOOD_STILL_S = 1.0


@dataclass(frozen=True, slots=True)
class StageEntry:
    """A stage of the pipeline's table.

    Attributes:
        module: Run as a program; imported nowhere else, so that a failing import stays in the child.
        cores: Share of the cores that its model may take; 0 for a stage without a model, which has one thread.
        live_cores: The same for a live source, whose frames it must not hold up; None where that makes no difference.
        niceness: Added to the process's own.
    """

    name: str
    module: str
    cores: float
    live_cores: float | None = None
    niceness: int = 0

    def threads(self, asked: int | None, *, live: bool) -> int:
        """How many threads OpenCV, BLAS, FFmpeg and the model have in this stage; `asked` is what the settings give each model."""
        if self.cores and asked is not None:
            return asked
        share = self.live_cores if live and self.live_cores is not None else self.cores
        return max(1, round(available_cores() * share))


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


class Supervisor:
    """Runs one pipeline. `run` blocks; `stop` and `kill` may be called from a signal handler or another thread."""

    def __init__(
        self,
        plan: RunPlan,
        stages: Sequence[StageEntry],
        links: Sequence[str],
        instance: Instance,
        observer: Observer,
        *,
        tap: bool,
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
        self._events: queue.SimpleQueue[tuple[StageProcess, ToSupervisor | None]] = queue.SimpleQueue()
        self._children: dict[str, StageProcess] = {}
        self._restarts: dict[str, deque[float]] = {entry.name: deque() for entry in stages}
        self._due: dict[str, float] = {}
        self._origin_ns: int | None = None
        self._published = self._detected = self._acknowledged = -1
        self._published_pts_ns = -1
        self._tracker_state = b""
        self._highest_id = 0
        self._stepped_s = time.monotonic()
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
        config = self._plan.config
        self._observer.logged(
            logging.INFO, describe_budget(self._stages, config.threads, live=config.resolved_mode == "live")
        )
        try:
            for entry in self._stages:
                self._spawn(entry)
            while self._finished is None and self._stop_reason is None:
                self._step()
        finally:
            self._stop_children(self._stop_reason or "failed")
        self._hear_last_words()
        last = self._published if self._published >= 0 else None
        return Outcome(last, self._stop_reason or (self._finished.reason if self._finished else "failed"))

    def _step(self) -> None:
        try:
            child, message = self._events.get(timeout=_TICK_S)
        except queue.Empty:
            pass
        else:
            if self._children.get(child.name) is child:
                self._handle(child, message)
        now = time.monotonic()
        if (
            now - self._stepped_s > _STOOD_STILL_S
        ):  # this process itself was paused: what the stages reported waits to be read
            for other in self._children.values():
                other.progress_s += now - self._stepped_s
        self._stepped_s = now
        for name, due in list(self._due.items()):
            if now >= due:
                del self._due[name]
                self._spawn(next(entry for entry in self._stages if entry.name == name))
        for child in self._children.values():
            self._check_alive(child, now)
        duration = self._plan.config.duration
        if (
            duration is not None
            and self._origin_ns is not None
            and time.monotonic_ns() - self._origin_ns >= duration * 1e9
        ):
            self.stop("duration is over")

    def _handle(self, child: StageProcess, message: ToSupervisor | None) -> None:
        match message:
            case None:
                self._handle_death(child)
            case Ready():
                self._handle_ready(child, message)
            case Failed():
                child.failure = message
            case Progress(turn_ns):
                child.progress_s = time.monotonic()
                child.turn_s = turn_ns / 1e9 if turn_ns else child.turn_s
            case Published():
                self._note_published(message)
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

    def _handle_ready(self, child: StageProcess, ready: Ready) -> None:
        child.ready, child.progress_s = True, time.monotonic()
        self._observer.prepared(child.name, ready)
        if self._origin_ns is not None:
            child.send(Start(self._origin_ns, self._published_pts_ns))
            self._have_repeated_for(child)
            self._announce(child.name, "running", "")
        elif len(self._children) == len(self._stages) and all(other.ready for other in self._children.values()):
            self._origin_ns = time.monotonic_ns()
            for other in self._children.values():
                other.send(Start(self._origin_ns, -1))

    def _have_repeated_for(self, child: StageProcess) -> None:
        """Have a new stage told again what its predecessor had been told."""
        again = Resend(min(self._published, self._detected))
        for name in ("segment", "capture") if child.name == "publish" else ("capture",):
            other = self._children.get(name)
            if other is not None and other is not child and other.ready:
                other.send(again)

    def _note_published(self, message: Published) -> None:
        if message.seq > self._published:
            self._published, self._published_pts_ns = message.seq, message.pts_ns
        self._tracker_state = message.tracker_state or self._tracker_state
        self._highest_id = max(self._highest_id, message.highest_id)
        self._observer.published(message)

    def _handle_death(self, child: StageProcess) -> None:
        name = child.name
        status = child.wait()
        del self._children[name]
        if child.failure is not None:
            error = error_from_name(child.failure.error, child.failure.message)
            if self._origin_ns is None or not isinstance(error, StageError | EndpointInUseError):
                raise error
        cause = _cause(child, status)
        if self._origin_ns is None:
            raise StageError(f"{name} {cause} before it was ready; run with --verbose to see why")
        self._schedule_restart(name, cause)

    def _schedule_restart(self, name: str, cause: str) -> None:
        now, restarts = time.monotonic(), self._restarts[name]
        while restarts and now - restarts[0] > _RESTARTS_WITHIN_S:
            restarts.popleft()
        if len(restarts) >= _RESTARTS:
            raise StageError(
                f"{name} {cause}, after {_RESTARTS} restarts within {_RESTARTS_WITHIN_S:.0f} s; run with --verbose to see why"
            )
        self._due[name] = now + _FIRST_BACK_OFF_S * 2 ** len(restarts)
        restarts.append(now)
        self._announce(name, "restarting", cause)

    def _check_alive(self, child: StageProcess, now: float) -> None:
        if not child.ready:
            waits = child.name == "capture" and self._plan.config.source.wait
            if not waits and now - child.spawned_s > _READY_S + self._plan.config.source.start_timeout:
                child.failure = Failed(
                    "StageError", f"{child.name} was not ready after {_READY_S:.0f} s; run with --verbose to see why"
                )
                child.kill()
        elif not child.hung and now - child.progress_s > max(_HUNG_S, _HUNG_TURNS * child.turn_s):
            child.hung = True
            child.kill()

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
        child = StageProcess(
            entry.name, entry.module, self._threads(entry), lambda child, message: self._events.put((child, message))
        )
        self._children[entry.name] = child
        child.send(self._assignment(entry))

    def _assignment(self, entry: StageEntry) -> Assignment:
        resume = self._published
        if entry.name == "capture":
            self._acknowledged = -1
            resume = min(self._published, self._detected)
            if self._live and self._ring is not None:
                resume = max(self._published, last_sequence(self._ring) or 0)
            # A capture that was killed before it could report its segment left one of the next epoch's name.
            remove_segments(f"{self._instance.name}-")
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
            tracker_state=self._tracker_state if entry.name == "detect" else b"",
            highest_id=self._highest_id,
            log_level=logging.getLogger("streamseg").getEffectiveLevel(),
            tap=self._tap,
        )

    def _threads(self, entry: StageEntry) -> int:
        return entry.threads(self._plan.config.threads, live=self._plan.config.resolved_mode == "live")

    def _stop_children(self, reason: str) -> None:
        for child in self._children.values():
            if child.ready:
                child.send(Stop(reason))
            else:
                child.terminate()
        self._wait_for_exit(_STOP_S)
        for child in self._children.values():
            child.terminate()
        self._wait_for_exit(_TERMINATE_S)
        for child in self._children.values():
            child.kill()
            child.wait()

    def _hear_last_words(self) -> None:
        """Take in what the stages published, logged and failed at while they were ending."""
        failure: Failed | None = None
        while not self._events.empty():
            match self._events.get()[1]:
                case Published() as published:
                    self._note_published(published)
                case LogLine(level, text):
                    self._observer.logged(level, text)
                case Failed() as failure:
                    pass
        if failure is not None and self._finished is None and not self._killed:
            raise error_from_name(failure.error, failure.message)

    def _wait_for_exit(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (
            not self._killed and time.monotonic() < deadline and any(child.alive for child in self._children.values())
        ):
            time.sleep(_TICK_S / 5)


def describe_budget(stages: Sequence[StageEntry], asked: int | None, *, live: bool) -> str:
    """How many threads each stage has, in one line; `asked` is what the settings give each model."""
    each = (
        f"{entry.name} {entry.threads(asked, live=live)}{f' (nice {entry.niceness})' if entry.niceness else ''}"
        for entry in stages
    )
    return f"threads: {', '.join(each)}; {available_cores()} cores"


def _cause(child: StageProcess, status: int) -> str:
    if child.failure is not None:
        return f"failed: {child.failure.message}"
    if child.hung:
        return "hung"
    return f"ended by signal {-status}" if status < 0 else f"ended with status {status}"


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
