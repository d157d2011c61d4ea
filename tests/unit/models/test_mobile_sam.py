from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.empty_exports import export_empty_files
from support.oracle import clouds

from streamseg.errors import BackendError, CheckpointError
from streamseg.messages import Detection, Image, ObjectMask
from streamseg.models.options import Backend, Compute, Precision, SegmenterSettings
from streamseg.models.runtime.base import Graph, Network, Runtime
from streamseg.models.runtime.loading import load
from streamseg.models.runtime.selection import candidates
from streamseg.models.segmenters.mobile_sam import export, loaded_grids, segmenter
from streamseg.models.segmenters.mobile_sam.input_grid import InputGrid
from streamseg.models.segmenters.mobile_sam.segmenter import MobileSam
from streamseg.models.segmenters.sam import ImageEmbedding, Sam

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SIZE = (360, 640)
BOXES = 20
CPU = Compute(device="cpu", threads=1)
OFFERED = dict.fromkeys(
    [
        *((one.backend, one.precision) for one in candidates(SegmenterSettings(), CPU)),
        ("openvino", "fp32"),
        ("torch", "fp32"),
    ]
)


@pytest.fixture(autouse=True)
def shared_exports(export_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMSEG_CACHE", str(export_cache))


def scene(height: int = SIZE[0], width: int = SIZE[1], seed: int = 2) -> Image:
    """Clouds with things on them that have borders."""
    picture: Image = np.asarray(cv2.GaussianBlur(clouds(height, width, seed), (5, 5), 0), np.uint8)
    random = np.random.default_rng(seed)
    for _ in range(6):
        centre = (int(random.integers(0, width)), int(random.integers(0, height)))
        axes = (int(random.integers(width // 20, width // 6)), int(random.integers(height // 20, height // 6)))
        cv2.ellipse(
            picture, centre, axes, float(random.uniform(0, 180)), 0, 360, random.integers(0, 256, 3).tolist(), -1
        )
    return picture


def boxes(count: int, height: int = SIZE[0], width: int = SIZE[1]) -> list[Detection]:
    random = np.random.default_rng(count)
    found = []
    for _ in range(count):
        across, down = random.uniform(width / 10, width / 2), random.uniform(height / 10, height / 1.5)
        left, top = random.uniform(0, width - across), random.uniform(0, height - down)
        found.append(
            Detection(xyxy=(left, top, left + across, top + down), confidence=1.0, class_id=0, class_name="thing")
        )
    return found


def bitmaps(answers: list[ObjectMask], height: int = SIZE[0], width: int = SIZE[1]) -> NDArray[np.bool_]:
    """Shape (answers, height, width)."""
    empty = np.zeros((height, width), np.bool_)
    return np.stack([empty if answer.mask is None else answer.mask.paste(height, width) for answer in answers])


def agreement(found: NDArray[np.bool_], expected: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """IoU of each mask, and which of them cover 2 to 60 % of the picture."""
    cover = expected.mean(axis=(1, 2))
    union = (found | expected).sum(axis=(1, 2))
    return (found & expected).sum(axis=(1, 2)) / np.maximum(union, 1), (cover >= 0.02) & (cover <= 0.6)


@dataclass(frozen=True)
class Reference:
    """The reference with a file of weights, its embedding of the scene, and its masks of the boxes."""

    model: Sam
    embedding: ImageEmbedding
    masks: list[ObjectMask]

    @classmethod
    def of(cls, weights: Path) -> Reference:
        model = Sam.load(weights, threads=1)
        embedding = model.encode(scene())
        return cls(model, embedding, model.decode(embedding, boxes(BOXES)))


@pytest.fixture(scope="module")
def noise_reference(mobile_sam: Path) -> Reference:
    return Reference.of(mobile_sam)


@pytest.fixture(scope="module")
def blobs_reference(mobile_sam_blobs: Path) -> Reference:
    return Reference.of(mobile_sam_blobs)


each_kind = pytest.mark.parametrize("kind", ["noise", pytest.param("blobs", marks=pytest.mark.full)])


@each_kind
def test_one_of_the_files_has_good_masks_for_clear_prompts_and_the_other_poor_ones(
    kind: str, request: pytest.FixtureRequest
) -> None:
    reference: Reference = request.getfixturevalue(f"{kind}_reference")
    poor = kind == "blobs"
    prompts = reference.embedding.prompts(boxes=[box.xyxy for box in boxes(3)])
    prediction = reference.model.predict(reference.embedding, prompts, multimask=poor)
    wanted = [candidates[1 if poor else 0] for candidates in reference.model.masks(reference.embedding, prediction)]
    taken = reference.model.decode(reference.embedding, boxes(3))
    np.testing.assert_array_equal(bitmaps(taken), bitmaps(wanted))


@each_kind
@pytest.mark.parametrize(("backend", "precision"), OFFERED)
def test_every_backend_and_precision_agrees_with_the_reference(
    backend: Backend,
    precision: Precision,
    kind: str,
    request: pytest.FixtureRequest,
) -> None:
    weights: Path = request.getfixturevalue("mobile_sam" if kind == "noise" else "mobile_sam_blobs")
    reference: Reference = request.getfixturevalue(f"{kind}_reference")
    model = MobileSam(weights, SegmenterSettings(backend=backend, precision=precision), CPU)
    assert (model.backend, model.precision, model.name) == (backend, precision, "mobilesam")
    assert model.describe() == f"mobilesam ({backend}, {precision}, 1 thread)"
    answers = model.decode(model.encode(scene()), boxes(BOXES))
    iou, counted = agreement(bitmaps(answers), bitmaps(reference.masks))
    assert counted.sum() >= 5
    assert iou[counted].mean() >= 0.99
    pairs = [pair for pair, counts in zip(zip(answers, reference.masks, strict=True), counted, strict=True) if counts]
    assert np.mean([abs((found.predicted_iou or 0) - (wanted.predicted_iou or 0)) for found, wanted in pairs]) <= 0.02
    assert np.mean([abs((found.stability or 0) - (wanted.stability or 0)) for found, wanted in pairs]) <= 0.02


@pytest.mark.full
def test_the_whole_input_in_float32_gives_the_references_masks(mobile_sam: Path, noise_reference: Reference) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        model = MobileSam(mobile_sam, SegmenterSettings(backend="torch", precision="fp32"), CPU, square=True)
        assert torch.get_num_threads() == CPU.threads
    finally:
        torch.set_num_threads(before)
    found = bitmaps(model.decode(model.encode(scene()), boxes(BOXES)))
    assert (found != bitmaps(noise_reference.masks)).mean() < 1e-4


def test_boxes_are_decoded_in_batches_as_they_are_alone(mobile_sam: Path) -> None:
    model = MobileSam(mobile_sam, SegmenterSettings(backend="onnxruntime"), CPU)
    first = model.encode(scene())
    together = bitmaps(model.decode(first, boxes(9)))
    alone = np.concatenate([bitmaps(model.decode(first, [box])) for box in boxes(9)])
    assert (together != alone).mean() < 1e-4
    assert together.any(axis=(1, 2)).all()
    # No boxes, no masks; and an embedding outlives the next frame.
    assert model.decode(first, []) == []
    before = bitmaps(model.decode(first, boxes(2)))
    second = model.encode(scene(seed=5))
    np.testing.assert_array_equal(bitmaps(model.decode(first, boxes(2))), before)
    assert (bitmaps(model.decode(second, boxes(2))) != before).any()


@pytest.mark.full
def test_an_upright_picture_has_the_references_masks(mobile_sam: Path) -> None:
    picture, asked = scene(640, 360), boxes(12, 640, 360)
    reference = Sam.load(mobile_sam, threads=1)
    wanted = bitmaps(reference.decode(reference.encode(picture), asked), 640, 360)
    model = MobileSam(mobile_sam, SegmenterSettings(backend="onnxruntime"), CPU)
    iou, counted = agreement(bitmaps(model.decode(model.encode(picture), asked), 640, 360), wanted)
    assert counted.any()
    assert iou[counted].mean() >= 0.99


def test_a_picture_on_a_larger_grid_has_the_masks_of_its_own(mobile_sam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = MobileSam(mobile_sam, SegmenterSettings(backend="onnxruntime"), CPU)

    def masks() -> list[NDArray[np.bool_]]:
        return [
            bitmaps(model.decode(model.encode(scene(*size)), boxes(12, *size)), *size) for size in (SIZE, SIZE[::-1])
        ]

    own = masks()
    model._grids.clear()
    monkeypatch.setattr(loaded_grids, "_LOADED", 1)
    masks()  # loads the whole input
    for found, expected in zip(masks(), own, strict=True):
        iou, counted = agreement(found, expected)
        assert counted.any()
        assert iou[counted].mean() >= 0.99
    assert list(model._grids._networks) == [InputGrid.whole(1024)]


def test_a_smaller_input_has_masks_too(mobile_sam: Path) -> None:
    small = MobileSam(mobile_sam, SegmenterSettings(backend="torch", precision="fp32", imgsz=512), CPU)
    found = bitmaps(small.decode(small.encode(scene(640, 360)), boxes(12, 640, 360)), 640, 360)
    assert found.any(axis=(1, 2)).any()


class NoGraph:
    """A network that computes nothing."""

    def run(self, inputs: Sequence[object]) -> list[NDArray[np.float32]]:
        return [np.zeros(1, np.float32)]

    def to_numpy(self, value: NDArray[np.float32]) -> NDArray[np.float32]:
        return value


def test_the_first_picture_of_each_shape_is_exported_for(
    mobile_sam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMSEG_CACHE", str(tmp_path))
    monkeypatch.setattr(export.Exports, "_export", export_empty_files)
    monkeypatch.setattr(segmenter, "load", lambda network, runtime: NoGraph())
    exported: list[int] = []
    settings = SegmenterSettings(backend="onnxruntime")
    model = MobileSam(
        mobile_sam, settings, CPU, exporting=lambda done, total: exported.append(done) if done == total else None
    )
    counts = [len(exported)]
    for height, width in ((90, 160), (160, 90), (320, 180), (90, 160), (90, 90)):
        model.encode(scene(height, width))
        counts.append(len(exported))
    assert counts == [1, 1, 2, 2, 2, 3]


def test_a_backend_that_fails_gives_way_with_a_warning(
    mobile_sam: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail_in_onnxruntime(network: Network, runtime: Runtime) -> Graph:
        if runtime.backend == "onnxruntime":
            raise BackendError("onnxruntime in fp32 failed: no such operator")
        return load(network, runtime)

    available = [Runtime("onnxruntime", "fp32", 1), Runtime("torch", "fp32")]
    monkeypatch.setattr(segmenter, "load", fail_in_onnxruntime)
    monkeypatch.setattr(segmenter, "candidates", lambda settings, compute: available)
    monkeypatch.setattr(export.Exports, "ensure", lambda exports, grids, progress: None)
    with caplog.at_level(logging.WARNING):
        model = MobileSam(mobile_sam, SegmenterSettings(imgsz=512), CPU)
    assert model.backend == "torch"
    assert [record.getMessage() for record in caplog.records] == [
        f"onnxruntime in fp32 failed: no such operator; using torch in {model.precision} instead"
    ]
    assert bitmaps(model.decode(model.encode(scene()), boxes(1))).any()
    del available[1]
    with pytest.raises(BackendError, match="no such operator"):
        MobileSam(mobile_sam, SegmenterSettings(imgsz=512), CPU)


def test_an_export_is_made_once_and_only_by_another_process(
    mobile_sam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom streamseg.models.segmenters.mobile_sam.segmenter import MobileSam\n"
        "from streamseg.models.options import Backend, Compute, Precision, SegmenterSettings\n"
        "MobileSam(Path(sys.argv[1]), SegmenterSettings(backend='onnxruntime'), Compute(device='cpu'))\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, mobile_sam], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout == "False\n"
    exports = export.Exports.of(mobile_sam)
    written = {path.name: path.stat().st_mtime_ns for path in exports.folder.iterdir()}
    assert not [name for name in written if name.endswith(".part")]
    subprocess.run([sys.executable, "-c", program, mobile_sam], capture_output=True, timeout=300, check=True)
    assert {path.name: path.stat().st_mtime_ns for path in exports.folder.iterdir()} == written
    other = tmp_path / "other.pt"
    other.write_bytes(mobile_sam.read_bytes() + b" ")
    assert export.Exports.of(other).folder != exports.folder
    monkeypatch.setattr(export, "FORMAT", export.FORMAT + 1)
    assert export.Exports.of(mobile_sam).folder != exports.folder


def test_what_is_not_mobilesam_cannot_be_exported(tmp_path: Path) -> None:
    junk = tmp_path / "junk.pt"
    junk.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"^\S*junk\.pt is not a PyTorch checkpoint"):
        MobileSam(junk, SegmenterSettings(backend="onnxruntime"), CPU)
