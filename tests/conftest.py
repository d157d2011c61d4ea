from __future__ import annotations

import os
from pathlib import Path

import pytest
from leftovers import place
from rtsp_fixture import rtsp_available, rtsp_server

__all__ = ["place", "rtsp_available", "rtsp_server"]

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
