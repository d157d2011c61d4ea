from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from streamseg.errors import StageError
from streamseg.ipc import ring, snapshot
from streamseg.ipc.snapshot import SharedSnapshot

SAVE_FOREVER = """
import sys
from pathlib import Path
from streamseg.ipc import snapshot
snapshot.block_folder = lambda: Path(sys.argv[1])
saved = snapshot.SharedSnapshot("run-0.stage")
number = 0
while True:
    number += 1
    saved.save(number.to_bytes(4, "big") * 50_000)
"""


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of shared memory."""
    monkeypatch.setattr(snapshot, "block_folder", lambda: tmp_path)
    return tmp_path


def test_the_newest_state_is_loaded() -> None:
    assert SharedSnapshot("run-0.stage").load() is None
    SharedSnapshot("run-0.stage").save(b"old and long")
    SharedSnapshot("run-0.stage").save(b"new")
    assert SharedSnapshot("run-0.stage").load() == b"new"
    assert SharedSnapshot("run-0.other").load() is None


def test_stages_that_are_killed_while_they_save_leave_files_that_the_run_removes(
    memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "replace", lambda path, target: None)
    for stage in ("detect", "publish"):
        SharedSnapshot(f"run-0.{stage}").save(stage.encode())
    assert {path.read_bytes() for path in memory.iterdir()} == {b"detect", b"publish"}
    monkeypatch.setattr(ring, "block_folder", lambda: memory)
    ring.remove_blocks("run")
    assert not list(memory.iterdir())


def test_only_the_user_can_read_it(memory: Path) -> None:
    SharedSnapshot("run-0.stage").save(b"state")
    assert (memory / "run-0.stage").stat().st_mode & 0o777 == 0o600


def test_a_process_killed_while_it_saves_leaves_a_whole_state(memory: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", SAVE_FOREVER, str(memory)])
    try:
        deadline = time.monotonic() + 30
        while SharedSnapshot("run-0.stage").load() is None and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        writer.kill()
        writer.wait()
    state = SharedSnapshot("run-0.stage").load()
    assert state is not None
    assert state == state[:4] * 50_000


def test_memory_that_cannot_be_written_is_an_error_of_one_line(memory: Path) -> None:
    (memory / "run-0.stage").mkdir()
    (memory / "run-0.stage" / "file").touch()
    with pytest.raises(StageError, match=r"run-0\.stage: cannot be written"):
        SharedSnapshot("run-0.stage").save(b"state")
