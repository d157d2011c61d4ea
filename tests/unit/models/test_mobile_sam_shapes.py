"""Which networks MobileSAM keeps loaded, without any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.empty_exports import export_empty_files

from streamseg.models import ShapedSegmenter
from streamseg.models.options import Compute, SegmenterSettings
from streamseg.models.runtime.base import Network, Runtime
from streamseg.models.segmenters.mobile_sam import export, segmenter
from streamseg.models.segmenters.mobile_sam.segmenter import MobileSam

SHAPES = ((90, 160), (160, 90), (120, 160), (90, 210), (90, 320))


class NoGraph:
    """A network that computes nothing."""

    def run(self, inputs: Sequence[object]) -> list[NDArray[np.float32]]:
        return [np.zeros(1, np.float32)]

    def to_numpy(self, value: NDArray[np.float32]) -> NDArray[np.float32]:
        return value


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Counter[str]:
    """How often each encoder was loaded, by its file."""
    counts: Counter[str] = Counter()

    def load(network: Network, runtime: Runtime) -> NoGraph:
        name = network.exported().name
        counts[name] += name.startswith("encoder")
        return NoGraph()

    monkeypatch.setenv("STREAMSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(export.Exports, "_export", export_empty_files)
    monkeypatch.setattr(segmenter, "load", load)
    return counts


@pytest.mark.parametrize(("sources", "times"), [(1, 4), (4, 4), (5, 1)])
def test_pictures_of_as_many_shapes_as_there_are_sources_do_not_evict_each_other(
    tmp_path: Path, loaded: Counter[str], sources: int, times: int
) -> None:
    (tmp_path / "weights.pt").write_bytes(b"weights")
    model = MobileSam(tmp_path / "weights.pt", SegmenterSettings(backend="onnxruntime"), Compute(device="cpu"))
    assert isinstance(model, ShapedSegmenter)
    model.keep_shapes(sources)
    for _ in range(4):
        for height, width in SHAPES:
            model.encode(np.zeros((height, width, 3), np.uint8))
    encoders = +loaded
    assert len(encoders) == len(SHAPES)
    assert max(encoders.values()) == times
    model.keep_shapes(0)
    before = encoders.total()
    for height, width in SHAPES[:3] * 2:
        model.encode(np.zeros((height, width, 3), np.uint8))
    assert (+loaded).total() <= before + 3, "three are always kept"
