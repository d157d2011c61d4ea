"""The wheel: built, unpacked, and run from the unpacked files."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = tuple(sorted(path.stem for path in (ROOT / "configs").glob("*.yaml")))

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel holds."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(build, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.fixture
def installed(unpacked: Path, tmp_path: Path) -> Command:
    """Runs Python with the unpacked wheel before everything else, in an empty folder."""
    environment = {**os.environ, "PYTHONPATH": str(unpacked), "CAMERA": "192.0.2.10"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def files_in(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_it_holds_the_package_and_the_examples_and_nothing_else(unpacked: Path) -> None:
    package = {f"streamseg/{name}" for name in files_in(ROOT / "streamseg")}
    examples = {f"streamseg/configs/{name}" for name in files_in(ROOT / "configs")}
    assert {"streamseg/py.typed", "streamseg/wire/SPEC.md"} <= package
    assert EXAMPLES == ("demo", "file", "rtsp", "webcam")
    assert {name for name in files_in(unpacked) if ".dist-info/" not in name} == package | examples


def test_its_description_is_the_readme_and_the_licence_travels(unpacked: Path) -> None:
    (information,) = unpacked.glob("*.dist-info")
    assert (
        (information / "METADATA")
        .read_text(encoding="utf-8")
        .endswith((ROOT / "README.md").read_text(encoding="utf-8"))
    )
    assert (information / "licenses" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_it_is_the_unpacked_package_that_runs(installed: Command, unpacked: Path) -> None:
    assert installed("-c", "import streamseg; print(streamseg.__file__)").stdout.strip() == str(
        unpacked / "streamseg" / "__init__.py"
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_written_and_valid(installed: Command, tmp_path: Path, name: str) -> None:
    written = installed("-m", "streamseg.cli", "init", name)
    assert (written.returncode, written.stderr) == (0, "")
    assert (tmp_path / f"{name}.yaml").read_bytes() == (ROOT / "configs" / f"{name}.yaml").read_bytes()
    checked = installed("-m", "streamseg.cli", "check", f"{name}.yaml")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.startswith(f"{name}.yaml: valid")


def test_an_unknown_example_names_the_known_ones(installed: Command, tmp_path: Path) -> None:
    refused = installed("-m", "streamseg.cli", "init", "camera")
    assert refused.returncode == 2
    assert refused.stderr == "streamseg: 'camera' is not an example; expected one of demo, file, rtsp, webcam\n"
    assert list(tmp_path.iterdir()) == []
