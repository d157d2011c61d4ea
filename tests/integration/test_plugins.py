"""Detectors and segmenters of other packages, installed by pip and run by the command, as docs/plugins.md describes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import av
import cv2
import msgspec
import numpy as np
import pytest
from av.video.stream import VideoStream
from support.leftovers import Place
from support.pipeline_runs import Run, read_records
from support.plugin_files import offer

from streamseg import Pipeline, process
from streamseg.config import check_config
from streamseg.monitor.observer import Observer

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tests" / "plugin_package"
WIDTH, HEIGHT, FRAMES = 320, 240, 12
RED, BLUE = (40, 20, 220), (230, 60, 10)
ANY_ENDPOINT = ("--set", "publish.bind=tcp://127.0.0.1:*")
PROMPTS = ("--set", "detector.classes=[red, blue thing]")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example package, installed by pip."""
    folder = tmp_path_factory.mktemp("site")
    install = (
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "--disable-pip-version-check",
    )
    done = subprocess.run(
        [sys.executable, "-m", *install, "--target", str(folder), str(PACKAGE)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def truth(number: int) -> dict[str, tuple[int, int, int, int]]:
    """The positions of the two rectangles in a frame."""
    return {
        "red": (20 + 4 * number, 30, 80 + 4 * number, 90),
        "blue thing": (200, 100 + 2 * number, 280, 140 + 2 * number),
    }


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A red and a blue rectangle that move over grey."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(FRAMES):
            image = np.full((HEIGHT, WIDTH, 3), 110, np.uint8)
            for (left, top, right, bottom), colour in zip(truth(number).values(), (RED, BLUE), strict=True):
                image[top:bottom, left:right] = colour
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
    return path


def on_path(place: Place, folder: Path, *arguments: str) -> Run:
    """The command with a folder of packages on its path."""
    return Run(*arguments, cwd=place.folder, environment={**place.environment, "PYTHONPATH": str(folder)})


def test_prompts_become_boxes_and_masks(place: Place, installed: Path, clip: Path) -> None:
    models = ("--detector", "colours", "--segmenter", "ellipse", *PROMPTS)
    with on_path(place, installed, "run", "--source", str(clip), *models, "--jsonl", "out.jsonl", *ANY_ENDPOINT) as run:
        status, _, errors = run.finish(60)
    assert status == 0, errors
    lines = (place.folder / "out.jsonl").read_bytes().splitlines()
    assert {msgspec.json.encode(msgspec.json.decode(line)["models"]) for line in lines} == {
        b'{"detector":"colours","segmenter":"ellipse","notice":null}'
    }
    records = read_records(place.folder / "out.jsonl")
    assert len(records) == FRAMES
    for number, record in enumerate(records):
        assert {(item.class_id, item.class_name, item.method) for item in record.objects} == {
            (0, "red", "segmented"),
            (1, "blue thing", "segmented"),
        }
        for item in record.objects:
            left, top, right, bottom = truth(number)[item.class_name]
            assert np.abs(np.subtract(item.xyxy, (left, top, right, bottom))).max() <= 2
            ellipse = np.zeros((HEIGHT, WIDTH), np.uint8)
            cv2.ellipse(
                ellipse,
                (((left + right - 1) / 2, (top + bottom - 1) / 2), (right - left, bottom - top), 0.0),
                1,
                cv2.FILLED,
            )
            assert item.mask is not None
            bits = item.mask.bits()
            assert (bits & (ellipse > 0)).sum() / (bits | (ellipse > 0)).sum() > 0.9
    assert {item.tracker_id for record in records[2:] for item in record.objects} == {1, 2}


def refused(place: Place, folder: Path, status: int, *arguments: str) -> str:
    """Run a command that must fail at its start, and return the one line that it prints."""
    with on_path(place, folder, *arguments) as run:
        code, output, errors = run.finish(60)
    assert (code, output) == (status, ""), errors
    lines = errors.splitlines()
    assert len(lines) == 1, errors
    return lines[0].removeprefix("streamseg: ")


SYNTHETIC = ("run", "--source", "synthetic:?frames=5&size=320x240", *ANY_ENDPOINT)


def test_what_a_plugin_refuses_is_said_in_its_words(place: Place, installed: Path) -> None:
    line = refused(
        place,
        installed,
        2,
        *SYNTHETIC,
        "--detector",
        "colours",
        "--segmenter",
        "ellipse",
        "--set",
        "detector.classes=[0]",
    )
    assert line.startswith(
        "the plug-in 'colours' of streamseg-example-plugins: detector.classes: '0' names no colour; expected a text"
    )


def test_check_knows_the_plugins(place: Place, installed: Path, tmp_path: Path) -> None:
    settings = place.folder / "settings.yaml"
    settings.write_text(
        "sources: [{url: 'synthetic:'}]\ndetector: {model: colours, classes: [any text, 7]}\n"
        "segmenter: {model: ellipse}\n"
    )
    with on_path(place, installed, "check", "settings.yaml") as run:
        assert run.finish(60)[::2] == (0, "")
    line = refused(place, tmp_path, 2, "check", "settings.yaml")
    assert line.startswith("detector.model: 'colours' is unknown; expected auto, spot, yolox-nano")
    for setting, key in (
        ("segmenter.model=sam3", "segmenter.model: 'sam3' is unknown"),
        ("detector.model=sam3", "detector.model: 'sam3'"),
    ):
        line = refused(place, installed, 2, "check", "settings.yaml", "--set", setting)
        assert line.startswith(key)
        assert ("ellipse" if key.startswith("s") else "colours") in line


@pytest.mark.parametrize(
    ("kind", "code", "status", "expected"),
    [
        (
            "detector",
            "import a_module_that_is_not_here",
            70,
            "failed: ModuleNotFoundError: No module named 'a_module_that_is_not_here'",
        ),
        (
            "detector",
            "def make(settings, compute): return object()",
            70,
            "its object has no name and no classes and no detect",
        ),
        (
            "detector",
            "from streamseg.errors import WeightsError\n"
            "def make(settings, compute): raise WeightsError('lost.pt does not exist')",
            4,
            "the plug-in 'mine' of broken: lost.pt does not exist",
        ),
        (
            "segmenter",
            "def make(settings, compute): raise ValueError('two\\nlines')",
            70,
            "failed: ValueError: two lines; repair it, or choose",
        ),
        (
            "segmenter",
            "class make:\n  name = 'x'\n  def __init__(self, settings, compute): pass\n"
            "  def encode(self, image): pass\n"
            "  def decode(self, embedding, detections): return []\n  def describe(self): return self.name",
            70,
            "decode returned 0 masks for 1 detections",
        ),
    ],
    ids=["import", "parts", "weights", "raises", "answers"],
)
def test_a_plugin_that_cannot_start_ends_the_run_with_one_line(
    place: Place, tmp_path: Path, kind: str, code: str, status: int, expected: str
) -> None:
    offer(tmp_path, "detector" if kind == "detector" else "segmenter", "mine", code)
    others = ("--segmenter", "nano") if kind == "detector" else ("--detector", "motion")
    line = refused(place, tmp_path, status, *SYNTHETIC, f"--{kind}", "mine", *others)
    assert line.startswith("the plug-in 'mine' of broken")
    assert expected in line


def test_nonsense_in_the_middle_of_a_run_is_told(place: Place, tmp_path: Path) -> None:
    code = (
        "from streamseg.messages import Detection\nclass make:\n  name, classes = 'x', ('a',)\n"
        "  def __init__(self, settings, compute): pass\n"
        "  def detect(self, image): return [Detection(xyxy=(9, 0, 5, 9), confidence=1.0, class_id=0, class_name='a')]"
    )
    offer(tmp_path, "detector", "mine", code)
    with on_path(place, tmp_path, *SYNTHETIC, "--detector", "mine", "--segmenter", "nano") as run:
        status, _, errors = run.finish(90)
    assert status == 70
    last = errors.splitlines()[-1]
    assert last.startswith(
        "streamseg: detect failed: the plug-in 'mine' of broken: the box (9.0, 0.0, 5.0, 9.0) ends before"
    )


class Restarts(Observer):
    """An observer that records which stages restarted."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def changed(self, stage: str, source: str | None, state: str, detail: str) -> None:
        """Record a restart."""
        if state == "restarting":
            self.stages.append(stage)


def test_a_slow_model_does_not_pass_for_a_hung_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import time\nfrom streamseg.messages import ObjectMask\nclass make:\n  name = 'slow'\n"
        "  def __init__(self, settings, compute): pass\n"
        "  def encode(self, image): time.sleep(3)\n"
        "  def decode(self, embedding, detections): return [ObjectMask(None) for _ in detections]\n"
        "  def describe(self): return self.name"
    )
    offer(tmp_path, "segmenter", "slow", code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(process, "_HUNG_S", 1.5)
    detector = {"model": "fixed", "boxes": [{"xyxy": [20, 20, 120, 120]}]}
    settings: dict[str, object] = {
        "sources": [{"url": "synthetic:?frames=1&size=320x240"}],
        "publish": {"bind": "tcp://127.0.0.1:*"},
    }
    restarts = Restarts()
    reason = Pipeline(check_config({**settings, "detector": detector, "segmenter": {"model": "slow"}})).run(restarts)
    assert reason == "end of source"
    assert "segment" not in restarts.stages


def test_the_guide_shows_the_package_that_runs_here() -> None:
    guide = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    section = guide.split("\n## An example that runs\n")[1].split("\n## ")[0]
    shown = re.findall(r"```(?:python|toml)\n(.*?)```", section, re.DOTALL)
    code = PACKAGE / "streamseg_example_plugins"
    files = (PACKAGE / "pyproject.toml", code / "colours.py", code / "ellipse.py")
    assert shown == [path.read_text(encoding="utf-8") for path in files]
