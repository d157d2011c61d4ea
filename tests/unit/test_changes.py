from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamseg.changes import ChangingPlan
from streamseg.config import Config, check_config
from streamseg.config_file import SettingsFile, load_config
from streamseg.errors import OutputExistsError, SettingsError, SourceError, UsageError
from streamseg.plan import make_plan

MODELS: dict[str, object] = {"detector": {"model": "motion"}, "segmenter": {"model": "nano"}}


def source(name: str, **more: object) -> dict[str, object]:
    return {"url": "synthetic:", "name": name, **more}


def config(*sources: dict[str, object], **more: object) -> Config:
    return check_config({"sources": sources, **MODELS, **more})


class Running:
    """A plan, and the file that it comes from."""

    def __init__(self, first: Config, overwrite: bool = False) -> None:
        self.content = first
        file = SettingsFile.read(Path("cameras.yaml"), lambda: self.content)
        self.changing = ChangingPlan(first, make_plan(first, overwrite=overwrite), overwrite=overwrite, file=file)

    def write(self, content: Config) -> str:
        """Change the file and reload it."""
        self.content = content
        return self.changing.reload()

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.changing.plan.config.sources]


@pytest.fixture
def running() -> Running:
    return Running(config(source("door"), source("yard")))


def test_the_sources_of_the_file_are_those_of_the_run(running: Running) -> None:
    assert running.changing.reload() == "no source has changed"
    changes = running.write(config(source("door"), source("yard", mirror=True), source("gate"), source("hall")))
    assert changes == "added gate, hall; changed yard"
    assert running.names == ["door", "yard", "gate", "hall"]
    assert running.write(config(source("hall"))) == "removed door, yard, gate"


def test_sources_are_added_and_removed_one_by_one_until_the_file_is_read_again(running: Running) -> None:
    assert running.changing.add({"url": "synthetic:?seed=2", "name": "gate"}) == "added gate"
    assert running.changing.remove("door") == "removed door"
    assert running.names == ["yard", "gate"]
    assert running.changing.reload() == "added door; removed gate"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"detector": {"model": "motion", "conf": 0.5}}, r"detector.conf: has changed, and a running pipeline changes"),
        ({"publish": {"curve": {"secret_key_file": "a", "allow": "b"}}}, r"publish.curve: has changed"),
        ({"mode": "every-frame"}, "mode: the run is live, and with these settings it would be every-frame; restart it"),
    ],
)
def test_other_settings_change_nothing(running: Running, more: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        running.write(config(source("door"), **{**MODELS, **more}))
    assert running.names == ["door", "yard"]


def test_the_mode_may_be_written_out(running: Running) -> None:
    assert running.write(config(source("door"), source("yard"), mode="live")) == "no source has changed"


def test_a_camera_among_files_would_change_the_mode() -> None:
    running = Running(config(source("clip", url="synthetic:?frames=5")))
    with pytest.raises(SettingsError, match="mode: the run is every-frame, and with these settings it would be live"):
        running.changing.add(source("door"))


@pytest.mark.parametrize(
    ("added", "error", "message"),
    [
        (source("door"), SettingsError, "sources.2.name: door is the name of sources.0 too"),
        (source("gate", url="missing.mp4"), SourceError, "missing.mp4: no such file"),
        (source("gate", rotate=45), SettingsError, "sources.gate.rotate: "),
        (source("gate", detector={"classes": ["cup"]}), SettingsError, "sources.gate.detector.classes: "),
    ],
)
def test_a_wrong_source_changes_nothing(
    running: Running, added: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        running.changing.add(added)
    assert running.names == ["door", "yard"]


def test_the_last_source_is_not_removed_and_no_more_are_added_than_a_run_takes(running: Running) -> None:
    with pytest.raises(UsageError, match="hall: there is no such source; expected one of door, yard"):
        running.changing.remove("hall")
    running.changing.remove("door")
    with pytest.raises(UsageError, match="yard is the only source; stop the run instead"):
        running.changing.remove("yard")
    running = Running(config(*(source(f"camera-{number}") for number in range(64))))
    with pytest.raises(SettingsError, match="sources: one run takes at most 64; remove one first"):
        running.changing.add(source("gate"))


def test_a_run_without_a_file_reloads_nothing() -> None:
    settings = config(source("door"))
    with pytest.raises(UsageError, match="the run has no settings file"):
        ChangingPlan(settings, make_plan(settings, overwrite=False), overwrite=False).reload()


def test_only_the_recording_of_a_new_source_must_not_exist(tmp_path: Path) -> None:
    record = {"jsonl": str(tmp_path / "out.jsonl")}
    running = Running(config(source("door"), record=record))
    (tmp_path / "out.jsonl").touch()  # the run writes it
    assert running.write(config(source("door"), source("yard"), record=record)) == "added yard"
    (tmp_path / "out-gate.jsonl").touch()
    with pytest.raises(OutputExistsError, match=r"out-gate\.jsonl exists"):
        running.changing.add(source("gate"))


def test_whatever_goes_wrong_with_a_change_is_an_error_of_the_settings(running: Running) -> None:
    def fail() -> Config:
        raise PermissionError(13, "Permission denied")

    running.changing._file = SettingsFile(running.content, fail)
    with pytest.raises(SettingsError, match=r"^the settings cannot be used \(PermissionError: "):
        running.changing.reload()
    with pytest.raises(SettingsError, match=r"sources\.x\.url: .* holds a character that no file name"):
        running.changing.add({"name": "x", "url": "/tmp/\0/*"})
    assert running.names == ["door", "yard"]


def test_no_two_sources_record_one_file(tmp_path: Path) -> None:
    recording = {"record": {"video": str(tmp_path / "out.mp4")}}
    running = Running(config(source("door"), **recording), overwrite=True)
    with pytest.raises(SettingsError, match=r"out\.mp4 is a recording of door; name another file"):
        running.changing.add({"name": "yard", "url": "synthetic:", **recording})
    assert running.changing.add({"name": "yard", "url": "synthetic:"}) == "added yard"


def test_a_settings_file_that_became_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "cameras.yaml"
    path.write_text("sources: [{url: 'synthetic:'}]")
    file = SettingsFile.read(path, lambda: load_config(path, [], {}))
    assert file.read_again() == file.config
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SettingsError, match="is no file any more"):
        file.read_again()
