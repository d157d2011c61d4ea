"""Selects tests: the options --quick and --full, and the order in which files run."""

from __future__ import annotations

import multiprocessing.process
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

NOT_QUICK_FIXTURES = frozenset(
    {"blob_weights", "display", "export_cache", "mobile_sam", "mobile_sam_blobs", "oracle", "place", "rtsp_available",
     "rtsp_server", "seeded_weights"}
)  # fmt: skip
"""Fixtures that start a process, or need the original SAM."""
_TESTS = Path(__file__).resolve().parents[1]
NOT_QUICK_FOLDERS = frozenset({_TESTS / "integration", _TESTS / "unit" / "bench", _TESTS / "unit" / "train"})
"""Folders whose tests start whole runs, draw and measure scenes, or train networks."""


def add_options(parser: pytest.Parser) -> None:
    """Declare --quick and --full."""
    group = parser.getgroup("streamseg")
    group.addoption("--quick", action="store_true", help="leave out tests that start a process or take long")
    group.addoption("--full", action="store_true", help="run the whole matrix of parity with the original SAM")


def is_left_out(path: Path, config: pytest.Config) -> bool:
    """Whether the options leave out a whole folder, whose modules are then not even imported."""
    return bool(config.getoption("quick")) and path in NOT_QUICK_FOLDERS


def is_quick(item: pytest.Item) -> bool:
    """Whether a test needs neither whole runs nor the original SAM nor much time; `no_process` skips some of these."""
    fixtures = set(getattr(item, "fixturenames", ()))
    return not (fixtures & NOT_QUICK_FIXTURES or item.get_closest_marker("slow"))


def select(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Remove the tests that the options leave out."""
    quick, full = bool(config.getoption("quick")), bool(config.getoption("full"))
    left_out = [
        item for item in items if (quick and not is_quick(item)) or (not full and item.get_closest_marker("full"))
    ]
    config.hook.pytest_deselected(items=left_out)
    dropped = set(left_out)
    items[:] = [item for item in items if item not in dropped]


def slow_first(items: list[pytest.Item]) -> None:
    """Move modules with slow tests to the front, so that no worker starts one when the other has nothing left to do."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def no_process(request: pytest.FixtureRequest) -> Iterator[None]:
    """With --quick, a test that starts a process is skipped where it does so."""

    def refuse(*_given: object, **_named: object) -> None:
        pytest.skip("starts a process, which --quick leaves out")

    with pytest.MonkeyPatch.context() as patch:
        if request.config.getoption("quick"):
            patch.setattr(subprocess.Popen, "__init__", refuse)
            patch.setattr(multiprocessing.process.BaseProcess, "start", refuse)
        yield
