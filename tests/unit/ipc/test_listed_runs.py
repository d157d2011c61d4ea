from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from streamseg.ipc.listed_runs import ListedRun, listed, listed_runs, sweep_listed

LIST = """
import sys, time
from pathlib import Path
from streamseg.ipc.listed_runs import listed
with listed(Path(sys.argv[1]), "tcp://127.0.0.1:7000"):
    print("listed", flush=True)
    time.sleep(60)
"""


def test_a_run_is_listed_as_long_as_it_lives(tmp_path: Path) -> None:
    with listed(tmp_path, "tcp://127.0.0.1:5555"):
        assert listed_runs(tmp_path) == [ListedRun(os.getpid(), "tcp://127.0.0.1:5555")]
    assert listed_runs(tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_a_run_that_was_killed_is_not_listed_and_its_file_is_removed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", LIST, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert listed_runs(tmp_path) == [ListedRun(other.pid, "tcp://127.0.0.1:7000")]
        other.send_signal(signal.SIGKILL)
        other.wait()
    sweep_listed(tmp_path)
    assert not list(tmp_path.iterdir())
