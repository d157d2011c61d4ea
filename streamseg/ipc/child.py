"""A stage's process as the supervisor sees it."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from streamseg.ipc.control import ControlWriter, Failed, ToStage, ToSupervisor, read_from_stage

# Read while NumPy and PyTorch are imported.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"  # ONNX Runtime's; read while it is imported


class StageProcess:
    """A child that runs a stage. Neither sending to it nor listening to it ever blocks the supervisor.

    Attributes:
        ready: Whether it has said that it is prepared.
        failure: What it said before it ended, if it did.
        hung: Whether it was ended because it made no progress.
        spawned_s: Monotonic time of its start.
        progress_s: Monotonic time at which it was last known to get on.
        turn_s: Median length of its turns.
    """

    def __init__(
        self, name: str, module: str, threads: int, deliver: Callable[[StageProcess, ToSupervisor | None], None]
    ) -> None:
        """Spawn it. `deliver` gets each of its messages, and None when it has ended; it is called from another thread."""
        self.name = name
        self.ready = self.hung = False
        self.failure: Failed | None = None
        self.spawned_s = self.progress_s = time.monotonic()
        self.turn_s = 0.0
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "streamseg.stages", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **dict.fromkeys(_THREADS, str(threads)), _NO_TELEMETRY: "1"},
            # Keys pressed at the terminal are the supervisor's alone. In a session of its own, Linux would share the processor out
            # between the sessions first, and niceness would not count between stages.
            process_group=0,
        )
        self._outbox: queue.SimpleQueue[ToStage | None] = queue.SimpleQueue()
        self._sender = threading.Thread(target=self._send_all, name=f"send to {name}", daemon=True)
        self._sender.start()
        threading.Thread(target=self._listen, args=(deliver,), name=f"listen to {name}", daemon=True).start()

    def send(self, message: ToStage) -> None:
        """Have a message sent; one for a child that is gone is dropped."""
        self._outbox.put(message)

    def terminate(self) -> None:
        """Ask the system to end it."""
        self._process.terminate()

    def kill(self) -> None:
        """Have the system end it at once."""
        self._process.kill()

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def wait(self) -> int:
        """Wait for its end and close the pipe to it; its exit status, negative for a signal."""
        status = self._process.wait()
        self._outbox.put(None)
        self._sender.join()
        return status

    def _send_all(self) -> None:
        assert self._process.stdin is not None
        control = ControlWriter(self._process.stdin)
        with contextlib.suppress(OSError):  # the child is gone, which its end of file tells the supervisor
            while (message := self._outbox.get()) is not None:
                control.send(message)
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def _listen(self, deliver: Callable[[StageProcess, ToSupervisor | None], None]) -> None:
        assert self._process.stdout is not None
        try:
            for message in read_from_stage(self._process.stdout):
                deliver(self, message)
        finally:
            self._process.stdout.close()
            deliver(self, None)
