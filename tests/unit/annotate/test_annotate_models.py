"""Hashes of weights in the record of a data set."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from streamseg.annotate.models import detector_hash, segmenter_hash
from streamseg.errors import WeightsError
from streamseg.models.options import DetectorSettings, SegmenterSettings


def test_the_hash_depends_on_the_content_alone(tmp_path: Path) -> None:
    own = tmp_path / "own.onnx"
    own.write_bytes(b"weights")
    expected = hashlib.sha256(b"weights").hexdigest()
    assert detector_hash(DetectorSettings(model="yolox-s", weights=str(own))) == expected
    assert detector_hash(DetectorSettings(model=str(own))) == expected
    assert segmenter_hash(SegmenterSettings(model="mobilesam", weights=str(own))) == expected
    assert segmenter_hash(SegmenterSettings(model="a-plug-in", weights=str(own))) == expected
    assert detector_hash(DetectorSettings(model="yolox-s")) is None


def test_only_plugins_may_have_weights_that_are_no_file(tmp_path: Path) -> None:
    seen = {
        segmenter_hash(SegmenterSettings(model="a-plug-in", weights=str(path)))
        for path in (tmp_path, Path("a-name"), None)
    }
    assert len(seen) == 3
    assert detector_hash(DetectorSettings(model="a-plug-in", weights=str(tmp_path))) in seen
    with pytest.raises(WeightsError, match="is not a file"):
        segmenter_hash(SegmenterSettings(model="mobilesam", weights=str(tmp_path)))
    with pytest.raises(WeightsError, match="is not a file"):
        detector_hash(DetectorSettings(model="yolox-s", weights=str(tmp_path)))
