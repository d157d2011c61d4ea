from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest
from support import selection
from support.checkpoints import (
    blob_weights,
    export_cache,
    mobile_sam,
    mobile_sam_blobs,
    oracle,
    seeded_weights,
    shared_files,
)
from support.leftovers import place
from support.rtsp_fixture import rtsp_available, rtsp_server
from support.selection import no_process
from support.torch_speed import keep_memory
from support.virtual_display import display
from support.wheel import light, small, wheel, whole

__all__ = [
    "blob_weights",
    "display",
    "export_cache",
    "light",
    "mobile_sam",
    "mobile_sam_blobs",
    "no_process",
    "oracle",
    "place",
    "rtsp_available",
    "rtsp_server",
    "seeded_weights",
    "shared_files",
    "small",
    "wheel",
    "whole",
]

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


def pytest_addoption(parser: pytest.Parser) -> None:
    selection.add_options(parser)


def pytest_configure() -> None:
    keep_memory()
    # A busy machine is no fault of an example.
    hypothesis.settings.register_profile("without a clock", deadline=None)
    hypothesis.settings.load_profile("without a clock")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if selection.is_left_out(collection_path, config) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    selection.select(config, items)
    selection.slow_first(items)
