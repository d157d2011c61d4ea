from __future__ import annotations

import socket
from pathlib import Path

import pytest

from streamseg.doctor import Check, check_installed, check_package, check_shared_memory, examine


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights and no display."""
    monkeypatch.setenv("STREAMSEG_CACHE", str(tmp_path / "cache"))
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


def found(bind: str = "tcp://127.0.0.1:*") -> dict[str, Check]:
    return {check.name: check for check in examine(bind).checks}


def test_a_pipeline_can_run_without_weights_and_display(tmp_path: Path) -> None:
    diagnosis = examine("tcp://127.0.0.1:*")
    assert diagnosis.can_run
    checks = found()
    assert len(checks) == len(diagnosis.checks)
    missing = checks["weights of mobilesam"]
    assert not missing.ok
    assert missing.detail == "not in the cache"
    assert missing.remedy is not None
    assert missing.remedy.startswith("streamseg weights fetch mobilesam;")
    assert not checks["display"].ok
    assert (checks["display"].remedy or "").startswith("record with --record")
    assert "onnxruntime in fp32" in checks["backends"].detail
    assert checks["threads"].detail.startswith("capture 1, detect ")
    assert not (tmp_path / "cache").exists(), "nothing is downloaded, and nothing is made"


def test_damaged_weights_are_not_reported_as_absent(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "mobile_sam.pt").write_bytes(b"half")
    assert (
        "the file mobile_sam.pt in the cache is not the one: it has 4 bytes" in found()["weights of mobilesam"].detail
    )


def test_no_pipeline_can_run_where_its_endpoint_is_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        bind = f"tcp://127.0.0.1:{foreign.getsockname()[1]}"
        assert not examine(bind).can_run
        endpoint = found(bind)["endpoint"]
    assert (endpoint.ok, endpoint.needed, endpoint.detail) == (False, True, f"{bind} is in use")
    assert (endpoint.remedy or "").startswith("end the program that has it")


def test_a_package_that_is_absent_or_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_library.py").write_text(
        "raise OSError('libGL.so.1: cannot open shared object file')", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for module, reason, remedy in (
        ("broken_library", "libGL.so.1", "pip install --force-reinstall that-library"),
        ("absent_library", "not installed", "pip install 'streamseg[run]'"),
    ):
        check = check_package(module, ("that-library", "its-other-name"))
        assert (check.name, check.ok, check.needed) == ("that-library", False, True)
        assert reason in check.detail
        assert check.remedy == remedy
    optional = check_installed("absent-library", "for speed", "pip install it")
    assert (optional.ok, optional.needed, optional.remedy) == (False, False, "pip install it")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs Linux's /proc, a folder without room")
def test_a_folder_without_room_for_frames() -> None:
    check = check_shared_memory(Path("/proc"))
    assert (check.ok, check.needed) == (False, True)
    assert "0 MiB free" in check.detail
    assert "--shm-size" in (check.remedy or "")
