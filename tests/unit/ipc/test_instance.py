from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import zmq

from streamseg import runtime_folder
from streamseg.errors import EndpointInUseError, SettingsError, StageError
from streamseg.ipc.instance import Endpoint, Instance
from streamseg.ipc.ring import RingWriter, block_folder
from streamseg.runtime_folder import runtime_directory

DIE = """
import os, sys, pathlib
from streamseg import runtime_folder
from streamseg.ipc.instance import Instance
from streamseg.ipc.ring import RingWriter, block_folder
runtime_folder.tempfile.tempdir = sys.argv[1]
runtime_folder._LONGEST_FOLDER = 1000
alive = Instance().__enter__()
if sys.argv[2:] == ["restore"]:
    for path in block_folder().glob(f"{alive.name}*"):
        path.unlink()
    alive.restore_lock()
RingWriter(alive.name, 0, 48, 64)
print(alive.name, flush=True)
os._exit(9)
"""


@pytest.fixture(autouse=True)
def private_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(runtime_folder, "_LONGEST_FOLDER", 1000)


def test_a_run_leaves_nothing(tmp_path: Path) -> None:
    with Instance() as instance, Endpoint("tcp://127.0.0.1:*"):
        writer = RingWriter(instance.name, 0, 48, 64)
        assert len(writer.ring.name) <= 30
        assert instance.directory.stat().st_mode & 0o777 == 0o700
        writer.close()
    assert not list(block_folder().glob(f"{instance.name}*"))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["sweep.lock"]


def test_what_a_dead_run_left_is_swept_and_a_living_ones_is_not(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", DIE, str(tmp_path)], capture_output=True, text=True, check=False)
    dead = died.stdout.strip()
    assert dead, died.stderr
    assert list(block_folder().glob(f"{dead}*"))
    with Instance() as first:
        writer = RingWriter(first.name, 0, 48, 64)
        with Instance():
            assert not list(block_folder().glob(f"{dead}*"))
            assert list(block_folder().glob(f"{first.name}*"))
            assert first.directory.exists()
        writer.close()


def test_blocks_of_a_dead_run_are_swept_whatever_its_folder_for_temporary_files_was(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    died = subprocess.run([sys.executable, "-c", DIE, str(elsewhere)], capture_output=True, text=True, check=False)
    dead = died.stdout.strip()
    assert list(block_folder().glob(f"{dead}*")), died.stderr
    with Instance():
        assert not list(block_folder().glob(f"{dead}*"))


def test_blocks_of_a_living_run_stay_whatever_its_folder_for_temporary_files_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Instance() as first:
        writer = RingWriter(first.name, 0, 48, 64)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
        with Instance() as second:
            assert second.directory.is_relative_to(elsewhere)
            assert list(block_folder().glob(f"{first.name}-*"))
        writer.close()
    assert not list(block_folder().glob(f"{first.name}*"))


def test_blocks_made_after_all_were_removed_are_swept_when_the_run_has_died(tmp_path: Path) -> None:
    died = subprocess.run(
        [sys.executable, "-c", DIE, str(tmp_path), "restore"], capture_output=True, text=True, check=False
    )
    dead = died.stdout.strip()
    assert list(block_folder().glob(f"{dead}*")), died.stderr
    with Instance():
        assert not list(block_folder().glob(f"{dead}*"))


@pytest.mark.parametrize("kind", ["file", "folder", "link", "pipe"])
def test_junk_in_the_folder_of_runs_and_in_shared_memory_stays_and_hinders_no_run(kind: str) -> None:
    folder, number = runtime_directory(), secrets.token_hex(6)
    held = folder / f"streamseg-{number[::-1]}"
    held.mkdir()
    shared = block_folder() / f"streamseg-{number}.lock"
    junk = [
        *(folder / name for name in ("streamseg-stray", f"streamseg-{number}", "endpoint-junk.lock", "lock")),
        held / "lock",
        shared,
    ]
    for path in junk:
        match kind:
            case "file":
                path.write_text("mine")
            case "folder":
                path.mkdir()
                (path / "mine").touch()
            case "link":
                path.symlink_to(folder / "target")
            case "pipe":
                os.mkfifo(path)
    swept = {folder / "endpoint-junk.lock", held / "lock", shared} if kind == "file" else set()
    swept |= {folder / f"streamseg-{number}"} if kind == "folder" else set()  # a dead run without its lock
    try:
        with Instance(), Endpoint("tcp://127.0.0.1:*"):
            pass
        assert {path for path in junk if not os.path.lexists(path)} == swept
    finally:
        shutil.rmtree(shared) if kind == "folder" else shared.unlink(missing_ok=True)


def test_what_takes_the_place_of_the_folder_or_of_a_lock_is_one_clear_error(tmp_path: Path) -> None:
    folder = tmp_path / f"streamseg-{os.getuid()}"
    folder.write_text("mine")
    with pytest.raises(StageError, match=rf"^{folder} is not a folder; remove it, or set TMPDIR$"):
        Instance()
    folder.unlink()
    (runtime_directory() / "sweep.lock").mkdir()
    with pytest.raises(StageError, match=rf"^{folder}/sweep\.lock cannot be locked \(Is a directory\); remove it$"):
        Instance().__enter__()


def test_a_run_whose_folder_was_removed_ends_without_an_error() -> None:
    with Instance() as instance:
        shutil.rmtree(instance.directory.parent)
    assert not list(block_folder().glob(f"{instance.name}*"))


def test_an_endpoint_has_one_owner() -> None:
    with Endpoint("tcp://127.0.0.1:*") as first:
        assert not first.address.endswith("*")
        with pytest.raises(EndpointInUseError, match=first.address):
            Endpoint(first.address)
    with Endpoint(first.address) as again:
        assert again.address == first.address


def test_a_foreign_programs_endpoint_is_in_use(tmp_path: Path) -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as other:
        port = other.bind_to_random_port("tcp://127.0.0.1")
        with pytest.raises(EndpointInUseError, match=str(port)):
            Endpoint(f"tcp://127.0.0.1:{port}")
        other.bind(f"ipc://{tmp_path}/taken")
        with pytest.raises(EndpointInUseError, match="taken"):
            Endpoint(f"ipc://{tmp_path}/taken")


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"publish\.bind: cannot bind tcp://192\.0\.2\.1:5555"):
        Endpoint("tcp://192.0.2.1:5555")
