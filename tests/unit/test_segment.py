"""Prompts of the command line are read, and results are complete, numbered by prompt, and never lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco
from support.killed_writer import some_answer

from streamseg.cli.prompt_texts import read_prompts
from streamseg.cli.segment import segment
from streamseg.errors import OutputExistsError, SourceError, UsageError
from streamseg.images import read_image
from streamseg.masks import Mask
from streamseg.messages import Image
from streamseg.models.segmenters.sam import ImageEmbedding, Prediction, Prompts, Sam, SamNetwork
from streamseg.models.segmenters.sam.automatic import AutomaticOptions
from streamseg.object_prompts import ObjectPrompts
from streamseg.segment.job import SegmentJob, check_job
from streamseg.segment.pictures import Segmented, segment_images
from streamseg.segment.result import ImageRecord, PromptRecord, write_result

HEIGHT, WIDTH = 60, 80
BOXES = ("10,10,30,40", "40,20,70,50", "0,0,20,20")
UNSEEN = 1
"""Place of the object of which the model draws nothing."""


class Drawer(Sam):
    """Draws each box as it is, in each candidate a little less of it, but nothing of one object."""

    def __init__(self) -> None:
        super().__init__(SamNetwork("mobilesam"))
        self.answered = 0

    def encode(self, image: Image) -> ImageEmbedding:
        self.answered = 0
        return ImageEmbedding(torch.zeros(1, 256, 64, 64), (image.shape[0], image.shape[1]), (768, 1024))

    def predict(self, embedding: ImageEmbedding, prompts: Prompts, *, multimask: bool) -> Prediction:
        assert prompts.boxes is not None
        logits = torch.full((prompts.batch, 3 if multimask else 1, 256, 256), -10.0)
        for row, box in zip(logits, (prompts.boxes / 4).round().int().tolist(), strict=True):
            left, top, right, bottom = box
            for candidate, low in enumerate(row):
                if self.answered != UNSEEN:
                    low[top + 2 * candidate : bottom, left:right] = 10.0
            self.answered += 1
        return Prediction(logits, torch.tensor([[0.5, 0.9, 0.7]])[:, : logits.shape[1]].expand(prompts.batch, -1))


@pytest.fixture(scope="module")
def drawer() -> Drawer:
    return Drawer()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), 200, np.uint8))
    return path


def job(picture: Path, *, multimask: bool = False, overwrite: bool = False) -> SegmentJob:
    return SegmentJob(
        images=(picture,),
        prompts=read_prompts(BOXES, (), None),
        output=picture.parent / "out",
        multimask=multimask,
        overwrite=overwrite,
    )


def run(job: SegmentJob, model: Sam) -> list[Segmented]:
    check_job(job)
    return list(segment_images(job, model, lambda done, total: None))


def record_of(folder: Path) -> ImageRecord:
    return msgspec.json.decode((folder / "masks.json").read_bytes(), type=ImageRecord)


def bits_of(path: Path) -> NDArray[np.bool_]:
    content = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert content is not None
    assert content.shape == (HEIGHT, WIDTH)
    assert set(np.unique(content)) == {0, 255}
    return np.asarray(content == 255, np.bool_)


def test_texts_become_prompts() -> None:
    boxes = read_prompts(["1,2,3.5,4", "-5,0,10,10"], [], None)
    assert [prompts.boxes.tolist() for prompts in boxes if prompts.boxes is not None] == [
        [[1, 2, 3.5, 4]],
        [[-5, 0, 10, 10]],
    ]
    assert all(prompts.points is None for prompts in boxes)
    (pointed,) = read_prompts([], [" 400,370  900,370,0 1,2,1"], None)
    assert pointed.points is not None
    assert pointed.labels is not None
    assert pointed.points.tolist() == [[[400, 370], [900, 370], [1, 2]]]
    assert pointed.labels.tolist() == [[1, 0, 1]]
    assert read_prompts([], [], None) == ()


def test_as_many_of_each_are_paired_in_order(tmp_path: Path) -> None:
    earlier = np.stack([np.full((1, 256, 256), index, np.float32) for index in range(2)])
    np.save(tmp_path / "logits.npy", earlier)
    first, second = read_prompts(["1,1,2,2", "3,3,4,4"], ["5,5", "6,6 7,7"], tmp_path / "logits.npy")
    for prompts, box, points, mask in ((first, [1, 1, 2, 2], [[5, 5]], 0), (second, [3, 3, 4, 4], [[6, 6], [7, 7]], 1)):
        assert prompts.count == 1
        assert prompts.boxes is not None
        assert prompts.points is not None
        assert prompts.masks is not None
        assert prompts.boxes[0].tolist() == box
        assert prompts.points[0].tolist() == points
        assert prompts.masks.shape == (1, 1, 256, 256)
        assert (prompts.masks == mask).all()


@pytest.mark.parametrize(
    ("boxes", "points", "said"),
    [
        (["1,2,3"], [], "--box '1,2,3': expected x1,y1,x2,y2"),
        (["1,2,3,four"], [], "--box '1,2,3,four': expected"),
        (["1,2,3,nan"], [], "expected x1,y1,x2,y2"),
        ([""], [], "--box '': expected"),
        (["5,5,1,9"], [], "the box 5,5,1,9 has no area"),
        ([], ["1"], "--points '1': expected x,y"),
        ([], ["1,2,3"], "--points '1,2,3': expected x,y"),
        ([], ["1,2 inf,3"], "expected x,y"),
        ([], ["1, 2"], "expected x,y"),
        ([], [""], "--points '': expected"),
        (["1,1,2,2", "3,3,4,4"], ["5,5"], "2 --box and 1 --points do not pair up"),
    ],
)
def test_a_wrong_text_is_refused_in_one_line(boxes: list[str], points: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        read_prompts(boxes, points, None)
    assert "\n" not in str(caught.value)


def test_a_wrong_mask_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "masks.npy"
    with pytest.raises(UsageError, match=r"--mask-input .*masks\.npy: No such file"):
        read_prompts([], [], path)
    path.write_bytes(b"not an array")
    with pytest.raises(UsageError, match=r"masks\.npy: no array of masks"):
        read_prompts([], [], path)
    np.save(path, np.array([{}], dtype=object))
    with pytest.raises(UsageError, match=r"masks\.npy: no array of masks"):
        read_prompts([], [], path)
    with path.open("wb") as file:
        np.savez(file, logits=np.zeros((1, 256, 256)))
    with pytest.raises(UsageError, match=r"masks\.npy: no array of masks"):
        read_prompts([], [], path)
    for shape in ((10**6, 1, 256, 256), (1 << 62, 1, 256, 256), (10**30, 1, 256, 256)):
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        with pytest.raises(UsageError, match=r"masks\.npy: no array of masks"):
            read_prompts([], [], path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UsageError, match=r"masks\.npy: it is a device or a pipe"):
        read_prompts([], [], path)
    path.unlink()
    np.save(path, np.zeros((2, 3, 256, 256)))
    with pytest.raises(UsageError, match=r"--mask-input .*masks\.npy: .*\(2, 3, 256, 256\)"):
        read_prompts([], [], path)
    np.save(path, np.zeros((0, 256, 256)))
    with pytest.raises(UsageError, match=r"masks\.npy: no array of masks"):
        read_prompts([], [], path)
    np.save(path, np.zeros((2, 1, 256, 256)))
    with pytest.raises(UsageError, match=r"1 --box and 2 masks in .* do not pair up"):
        read_prompts(["1,1,2,2"], [], path)


def test_the_command_names_the_missing_option(picture: Path) -> None:
    out = picture.parent / "out"
    with pytest.raises(UsageError, match="no prompt; give --box"):
        segment([str(picture)], out)
    with pytest.raises(UsageError, match="--everything excludes --box"):
        segment([str(picture)], out, boxes=["1,1,2,2"], everything=True)
    with pytest.raises(UsageError, match="--everything excludes"):
        segment([str(picture)], out, multimask=True, everything=True)
    with pytest.raises(UsageError, match="add --everything"):
        segment([str(picture)], out, boxes=["1,1,2,2"], points_per_side=0)
    with pytest.raises(UsageError, match="points_per_side"):
        segment([str(picture)], out, everything=True, points_per_side=0)
    assert not out.exists()
    with pytest.raises(SourceError, match=r"^https://cam/x\.jpg: https:// cannot be read; give the path of a picture$"):
        segment(["https://cam/x.jpg"], out, boxes=["1,1,9,9"])


@pytest.mark.parametrize("multimask", [False, True])
def test_files_are_numbered_by_object_and_candidate(multimask: bool, picture: Path, drawer: Drawer) -> None:
    (done,) = run(job(picture, multimask=multimask), drawer)
    each = 3 if multimask else 1
    folder = picture.parent / "out" / "picture"
    assert done == Segmented(image=picture, folder=folder, masks=2 * each, without=1)
    expected = [(place, candidate) for place in range(3) if place != UNSEEN for candidate in range(each)]
    files = {f"mask_{place * each + candidate:03d}.png" for place, candidate in expected}
    assert {path.name for path in folder.iterdir()} == files | {"overlay.jpg", "masks.json", "logits.npy"}
    record = record_of(folder)
    assert (record.image, record.width, record.height, record.model) == ("picture.png", WIDTH, HEIGHT, "mobilesam")
    assert [prompt.box for prompt in record.prompts] == [[float(side) for side in box.split(",")] for box in BOXES]
    assert [(mask.object, mask.candidate) for mask in record.masks] == expected
    logits = np.load(folder / "logits.npy")
    assert logits.shape == (3, each, 256, 256)
    assert logits.dtype == np.float32
    for mask in record.masks:
        bits = bits_of(folder / mask.file)
        decoded = coco.decode(mask.segmentation)
        assert np.array_equal(bits, decoded.astype(np.bool_))
        assert mask.area == np.count_nonzero(bits)
        cropped = Mask.crop(bits)
        assert cropped is not None
        assert mask.xyxy == cropped.xyxy
        left, top, right, bottom = (int(side) for side in BOXES[mask.object].split(","))
        box = np.zeros_like(bits)
        box[top:bottom, left:right] = True
        assert np.count_nonzero(box & bits) / np.count_nonzero(box | bits) > (0.8 if mask.candidate == 0 else 0.5)
        assert mask.predicted_iou == pytest.approx([0.5, 0.9, 0.7][mask.candidate])
        assert mask.stability == pytest.approx(1.0, abs=0.15)
        assert logits[mask.object, mask.candidate].max() == 10
    assert logits[UNSEEN].max() == -10


def test_a_name_that_is_not_utf8_is_unicode_in_the_records(picture: Path, drawer: Drawer) -> None:
    (done,) = run(job(picture.rename(picture.with_name(os.fsdecode(b"p\xdf.png")))), drawer)
    assert done.folder.name == os.fsdecode(b"p\xdf")
    assert msgspec.json.decode((done.folder / "masks.json").read_bytes(), type=ImageRecord).image == "p%DF.png"


def test_the_overlay_shows_masks_and_prompts(picture: Path, drawer: Drawer) -> None:
    run(job(picture), drawer)
    drawn = read_image(picture.parent / "out" / "picture" / "overlay.jpg")
    changed = np.abs(drawn.astype(int) - 200).max(axis=2) > 15
    assert drawn.shape == (HEIGHT, WIDTH, 3)
    assert changed[22:38, 12:28].mean() > 0.95
    assert changed[20, 45:65].mean() > 0.95, "the box of the object without a mask"
    assert not changed[25:45, 45:65].any(), "its inside"


def test_a_later_call_takes_the_logits(picture: Path, drawer: Drawer) -> None:
    run(job(picture), drawer)
    logits = picture.parent / "out" / "picture" / "logits.npy"
    prompts = read_prompts(BOXES, (), logits)
    held = np.load(logits)
    for place, one in enumerate(prompts):
        assert one.masks is not None
        assert np.array_equal(one.masks[0], held[place])


def test_progress_counts_all_pictures(picture: Path, drawer: Drawer) -> None:
    other = picture.with_name("other.png")
    other.write_bytes(picture.read_bytes())
    both = SegmentJob(images=(picture, other), prompts=read_prompts(BOXES, (), None), output=picture.parent / "out")
    steps: list[tuple[int, int]] = []
    list(segment_images(both, drawer, lambda done, total: steps.append((done, total))))
    assert steps == [(done, 6) for done in range(1, 7)]


def test_an_earlier_result_is_replaced_whole_and_only_if_wanted(picture: Path, drawer: Drawer) -> None:
    run(job(picture, multimask=True), drawer)
    folder = picture.parent / "out" / "picture"
    with pytest.raises(OutputExistsError, match=r"picture exists; .* -y"):
        check_job(job(picture))
    run(job(picture, overwrite=True), drawer)
    assert sorted(path.name for path in folder.iterdir()) == [
        "logits.npy",
        "mask_000.png",
        "mask_002.png",
        "masks.json",
        "overlay.jpg",
    ]
    assert [path.name for path in folder.parent.iterdir()] == ["picture"]


def test_a_foreign_folder_is_never_replaced(picture: Path, drawer: Drawer) -> None:
    mine = picture.parent / "out" / "picture"
    mine.mkdir(parents=True)
    (mine / "thesis.tex").touch()
    with pytest.raises(OutputExistsError, match=r"picture exists and holds no masks\.json"):
        check_job(job(picture, overwrite=True))
    (mine / "masks.json").write_text('{"masks": []}')
    with pytest.raises(OutputExistsError, match=r"picture holds a masks\.json of another program"):
        check_job(job(picture, overwrite=True))
    (mine / "thesis.tex").unlink()
    (mine / "masks.json").unlink()
    mine.rmdir()
    run(job(picture), drawer)
    (mine / "thesis.tex").touch()
    with pytest.raises(OutputExistsError, match=r"picture also holds thesis\.tex"):
        check_job(job(picture, overwrite=True))


@pytest.mark.parametrize("name", ["..png", "...png", ".....png"])
def test_a_picture_whose_name_is_only_dots_has_a_folder_of_its_own(picture: Path, drawer: Drawer, name: str) -> None:
    (done,) = run(job(picture.rename(picture.with_name(name))), drawer)
    assert done.folder == picture.parent / "out" / name
    assert [path.name for path in (picture.parent / "out").iterdir()] == [name]


def test_two_pictures_of_one_name_are_refused(picture: Path) -> None:
    other = picture.with_suffix(".jpg")
    wanted = AutomaticOptions()
    with pytest.raises(UsageError, match=r"picture\.png and .*picture\.jpg would both be written"):
        check_job(SegmentJob(images=(picture, other), prompts=wanted, output=picture.parent / "out"))
    with pytest.raises(UsageError, match="would both be written"):
        check_job(SegmentJob(images=(picture, picture), prompts=wanted, output=picture.parent / "out"))


def test_every_picture_is_checked_first(picture: Path) -> None:
    broken = picture.with_name("broken.png")
    broken.write_bytes(picture.read_bytes()[:60])
    with pytest.raises(SourceError, match=r"broken\.png is not a picture"):
        check_job(SegmentJob(images=(picture, broken), prompts=AutomaticOptions(), output=picture.parent / "out"))
    for asked, said in (
        (ObjectPrompts.read(bboxes=[100, 10, 200, 20]), "the box 100,10,200,20"),
        (ObjectPrompts.read(bboxes=[-50, 10, -1, 20]), "the box -50,10,-1,20"),
        (ObjectPrompts.read(points=[10, 61]), "the point 10,61"),
        (ObjectPrompts.read(points=[-1, 10]), "the point -1,10"),
    ):
        assert asked is not None
        with pytest.raises(UsageError, match=rf"picture\.png: {said} lies outside the picture, 80x60"):
            check_job(SegmentJob(images=(picture,), prompts=(asked,), output=picture.parent / "out"))


@pytest.mark.parametrize("box", ["-10,-1e12,40,1e12", "-10,0,40,2147483648"])
def test_a_box_is_clipped_to_the_picture(box: str, picture: Path, drawer: Drawer) -> None:
    huge = SegmentJob(images=(picture,), prompts=read_prompts([box], (), None), output=picture.parent / "out")
    (done,) = run(huge, drawer)
    record = msgspec.json.decode((done.folder / "masks.json").read_bytes(), type=ImageRecord)
    assert record.prompts == [PromptRecord(box=[0, 0, 40, HEIGHT])]
    assert record.masks[0].xyxy == (0, 0, 40, HEIGHT)


def test_a_folder_that_cannot_be_written_is_refused(picture: Path, drawer: Drawer) -> None:
    file = picture.parent / "file"
    file.touch()
    with pytest.raises(UsageError, match="file is a file"):
        check_job(SegmentJob(images=(picture,), prompts=AutomaticOptions(), output=file))
    below = SegmentJob(images=(picture,), prompts=read_prompts(BOXES, (), None), output=file / "out")
    with pytest.raises(UsageError, match=r"cannot be written: Not a directory"):
        run(below, drawer)


def test_a_failure_leaves_nothing(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", fail)
    with pytest.raises(OSError, match="No space"):
        write_result(picture.parent / "out" / "picture", "picture.png", read_image(picture), some_answer())
    assert list((picture.parent / "out").iterdir()) == []


@pytest.mark.parametrize(("point", "count", "earlier"), [("save", 1, True), ("rename", 1, False), ("rename", 2, True)])
def test_a_killed_process_leaves_no_half_result(point: str, count: int, earlier: bool, picture: Path) -> None:
    folder = picture.parent / "out" / "picture"
    if earlier:
        write_result(folder, "earlier.png", read_image(picture), some_answer())
    command = [sys.executable, "-m", "support.killed_writer", str(picture), str(folder), point, str(count)]
    killed = subprocess.run(command, cwd=Path(__file__).parents[1], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    if folder.exists():
        assert record_of(folder).image == "earlier.png"
        assert {path.name for path in folder.iterdir()} == {"mask_000.png", "overlay.jpg", "masks.json", "logits.npy"}
    assert folder.exists() == (point == "save")
