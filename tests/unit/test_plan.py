from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from support.empty_exports import export_empty_files
from support.file_server import serve
from support.plugin_files import offer

from streamseg.config import check_config
from streamseg.errors import (
    CheckpointError,
    OutputExistsError,
    SettingsError,
    SourceError,
    UsageError,
    WeightsError,
    WeightsUnavailableError,
)
from streamseg.models import search
from streamseg.models.catalogue import find
from streamseg.models.missing import MissingFile, MissingWeightsError
from streamseg.models.runtime import selection
from streamseg.models.segmenters.mobile_sam.export import Exports
from streamseg.models.weights import WeightsProgress
from streamseg.plan import RunPlan, check_models, make_plan


@pytest.fixture(autouse=True)
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Weights can only come through a proxy on which nobody listens."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STREAMSEG_CACHE", str(tmp_path / "cache"))
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        for name in ("https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{dead.getsockname()[1]}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.setenv(name, "")
        yield


def planned(
    detector: str = "motion",
    segmenter: str = "nano",
    *,
    detector_weights: str | None = None,
    segmenter_weights: str | None = None,
    source: str = "synthetic:",
    video: str | None = None,
    jsonl: str | None = None,
    overwrite: bool = False,
    backend: str = "auto",
    imgsz: int = 1024,
    progress: Callable[[WeightsProgress], None] | None = None,
) -> RunPlan:
    config = check_config(
        {
            "sources": [{"url": source}],
            "detector": {"model": detector, "weights": detector_weights},
            "segmenter": {"model": segmenter, "weights": segmenter_weights, "backend": backend, "imgsz": imgsz},
            "record": {"video": video, "jsonl": jsonl},
        }
    )
    return make_plan(config, overwrite=overwrite, progress=progress)


def test_models_without_weights_need_no_network() -> None:
    made = planned()
    assert (made.models.detector, made.models.segmenter, made.models.notice, made.notice) == (
        "motion",
        "nano",
        None,
        (),
    )
    assert (made.config.detector.weights, made.config.segmenter.weights) == (None, None)


def test_a_model_file_has_a_name_for_subscribers(tmp_path: Path) -> None:
    own = tmp_path / os.fsdecode(b"o\xdf.onnx")
    own.touch()
    made = planned(detector=str(own))
    assert (made.models.detector, made.config.detector.model) == (f"{tmp_path}/o%DF.onnx", str(own))


def test_auto_falls_back_with_a_notice_that_starts_with_the_result() -> None:
    made = planned("auto", "auto")
    assert (made.models.detector, made.models.segmenter) == ("spot", "nano")
    assert (made.config.detector.weights, made.config.segmenter.weights) == (None, None)
    result, remedy, *files = made.notice
    assert result.startswith("using spot + nano: the weights of mobilesam are not available (the proxy could")
    assert "streamseg weights fetch mobilesam" in remedy
    assert [file.rpartition("/")[2] for file in files] == ["mobile_sam.pt"]
    assert made.models.notice == "no weights for mobilesam"


def test_only_the_model_without_weights_is_replaced(tmp_path: Path) -> None:
    own = tmp_path / "own.onnx"
    own.touch()
    made = planned("auto", "auto", detector_weights=str(own))
    assert (made.models.detector, made.config.detector.weights) == ("yolox-nano", str(own))
    assert (made.models.segmenter, made.config.segmenter.weights) == ("nano", None)
    assert made.notice[0].startswith("using yolox-nano + nano: the weights of mobilesam are not available (")
    assert made.models.notice == "no weights for mobilesam"
    made = planned("auto", "auto", segmenter_weights=str(own), backend="torch")
    assert (made.models.detector, made.config.detector.weights) == ("spot", None)
    assert (made.models.segmenter, made.config.segmenter.weights) == ("mobilesam", str(own))


def test_without_a_network_only_one_download_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []

    def unavailable(name: str, *, offline: bool = False, **_: object) -> Path:
        asked.append((name, offline))
        raise MissingWeightsError.of(
            [MissingFile(name, f"http://{name}", Path(f"/there/{name}"), None, None if offline else "it is far away")]
        )

    monkeypatch.setattr(search, "resolve", unavailable)
    with pytest.raises(WeightsUnavailableError) as caught:
        planned("yolox-nano", "auto")
    assert str(caught.value) == (
        "the weights of yolox-nano and mobilesam are not available (it is far away); with a network run `streamseg "
        "weights fetch yolox-nano mobilesam`, or download http://yolox-nano to /there/yolox-nano and http://mobilesam "
        "to /there/mobilesam"
    )
    assert asked == [("yolox-nano", False), ("mobilesam", True)]
    assert planned("auto", "auto").notice == (
        "using spot + nano: the weights of mobilesam are not available (it is far away)",
        "  with a network run `streamseg weights fetch mobilesam`, or download",
        "  http://mobilesam to /there/mobilesam",
    )


def test_a_camera_that_is_not_there_is_refused_before_weights_are_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "resolve", lambda name, **_: pytest.fail(f"{name} is searched"))
    with pytest.raises(SourceError, match=r"^there is no camera 999; "):
        make_plan(check_config({"sources": [{"url": "999"}]}), overwrite=False)


@pytest.mark.parametrize("more", [{"fps": 5}, {"publish": {"wait_for_subscriber": True}}])
def test_settings_are_checked_again_when_a_look_shows_whether_a_source_is_live(more: dict[str, object]) -> None:
    finished = "fps" in more
    end = "#EXT-X-ENDLIST\n" if finished else ""
    with serve(f"#EXTM3U\n#EXTINF:1,\n0.ts\n{end}".encode()) as web:
        config = check_config({"sources": [{"url": f"{web.url}/x.{'m3u8' if finished else 'mp4'}"}], **more})
        refusal = "in every-frame mode each published frame is analysed" if finished else "a live source does not wait"
        with pytest.raises(SettingsError, match=refusal):
            make_plan(config, overwrite=False)


def test_auto_does_not_hide_weights_that_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(name: str, **_: object) -> Path:
        raise WeightsError(f"{name} is not what it claims to be")

    monkeypatch.setattr(search, "resolve", damaged)
    with pytest.raises(WeightsError, match="yolox-nano is not what it claims"):
        planned("yolox-nano", "nano")
    with pytest.raises(WeightsError, match="mobilesam is not what it claims"):
        planned("motion", "auto")


@pytest.mark.parametrize("segmenter", ["auto", "sam-vit-b"])
def test_all_missing_files_are_named_with_their_places_and_what_lies_there_instead(
    tmp_path: Path, segmenter: str
) -> None:
    entries = find("yolox-nano"), find("mobilesam" if segmenter == "auto" else segmenter)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / entries[1].filename).write_bytes(b"another file")
    with pytest.raises(WeightsUnavailableError) as caught:
        planned("yolox-nano", segmenter)
    text = str(caught.value)
    for entry in entries:
        assert f"{entry.url} to {tmp_path / 'cache' / entry.filename}" in text
    assert f"the file {entries[1].filename} in the cache is not the one: it has 12 bytes instead of" in text
    assert "\n" not in text


def test_all_files_that_the_user_names_and_that_are_none_are_named_at_once(tmp_path: Path) -> None:
    one, two = tmp_path / "one.onnx", tmp_path / "two.pt"
    with pytest.raises(WeightsError) as caught:
        planned("yolox-nano", "mobilesam", detector_weights=str(one), segmenter_weights=str(two))
    assert str(caught.value) == (
        f"{one} is not a file; give the path of a file with the weights of yolox-nano; "
        f"{two} is not a file; give the path of a file with the weights of mobilesam"
    )
    with pytest.raises(WeightsError, match=f"^{two} is not a file; .*; the weights of yolox-nano are not available "):
        planned("yolox-nano", "mobilesam", segmenter_weights=str(two))


@pytest.mark.parametrize(
    ("detector", "segmenter", "name"),
    [
        ("yolox-nano", "auto", "yolox-nano and mobilesam"),
        ("motion", "mobilesam", "mobilesam"),
        ("auto", "mobilesam", "mobilesam"),
        *(("motion", f"sam-vit-{size}", f"sam-vit-{size}") for size in "blh"),
    ],
)
def test_a_model_chosen_by_name_is_not_replaced(detector: str, segmenter: str, name: str) -> None:
    with pytest.raises(WeightsUnavailableError, match=f"weights of {name} are not available"):
        planned(detector, segmenter)


def test_an_output_must_be_free_unless_it_may_be_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").touch()
    for video, jsonl in (("out.mp4", None), (None, "out.mp4")):
        with pytest.raises(OutputExistsError, match=r"^out\.mp4 exists; .* -y$"):
            planned(video=video, jsonl=jsonl)
        planned(video=video, jsonl=jsonl, overwrite=True)
    planned(video="new.mp4", jsonl="new.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mp4"]


def test_parts_of_an_interrupted_recording_are_kept_unless_they_may_be_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out.part-2.mp4").touch()
    with pytest.raises(OutputExistsError, match=r"^out\.part-2\.mp4 is part of an interrupted recording; .* -y$"):
        planned(video="out.mp4")
    planned(video="out.mp4", overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_that_cannot_be_written(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "film.mp4").touch()
    (tmp_path / "link.mp4").symlink_to("film.mp4")
    for output, complaint in (
        ("folder.mp4", "folder.mp4 is a folder"),
        ("gone/out.mp4", "there is no folder gone"),
        ("film.mp4", "film.mp4 is the source itself"),
        ("link.mp4", "link.mp4 is the source itself"),
        ("folder.mp4/../film.mp4", "is the source itself"),
    ):
        with pytest.raises(UsageError, match=complaint):
            planned(source="film.mp4", video=output, overwrite=overwrite)


@pytest.mark.parametrize("overwrite", [False, True])
def test_two_outputs_are_two_files(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="cannot hold two recordings"):
        planned(video="out.mp4", jsonl="folder/../out.mp4", overwrite=overwrite)


def test_a_missing_source_fails_before_weights_are_downloaded() -> None:
    with pytest.raises(SourceError, match=r"film\.mp4: no such file"):
        planned("yolox-nano", source="film.mp4")


@pytest.mark.parametrize("model", ["mobilesam", "sam-vit-b", "sam-vit-l", "sam-vit-h"])
def test_a_segmenter_takes_a_checkpoint_of_the_users_own(tmp_path: Path, model: str) -> None:
    own = tmp_path / "own.pth"
    own.touch()
    made = planned(segmenter=model, segmenter_weights=str(own), backend="torch")
    assert (made.models.segmenter, made.config.segmenter.weights) == (model, str(own))
    with pytest.raises(WeightsError, match=rf"gone\.pth .*{model}"):
        planned(segmenter=model, segmenter_weights="gone.pth")


def test_an_unknown_segmenter_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        SettingsError,
        match=r"^segmenter\.model: 'sam3' is unknown; expected auto, mobilesam, sam-vit-b, .*, nano, or a plug-in",
    ):
        planned(segmenter="sam3")


def test_nano_runs_a_network_of_the_users_own(tmp_path: Path) -> None:
    own = tmp_path / "own.onnx"
    with pytest.raises(
        WeightsError, match=r"own\.onnx is not a file; give the path of a file with the weights of nano"
    ):
        planned(segmenter_weights=str(own))
    own.touch()
    assert planned(segmenter_weights=str(own)).config.segmenter.weights == str(own)


def test_a_plugins_weights_are_passed_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    offer(tmp_path, "detector", "yolox-mine", "", package="mine")
    offer(tmp_path, "segmenter", "mine", "", package="mine_too")
    made = planned("yolox-mine", "mine", detector_weights="a/folder", segmenter_weights="org/model")
    assert (made.models.detector, made.config.detector.weights) == ("yolox-mine", "a/folder")
    assert (made.models.segmenter, made.config.segmenter.weights) == ("mine", "org/model")


def test_a_plugins_classes_are_not_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    offer(tmp_path, "detector", "mine", "")

    def check(model: str, classes: list[str | int]) -> None:
        check_models(
            check_config(
                {
                    "sources": [{"url": 0}],
                    "detector": {"model": model, "classes": classes},
                    "segmenter": {"model": "nano"},
                }
            )
        )

    check("mine", ["a red cup, half full", 999])
    check("yolox-nano", [79, "person"])
    for model, name in (("yolox-nano", 80), ("yolox-nano", "a red cup"), ("motion", 1)):
        with pytest.raises(SettingsError, match=rf"^detector\.classes: the model has no class {name!r}"):
            check(model, [name])


def test_a_name_that_two_packages_offer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    offer(tmp_path, "segmenter", "mine", "", package="one")
    offer(tmp_path, "segmenter", "mine", "", package="two")
    with pytest.raises(
        SettingsError, match=r"^segmenter\.model: 'mine' is offered by one and two; uninstall all but one"
    ):
        planned(segmenter="mine")


def test_mobilesam_is_exported_once(tmp_path: Path, mobile_sam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[WeightsProgress] = []
    monkeypatch.setattr(Exports, "_export", export_empty_files)

    def plan_it() -> RunPlan:
        return planned(
            segmenter="mobilesam",
            segmenter_weights=str(mobile_sam),
            backend="onnxruntime",
            imgsz=512,
            progress=told.append,
        )

    made = plan_it()
    assert (made.notice, made.config.segmenter.backend) == ((), "onnxruntime")
    assert [(one.activity, one.name, one.done, one.total) for one in told] == [
        ("exporting", "mobilesam", done, 4) for done in range(5)
    ]
    files = list((tmp_path / "cache" / "exports").rglob("*.onnx"))
    assert len(files) == 4
    before = [file.stat().st_mtime_ns for file in files]
    told.clear()
    plan_it()
    assert (told, [file.stat().st_mtime_ns for file in files]) == ([], before)


def test_pytorch_needs_no_export(tmp_path: Path, mobile_sam: Path) -> None:
    planned(segmenter="mobilesam", segmenter_weights=str(mobile_sam), backend="torch")
    assert not (tmp_path / "cache").exists()


def test_pytorch_runs_mobilesam_if_the_export_fails(tmp_path: Path, mobile_sam: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "exports").touch()
    made = planned("auto", "mobilesam", segmenter_weights=str(mobile_sam), backend="onnxruntime")
    assert made.config.segmenter.backend == "torch"
    (notice,) = made.notice
    assert "cannot be written" in notice and notice.endswith("; running mobilesam with PyTorch")


def test_a_file_that_is_no_checkpoint_fails_before_a_process_starts(tmp_path: Path) -> None:
    (tmp_path / "own.pt").write_bytes(b"not this")
    with pytest.raises(CheckpointError, match=r"own\.pt is not a PyTorch checkpoint"):
        planned(segmenter="mobilesam", segmenter_weights="own.pt", backend="onnxruntime")


@pytest.mark.parametrize(
    ("segmenter", "message"),
    [
        (
            {"model": "nano", "backend": "openvino"},
            "segmenter.backend: openvino is for mobilesam alone, and nano runs ",
        ),
        ({"model": "nano", "imgsz": 512}, "segmenter.imgsz: 512 is for mobilesam alone"),
        (
            {"model": "sam-vit-b", "backend": "onnxruntime"},
            "segmenter.backend: onnxruntime is for mobilesam alone, and sam-vit-b runs ",
        ),
        ({"model": "sam-vit-h", "precision": "bf16"}, "segmenter.precision: bf16 is for mobilesam alone"),
        ({"model": "sam-vit-l", "imgsz": 768}, "segmenter.imgsz: 768 is for mobilesam alone"),
        ({"model": "sam-vit-l", "providers": ["CPU", "GPU"]}, "segmenter.providers: CPU, GPU is for mobilesam alone"),
        (
            {"model": "mobilesam", "precision": "fp16"},
            "segmenter.precision: auto in fp16 is not available on this machine; expected auto, or one of ",
        ),
        (
            {"backend": "onnxruntime", "precision": "fp16"},
            "segmenter.precision: onnxruntime in fp16 is not available on this machine",
        ),
        (
            {"providers": ["NoSuchProvider"]},
            "segmenter.providers: this ONNX Runtime has no NoSuchProvider; expected some of ",
        ),
    ],
)
def test_a_choice_that_the_segmenter_lacks_is_refused_by_key(segmenter: dict[str, object], message: str) -> None:
    config = check_config(
        {"sources": [{"url": 0}], "detector": {"model": "motion"}, "segmenter": segmenter, "device": "cpu"}
    )
    with pytest.raises(SettingsError) as caught:
        check_models(config)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "segmenter",
    [
        {"model": "sam-vit-b", "backend": "torch", "precision": "fp32"},
        {"backend": "torch"},
        {"precision": "fp32", "imgsz": 768},
    ],
)
def test_settings_that_the_segmenter_has_are_kept(segmenter: dict[str, object]) -> None:
    sources, detector = [{"url": 0}], {"model": "motion"}
    config = check_config({"sources": sources, "detector": detector, "segmenter": segmenter, "device": "cpu"})
    check_models(config)
    assert {name: getattr(config.segmenter, name) for name in segmenter} == segmenter


def test_a_device_that_this_machine_lacks_is_refused_whatever_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "cuda_devices", lambda: 0)
    config = check_config(
        {
            "sources": [{"url": "synthetic:"}],
            "detector": {"model": "motion"},
            "segmenter": {"model": "nano"},
            "device": "cuda",
        }
    )
    with pytest.raises(UsageError, match=r"cannot use the device 'cuda': CUDA's driver has no GPUs here"):
        make_plan(config, overwrite=False)


def test_a_missing_password_file_fails_before_weights_are_downloaded() -> None:
    config = check_config({"sources": [{"url": "rtsp://cam/x", "password_file": "gone"}]})
    with pytest.raises(SettingsError, match=r"^sources\.main\.password_file: there is no such file"):
        make_plan(config, overwrite=False)


def several(*sources: Mapping[str, object], **more: object) -> RunPlan:
    tree = {"sources": list(sources), "detector": {"model": "motion"}, "segmenter": {"model": "nano"}, **more}
    return make_plan(check_config(tree), overwrite=False)


def test_of_several_sources_a_missing_file_ends_the_run_before_it_starts_and_an_absent_camera_does_not() -> None:
    scene, film, camera = {"url": "synthetic:"}, {"url": "film.mp4"}, {"url": 987}
    with pytest.raises(SourceError, match=r"film\.mp4: no such file"):
        several(scene, film)
    assert [source.name for source in several(scene, camera).config.sources] == ["camera-0", "camera-1"]
    for refused in ([camera, camera], [scene, camera]):
        with pytest.raises(SourceError, match="987"):
            several(*refused, on_source_failure="end")
    with pytest.raises(SourceError, match="987"):
        several(camera, camera)


def test_the_classes_of_one_source_are_checked() -> None:
    scene, cats = {"url": "synthetic:"}, {"url": "synthetic:", "detector": {"classes": ["cat"]}}
    with pytest.raises(SettingsError, match=r"^sources\.camera-1\.detector\.classes: the model has no class 'cat'"):
        several(scene, cats)
    plan = several(scene, cats, detector={"model": "auto"})
    assert (plan.config.detector.model, plan.config.of("camera-1").detector.classes) == ("spot", ("cat",))
    with pytest.raises(SettingsError, match=r"^sources\.camera-1\.detector\.classes: the model has no class 'cart'"):
        several(scene, {**scene, "detector": {"classes": ["cart"]}}, detector={"model": "auto"})


def test_two_sources_record_to_files_of_their_own(tmp_path: Path) -> None:
    scene = {"url": "synthetic:"}
    plan = several(scene, scene, record={"jsonl": str(tmp_path / "out.jsonl")})
    assert plan.config.of("camera-1").record.jsonl == str(tmp_path / "out-camera-1.jsonl")
    (tmp_path / "out-camera-1.jsonl").touch()
    with pytest.raises(OutputExistsError, match=r"out-camera-1\.jsonl exists"):
        several(scene, scene, record={"jsonl": str(tmp_path / "out.jsonl")})
    own = {"jsonl": str(tmp_path / "one.jsonl")}
    with pytest.raises(UsageError, match=r"one\.jsonl cannot hold two recordings"):
        several({**scene, "record": own}, {**scene, "record": own})
