"""What a run says at the terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from support.published_frames import published

from streamseg.config import check_config
from streamseg.ipc.stage_messages import Finished, Ready
from streamseg.messages import Models
from streamseg.monitor.console import RunDisplay
from streamseg.monitor.stats import RunStats

FULL = "the CPU is full: keyframes 0.9/s; try --segmenter nano"


class Run:
    """A run with its display, on a clock that a test sets."""

    def __init__(self, notice: str | None = None, settings: dict[str, object] | None = None) -> None:
        self.now_s = 0.0
        self._said = io.StringIO()
        config, clock_s = check_config(settings or {"sources": [{"url": "0"}]}), lambda: self.now_s
        self.display = RunDisplay(
            Console(file=self._said, width=200),
            RunStats((("capture", "main"), ("publish", "main")), [each.name for each in config.sources], clock_s),
            config,
            Models(detector="motion", segmenter="nano", notice=notice),
            endpoint="tcp://127.0.0.1:5555",
        )

    def publish(self, at_s: float, suggestion: str | None = None) -> None:
        self.now_s = at_s
        self.display.published(published(suggestion=suggestion))

    def change(self, at_s: float, state: str) -> None:
        self.now_s = at_s
        self.display.changed("capture", "main", state, "")

    @property
    def lines(self) -> list[str]:
        """The lines after the first two, which name endpoint and models."""
        publishing, models, *more = self._said.getvalue().splitlines()
        assert (publishing, models) == ("publishing on tcp://127.0.0.1:5555", "models: motion + nano")
        return more

    def row(self, name: str) -> str:
        return dict(self.display.summary("done"))[name]


def test_what_slows_the_masks_is_said_once_and_again_at_the_end_with_its_share() -> None:
    run = Run(notice="no weights for yolox-nano")
    for at_s, suggestion in enumerate((None, FULL, FULL.replace("0.9", "0.5"), None)):
        run.publish(at_s, suggestion)
    assert run.lines == [FULL]
    assert run.row("notices") == f"no weights for yolox-nano; {FULL.replace('0.9', '0.5')} (50.0% of the frames)"


def test_the_end_of_each_file_is_a_line_and_a_failure_or_another_end_is_in_its_row() -> None:
    run = Run(settings={"sources": [{"url": f"{name}.mp4", "name": name} for name in ("main", "b", "c", "d")]})
    run.publish(0)
    run.publish(1)
    run.display.changed("capture", "b", "failed", "b is no video")
    run.display.finished(Finished("b", None, "b is no video"))
    run.display.finished(Finished("main", 1, "end of source"))
    run.display.finished(Finished("c", None, "end of source; of 3 frames 1 is damaged"))
    assert run.lines == [
        "b: capture: failed (b is no video)",
        "main: 2 frames, end of source",
        "c: 0 frames, end of source; of 3 frames 1 is damaged",
    ]
    rows = dict(run.display.summary("end of source"))
    assert rows["main"].startswith("2 frames; rate 1.0 frames/s; ")
    assert "ended" not in rows["main"]
    assert rows["b"] == "0 frames; failed: b is no video"
    assert rows["c"] == "0 frames; ended: end of source; of 3 frames 1 is damaged"
    assert rows["d"] == "0 frames"


def test_a_run_without_trouble_says_so() -> None:
    run = Run()
    run.publish(0)
    assert (run.row("dropped, disconnected, restarts, notices"), run.lines) == ("none", [])


@pytest.mark.parametrize(
    ("settings", "ages"),
    [
        ({"sources": [{"url": "0"}]}, ["frame age, p50 / p99", "mask age, p50 / p99"]),
        ({"sources": [{"url": "a.mp4"}]}, []),
        ({"sources": [{"url": "a.mp4"}], "mode": "live"}, ["frame age, p50 / p99", "mask age, p50 / p99"]),
        ({"sources": [{"url": "a.mp4"}], "segmenter": {"keyframe_interval": 5}}, ["mask age, p50 / p99"]),
    ],
)
def test_the_summary_leaves_out_what_says_nothing(settings: dict[str, object], ages: list[str]) -> None:
    run = Run(settings=settings)
    run.publish(0)
    rows = dict(run.display.summary("done"))
    assert [name for name in rows if "age" in name] == ages
    assert ("boxes of the same frame" in rows) == ("frame age, p50 / p99" in ages)
    camera = " disconnected," if settings["sources"] == [{"url": "0"}] else ""
    assert rows[f"dropped,{camera} restarts, notices"] == "none"


@pytest.mark.parametrize(("returns", "text"), [(True, "2 times, 9 s in all"), (False, "2 times, 17 s in all")])
def test_the_end_says_how_often_and_how_long_the_camera_was_lost(returns: bool, text: str) -> None:
    run = Run()
    run.publish(0)
    run.change(10, "disconnected")
    run.publish(11)  # was on its way
    run.change(14, "running")
    run.publish(15)
    assert run.row("disconnected") == "once, 5 s in all"
    run.change(20, "disconnected")
    if returns:
        run.change(23, "running")
        run.publish(24)
    run.now_s = 32
    assert run.row("disconnected") == text


def test_endpoint_and_models_are_said_although_the_last_process_to_be_ready_has_failed() -> None:
    run = Run()
    run.display.prepared("publish", "main", Ready(""))
    run.display.changed("capture", "main", "failed", "no such camera")
    assert run._said.getvalue().splitlines() == [
        "capture: failed (no such camera)",
        "publishing on tcp://127.0.0.1:5555",
        "models: motion + nano",
    ]


def test_the_summary_has_every_source_that_the_run_had() -> None:
    run = Run(settings={"sources": [{"url": "0", "name": "door"}]})
    run.display.added("yard", True, ["capture", "publish"])
    run.display.added("gate", True, ["capture", "publish"])
    for source in ("door", "yard"):
        run.display.published(published(source=source))
    run.display.removed("yard")
    run.display.removed("gate")
    rows = dict(run.display.summary("interrupted"))
    assert rows["door"].startswith("1 frames; ")
    assert rows["yard"].startswith("1 frames; ")
    assert rows["yard"].endswith("; removed")
    assert "disconnected" not in rows["yard"]
    assert "gate" not in rows
