"""Processes forked from one that has imported their libraries already: both ends of its protocol.

To start Python and import NumPy, OpenCV and PyAV takes half a second of processor time for each process. A fork takes
milliseconds, and all forks share the memory of the libraries.

A request is the name of a module. With it go three descriptors: standard input and output of the new process, and a
pipe on which the server reports the number of the process when it begins and its status when it has ended.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO, Final, NoReturn

_NUMBER: Final = struct.Struct("<i")
_LONGEST_NAME: Final = 4096
_START_S: Final = 60.0
"""How long the server may take to import the libraries and fork, also on a busy machine."""
_END_S: Final = 1.0
_FORK_S: Final = 5.0
"""How long a server may take for a fork after its first one."""
_REPORT_S: Final = 3.0
"""How long it may take to report the end of a process."""
UNKNOWN_STATUS: Final = 255
"""Of a process whose server was killed before it."""


class ForkedProcess:
    """A process that a fork server has made. Callable from any thread."""

    def __init__(
        self, number: int, stdin: BinaryIO, stdout: BinaryIO, status_pipe: int, kill_server: Callable[[], None]
    ) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self._number = number
        self._status_pipe = status_pipe
        self._kill_server = kill_server
        self._status: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        with self._lock:
            if self._status is None and _ready([self._status_pipe], 0):
                status = os.read(self._status_pipe, _NUMBER.size)
                self._status = _NUMBER.unpack(status)[0] if status else UNKNOWN_STATUS
                os.close(self._status_pipe)
            return self._status

    def wait(self) -> int:
        """Wait for its end, which is near; its exit status, negative for a signal.

        A server that does not report it is stopped. It is killed: then the end of the process shows at its pipe.
        """
        while (status := self.poll()) is None:
            if not _ready([self._status_pipe], _REPORT_S):
                self._kill_server()
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._number, number)


class ForkServer:
    """Starts a fork server, and a new one whenever that has died; forks processes from it. For one thread."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Begin to start it.

        Args:
            command: Program that calls `serve` with the number of a socket, which is appended as the last argument.
            environment: Of the server and all that it forks.
        """
        self._command = command
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._has_forked = False
        with contextlib.suppress(OSError):  # the first fork tries again, and reports it
            self._start()

    def fork(self, module: str) -> ForkedProcess:
        """Fork a process for a module, leader of a process group of its own.

        Raises:
            OSError: The machine has no process, descriptor or memory left, or the server does not answer.
        """
        try:
            return self._request(module)
        except (BrokenPipeError, ConnectionResetError, ChildProcessError):  # somebody killed or stopped it
            self.close()
            return self._request(module)

    def close(self) -> None:
        """End the server. What it forked goes on."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:  # it still imports
                self._process.kill()
                self._process.wait()
            self._process = None
        self._has_forked = False

    def _start(self) -> socket.socket:
        near, far = socket.socketpair()
        with far:
            try:
                self._process = subprocess.Popen(
                    [*self._command, str(far.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[far.fileno()],
                    env=self._environment,
                    # Keys pressed at the terminal reach the supervisor alone. In a session of its own, Linux would
                    # share the processor between sessions first, and niceness would not count between stages.
                    process_group=0,
                )
            except OSError:
                near.close()
                raise
        self._connection = near
        return near

    def _request(self, module: str) -> ForkedProcess:
        connection = self._connection or self._start()
        with contextlib.ExitStack() as near, contextlib.ExitStack() as far:

            def pipe(near_end: int) -> int:
                ends = os.pipe()
                near.callback(os.close, ends[near_end])
                far.callback(os.close, ends[1 - near_end])
                given.append(ends[1 - near_end])
                return ends[near_end]

            given: list[int] = []
            stdin, stdout, status = pipe(1), pipe(0), pipe(0)
            socket.send_fds(connection, [module.encode()], given)
            far.close()
            ready = _ready([status, connection.fileno()], _FORK_S if self._has_forked else _START_S)
            if not ready and not self._has_forked:
                self.close()
                raise TimeoutError(errno.ETIMEDOUT, "the fork server does not answer")
            answer = os.read(status, _NUMBER.size) if status in ready else b""
            if not answer:
                raise ChildProcessError(errno.ECHILD, "the fork server has ended")
            (number,) = _NUMBER.unpack(answer)
            if number < 0:
                raise OSError(-number, os.strerror(-number))
            near.pop_all()
        assert self._process is not None
        self._has_forked = True
        return ForkedProcess(number, os.fdopen(stdin, "wb"), os.fdopen(stdout, "rb"), status, self._process.kill)


def serve(connection: socket.socket, run: Callable[[str], NoReturn]) -> None:
    """Fork a process for each request, which runs `run(module)`, until the other end is closed.

    The calling process must have one thread.
    """
    woken, waking = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(waking, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    status_pipes: dict[int, int] = {}
    while True:
        ready = _ready([connection.fileno(), woken], None)
        if woken in ready:
            os.read(woken, _LONGEST_NAME)
            _report_ended(status_pipes)
        if connection.fileno() not in ready:
            continue
        name, given, _, _ = socket.recv_fds(connection, _LONGEST_NAME, 3)
        if not name:
            return
        stdin, stdout, status = given
        try:
            number = os.fork()
        except OSError as error:
            _write(status, -(error.errno or errno.EAGAIN))
            os.close(status)
        else:
            if number == 0:
                for inherited in (connection.detach(), woken, waking, *status_pipes.values()):
                    os.close(inherited)
                _become(stdin, stdout, name.decode(), run)
            status_pipes[number] = status
            _write(status, number)
        os.close(stdin)
        os.close(stdout)


def _become(stdin: int, stdout: int, module: str, run: Callable[[str], NoReturn]) -> NoReturn:
    """Turn this new process into the requested one.

    It keeps its status pipe open: without a server, the end of file there is the end of the process.
    """
    try:
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for given, standard in ((stdin, 0), (stdout, 1)):
            os.dup2(given, standard)
            os.close(given)
        run(module)
    except BaseException:  # noqa: BLE001 - whatever it is, this process must never return into the server's loop
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)


def _report_ended(status_pipes: dict[int, int]) -> None:
    """Report the status of each process that has ended."""
    while status_pipes:
        number, status = os.waitpid(-1, os.WNOHANG)
        if number == 0:
            return
        pipe = status_pipes.pop(number)
        _write(pipe, os.waitstatus_to_exitcode(status))
        os.close(pipe)


def _write(status_pipe: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # the other end is gone
        os.write(status_pipe, _NUMBER.pack(number))


def _ready(descriptors: Sequence[int], seconds: float | None) -> set[int]:
    """Wait until at least one can be read or is closed at its other end, and return those."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return {ready for ready, _ in poll.poll(None if seconds is None else seconds * 1000)}
