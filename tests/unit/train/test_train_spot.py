"""Training of spot on drawn discs and squares."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
import pytest
import torch

from streamseg.categories import COCO_CLASSES
from streamseg.errors import CheckpointError, DataError, UsageError
from streamseg.models.detectors.spot import shipped_network
from streamseg.models.detectors.yolox import YoloxDetector
from streamseg.models.options import Compute, DetectorSettings
from streamseg.models.trained_on import TrainedOn
from streamseg.train.spot import export, scenes, training
from streamseg.train.spot.export import read_network, write_network
from streamseg.train.spot.labels import read_labels
from streamseg.train.spot.network import SpotNetwork, decode, grid_cells
from streamseg.train.spot.training import SpotOptions, measure, train_spot

CLASSES = ("disc", "square")
PHOTOGRAPHS = 10


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        for module in (scenes, training):
            patch.setattr(module, "BATCH", 4)
        patch.setattr(scenes, "SIZES", ((96, 128), (64, 96)))
        patch.setattr(export, "INPUT_SIDE", 128)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a COCO file and its pictures: a disc and a square on noise."""
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "images").mkdir()
    random = np.random.default_rng(1)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number in range(PHOTOGRAPHS):
        picture = random.integers(60, 120, (96, 128, 3)).astype(np.uint8)
        for place, name in enumerate(CLASSES):
            side = int(random.integers(24, 40))
            left, top = int(random.integers(0, 60 - side)) + 64 * place, int(random.integers(0, 96 - side))
            if name == "disc":
                cv2.circle(picture, (left + side // 2, top + side // 2), side // 2, (40, 40, 230), -1)
            else:
                cv2.rectangle(picture, (left, top), (left + side - 1, top + side - 1), (230, 60, 40), -1)
            box = [left, top, side, side]
            annotations.append({"id": len(annotations), "image_id": number, "category_id": place + 1, "bbox": box})
        cv2.imwrite(str(folder / "images" / f"{number}.png"), picture)
        images.append({"id": number, "file_name": f"{number}.png", "width": 128, "height": 96})
    categories = [{"id": place + 1, "name": name} for place, name in enumerate(CLASSES)]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "coco.json").write_bytes(msgspec.json.encode(coco))
    return folder


@pytest.fixture
def options(data: Path, tmp_path: Path) -> SpotOptions:
    return SpotOptions(
        data=(data / "coco.json",), images=(data / "images",), output=tmp_path / "mine.onnx",
        passes=30, seed=3, device="cpu", workers=0,
    )  # fmt: skip


def ignore(done: int, total: int) -> None:
    pass


def test_a_trained_detector_finds_and_names_what_it_was_trained_on(options: SpotOptions, data: Path) -> None:
    lines: list[str] = []
    trained = train_spot(options, ignore, lines.append)
    assert lines[0] == ("training on 8 photographs with 16 objects of 2 classes, on cpu; 2 photographs are held out")
    assert (trained.photographs, trained.held_out) == (8, 2)
    assert trained.precision is not None and trained.precision.mean > 0.8
    detector = YoloxDetector(DetectorSettings(model=str(options.output), imgsz=128), Compute(threads=1), options.output)
    assert detector.classes == CLASSES
    photograph = read_labels(data / "coco.json", data / "images").photographs[4]
    names = {one.class_name for one in detector.detect(photograph.read())}
    assert names <= set(CLASSES)
    assert not options.output.with_name("mine.onnx.checkpoint").exists()


def test_a_stopped_training_ends_in_the_same_file(options: SpotOptions) -> None:
    options = replace(options, passes=1)
    train_spot(options, ignore, lambda line: None)
    whole = options.output.read_bytes()
    options.output.unlink()

    def stop(done: int, total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_spot(options, stop, lambda line: None)
    lines: list[str] = []
    train_spot(options, ignore, lines.append)
    assert any(line.startswith("resuming with batch 8 of 20") for line in lines)
    assert options.output.read_bytes() == whole


def test_the_file_gives_the_networks_boxes_at_any_size_and_is_read_back(tmp_path: Path) -> None:
    torch.manual_seed(1)
    path = tmp_path / "spot.onnx"
    write_network(SpotNetwork(2).eval(), CLASSES, TrainedOn(frozenset()), path)
    assert path.stat().st_size < 2e6
    picture = np.random.default_rng(1).integers(0, 256, (96, 160, 3), np.uint8)
    detector = YoloxDetector(DetectorSettings(model=str(path), imgsz=160), Compute(threads=1), path)
    rows = detector.infer(detector.preprocess(picture))
    again = read_network(path, CLASSES).eval()
    with torch.no_grad():
        expected = again(torch.from_numpy(picture).permute(2, 0, 1)[None].float())[0]
    np.testing.assert_allclose(rows[:, :4], expected[:, :4], atol=1e-3)
    np.testing.assert_allclose(rows[:, 4:], expected[:, 4:].sigmoid(), atol=1e-4)
    assert decode(expected[None], grid_cells(96, 160)).shape == (1, len(rows), 4)


def test_known_classes_keep_their_weights_wherever_they_stand_and_new_ones_start_rare() -> None:
    whole = read_network(shipped_network(), COCO_CLASSES).state_dict()
    own = read_network(shipped_network(), ("pallet", "person", "cup")).state_dict()
    weight, bias = (f"heads.0.classes.{name}" for name in ("weight", "bias"))
    for row, name in ((1, "person"), (2, "cup")):
        place = COCO_CLASSES.index(name)
        assert torch.equal(own[weight][row], whole[weight][place]) and own[bias][row] == whole[bias][place]
    assert own[bias][0].item() == pytest.approx(math.log(0.01 / 0.99))


def test_a_file_of_another_network_is_one_line(tmp_path: Path) -> None:
    model = onnx.load(shipped_network())
    model.graph.node.remove(next(node for node in model.graph.node if node.op_type == "Conv"))
    other = tmp_path / "other.onnx"
    onnx.save(model, other)
    with pytest.raises(CheckpointError, match="is not a network of spot"):
        read_network(other, COCO_CLASSES)


def test_photographs_with_gaps_in_their_labels_need_a_teacher(options: SpotOptions, data: Path, tmp_path: Path) -> None:
    coco = msgspec.json.decode((data / "coco.json").read_bytes())
    for image in coco["images"]:
        image["exhaustive"] = ["disc"]
    (tmp_path / "partly.json").write_bytes(msgspec.json.encode(coco))
    with pytest.raises(DataError, match="no photograph has an object of these classes"):
        train_spot(replace(options, data=(tmp_path / "partly.json",)), ignore, lambda line: None)


def test_photographs_are_held_out_from_the_first_file_alone(options: SpotOptions, data: Path, tmp_path: Path) -> None:
    coco = msgspec.json.decode((data / "coco.json").read_bytes())
    coco["images"] = coco["images"][:3]
    coco["annotations"] = [one for one in coco["annotations"] if one["image_id"] < 3]
    (tmp_path / "few.json").write_bytes(msgspec.json.encode(coco))
    few, all_of_them = tmp_path / "few.json", data / "coco.json"
    for files, expected in (((few, all_of_them), (3 + PHOTOGRAPHS, 0)), ((all_of_them, few), (8 + 3, 2))):
        two = replace(options, data=files, images=(data / "images",) * 2)
        _, seen, held_out = training._photographs(two, lambda line: None)
        assert (len(seen), len(held_out)) == expected


def test_impossible_options_are_one_line(options: SpotOptions, shared_data: Path) -> None:
    for wrong, message in (
        (replace(options, images=()), "1 files of data and 0 folders of images"),
        (replace(options, start=Path("gone.onnx")), "--from gone.onnx: no such file"),
        (replace(options, teacher=shared_data / "yolox_nano.onnx"), "has 80 classes, and the labels 2"),
        (replace(options, device="abacus"), "--device abacus"),
    ):
        with pytest.raises(UsageError, match=message):
            train_spot(wrong, ignore, lambda line: None)
    assert list(options.output.parent.iterdir()) == []


def test_the_precision_of_an_oracle_is_one(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from streamseg.messages import Detection

    labels = read_labels(data / "coco.json", data / "images")
    answers = iter(labels.photographs)

    class Oracle:
        def __init__(self, *arguments: object) -> None:
            pass

        def detect(self, image: np.ndarray) -> list[Detection]:
            photograph = next(answers)
            return [
                Detection(xyxy=tuple(box), confidence=0.9, class_id=label, class_name=CLASSES[label])
                for box, label in zip(photograph.boxes.tolist(), photograph.classes.tolist(), strict=True)
            ]

    monkeypatch.setattr(training, "YoloxDetector", Oracle)
    found = measure(Path("x"), labels.photographs, CLASSES)
    assert found.mean == pytest.approx(1.0)
    assert found.of_class == pytest.approx({"disc": 1.0, "square": 1.0})
