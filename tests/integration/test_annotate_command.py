"""`streamseg annotate` and `auto_annotate` as users run them: real models, real interruptions."""

from __future__ import annotations

import shutil
import signal
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import skimage
from av.video.stream import VideoStream
from pycocotools.coco import COCO
from support.annotated import COCO_INDEX, DatasetReader
from support.leftovers import Place
from support.pipeline_runs import Run, until

from streamseg import auto_annotate
from streamseg.annotate.pictures import VideoFrames

PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png")
LABELS = {"yolo": "labels/*.txt", "coco": ".parts/*.json", "anylabeling": "images/*.json"}
WITHIN_S = 120

Stamps = dict[str, tuple[int, int, int]]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def stamps(folder: Path) -> Stamps:
    """Inode and times, which change when a file is written again with the same content."""
    files = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    return {
        str(path.relative_to(folder)): (found.st_ino, found.st_mtime_ns, found.st_size) for path, found in files.items()
    }


def succeeds(run: Run) -> str:
    """Wait for a run that must succeed without messages except about exports; return its output."""
    with run:
        status, output, errors = run.finish(WITHIN_S)
    messages = [line for line in errors.splitlines() if not line.startswith("exporting mobilesam")]
    assert (status, messages) == (0, [])
    return output


def fails(run: Run, status: int) -> list[str]:
    """Wait for a run that must fail with this status; return the lines on standard error."""
    with run:
        found, _, errors = run.finish(WITHIN_S)
    assert found == status, errors
    return errors.splitlines()


def photos(folder: Path) -> Path:
    """Photographs that a package ships."""
    folder.mkdir()
    for name in PHOTOS:
        shutil.copy(Path(skimage.__file__).parent / "data" / name, folder)
    return folder


def photos_and_frames(folder: Path, shared_data: Path, frames: int) -> Path:
    """These photographs, and every 30th frame of a clip."""
    photos(folder)
    frames_of = VideoFrames(shared_data / "clips" / "cups.mp4", every=30, between=False, consecutive=False)
    for picture, _ in zip(frames_of, range(frames), strict=False):
        picture.save(folder / picture.name)
    return folder


def cut_wide(*paths: Path) -> None:
    """Cut pictures to the shape of cameras' frames, for which MobileSAM's exports exist."""
    for path in paths:
        picture = cv2.imread(str(path))
        assert picture is not None
        rows = picture.shape[1] * 9 // 16
        first = (picture.shape[0] - rows) // 2
        cv2.imwrite(str(path), picture[first : first + rows])


def write_moving_clip(path: Path, frames: int = 14) -> Path:
    """A red ball that rolls over a green meadow."""
    height, width = 144, 256
    random = np.random.default_rng(5)
    meadow = np.clip(cv2.GaussianBlur(random.normal((90, 140, 90), 60, (height, width, 3)), (0, 0), 2), 0, 255).astype(
        np.uint8
    )
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            picture = meadow.copy()
            cv2.circle(picture, (40 + 7 * number, 70), 22, (40, 40, 220), cv2.FILLED)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def detector(shared_data: Path) -> tuple[str, ...]:
    return "--detector-weights", str(shared_data / "yolox_nano.onnx")


MOTION = ("--detector", "motion", "--segmenter", "nano", "--threads", "1")
NANO = ("--segmenter", "nano", "--threads", "1")


def test_mobilesam_on_photographs_opens_in_supervision_and_pycocotools(
    place: Place, shared_data: Path, detector: tuple[str, ...], mobile_sam: Path, export_cache: Path
) -> None:
    place.environment["STREAMSEG_CACHE"] = str(export_cache)
    pictures = photos_and_frames(place.folder / "pictures", shared_data, frames=1)
    for name in ("astronaut.png", "coffee.png"):
        (pictures / name).unlink()
    shutil.copy(shared_data / "images" / "dog.jpg", pictures)
    cut_wide(pictures / "dog.jpg", pictures / "chelsea.png")
    cv2.imwrite(str(pictures / "nothing.png"), np.full((90, 160, 3), 128, np.uint8))
    weights = (*detector, "--segmenter-weights", str(mobile_sam))
    output = succeeds(place.run("annotate", "pictures", "--output", "coco", "--format", "coco", *weights))
    assert "coco: annotated 4 pictures with" in output
    reader = DatasetReader(place.folder / "coco", "coco")
    coco = COCO(str(place.folder / "coco" / COCO_INDEX))
    assert len(reader.names) == 4
    assert len(reader.classes) == 80
    total = 0
    for image in coco.loadImgs(coco.getImgIds()):
        picture = cv2.imread(str(place.folder / "pictures" / image["file_name"]))
        assert picture is not None and picture.shape[:2] == (image["height"], image["width"])
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
        found = reader.objects(image["file_name"])
        assert [name for name, _ in found] == [coco.cats[one["category_id"]]["name"] for one in annotations]
        for (_, bits), one in zip(found, annotations, strict=True):
            assert np.array_equal(bits, coco.annToMask(one).astype(bool))
            assert bits.sum() == one["area"] >= 9
        total += len(found)
    assert f"with {total} objects" in output
    assert {"cat", "dog", "bicycle", "person"} <= {name for image in reader.names for name, _ in reader.objects(image)}
    assert reader.objects("nothing.png") == []


@pytest.mark.parametrize(("data_format", "kills"), [("yolo", (2,)), ("coco", (1, 4)), ("anylabeling", (2,))])
def test_a_killed_run_resumes_with_the_same_result(
    place: Place, shared_data: Path, detector: tuple[str, ...], data_format: str, kills: tuple[int, ...]
) -> None:
    photos_and_frames(place.folder / "pictures", shared_data, frames=3)
    arguments = ("annotate", "pictures", "--format", data_format, *detector, *NANO)
    succeeds(place.run(*arguments, "--output", "whole"))
    output = place.folder / "out"
    for done in kills:
        kill_when(place.run(*arguments, "--output", "out"), output, data_format, done)
        finished = {path.stem for path in output.glob(LABELS[data_format])}
        # COCO's parts become one file; all else stays as it is.
        before = {
            name: stamp
            for name, stamp in stamps(output).items()
            if Path(name).stem in finished and not name.startswith(".parts")
        }
        # The last picture may still lack its place.
        assert len(before) >= (len(finished) if data_format == "coco" else 2 * len(finished)) - 1
    assert "were labelled before" in succeeds(place.run(*arguments, "--output", "out"))
    assert contents(output) == contents(place.folder / "whole")
    assert stamps(output).items() >= before.items()


def kill_when(run: Run, output: Path, data_format: str, done: int) -> None:
    """Kill a run as soon as that many pictures are labelled."""
    with run:
        until(lambda: len(list(output.glob(LABELS[data_format]))) >= done, WITHIN_S, f"{done} label files")
        run.process.kill()
        run.process.wait(WITHIN_S)
    assert run.process.returncode == -signal.SIGKILL


def test_motion_resumes_a_killed_video_with_the_same_result(place: Place) -> None:
    write_moving_clip(place.folder / "ball.mp4")
    arguments = ("annotate", "ball.mp4", "--every", "2", "--format", "yolo", *MOTION)
    output = succeeds(place.run(*arguments, "--output", "whole"))
    assert "annotated 7 pictures" in output and "moving" in output
    expected = contents(place.folder / "whole")
    assert {name for name in expected if name.startswith("images")} == {
        f"images/ball_{number:06}.jpg" for number in range(0, 14, 2)
    }
    for done in (2, 5):
        kill_when(place.run(*arguments, "--output", "out"), place.folder / "out", "yolo", done)
    succeeds(place.run(*arguments, "--output", "out"))
    assert contents(place.folder / "out") == expected
    reader = DatasetReader(place.folder / "whole", "yolo")
    assert reader.classes == ["moving"]
    [(_, last)] = reader.objects("ball_000012.jpg")
    ball = np.zeros(last.shape, np.uint8)
    cv2.circle(ball, (40 + 7 * 12, 70), 22, 1, cv2.FILLED)
    assert (last & (ball > 0)).sum() / (last | (ball > 0)).sum() > 0.7


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_reports_it_and_resumes(place: Place, number: signal.Signals, status: int) -> None:
    write_moving_clip(place.folder / "ball.mp4")
    arguments = ("annotate", "ball.mp4", "--format", "coco", "--output", "out", *MOTION)
    with place.run(*arguments) as run:
        until(lambda: len(list((place.folder / "out").glob(LABELS["coco"]))) >= 2, WITHIN_S, "two pictures")
        run.process.send_signal(number)
        found, output, errors = run.finish(WITHIN_S)
    assert (found, output) == (status, "")
    assert errors == "interrupted; finished pictures are kept in out, and the same command resumes\n"
    assert "were labelled before" in succeeds(place.run(*arguments))
    assert len(DatasetReader(place.folder / "out", "coco").names) == 14


def test_a_finished_data_set_loads_no_model_and_takes_new_pictures(place: Place, detector: tuple[str, ...]) -> None:
    photos(place.folder / "photos")
    held_back = (place.folder / "photos" / "chelsea.png").rename(place.folder / "chelsea.png")
    arguments = ("annotate", "photos", "--output", "out", "--format", "coco", *detector, *NANO)
    succeeds(place.run(*arguments))
    before = stamps(place.folder / "out")
    place.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    with place.run(*arguments) as run:
        status, output, imports = run.finish(WITHIN_S)
    del place.environment["PYTHONPROFILEIMPORTTIME"]
    assert (status, output) == (0, "out: annotated 0 pictures with 0 objects, 2 pictures were labelled before\n")
    assert " cv2" in imports and "onnxruntime" not in imports and "torch" not in imports
    assert stamps(place.folder / "out") == before
    held_back.rename(place.folder / "photos" / "chelsea.png")
    assert "annotated 1 picture with" in succeeds(place.run(*arguments))
    succeeds(place.run("annotate", "photos", "--output", "whole", "--format", "coco", *detector, *NANO))
    assert contents(place.folder / "out") == contents(place.folder / "whole")


def test_other_settings_need_consent(place: Place) -> None:
    write_moving_clip(place.folder / "ball.mp4", frames=6)
    arguments = ("annotate", "ball.mp4", "--output", "out", *MOTION)
    succeeds(place.run(*arguments, "--format", "yolo"))
    [line] = fails(place.run(*arguments, "--format", "anylabeling", "--conf", "0.3"), 2)
    assert "format yolo, not anylabeling, conf 0.25, not 0.3" in line
    succeeds(place.run(*arguments, "--format", "anylabeling", "--conf", "0.3", "-y"))
    assert not (place.folder / "out" / "labels").exists()
    assert not (place.folder / "out" / "data.yaml").exists()
    assert len(list((place.folder / "out" / "images").glob("*.json"))) == 6


def test_two_at_once_do_not_mix(place: Place) -> None:
    write_moving_clip(place.folder / "ball.mp4")
    arguments = ("annotate", "ball.mp4", "--output", "out", "--format", "yolo", *MOTION)
    with place.run(*arguments) as first:
        until(lambda: (place.folder / "out" / "annotate.json").exists(), WITHIN_S, "the first run")
        first.process.send_signal(signal.SIGSTOP)
        [line] = fails(place.run(*arguments), 2)
        first.process.send_signal(signal.SIGCONT)
        status, _, _ = first.finish(WITHIN_S)
    assert status == 0
    assert "another process writes to out" in line


def test_an_unreadable_picture_is_skipped_and_reported(place: Place, detector: tuple[str, ...]) -> None:
    photos(place.folder / "photos")
    (place.folder / "photos" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not much of a JPEG")
    lines = fails(place.run("annotate", "photos", "--output", "out", "--format", "yolo", *detector, *NANO), 3)
    assert len(lines) == 2
    assert "skipped: photos/broken.jpg is not a picture" in lines[0]
    assert "1 file could not be read" in lines[1]
    assert DatasetReader(place.folder / "out", "yolo").names == sorted(PHOTOS)
    assert sorted(path.stem for path in (place.folder / "out" / "labels").iterdir()) == [
        "astronaut",
        "chelsea",
        "coffee",
    ]


def test_a_labelled_picture_without_its_file_is_reported_and_kept(place: Place, detector: tuple[str, ...]) -> None:
    folder = photos(place.folder / "photos")
    arguments = ("annotate", "photos", "--output", "out", "--format", "coco", *detector, *NANO)
    succeeds(place.run(*arguments))
    before = stamps(place.folder / "out")
    (folder / "coffee.png").unlink()
    (folder / "coffee.png").symlink_to("nowhere")
    lines = fails(place.run(*arguments), 3)
    assert "skipped: photos/coffee.png cannot be read" in lines[0]
    assert stamps(place.folder / "out") == before


def test_pictures_are_not_removed_before_they_are_read(place: Place, detector: tuple[str, ...]) -> None:
    photos(place.folder / "photos")
    succeeds(place.run("annotate", "photos", "--output", "out", "--format", "yolo", *detector, *NANO))
    before = contents(place.folder / "out")
    [line] = fails(
        place.run("annotate", "out/images", "--output", "out", "--format", "coco", "-y", *detector, *NANO), 2
    )
    assert "out/images lies in out" in line
    assert contents(place.folder / "out") == before


def test_an_output_whose_name_is_too_long_is_one_line(place: Place, detector: tuple[str, ...]) -> None:
    photos(place.folder / "photos")
    [line] = fails(place.run("annotate", "photos", "--output", "n" * 300, "--format", "yolo", *detector, *NANO), 2)
    assert "cannot be written: File name too long" in line


def test_an_unavailable_model_is_not_replaced(place: Place, detector: tuple[str, ...]) -> None:
    photos(place.folder / "photos")
    *_, line = fails(place.run("annotate", "photos", "--output", "deep/out", "--format", "yolo", *detector), 4)
    assert "mobilesam" in line and "mobile_sam.pt" in line
    assert not (place.folder / "deep").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("missing", "--format", "yolo"), 3, "missing: no such file"),
        (("empty", "--format", "yolo"), 3, "empty has no pictures"),
        (("photos", "--format", "voc"), 2, "voc is unknown"),
        (("photos", "--format", "yolo", "--detector", "motion"), 2, "photos is none; choose a yolox"),
        (("photos", "--format", "yolo", "--detector", "fixed"), 2, "fixed returns the same boxes"),
        (("photos", "--format", "yolo", "--detector", "yolov9"), 2, "'yolov9' is unknown"),
        (("photos", "--format", "yolo", "--segmenter", "sam9"), 2, "'sam9' is unknown"),
        (("photos", "--format", "yolo", "--classes", "cat,unicorn"), 2, "no class 'unicorn'"),
        (("photos", "--format", "yolo", "--every", "3"), 2, "--every is for videos"),
        (("photos", "--format", "yolo", "--segmenter-weights", "none.pt"), 4, "none.pt is not a file"),
        (("photos/chelsea.png", "--format", "yolo", "--conf", "1.5"), 2, "detector.conf: expected `float` <= 1.0"),
        (("photos", "--format", "yolo", "--classes", "²"), 2, "no class '²'"),
        (("n" * 300, "--format", "yolo"), 3, "n cannot be read: File name too long"),
        (("twins", "--format", "yolo"), 2, "twins/a.jpg and twins/a.png would share one label file"),
    ],
)
def test_an_impossible_request_is_one_line_and_leaves_no_trace(
    place: Place, arguments: tuple[str, ...], status: int, message: str
) -> None:
    photos(place.folder / "photos")
    (place.folder / "empty").mkdir()
    (place.folder / "twins").mkdir()
    for name in ("a.jpg", "a.png", "b.png"):
        shutil.copy(place.folder / "photos" / "chelsea.png", place.folder / "twins" / name)
    [line] = fails(place.run("annotate", *arguments, "--output", "out"), status)
    assert message in line
    assert not (place.folder / "out").exists()


def test_auto_annotate_writes_only_label_files_and_resumes(
    tmp_path: Path, shared_data: Path, mobile_sam: Path, export_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMSEG_CACHE", str(export_cache))
    folder = photos(tmp_path / "photos")
    (folder / "astronaut.png").unlink()
    cut_wide(folder / "chelsea.png", folder / "coffee.png")
    detector = str(shared_data / "yolox_nano.onnx")
    annotate = partial(
        auto_annotate,
        data=str(folder), det_model=detector, sam_model=str(mobile_sam),
        device="cpu", imgsz=416, classes=[0, 15, "cup"],
    )  # fmt: skip
    annotate()
    output = tmp_path / "photos_auto_annotate_labels"
    whole = contents(output)
    found = {name: {int(line.split()[0]) for line in text.decode().splitlines()} for name, text in whole.items()}
    assert found == {"chelsea.txt": {15}, "coffee.txt": {41}}
    (output / "chelsea.txt").unlink()
    (output / ".chelsea.txt.part").write_bytes(b"15 0.1")
    before = stamps(output)
    annotate()
    assert contents(output) == whole
    assert stamps(output)["coffee.txt"] == before["coffee.txt"]
