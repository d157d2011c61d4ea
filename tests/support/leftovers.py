"""A separate place for a command to run in, and a check for what the command leaves behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from streamseg.ipc.ring import block_folder, remove_blocks
from support.pipeline_runs import Run

_SETTLE_S = 2.0
_PREFIX = "ss-"


class Place:
    """A working directory that identifies its runs, a runtime directory, an empty cache and home, and no network."""

    def __init__(self, folder: Path, temporary: Path, dead_proxy: str) -> None:
        self.folder = folder
        self._home = temporary / "home"
        self._home.mkdir()
        self.environment = {
            "HOME": str(self._home),
            "TMPDIR": str(temporary),
            "STREAMSEG_CACHE": str(folder / "cache"),
            "DISPLAY": "",
            "WAYLAND_DISPLAY": "",
            **dict.fromkeys(("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"), dead_proxy),
            **dict.fromkeys(("no_proxy", "NO_PROXY", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), ""),
        }
        self._temporary = temporary
        self._foreign = _blocks()

    def run(self, *arguments: str, wrapper: Sequence[str] = ()) -> Run:
        """Start `streamseg …` here, by a program in front of it if there is a wrapper."""
        return Run(*arguments, cwd=self.folder, environment=self.environment, wrapper=wrapper)

    def sweep(self) -> None:
        """Remove what killed runs left here, as the next run does."""
        enter = "from streamseg.ipc.instance import Instance\nwith Instance(): pass"
        subprocess.run([sys.executable, "-c", enter], env={**os.environ, **self.environment}, check=True)

    def leftovers(self) -> list[str]:
        """Processes, shared memory, sockets, folders, locks and files in the home that runs in this place left."""
        processes = [f"process {process.pid}: {_command(process)}" for process in self.processes()]
        blocks = [
            f"block {path.name}"
            for path in _blocks() - self._foreign
            if not _mapped(path) and not _locked(path) and not self._is_of_another_place(path)
        ]
        runtime = _runtime(self._temporary)
        files = [f"runtime file {path}" for path in runtime.rglob("*") if path.name != "sweep.lock"]
        home = [f"file in the home {path}" for path in self._home.rglob("*") if path.is_file()]
        return processes + blocks + files + home

    def processes(self) -> list[psutil.Process]:
        """Living processes with this working directory: stages keep it after their parent died."""
        return [process for process in psutil.process_iter() if _folder(process) == str(self.folder)]

    def _is_of_another_place(self, block: Path) -> bool:
        """Whether the run of a block is of another place: a test that kills a run leaves its block and its folder."""
        others = [place for place in self._temporary.parent.glob(f"{_PREFIX}*") if place != self._temporary]
        return any((_runtime(place) / _run_name(block)).exists() for place in others)

    def check_nothing_left(self) -> None:
        """Check that nothing is left after a moment. Other runs on this machine do not count."""
        deadline = time.monotonic() + _SETTLE_S
        while left := self.leftovers():
            assert time.monotonic() < deadline, left
            time.sleep(0.02)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place for the commands of one test, which fails if they leave anything behind."""
    folder = tmp_path / "here"
    folder.mkdir()
    temporary = Path(tempfile.mkdtemp(prefix=_PREFIX))  # short, as it holds the paths of sockets
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))  # bound, but not listening
        place = Place(folder, temporary, f"http://127.0.0.1:{dead.getsockname()[1]}")
        try:
            yield place
            place.check_nothing_left()
        finally:
            for process in place.processes():
                process.kill()
            for run in _runtime(temporary).glob("streamseg-*"):  # of a test that failed
                remove_blocks(run.name)
            shutil.rmtree(temporary)


def _runtime(temporary: Path) -> Path:
    """The folder of runs below a folder for temporary files."""
    return temporary / f"streamseg-{os.getuid()}"


def _blocks() -> set[Path]:
    return set(block_folder().glob("streamseg-*"))


def _mapped(block: Path) -> bool:
    """Whether a living process maps a block, which then belongs to another run on this machine."""
    run = str(block.parent / _run_name(block))
    return any(run in _maps(process.pid) for process in psutil.process_iter())


def _locked(block: Path) -> bool:
    """Whether the run of a block is alive."""
    try:
        with (block.parent / f"{_run_name(block)}.lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def _run_name(block: Path) -> str:
    return "-".join(block.name.removesuffix(".lock").split("-")[:2])


def _maps(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/maps").read_text(errors="replace")
    except OSError:
        return ""


def _folder(process: psutil.Process) -> str | None:
    try:
        return process.cwd() if process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return "gone"
