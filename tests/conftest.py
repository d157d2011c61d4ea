from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.leftovers import place
from support.oracle import blob_checkpoint, rescore, seeded_checkpoint
from support.rtsp_fixture import rtsp_available, rtsp_server
from support.virtual_display import display

__all__ = ["display", "place", "rtsp_available", "rtsp_server"]

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Footage and weights that do not travel with the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the test data beside the checkout ({SHARED_DATA.parent.name}/{SHARED_DATA.name})")
    return SHARED_DATA


@pytest.fixture(scope="session")
def continuous_integration() -> bool:
    """Whether nothing that can be installed may be skipped."""
    return os.environ.get("CI") == "true"


@pytest.fixture(scope="session")
def mobile_sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of MobileSAM with random weights, which takes the one mask for clear prompts to be good."""
    path = tmp_path_factory.mktemp("weights") / "mobile_sam.pt"
    seeded_checkpoint(path, seed=3)
    rescore(path, (3, 0, 0, 0))
    return path


@pytest.fixture(scope="session")
def mobile_sam_blobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of MobileSAM whose masks are a few blobs, other ones for other boxes; it takes the one for clear prompts to be poor."""
    path = tmp_path_factory.mktemp("weights") / "blobs.pt"
    blob_checkpoint(path, seed=3)
    # Numbers of less than float32 must not decide which of the three is the best.
    rescore(path, (0, 0, 1, 0))
    return path


@pytest.fixture(scope="session")
def export_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that all tests share, so that a network is exported once."""
    return tmp_path_factory.mktemp("cache")
