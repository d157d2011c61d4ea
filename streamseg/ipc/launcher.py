"""Starts stages. The supervisor speaks to a `StageHandle`, and a `Launcher` decides where the stage runs."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Protocol, Self

from streamseg.errors import StageError
from streamseg.ipc.fork_server import ForkedProcess, ForkServer
from streamseg.ipc.stage_messages import Failed, StageMessageWriter, StageSpec, ToStage, ToSupervisor, read_from_stage
from streamseg.open_files import Reserve, check_limit

# Read while a library is imported. All stages share its one import, and NumPy's matrices here are too small for more.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}
_KEPT_MEMORY = dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(32 << 20))
"""For glibc, which otherwise may return to the system what the arrays of a frame took, and get it back page by page for
the next frame: a thousand page faults, which took a third of detect's time."""
_LAST_MESSAGES_S = 1.0
_KEPT_FOR_RESTARTS = 16
"""Descriptors. A start takes six, of which three stay open until the stage ends; a new fork server takes four."""

Deliver = Callable[[ToSupervisor | None], None]
"""Takes each message of a stage, and None when the stage has ended. Called from any thread."""


class StageHandle(Protocol):
    """A started stage. No method but `wait` ever blocks."""

    @property
    def alive(self) -> bool:
        """Whether it is running."""
        ...

    def send(self, message: ToStage) -> None:
        """Send a message, or drop it if the stage has ended."""
        ...

    def terminate(self) -> None:
        """End it by SIGTERM or its like."""
        ...

    def kill(self) -> None:
        """End it at once, by SIGKILL or its like."""
        ...

    def wait(self) -> int:
        """Wait for its end; its exit status, negative for a signal."""
        ...


class Launcher(Protocol):
    """Starts stages somewhere."""

    def launch(self, module: str, spec: StageSpec, deliver: Deliver) -> StageHandle:
        """Start the stage of a module and send it `spec`.

        Raises:
            StageError: The machine has no process, thread or memory left for it.
        """
        ...


class ProcessLauncher:
    """Starts each stage as a process on this machine, also when this process has opened all the files that it may.

    Stages are forks of a server that imports their modules once.
    """

    def __init__(self, modules: Iterable[str]) -> None:
        """Start the fork server, and keep descriptors for restarts.

        Args:
            modules: Of the stages; others can be launched too, and take longer.

        Raises:
            StageError: The processes of a run may have too few files open.
        """
        check_limit()
        self._reserve = Reserve(_KEPT_FOR_RESTARTS)
        command = [sys.executable, "-P", "-m", "streamseg.stages", *modules]
        self._server = ForkServer(command, {**_KEPT_MEMORY, **os.environ, **_ENVIRONMENT})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()

    def launch(self, module: str, spec: StageSpec, deliver: Deliver) -> StageHandle:
        """Start the stage of a module and send it `spec`; see `Launcher`."""
        try:
            with self._reserve.released():
                process = StageProcess(module, self._server.fork(module), deliver)
        except (OSError, RuntimeError) as error:  # RuntimeError: no thread
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise StageError(
                f"{spec.stage} cannot be started ({reason}); end other programs, or raise the limits (ulimit -a)"
            ) from error
        process.send(spec)
        return process


class StageProcess:
    """A process that runs a stage; threads of its own send to it and listen to it."""

    def __init__(self, module: str, process: ForkedProcess, deliver: Deliver) -> None:
        """Control a process that has just been forked for a module."""
        self._process = process
        self._module = module
        self._deliver = deliver
        self._outbox: queue.SimpleQueue[ToStage | None] = queue.SimpleQueue()
        self._sender = threading.Thread(target=self._send_all, name=f"send to {module}", daemon=True)
        self._listener = threading.Thread(target=self._listen, name=f"listen to {module}", daemon=True)
        try:
            self._sender.start()
            self._listener.start()
        except RuntimeError:
            self._abandon()
            raise

    @property
    def alive(self) -> bool:
        """Whether it is running."""
        return self._process.poll() is None

    def send(self, message: ToStage) -> None:
        """Queue a message for sending, or drop it if the process has ended."""
        self._outbox.put(message)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.send_signal(signal.SIGKILL)

    def wait(self) -> int:
        """Wait for its end and its last messages, and close the pipe to it; its exit status, negative for a signal."""
        status = self._process.wait()
        self._outbox.put(None)
        self._sender.join()
        self._listener.join(_LAST_MESSAGES_S)  # a process that it started may keep the pipe open
        return status

    def _abandon(self) -> None:
        """End a process that has no thread to control it."""
        self.kill()
        self._process.wait()
        self._outbox.put(None)
        self._process.stdin.close()
        self._process.stdout.close()

    def _send_all(self) -> None:
        control = StageMessageWriter(self._process.stdin)
        with self._stage_ends_on_failure(), contextlib.suppress(OSError):  # its end of file reports that it has ended
            while (message := self._outbox.get()) is not None:
                control.send(message)
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def _listen(self) -> None:
        with self._stage_ends_on_failure():
            for message in read_from_stage(self._process.stdout):
                self._deliver(message)
        self._process.stdout.close()
        self._deliver(None)

    @contextlib.contextmanager
    def _stage_ends_on_failure(self) -> Iterator[None]:
        """Report a failure of this thread as the stage's and end the stage: nobody would control it any more."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - an exception that ends only the thread would make the run hang
            self._deliver(Failed("StageError", f"control of {self._module}: {type(error).__name__}: {error}"))
            self.kill()
