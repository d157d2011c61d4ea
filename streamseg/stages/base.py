"""The loop that every stage runs, in a process of its own."""

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
from abc import ABC, abstractmethod
from collections import deque
from importlib import import_module
from typing import Any, BinaryIO

import zmq
from setproctitle import setproctitle

from streamseg.errors import StageError, StreamsegError
from streamseg.ipc.control import (
    Assignment,
    ControlWriter,
    Failed,
    LogLine,
    Progress,
    Ready,
    Stop,
    ToStage,
    ToSupervisor,
    read_from_supervisor,
)
from streamseg.ipc.links import LinkReceiver, LinkSender, Policy
from streamseg.logs import ForwardingHandler, redact

_IDLE_MS = 50
_PROGRESS_NS = 500_000_000
_ORPHAN_GRACE_S = 0.5
_ORPHANED = 75


class Station:
    """What a stage has around it: its assignment, its links, and the way to the supervisor."""

    def __init__(self, assignment: Assignment, control: ControlWriter) -> None:
        self.assignment = assignment
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._control = control
        self._poller = zmq.Poller()
        self._sockets: list[zmq.Socket[bytes]] = []
        self._bell, self._clapper = socket.socketpair()
        self._bell.setblocking(False)
        self._clapper.setblocking(False)
        self._poller.register(self._bell, zmq.POLLIN)

    @property
    def policy(self) -> Policy:
        """How frames travel in this run's mode."""
        return "newest" if self.assignment.config.resolved_mode == "live" else "ordered"

    def progress(self) -> None:
        """Say that a long turn is getting on."""
        self.report(Progress(0))

    def report(self, message: ToSupervisor) -> None:
        """Tell the supervisor. Where it is gone, the control thread ends the process."""
        try:
            self._control.send(message)
        except OSError:
            logging.getLogger(__name__).debug("the supervisor is gone")

    def sender(self, name: str, policy: Policy, linger_ms: int = 0) -> LinkSender[Any]:
        """Connect the near end of a link."""
        sender: LinkSender[Any] = LinkSender(self.context, self._address(name), self.assignment.key, policy, linger_ms)
        self.watch(sender.socket)
        return sender

    def receiver(self, name: str, kind: Any, policy: Policy) -> LinkReceiver[Any]:
        """Bind the far end of a link; `kind` is the type, or union of types, that arrives."""
        receiver: LinkReceiver[Any] = LinkReceiver(self.context, self._address(name), self.assignment.key, policy, kind)
        self.watch(receiver.socket)
        return receiver

    def watch(self, link: zmq.Socket[bytes]) -> None:
        """Wake the loop when the socket is readable, and close it at the end."""
        self._poller.register(link, zmq.POLLIN)
        self._sockets.append(link)

    def ring_bell(self) -> None:
        """Wake the loop, from any thread."""
        with contextlib.suppress(BlockingIOError):  # a full buffer already holds a wake-up
            self._clapper.send(b"!")

    def wait(self) -> None:
        """Sleep until something arrives, at most a moment."""
        self._poller.poll(_IDLE_MS)
        with contextlib.suppress(BlockingIOError):
            self._bell.recv(4096)

    def close(self) -> None:
        """Close every socket; what has a moment to be delivered gets it."""
        for link in self._sockets:
            link.close()
        self.context.term()

    def _address(self, name: str) -> str:
        return next(link.address for link in self.assignment.links if link.name == name)


class Stage(ABC):
    """One stage's work. All methods run on the process's main thread."""

    def __init__(self, station: Station) -> None:
        self.station = station
        self.assignment = station.assignment
        self.config = station.assignment.config

    @abstractmethod
    def prepare(self) -> Ready:
        """Load, open and warm up everything.

        Raises:
            StreamsegError: The stage cannot run.
        """

    @abstractmethod
    def turn(self) -> bool:
        """Do what can be done now, without waiting; whether that was a frame's work."""

    @abstractmethod
    def instruct(self, message: ToStage) -> None:
        """Carry out a message of the supervisor."""

    @abstractmethod
    def close(self, reason: str) -> None:
        """Finish in an orderly way; `reason` says why the run ends."""


def run_stage(module: str) -> None:
    """Be the stage of a module: prepare, say so, turn until told to stop. Never returns.

    The supervisor's end is noticed from the first moment on, also while the module and its libraries are imported.
    """
    control_in, control = _take_over_standard_streams()
    inbox: queue.SimpleQueue[ToStage] = queue.SimpleQueue()
    messages = read_from_supervisor(control_in)
    assignment = next(messages, None)
    if not isinstance(assignment, Assignment):
        os._exit(_ORPHANED)
    _settle(assignment, control)
    station = Station(assignment, control)
    turning = threading.Event()

    def listen() -> None:
        for message in messages:
            inbox.put(message)
            station.ring_bell()
        if turning.is_set():  # there may be something to finish
            inbox.put(Stop("supervisor gone"))
            station.ring_bell()
            time.sleep(_ORPHAN_GRACE_S)
        os._exit(_ORPHANED)

    threading.Thread(target=listen, name="control", daemon=True).start()
    status = _live(module, station, inbox, turning)
    station.close()
    logging.shutdown()
    os._exit(status)


def _live(module: str, station: Station, inbox: queue.SimpleQueue[ToStage], turning: threading.Event) -> int:
    try:
        kind = _stage_of(module)
        _limit_opencv(station.assignment.threads)
        stage = kind(station)
        station.report(stage.prepare())
        gc.collect()
        gc.freeze()  # what the libraries made stays for good: looking through it again and again would cost milliseconds
        turning.set()
        reason = _turn_until_stopped(stage, station, inbox)
        stage.close(reason)
    except StreamsegError as error:
        station.report(Failed(type(error).__name__, redact(str(error))))
        return 1
    except Exception as error:  # noqa: BLE001 - whatever a model or driver throws has to reach the supervisor
        logging.getLogger(__name__).error("%s", traceback.format_exc().strip())
        station.report(Failed("StageError", redact(f"{station.assignment.stage}: {type(error).__name__}: {error}")))
        return 1
    return 0


def _stage_of(module: str) -> type[Stage]:
    for member in vars(import_module(module)).values():
        if isinstance(member, type) and issubclass(member, Stage) and member.__module__ == module:
            return member
    raise StageError(f"{module} holds no stage")


def _limit_opencv(threads: int) -> None:
    """Give OpenCV its threads: it would take one for each core, and heeds no variable of the environment, as BLAS and OpenMP do."""
    import cv2

    cv2.setNumThreads(threads)


def _turn_until_stopped(stage: Stage, station: Station, inbox: queue.SimpleQueue[ToStage]) -> str:
    turns: deque[int] = deque([0], maxlen=32)
    reported_ns = 0
    while True:
        station.wait()
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
            station.report(Progress(int(statistics.median(turns))))
            reported_ns = now


def _take_over_standard_streams() -> tuple[BinaryIO, ControlWriter]:
    """Keep the control pipe for ourselves; whatever a library prints goes to standard error."""
    sys.stdout.flush()
    control_out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return sys.stdin.buffer, ControlWriter(control_out)


def _settle(assignment: Assignment, control: ControlWriter) -> None:
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGTTOU"):
        signal.signal(
            signal.SIGTTOU, signal.SIG_IGN
        )  # what a library prints would stop a process in the background of some terminals
    setproctitle(f"streamseg {assignment.stage}")
    if hasattr(os, "nice"):
        os.nice(assignment.niceness)
    handler = ForwardingHandler(lambda level, text: _forward(control, level, text))
    handler.setFormatter(logging.Formatter(f"{assignment.stage}: %(message)s"))
    logging.basicConfig(level=assignment.log_level, handlers=[handler], force=True)
    logging.captureWarnings(True)


def _forward(control: ControlWriter, level: int, text: str) -> None:
    try:
        control.send(LogLine(level, text))
    except OSError:
        sys.stderr.write(text + "\n")
