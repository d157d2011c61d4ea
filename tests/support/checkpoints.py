"""Checkpoints and exports that all tests of a session share, also where the session has several workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from support.oracle import Oracle


class SharedFiles:
    """A folder of the whole session: a file in it is written once, by the worker that needs it first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def once(self, name: str, write: Callable[[Path], None]) -> Path:
        """The path of the file; `write` makes it where no worker has yet."""
        path = self.folder / name
        with FileLock(self.folder / f"{name}.lock"):
            if not path.exists():
                unfinished = path.with_name(f"unfinished-{name}")
                write(unfinished)
                unfinished.rename(path)
        return path


@pytest.fixture(scope="session")
def shared_files(tmp_path_factory: pytest.TempPathFactory) -> SharedFiles:
    """The folder that the session's workers share."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    (folder / "shared").mkdir(exist_ok=True)
    return SharedFiles(folder / "shared")


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    """The original MobileSAM and SAM."""
    oracle = Oracle(tmp_path_factory.mktemp("oracle"))
    yield oracle
    oracle.close()


@pytest.fixture(scope="session")
def seeded_weights(shared_files: SharedFiles, oracle: Oracle) -> Path:
    """A checkpoint of MobileSAM with random weights whose masks are neither empty nor the whole picture."""
    return shared_files.once("seeded.pt", lambda path: oracle.write_checkpoint(path, seed=2))


@pytest.fixture(scope="session")
def blob_weights(shared_files: SharedFiles, oracle: Oracle) -> Path:
    """A checkpoint of MobileSAM whose masks are a few blobs, different for each prompt."""
    return shared_files.once("blobs.pt", lambda path: oracle.write_blob_checkpoint(path, seed=2))


@pytest.fixture(scope="session")
def mobile_sam(shared_files: SharedFiles, oracle: Oracle) -> Path:
    """A checkpoint of MobileSAM with random weights that predicts a good IoU for the one mask of a clear prompt."""
    return shared_files.once("mobile_sam.pt", lambda path: oracle.write_checkpoint(path, seed=3, added=(3, 0, 0, 0)))


@pytest.fixture(scope="session")
def mobile_sam_blobs(shared_files: SharedFiles, oracle: Oracle) -> Path:
    """A checkpoint of MobileSAM whose masks are a few blobs; it predicts a poor IoU for the one of a clear prompt."""
    # Differences below float32's precision must not decide which of the three masks is the best.
    return shared_files.once(
        "mobile_sam_blobs.pt", lambda path: oracle.write_blob_checkpoint(path, seed=3, added=(0, 0, 1, 0))
    )


@pytest.fixture(scope="session")
def export_cache(shared_files: SharedFiles) -> Path:
    """A cache folder for all tests that use an export but do not test exporting, so that it is made once."""
    folder = shared_files.folder / "cache"
    folder.mkdir(exist_ok=True)
    return folder
