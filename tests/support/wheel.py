"""The wheel, and environments that hold it with what its own metadata requires, as `pip install` makes them.

The required packages are links to those of the environment of the tests, so that nothing is downloaded.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
_TIMEOUT_S = 120


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel holds."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(build, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


class Installation:
    """A virtual environment with a wheel, what it requires with some extras, and nothing else.

    Attributes:
        python: The environment's interpreter.
        distributions: The wheel and what it requires.
    """

    def __init__(self, folder: Path, wheel: Path, *extras: str) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self.python = folder / "bin" / "python"
        (packages,) = folder.glob("lib/python*/site-packages")
        (information,) = wheel.glob("*.dist-info")
        self.distributions = _with_requirements(PathDistribution(information), frozenset(extras))
        for one in self.distributions:
            for name in {file.parts[0] for file in one.files or ()} - {".."}:
                if not (packages / name).exists():
                    (packages / name).symlink_to(str(one.locate_file(name)))

    def run(self, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run its Python in a folder."""
        environment = {**os.environ, "PYTHONPATH": "", "CAMERA": "192.0.2.10"}
        return subprocess.run(
            [self.python, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )

    def size(self) -> int:
        """Bytes of all installed files."""
        paths = (Path(str(file.locate())) for one in self.distributions for file in one.files or ())
        return sum(path.stat().st_size for path in paths if path.is_file())


@pytest.fixture(scope="session")
def light(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """What `pip install` makes of the wheel without extras."""
    return Installation(tmp_path_factory.mktemp("light"), wheel)


@pytest.fixture(scope="session")
def whole(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """What `pip install` makes of the wheel with the pipeline."""
    return Installation(tmp_path_factory.mktemp("whole"), wheel, "run")


@pytest.fixture(scope="session")
def small(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """What `pip install` makes of the wheel with the demo: the pipeline without PyTorch."""
    return Installation(tmp_path_factory.mktemp("small"), wheel, "demo")


def _with_requirements(wheel: Distribution, extras: frozenset[str]) -> tuple[Distribution, ...]:
    """A wheel, and the installed distributions that it requires with some of its extras."""
    found = {wheel.name: wheel}
    waiting = [(wheel, extras)]
    while waiting:
        dependent, wanted = waiting.pop()
        for text in dependent.requires or ():
            required = Requirement(text)
            if required.marker and not any(required.marker.evaluate({"extra": extra}) for extra in ("", *wanted)):
                continue
            if required.name == wheel.name:
                waiting.append((wheel, frozenset(required.extras)))
            elif required.name not in found:
                found[required.name] = distribution(required.name)
                waiting.append((found[required.name], frozenset(required.extras)))
    return tuple(found.values())
