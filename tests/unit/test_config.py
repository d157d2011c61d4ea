from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from streamseg.config import Config, check_config
from streamseg.config_file import load_config, parse_override
from streamseg.errors import SettingsError, SourceError

NOT_UTF8 = os.fsdecode(b"o\xdf")
CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.yaml"))


def load(*assignments: str, environment: dict[str, str] | None = None) -> Config:
    return load_config(None, [parse_override(text) for text in assignments], environment or {})


def refusal(*assignments: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load("sources.0.url=clip.mp4", *assignments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_example_is_valid(path: Path) -> None:
    assert load_config(path, [], {"CAMERA": "192.0.2.10"}).sources[0].address


def test_there_are_five_examples() -> None:
    assert [path.stem for path in CONFIGS] == ["cameras", "demo", "file", "rtsp", "webcam"]


@pytest.mark.parametrize(
    ("assignment", "key", "expected"),
    [
        ("detector.conf=.nan", "detector.conf:", "not a finite number"),
        ("detector.conf=NaN", "detector.conf:", "expected `float`"),
        ("detector.conf=1.5", "detector.conf:", "<= 1"),
        ("detector.confidence=0.5", "detector.confidence:", "unknown key; expected one of model, weights"),
        ("detector.clases=[a]", "detector.clases:", "; did you mean classes?"),
        ("detecter.conf=0.5", "detecter:", "; did you mean detector?"),
        ("mode=Live", "mode:", "'Live' is not a choice; expected one of auto, live, every-frame; did you mean live?"),
        ("detector.classes=person", "detector.classes:", "expected a list; write [person]"),
        ("detector.classes=person, cup", "detector.classes:", "expected a list; write [person, cup]"),
        ("segmenter.providers=CPU", "segmenter.providers:", "expected a list; write [CPU]"),
        ("detector.boxes=5", "detector.boxes:", "expected `array`, got `int`"),
        (
            "sources.0.username=1234",
            "sources.main.username:",
            "write --set 'sources.main.username=\"...\"', or username: ",
        ),
        ("sources.0.username=yes", "sources.main.username:", "this is a yes or no"),
        ("sources.0.rotate=45", "sources.main.rotate:", "0, 90, 180, 270"),
        ("sources.0.name=Front Door", "sources.0.name:", "a-z0-9_-"),
        ("segmenter.model=3", "segmenter.model:", "expected text, and without quotes this is a number"),
        ("segmenter.imgsz=640", "segmenter.imgsz:", "640 is not a choice; expected one of 512, 768, 1024"),
        ("segmenter.backend=tensorrt", "segmenter.backend:", "expected one of auto, torch, onnxruntime, openvino"),
        ("segmenter.precision=int8", "segmenter.precision:", "expected one of auto, fp32, bf16, fp16"),
        ("segmenter.providers=[]", "segmenter.providers:", "length >= 1"),
        ("sources.3.url=x", "sources.3.url:", "not a number below 1"),
        ("sources.gate.url=x", "sources.gate.url:", "there is no source gate; expected one of main, or a number"),
        ("mode.x=1", "mode.x:", "unknown key"),
        ("publish.bind=nowhere", "publish.bind:", "tcp://HOST:PORT"),
        ("publish.bind=tcp://0.0.0.0:5555", "publish.bind:", "insecure"),
        ("detector.model=fixed", "detector.boxes:", "at least one box"),
        ("max_frames=0", "max_frames:", ">= 1"),
        ('record.jsonl="a\\ud800"', "record.jsonl:", "holds a character that no file name"),
        ('sources.0.url="a\\0.mp4"', "sources.main.url:", "holds a character that no file name"),
        (f"publish.bind=ipc://{NOT_UTF8}", "publish.bind:", "in UTF-8"),
        ('detector.classes=["a\\udcdf"]', "detector.classes:", "is not Unicode"),
        ('detector.boxes=[{xyxy: [0, 0, 1, 1], name: "a\\udcdf"}]', "detector.boxes:", "is not Unicode"),
        ("record.video=out.avi", "record.video:", "out.avi does not end in .mp4"),
        ("record.video=out", "record.video:", "out does not end in .mp4"),
        *(
            (f"sources.0.url={url}", f"sources.main.url: {url}: ", "cannot be read; give rtsp://")
            for url in ("ftp://127.0.0.1:1/x.mjpg", "srt://cam/x", "rtmp://cam/live", "file:///clips/a.mp4")
        ),
        ("detector.boxes=[{xyxy: [0, 0, .inf, 1]}]", "detector.boxes.0.xyxy.2:", "finite"),
    ],
)
def test_an_error_names_the_bad_setting(assignment: str, key: str, expected: str) -> None:
    message = refusal(assignment)
    if assignment.startswith("mode.x"):
        assert message.startswith("mode")
    else:
        assert message.startswith(key)
        assert expected in message


def test_an_error_names_the_missing_source() -> None:
    with pytest.raises(SettingsError, match=r"^sources: missing"):
        load("mode=live")


def test_environment_variables_fill_strings_and_missing_ones_are_errors() -> None:
    config = load("sources.0.url=rtsp://${HOST}/a", environment={"HOST": "camera"})
    assert config.sources[0].address == "rtsp://camera/a"
    with pytest.raises(SettingsError, match=r"sources\.main\.url: the environment variable HOST is not set"):
        load("sources.0.url=rtsp://${HOST}/a")


@pytest.mark.parametrize(
    ("url", "kind", "mode"),
    [
        ("0", "webcam", "live"),
        ("/dev/video2", "webcam", "live"),
        ("rtsp://host/a", "rtsp", "live"),
        ("clip.mp4", "file", "every-frame"),
        ("'synthetic:?frames=20'", "synthetic", "every-frame"),
        ("'synthetic:?frames=0'", "synthetic", "live"),
    ],
)
def test_kind_and_mode_follow_from_the_url(url: str, kind: str, mode: str) -> None:
    config = load(f"sources.0.url={url}")
    assert (config.sources[0].kind, config.resolved_mode) == (kind, mode)


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("sources: [{url: a.mp4, name: door}]\ndetector: {conf: 0.9}\n")
    config = load_config(path, [("detector.conf", 0.1), ("sources.0.url", "b.mp4")], {})
    assert (config.detector.conf, config.sources[0].address, config.sources[0].name) == (0.1, "b.mp4", "door")


def test_a_file_name_that_is_not_utf8_stays_as_it_is() -> None:
    assert load(f"sources.0.url={NOT_UTF8}", f"record.jsonl={NOT_UTF8}").record.jsonl == NOT_UTF8


@pytest.mark.parametrize("content", [b"- a\n- b\n", b"a: [1\n", b"\x00", b"\xff", b"a: *b", b"#" * 100_000])
def test_a_file_that_is_not_settings_is_an_error_of_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "settings.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load_config(path, [], {})
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_without_an_end_is_not_read_to_its_end() -> None:
    with pytest.raises(SettingsError, match=r"^/dev/zero: not YAML"):
        load_config(Path("/dev/zero"), [], {})


@pytest.mark.parametrize("name", ["a\0b", "n" * 300, "/n" * 3000])
def test_a_name_that_no_file_can_have_is_an_error_of_one_line(name: str) -> None:
    with pytest.raises(SettingsError, match="give a settings file"):
        load_config(Path(name), [], {})


@pytest.mark.parametrize(
    "assignment",
    [
        "detector.conf=" + "9" * 5000,
        "a" + ".a" * 100_000 + "=1",
        "sources." + "9" * 5000 + ".url=x",
        "mode=" + "[" * 50_000,
        "mode=" + "x" * 5_000,
        "mode=*a",
    ],
)
def test_an_assignment_beyond_a_limit_is_an_error_of_one_line(assignment: str) -> None:
    assert len(refusal(assignment).partition(": ")[2]) < 6000


def test_a_tree_of_python_has_the_same_limits() -> None:
    endless: list[object] = []
    endless.append(endless)
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    for value in (endless, {"a": endless}, deep, 2**64, -(2**63) - 1, 10**5000, "x" * 5000, "\ud800", "\0"):
        with pytest.raises(SettingsError, match=r"^(detector|detector\.classes.*): "):
            check_config({"sources": [{"url": "clip.mp4"}], "detector": {"classes": value}})


NUMBERS = (
    *(f"sources.main.{key}" for key in ("url", "width", "height", "fps", "timeout", "start_timeout", "rotate")),
    *(f"detector.{key}" for key in ("conf", "iou", "max_det", "imgsz")),
    *("sources.main.detector.conf", "sources.main.segmenter.keyframe_interval"),
    *("segmenter.imgsz", "segmenter.keyframe_interval", "propagate.max_age_ms", "render.opacity", "render.scale"),
    *("publish.quality", "threads", "duration", "max_frames", "files_at_once", "fps"),
)


@pytest.mark.parametrize("key", NUMBERS)
def test_every_number_has_a_range(key: str) -> None:
    for number in (-1, 1e13, 2**62, 2**63, 2**64, -(2**80), 10**300, 1e300, float("nan"), float("inf")):
        with pytest.raises(SettingsError, match=f"^{key}: "):
            load_config(None, [("sources.0.url", "clip.mp4"), (key, number)], {})


def test_the_test_of_ranges_names_every_number() -> None:
    """A new number must be in `NUMBERS`, and have a range."""

    def numbers(kind: type[msgspec.Struct], prefix: str) -> Iterator[str]:
        for field in msgspec.structs.fields(kind):
            yield from found(field.type, prefix + field.name)

    def found(annotation: object, key: str) -> Iterator[str]:
        if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
            yield from numbers(annotation, key + ".")
        elif annotation in (int, float):
            yield key
        else:
            for part in get_args(annotation):
                yield from found(type(part) if isinstance(part, int) and not isinstance(part, bool) else part, key)

    elsewhere = {"detector.classes", "detector.boxes.xyxy", "sources.detector.classes"}
    assert {key.replace("sources.", "sources.main.") for key in set(numbers(Config, "")) - elsewhere} == set(NUMBERS)


def sources(*given: dict[str, object], **more: object) -> Config:
    return check_config({"sources": list(given), **more})


def test_one_source_is_main_and_several_have_names_of_their_own() -> None:
    names = [[each.name for each in config.sources] for config in (
        sources({"url": 0}), sources({"url": 0}, {"url": "rtsp://a", "name": "door"}, {"url": "b.mp4"})
    )]  # fmt: skip
    assert names == [["main"], ["camera-0", "door", "camera-2"]]
    with pytest.raises(SettingsError, match=r"^sources\.2\.name: door is the name of sources\.0 too; give each a name"):
        sources({"url": 0, "name": "door"}, {"url": 1}, {"url": 2, "name": "door"})
    with pytest.raises(SettingsError, match=r"^sources: .* <= 64"):
        check_config({"sources": [{"url": number} for number in range(65)]})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rotate": 45}, r"sources\.yard\.rotate: 45 is not a choice"),
        ({"username": 12}, r"sources\.yard\.username: .* write --set 'sources\.yard\.username="),
        ({"rotat": 90}, r"sources\.yard\.rotat: unknown key"),
        ({"url": "${HOST}"}, r"sources\.yard\.url: the environment variable HOST"),
        ({"url": "a\0"}, r"sources\.yard\.url: .* holds a character"),
        ({"url": ""}, r"sources\.yard\.url: empty"),
        ({"live": True}, r"sources\.yard\.live: only for http"),
        ({"fps": 5}, r"sources\.yard\.fps: in every-frame mode"),
        ({"record": {"video": "a.avi"}}, r"sources\.yard\.record\.video: a\.avi"),
        ({"url": "gone*.mp4"}, r"sources\.yard\.url: no file matches"),
        ({"url": "push:tcp://0.0.0.0:5560"}, r"sources\.yard\.url: .* or keys in sources\.yard\.curve"),
        ({"curve": {"secret_key_file": "a", "allow": "b"}}, r"sources\.yard\.curve: .* or set sources\.yard\.url"),
    ],
)
def test_an_error_of_one_of_several_sources_names_it_as_set_does(
    tmp_path: Path, wrong: dict[str, object], message: str
) -> None:
    path = tmp_path / "cameras.yaml"
    path.write_text("sources: [{url: a.mp4, name: door}, {url: b.mp4, name: yard}]\n")
    (key, value), *_ = wrong.items()
    for place in ("1", "yard"):
        with pytest.raises((SettingsError, SourceError), match=rf"^{message}"):
            load_config(path, [(f"sources.{place}.{key}", value)], {})


def test_a_source_is_found_by_its_name_before_its_place() -> None:
    given: list[dict[str, object]] = [{"url": "a.mp4", "name": "1"}, {"url": "b.mp4", "name": "0"}, {"url": "c.mp4"}]
    overrides = [("sources.1.rotate", 90), ("sources.0.rotate", 180), ("sources.camera-2.rotate", 270)]
    config = load_config(None, overrides, {}, given)
    assert {source.name: source.rotate for source in config.sources} == {"1": 90, "0": 180, "camera-2": 270}
    assert load("sources.main.url=clip.mp4", "sources.main.rotate=90").sources[0].rotate == 90
    with pytest.raises(SettingsError, match=r"^sources\.1\.rotate: "):
        load_config(None, [("sources.1.rotate", 45)], {}, given)


@pytest.mark.parametrize(
    ("text", "assigned", "rotations"),
    [
        ("[{url: a.mp4, name: door}]", ["door.name=gate", "gate.rotate=90"], {"gate": 90}),
        ("[{url: a.mp4}]", ["main.rotate=90", "1.url=b.mp4", "camera-1.rotate=180"], {"camera-0": 90, "camera-1": 180}),
        ("[{url: a.mp4, name: '${CAM}'}]", ["front.rotate=90"], {"front": 90}),
        ("[]", ["main.url=a.mp4", "main.rotate=90"], {"main": 90}),
        ("[{url: a.mp4, name: a}, {url: b.mp4, name: a}]", ["a.rotate=90", "1.name=b"], {"a": 90, "b": 0}),
    ],
)
def test_a_source_has_the_name_that_it_has_when_a_key_is_set(
    tmp_path: Path, text: str, assigned: list[str], rotations: dict[str, int]
) -> None:
    path = tmp_path / "cameras.yaml"
    path.write_text(f"sources: {text}\n")
    overrides = [parse_override(f"sources.{each}") for each in assigned]
    config = load_config(path, overrides, {"CAM": "front"})
    assert {source.name: source.rotate for source in config.sources} == rotations


@pytest.mark.parametrize("sources", ["[{url: a.mp4}]", "[{url: a.mp4}, {url: b.mp4}]"])
def test_the_key_of_a_name_without_quotes_sets_that_name(tmp_path: Path, sources: str) -> None:
    path = tmp_path / "cameras.yaml"
    path.write_text(f"sources: {sources}\n")
    with pytest.raises(SettingsError, match="expected text, and without quotes this is a number") as caught:
        load_config(path, [("sources.0.name", 1)], {})
    key = str(caught.value).partition(":")[0]
    assert load_config(path, [(key, "1")], {}).sources[0].name == "1"


def test_a_source_of_the_command_line_overrides_the_file_and_what_is_set(tmp_path: Path) -> None:
    path = tmp_path / "cameras.yaml"
    path.write_text("sources: [{url: a.mp4, name: door, rotate: 90}]\n")
    given: list[dict[str, object]] = [{"url": "b.mp4"}, {"url": "c.mp4", "name": "yard"}]
    config = load_config(path, [("sources.0.url", "d.mp4"), ("sources.yard.mirror", True)], {}, given)
    door, yard = config.sources
    assert (door.name, door.url, door.rotate) == ("door", "b.mp4", 90)
    assert (yard.name, yard.url, yard.mirror) == ("yard", "c.mp4", True)


def test_sources_with_and_without_an_end_run_live_together() -> None:
    assert sources({"url": "a.mp4"}, {"url": "b.mp4"}).resolved_mode == "every-frame"
    mixed = sources({"url": "a.mp4"}, {"url": 0})
    assert mixed.resolved_mode == mixed.of("camera-0").resolved_mode == "live"


def test_a_source_may_have_settings_of_its_own() -> None:
    config = sources(
        {"url": "a.mp4", "name": "door", "detector": {"classes": ["person"]}, "segmenter": {"keyframe_interval": 5}},
        {"url": "b.mp4", "name": "yard", "detector": {"conf": 0.7}, "record": {"jsonl": "own.jsonl"}},
        detector={"conf": 0.4},
        record={"video": "out/all.mp4", "jsonl": "all.jsonl"},
    )
    door, yard = config.of("door"), config.of("yard")
    assert [each.name for each in door.sources] == ["door"]
    assert (door.detector.conf, door.detector.classes, door.segmenter.keyframe_interval) == (0.4, ("person",), 5)
    assert (yard.detector.conf, yard.detector.classes, yard.segmenter.keyframe_interval) == (0.7, None, 1)
    assert (door.record.video, door.record.jsonl) == ("out/all-door.mp4", "all-door.jsonl")
    assert (yard.record.video, yard.record.jsonl) == (None, "own.jsonl")
    with pytest.raises(SettingsError, match=r"^sources\.camera-1\.record\.video: own\.avi does not end in \.mp4"):
        sources({"url": "a.mp4"}, {"url": "b.mp4", "record": {"video": "own.avi"}})


def test_each_source_may_have_its_own_rate_and_what_happens_to_the_frames_between() -> None:
    config = sources({"url": 0, "name": "a"}, {"url": 1, "name": "b", "fps": 2, "analyse": "fps"}, fps=5)
    assert [(config.of(name).fps, config.of(name).analyse) for name in "ab"] == [(5, "every"), (2, "fps")]


def test_frames_of_a_file_are_analysed_or_left_out() -> None:
    for key, settings in (("fps", {"fps": 5}), ("sources.main.fps", {"sources": [{"url": "a.mp4", "fps": 5}]})):
        with pytest.raises(SettingsError, match=f"^{key}: in every-frame mode each published frame is analysed; add"):
            check_config({"sources": [{"url": "a.mp4"}], **settings})
        assert check_config({"sources": [{"url": "a.mp4"}], **settings, "mode": "live"})
        assert check_config({"sources": [{"url": "a.mp4"}], **settings, "analyse": "fps"})
