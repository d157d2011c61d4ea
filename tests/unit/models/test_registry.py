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
from streamseg.models.options import SAM_MODELS, Compute, SegmenterSettings
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
        SegmenterSettings(model="mobilesam", weights=str(mobile_sam), backend="torch", imgsz=512),
        Compute(device="cpu", threads=torch.get_num_threads()),
    )
    assert segmenter.name == "mobilesam"
    box = Detection(xyxy=(8.0, 8.0, 40.0, 30.0), confidence=1.0, class_id=0, class_name="thing")
    answers = segmenter.decode(segmenter.encode(np.full((48, 64, 3), 90, np.uint8)), [box, box])
    assert len(answers) == 2


@pytest.mark.parametrize("model", ["sam-vit-b", "sam-vit-l", "sam-vit-h"])
def test_the_checkpoint_must_match_the_model(mobile_sam: Path, model: str) -> None:
    with pytest.raises(CheckpointError, match=model):
        create_segmenter(SegmenterSettings(model=model, weights=str(mobile_sam)), Compute())


def test_the_device_must_exist(mobile_sam: Path) -> None:
    with pytest.raises(UsageError, match="'cuda:99'"):
        create_segmenter(SegmenterSettings(model="mobilesam", weights=str(mobile_sam)), Compute(device="cuda:99"))


def test_unknown_models_missing_files_and_bad_values_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"^segmenter\.model: 'sam3' is unknown; expected auto, mobilesam, sam-vit-b"
    ):
        create_segmenter(SegmenterSettings(model="sam3"), Compute())
    with pytest.raises(CheckpointError, match=r"gone\.onnx: No such file or directory"):
        create_segmenter(SegmenterSettings(model="nano", weights=str(tmp_path / "gone.onnx")), Compute())
    with pytest.raises(WeightsError, match=r"gone\.pt is not a file"):
        create_segmenter(SegmenterSettings(model="mobilesam", weights=str(tmp_path / "gone.pt")), Compute())
    for wrong, message in (
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
            create_segmenter(SegmenterSettings(model="mobilesam", **wrong), Compute())
    with pytest.raises(SettingsError, match=r"^threads: expected `int` >= 1"):
        create_segmenter(SegmenterSettings(model="nano"), Compute(threads=0))


def test_nano_does_not_load_torch() -> None:
    program = (
        "import sys\nfrom streamseg.models.options import Compute, SegmenterSettings\n"
        "from streamseg.models.registry import create_segmenter\n"
        "print(create_segmenter(SegmenterSettings(model='nano'), Compute()).name, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "nano False\n"
