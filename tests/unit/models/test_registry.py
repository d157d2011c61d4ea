from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from streamseg.errors import CheckpointError, SettingsError, UsageError, WeightsError
from streamseg.messages import Detection
from streamseg.models.catalogue import CATALOGUE
from streamseg.models.options import SAM_MODELS, SegmenterOptions
from streamseg.models.registry import create_segmenter
from streamseg.models.segmenters.sam import IMAGE_ENCODERS


@pytest.fixture(autouse=True)
def shared_exports(export_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMSEG_CACHE", str(export_cache))


def test_every_network_has_a_name_and_weights() -> None:
    assert tuple(IMAGE_ENCODERS) == SAM_MODELS
    assert set(SAM_MODELS) < {weights.name for weights in CATALOGUE}


def test_a_checkpoint_becomes_a_segmenter(mobile_sam: Path) -> None:
    segmenter = create_segmenter(
        SegmenterOptions("mobilesam", mobile_sam, device="cpu", threads=torch.get_num_threads())
    )
    assert segmenter.name == "mobilesam"
    box = Detection(xyxy=(8.0, 8.0, 40.0, 30.0), confidence=1.0, class_id=0, class_name="thing")
    answers = segmenter.decode(segmenter.encode(np.full((48, 64, 3), 90, np.uint8)), [box, box])
    assert len(answers) == 2


@pytest.mark.parametrize("model", ["sam-vit-b", "sam-vit-l", "sam-vit-h"])
def test_the_checkpoint_must_be_the_models(mobile_sam: Path, model: str) -> None:
    with pytest.raises(CheckpointError, match=model):
        create_segmenter(SegmenterOptions(model, mobile_sam))


def test_the_device_must_exist(mobile_sam: Path) -> None:
    with pytest.raises(UsageError, match="'cuda:99'"):
        create_segmenter(SegmenterOptions("mobilesam", mobile_sam, device="cuda:99"))


def test_what_cannot_be_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"^segmenter\.model: 'sam3' is unknown; expected auto, mobilesam, sam-vit-b"
    ):
        create_segmenter(SegmenterOptions("sam3"))
    with pytest.raises(CheckpointError, match=r"gone\.onnx: No such file or directory"):
        create_segmenter(SegmenterOptions("nano", tmp_path / "gone.onnx"))
    with pytest.raises(WeightsError, match=r"gone\.pt is not a file"):
        create_segmenter(SegmenterOptions("mobilesam", tmp_path / "gone.pt"))
    for wrong, message in (
        ({"threads": 0}, r"^threads: 0 is not positive"),
        (
            {"backend": "tensorrt"},
            r"^segmenter\.backend: 'tensorrt' is not a choice; expected one of auto, torch, onnxruntime, openvino",
        ),
        (
            {"precision": "int4"},
            r"^segmenter\.precision: 'int4' is not a choice; expected one of auto, fp32, bf16, fp16",
        ),
        ({"imgsz": 640}, r"^segmenter\.imgsz: 640 is not a choice; expected one of 512, 768, 1024"),
    ):
        with pytest.raises(SettingsError, match=message):
            SegmenterOptions("mobilesam", **wrong)


def test_nano_does_not_load_torch() -> None:
    program = (
        "import sys\nfrom streamseg.models.options import SegmenterOptions\nfrom streamseg.models.registry import create_segmenter\n"
        "print(create_segmenter(SegmenterOptions('nano')).name, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "nano False\n"
