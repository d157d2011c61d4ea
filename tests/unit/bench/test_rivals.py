from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import rivals
from benchmarks.rivals import PACKAGES, RivalError, environment, have_rivals


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("STREAMSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_without_a_network_one_line_says_so_and_nothing_half_made_is_used(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    said: list[str] = []
    for _ in range(2):
        with pytest.raises(
            RivalError, match=r"^pip could not install mobilesam-mirror==.* and ultralytics==\S+: .*$"
        ) as raised:
            have_rivals(said.append, f"http://127.0.0.1:{port}/simple")
        assert "\n" not in str(raised.value)
    assert len(said) == 2 and said[0].startswith("installing mobilesam-mirror==")


def test_the_environment_is_made_once_and_shares_what_is_here(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def create(folder: Path, *, with_pip: bool) -> None:
        assert with_pip
        made.append(folder)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        pip = folder / "lib" / f"python3.{sys.version_info[1]}" / "site-packages" / "pip"
        pip.mkdir()
        (pip / "__main__.py").write_text("import sys; assert '--no-deps' in sys.argv")

    monkeypatch.setattr("benchmarks.rivals.venv.create", create)
    python = have_rivals(lambda step: None)
    assert have_rivals(lambda step: pytest.fail("made again")) == python
    assert len(made) == 1 and python.is_relative_to(cache)
    where = subprocess.run(
        [python, "-c", "import numpy; print(numpy.__file__)"], capture_output=True, text=True, check=True
    )
    import numpy as np

    assert where.stdout.strip() == np.__file__


def test_a_cache_that_cannot_be_written_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("STREAMSEG_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(RivalError, match=r"cannot be written: .*; make room, or set STREAMSEG_CACHE"):
        have_rivals(lambda step: None)


def test_what_is_run_there_neither_sends_nor_fetches_nor_writes_elsewhere(tmp_path: Path) -> None:
    settings = environment(tmp_path)
    assert settings["YOLO_OFFLINE"] == "1" and settings["YOLO_AUTOINSTALL"] == "false"
    assert settings["YOLO_CONFIG_DIR"] == settings["MPLCONFIGDIR"] == str(tmp_path)
    assert all(version[0].isdigit() for version in PACKAGES.values())


def test_the_script_imports_nothing_of_ours() -> None:
    assert "streamseg" not in [
        line.split()[1].split(".")[0] for line in rivals.SCRIPT.read_text().splitlines() if "import " in line[:12]
    ]
