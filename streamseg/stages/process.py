"""Runs a stage in a process of its own: its context, its loop, and its end."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import logging
import os
import queue
import signal
import socket
import statistics
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from importlib import import_module
from typing import Any, BinaryIO, NoReturn

import cv2
import zmq
from setproctitle import setproctitle

from streamseg.errors import StageError, StreamsegError
from streamseg.ipc.clock import Clock, SystemClock
from streamseg.ipc.frame_memory import FrameMemory, SharedFrames
from streamseg.ipc.links import LinkAddress, LinkReceiver, LinkSender, Receiver, Sender
from streamseg.ipc.reports import ReportWriter
from streamseg.ipc.snapshot import SharedSnapshot, Snapshot
from streamseg.ipc.stage_messages import (
    Failed,
    LaneSpec,
    LogLine,
    Progress,
    StageSpec,
    Stop,
    ToStage,
    ToSupervisor,
    read_from_supervisor,
)
from streamseg.logs import ForwardingHandler
from streamseg.open_files import raise_limit
from streamseg.redaction import redact
from streamseg.stages.base import SUPERVISOR_GONE, Stage
from streamseg.streams import log_stream, open_closed_streams

# PyTorch reads them while it is imported, long after this process is forked.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_IDLE_MS = 50
_PROGRESS_NS = 500_000_000
_ORPHAN_GRACE_S = 0.5
_ORPHANED = 75
_OF_THE_MACHINE = (MemoryError, OSError, ImportError)
"""Errors whose traceback helps nobody, except with --verbose: a library that finds no memory raises each of them."""


class ProcessContext:
    """The context of a stage in a process of its own."""

    def __init__(self, spec: StageSpec, reports: ReportWriter) -> None:
        self.spec = spec
        self.clock: Clock = SystemClock()
        self.frames: FrameMemory = SharedFrames()
        self.sockets: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._reports = reports
        self._poller = zmq.Poller()
        self._watched: list[zmq.Socket[bytes]] = []
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._poller.register(self._wake_in, zmq.POLLIN)

    def receiver(self, stage: str, source: str, kind: Any) -> Receiver[Any]:
        """Bind the near end of the link from a stage."""
        link = self._link(stage, self.spec.stage, source)
        receiver: LinkReceiver[Any] = LinkReceiver(self.sockets, link.address, self.spec.link_key, link.policy, kind)
        self.watch(receiver.socket)
        return receiver

    def sender(self, stage: str, source: str, linger_ms: int = 0) -> Sender[Any]:
        """Connect the near end of the link to a stage."""
        link = self._link(self.spec.stage, stage, source)
        sender: LinkSender[Any] = LinkSender(self.sockets, link.address, self.spec.link_key, link.policy, linger_ms)
        self.watch(sender.socket)
        return sender

    def has_link_to(self, stage: str) -> bool:
        """Whether this run has a link from here to a stage."""
        return any((link.sender, link.receiver) == (self.spec.stage, stage) for link in self.spec.links)

    def snapshot(self, lane: LaneSpec) -> Snapshot:
        """This stage's state of a source, in shared memory."""
        return SharedSnapshot(lane.snapshot)

    def report(self, message: ToSupervisor) -> None:
        """Send a message to the supervisor. If it is gone, the control thread ends the process."""
        with _supervisor_may_be_gone():
            self._reports.send(message)

    def progress(self) -> None:
        """Report that a long turn makes progress."""
        self.report(Progress(0))

    def wake(self) -> None:
        """Make the loop turn at once; callable from any thread."""
        with contextlib.suppress(BlockingIOError):  # a full buffer already holds a wake-up
            self._wake_out.send(b"!")

    def watch(self, socket: zmq.Socket[bytes]) -> None:
        """Turn the loop when a socket is readable, and close it at the end."""
        self._poller.register(socket, zmq.POLLIN)
        self._watched.append(socket)

    def close_link(self, link: Sender[Any] | Receiver[Any]) -> None:
        """Close the near end of a link before the end of the process."""
        assert isinstance(link, LinkSender | LinkReceiver)
        self._poller.unregister(link.socket)
        self._watched.remove(link.socket)
        link.close()

    def wait(self) -> None:
        """Sleep until something arrives, at most a moment."""
        with _supervisor_may_be_gone():
            self._reports.flush()
        self._poller.poll(_IDLE_MS)
        with contextlib.suppress(BlockingIOError):
            self._wake_in.recv(4096)

    def close(self) -> None:
        """Close all sockets, waiting at most their linger time, and unmap the frames."""
        for watched in self._watched:
            watched.close()
        self.sockets.destroy()  # also closes what a stage opened before it failed
        self.frames.close()
        with _supervisor_may_be_gone():
            self._reports.drain()

    def _link(self, sender: str, receiver: str, source: str) -> LinkAddress:
        ends = (sender, receiver, source)
        return next(link for link in self.spec.links if (link.sender, link.receiver, link.source) == ends)


@contextlib.contextmanager
def _supervisor_may_be_gone() -> Iterator[None]:
    try:
        yield
    except OSError:
        logging.getLogger(__name__).debug("the supervisor is gone")


def run_stage(module: str) -> NoReturn:
    """Run the stage of a module: prepare, report ready, turn until the supervisor stops it.

    A thread watches the supervisor from the start, even while the stage loads its models.
    """
    control_in, reports = _take_over_standard_streams()
    inbox: queue.SimpleQueue[ToStage] = queue.SimpleQueue()
    messages = read_from_supervisor(control_in)
    spec = next(messages, None)
    if not isinstance(spec, StageSpec):
        os._exit(_ORPHANED)
    _settle(spec, reports)
    context = ProcessContext(spec, reports)
    turning = threading.Event()

    def listen() -> None:
        try:
            for message in messages:
                inbox.put(message)
                context.wake()
        except Exception as error:  # noqa: BLE001 - without control, nothing could stop this process
            context.report(Failed("StageError", f"{spec.stage}: control: {type(error).__name__}: {error}"))
            reports.drain()
            os._exit(1)
        if turning.is_set():  # there may be something to finish
            inbox.put(Stop(SUPERVISOR_GONE))
            context.wake()
            time.sleep(_ORPHAN_GRACE_S)
        os._exit(_ORPHANED)

    threading.Thread(target=listen, name="control", daemon=True).start()
    status = _prepare_and_turn(module, context, inbox, turning)
    context.close()
    logging.shutdown()
    os._exit(status)


def _prepare_and_turn(
    module: str, context: ProcessContext, inbox: queue.SimpleQueue[ToStage], turning: threading.Event
) -> int:
    """Run the stage to its end and return the exit status."""
    try:
        kind = _stage_of(module)
        stage = kind(context)
        context.report(stage.prepare())
        gc.collect()
        gc.freeze()  # what the libraries made stays for good: collecting it again and again would cost milliseconds
        turning.set()
        reason = _turn_until_stopped(stage, context, inbox)
        stage.close(reason)
    except StreamsegError as error:
        context.report(Failed(type(error).__name__, str(error)))
        return 1
    except Exception as error:  # noqa: BLE001 - whatever a model or driver raises must reach the supervisor
        level = logging.DEBUG if isinstance(error, _OF_THE_MACHINE) else logging.ERROR
        logging.getLogger(__name__).log(level, "%s", traceback.format_exc().strip())
        context.report(Failed("StageError", redact(f"{context.spec.stage}: {_describe(error)}")))
        return 1
    return 0


def _describe(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return f"out of memory ({error or 'no details'}); end other programs, or choose smaller models"
    return f"{type(error).__name__}: {error}"


def _stage_of(module: str) -> type[Stage]:
    for member in vars(import_module(module)).values():
        if isinstance(member, type) and issubclass(member, Stage) and member.__module__ == module:
            return member
    raise StageError(f"{module} holds no stage")


def _turn_until_stopped(stage: Stage, context: ProcessContext, inbox: queue.SimpleQueue[ToStage]) -> str:
    turns: deque[int] = deque([0], maxlen=32)
    reported_ns = 0
    while True:
        context.wait()
        began = time.monotonic_ns()
        while not inbox.empty():
            message = inbox.get()
            if isinstance(message, Stop):
                return message.reason
            stage.instruct(message)
        worked = stage.turn()
        now = time.monotonic_ns()
        if worked:
            turns.append(now - began)
        if now - reported_ns > _PROGRESS_NS:
            context.report(Progress(max(int(statistics.median(turns)), 1)))  # 0 is a long turn
            reported_ns = now


def _take_over_standard_streams() -> tuple[BinaryIO, ReportWriter]:
    """Reserve the control pipe; what a library prints goes to standard error, and standard input is empty.

    No thread may hold `sys.stdin`, whose lock Python takes at its exit.
    """
    open_closed_streams()
    sys.stdout.flush()
    control_in, reports = os.fdopen(os.dup(0), "rb"), ReportWriter(os.dup(1))
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - os.devnull is a name, no path
        os.dup2(nothing.fileno(), 0)
    sys.stdout = sys.stderr = log_stream()
    return control_in, reports


def _settle(spec: StageSpec, reports: ReportWriter) -> None:
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGTTOU"):
        # Otherwise what a library prints stops a background process on some terminals.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    setproctitle(f"streamseg {spec.title}")
    raise_limit()
    os.environ |= dict.fromkeys(_THREADS, str(spec.threads))
    cv2.setNumThreads(spec.threads)
    if hasattr(os, "nice"):
        os.nice(spec.niceness)
    handler = ForwardingHandler(lambda level, text: _forward(reports, level, text))
    handler.setFormatter(logging.Formatter(f"{spec.title}: %(message)s"))
    logging.basicConfig(level=spec.log_level, handlers=[handler], force=True)
    logging.captureWarnings(True)


def _forward(reports: ReportWriter, level: int, text: str) -> None:
    try:
        reports.send(LogLine(level, text))
    except OSError:
        sys.stderr.write(text + "\n")
