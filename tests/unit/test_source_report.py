from __future__ import annotations

from pathlib import Path

import pytest
from support.clips import write_clip
from support.web_video import video_server

from streamseg.config import check_config
from streamseg.doctor import Diagnosis
from streamseg.source_report import SourceDiagnosis, examine_sources, source_check
from streamseg.sources.probe import SourceFigures


@pytest.fixture(autouse=True)
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMSEG_CACHE", str(tmp_path / "cache"))


def examined(tree: dict[str, object]) -> SourceDiagnosis:
    return examine_sources(check_config(tree), Diagnosis(can_run=True, checks=()), 1.0)


def settings(*urls: str, **more: object) -> dict[str, object]:
    models = {"detector": {"model": "motion"}, "segmenter": {"model": "nano"}}
    sources = [{"url": url, "name": f"s{place}"} for place, url in enumerate(urls)]
    return {"sources": sources, "publish": {"bind": "tcp://127.0.0.1:*"}, **models, **more}


def test_every_source_of_a_settings_file_has_a_row_and_the_load_of_all_another() -> None:
    live = "synthetic:?size=64x64&fps=20"
    diagnosis = examined(settings(live, "gone.mp4", live))
    checks = {check.name: check for check in diagnosis.checks}
    assert diagnosis.can_run, "as a run starts without it"
    assert checks["source s0"].detail.startswith("64x64 -, ")
    assert "lost packets -" in checks["source s0"].detail
    gone = checks["source s1"]
    assert (gone.ok, gone.detail, gone.remedy) == (False, "gone.mp4: no such file", "give the path of a video file")
    assert set(diagnosis.sources) == {"s0", "s2"}
    assert checks["load"].ok
    assert "frames need" in checks["load"].detail
    assert diagnosis.load is not None
    assert diagnosis.keyframes is not None
    assert checks["keyframes"].ok
    assert checks["keyframes"].detail == (
        f"nano {diagnosis.keyframes.segment_ms:.0f} ms a keyframe with 3 objects, all 2 sources together get up to "
        f"{diagnosis.keyframes.rate:.1f} keyframes/s, each up to {diagnosis.keyframes.source_rate:.1f}"
    )


@pytest.mark.parametrize("more", [{}, {"on_source_failure": "end"}])
def test_no_pipeline_can_run_without_any_source_or_one_that_is_to_end_it(more: dict[str, object]) -> None:
    urls = ("gone.mp4", "synthetic:?size=64x64&fps=20")[: 1 + len(more)]
    diagnosis = examined(settings(*urls, **more))
    assert not diagnosis.can_run
    assert [check.name for check in diagnosis.checks if check.needed and not check.ok] == ["source s0"]


def test_a_run_needs_neither_pushed_sources_nor_those_that_it_waits_for() -> None:
    tree = settings("push:", "987", on_source_failure="end")
    tree["sources"][1]["wait"] = True  # type: ignore[index]
    diagnosis = examined(tree)
    assert diagnosis.can_run
    pushed, absent = diagnosis.checks
    assert (pushed.ok, pushed.detail) == (True, "not probed, a program sends its frames during a run")
    assert not absent.ok and absent.detail.startswith("not probed, a run waits for it: there is no camera 987")
    tree = settings("push:", "gone.mp4")
    assert examined(tree).can_run


def test_a_look_at_a_source_tells_whether_it_is_live(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=10)
    with video_server(tmp_path) as server:
        clip.rename(tmp_path / "clip")
        found = examined(settings(server.url("clip")))
    assert found.sources["s0"].jitter_ms is None
    assert found.load is not None and found.load.detect_share is None, "as a file waits for the detector"


def test_the_weights_that_a_named_model_lacks_are_a_row() -> None:
    live = settings("synthetic:?size=64x64&fps=20", detector={"model": "yolox-tiny"})
    _, load = examined(live).checks
    assert (load.name, load.ok) == ("load", False)
    assert "weights of yolox-tiny" in load.detail


def test_a_segmenter_that_cannot_be_measured_is_a_row_beside_the_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamseg.models.search.resolve", lambda model, **given: given["path"])
    (tmp_path / "weights.pt").write_bytes(b"weights")
    segmenter = {"model": "mobilesam", "weights": str(tmp_path / "weights.pt"), "backend": "onnxruntime"}
    diagnosis = examined(settings("synthetic:?size=64x64&fps=20", segmenter=segmenter))
    checks = {check.name: check for check in diagnosis.checks}
    assert checks["load"].ok
    assert not checks["keyframes"].ok
    assert checks["keyframes"].detail.startswith("not measured, the networks of mobilesam")
    assert checks["keyframes"].remedy == "start a run, or `streamseg weights export`"
    assert diagnosis.keyframes is None


@pytest.mark.parametrize(
    ("url", "width", "hint"), [("rtsp://a/b", 1920, True), ("rtsp://a/b", 1280, False), ("0", 1920, False)]
)
def test_a_camera_that_sends_more_pixels_than_the_models_use_gets_a_hint(url: str, width: int, hint: bool) -> None:
    figures = SourceFigures(size=(width, 720), codec="h264", fps=25.0, jitter_ms=3.2, lost_packets=4, read_share=0.3)
    check = source_check(check_config(settings(url)), "s0", figures)
    assert (check.ok, check.detail) == (
        True,
        f"{width}x720 h264, 25.0 frames/s, jitter 3.2 ms, lost packets 4, reading takes 30% of a core",
    )
    assert ("sub-stream" in (check.remedy or "")) == hint
