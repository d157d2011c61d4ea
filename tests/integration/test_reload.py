"""The settings file is read again while the pipeline runs: sources come and go, and the others do not notice."""

from __future__ import annotations

import signal
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from support.pipeline_runs import Run, free_endpoint, read_records, until

from streamseg.client import Subscriber
from streamseg.errors import SettingsError, UsageError
from streamseg.messages import End
from streamseg.pipeline import Pipeline
from streamseg.result import Result

PATIENCE_S = 60.0
DETECTOR = {"model": "fixed", "boxes": [{"xyxy": [10, 10, 110, 110]}, {"xyxy": [200, 120, 300, 220]}]}


def camera(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "url": "synthetic:?size=320x240&fps=15&objects=1", **more}


class Reloading:
    """A run with a settings file, and what a subscriber to all of its sources receives."""

    def __init__(self, folder: Path) -> None:
        self.endpoint = free_endpoint()
        self.path = folder / "cameras.yaml"
        self.subscriber = Subscriber(self.endpoint, timeout=PATIENCE_S)
        self.results: dict[str, list[Result]] = defaultdict(list)
        self.ends: dict[str, str] = {}

    def write(self, *sources: dict[str, object], **more: object) -> None:
        settings = {
            "sources": sources,
            "detector": DETECTOR,
            "segmenter": {"model": "nano"},
            "publish": {"bind": self.endpoint},
            **more,
        }
        self.path.write_text(yaml.safe_dump(settings))

    def receive(self) -> bool:
        """Take one message."""
        match self.subscriber.receive():
            case Result() as result:
                self.results[result.source].append(result)
            case End() as end:
                self.ends[end.source] = end.reason
        return True

    def more(self, count: int, *sources: str) -> None:
        """Wait for so many further results of each of these sources."""
        wanted = {source: len(self.results[source]) + count for source in sources}
        until(
            lambda: self.receive() and all(len(self.results[source]) >= least for source, least in wanted.items()),
            PATIENCE_S,
            f"{count} results of {sources}",
        )


@pytest.fixture
def reloading(tmp_path: Path) -> Iterator[Reloading]:
    reloading = Reloading(tmp_path)
    yield reloading
    reloading.subscriber.close()


def test_a_source_is_added_and_one_removed_while_the_third_keeps_its_tracks(reloading: Reloading) -> None:
    door, yard = camera("door"), camera("yard")
    reloading.write(door, yard)
    with Run("run", str(reloading.path), "--jsonl", str(reloading.path.with_name("all.jsonl"))) as run:
        reloading.more(40, "door", "yard")
        kept = {**run.stages(), **{f"door {name}": stage for name, stage in run.stages("door").items()}}
        before = len(reloading.results["door"])
        reloading.write(door, camera("gate"))
        with Run("reload", reloading.endpoint) as command:
            assert f"process {run.process.pid}" in command.finish(30)[1]
        reloading.more(20, "gate")
        until(lambda: "yard" in reloading.ends or reloading.receive(), PATIENCE_S, "the end of the yard")
        assert reloading.ends == {"yard": "source removed"}
        reloading.more(40, "door")
        during = reloading.results["door"][before:]
        tracks = [[item.detection.tracker_id for item in result.objects] for result in during]
        assert tracks == [[1, 2]] * len(during), "a new tracker would first confirm its tracks"
        until(lambda: not run.stages("yard"), PATIENCE_S, "the end of its processes")
        assert all(stage.is_running() and stage.status() != psutil.STATUS_ZOMBIE for stage in kept.values())

        for wrong in ("sources: []", "sources: [{url: 1", "no: settings"):
            reloading.path.write_text(wrong)
            run.process.send_signal(signal.SIGHUP)
            reloading.more(15, "door", "gate")
        reloading.write(door, camera("gate"), detector={**DETECTOR, "conf": 0.5})
        run.process.send_signal(signal.SIGHUP)
        reloading.more(15, "door", "gate")

        run.process.terminate()
        status, output, errors = run.finish(30)
    assert status == 143, errors
    lines = [line for line in errors.splitlines() if line.startswith("settings")]
    assert lines[0] == "settings reloaded: added gate; removed yard"
    assert [line.partition(": ")[0] for line in lines[1:5]] == ["settings not reloaded, nothing has changed"] * 4
    assert "sources: " in lines[1]
    assert f"{reloading.path}: not YAML" in lines[2]
    assert "no: unknown key" in lines[3]
    assert "detector.conf: has changed" in lines[4]
    rows = dict(line.split(": ", 1) for line in output.splitlines())
    assert rows["yard"].endswith("removed")
    assert {"door", "gate"} <= rows.keys()
    assert all(f"all-{name}.jsonl" in rows["wrote"] for name in ("door", "yard", "gate"))
    assert all(read_records(reloading.path.with_name(f"all-{name}.jsonl")) for name in ("door", "yard", "gate"))


def test_the_loop_over_a_pipeline_gets_every_result_of_files_that_are_added_and_changed(reloading: Reloading) -> None:
    def clip(name: str, frames: int, **more: object) -> dict[str, object]:
        return camera(name, url=f"synthetic:?size=320x240&objects=1&frames={frames}", **more)

    long, seqs = clip("long", 150), defaultdict(list)
    reloading.write(long, clip("short", 100))
    with Pipeline(reloading.path, images=True) as pipeline:
        for result in pipeline:
            assert result.image is not None
            seqs[result.source].append(result.seq)
            if len(seqs["short"]) == 20 == seqs["short"][-1] + 1:
                reloading.write(long, clip("short", 40, mirror=True), clip("late", 30))
                pipeline.reload()
        assert set(pipeline.plan.config.sources) and pipeline.failures == []
    assert seqs["long"] == list(range(150))
    assert seqs["late"] == list(range(30))
    first_run = seqs["short"].index(0, 1)
    assert seqs["short"][:first_run] == list(range(first_run))
    assert 20 <= first_run < 100
    assert seqs["short"][first_run:] == list(range(40))


def test_what_a_removed_source_used_is_free_again(reloading: Reloading) -> None:
    reloading.write(camera("door"))
    with Run("run", str(reloading.path)) as run:
        reloading.more(5, "door")
        counts = []
        for _ in range(5):
            reloading.write(camera("door"), camera("yard"))
            run.process.send_signal(signal.SIGHUP)
            reloading.more(3, "yard")
            reloading.write(camera("door"))
            run.process.send_signal(signal.SIGHUP)
            until(lambda: reloading.ends.pop("yard", None) or reloading.receive(), PATIENCE_S, "the end of the yard")
            until(lambda: len(run.stages("yard")) == 0, PATIENCE_S, "the end of its processes")
            reloading.more(15, "door")
            stages = run.stages()
            counts.append({name: stage.num_fds() for name, stage in stages.items()})
            busy = {name: stages[name].cpu_percent(0.5) for name in ("detect", "segment", "hub")}
            assert all(percent < 90 for percent in busy.values()), busy
            mapped = {each.path for name in ("detect", "segment") for each in stages[name].memory_maps()}
            assert not [path for path in mapped if "streamseg-" in path and "deleted" in path]
        run.process.terminate()
        assert run.finish(30)[0] == 143
    grown = {name: counts[-1][name] - counts[1][name] for name in counts[1]}
    assert all(more <= 2 for more in grown.values()), counts


def test_a_program_adds_and_removes_the_sources_of_its_own_pipeline() -> None:
    settings = {"detector": DETECTOR, "segmenter": {"model": "nano"}, "publish": {"bind": "tcp://127.0.0.1:*"}}
    seen: list[str] = []
    with Pipeline({"sources": [camera("door")], **settings}) as pipeline:
        for result in pipeline:
            seen.append(result.source)
            if len(seen) == 5:
                assert pipeline.add_source("yard", str(camera("yard")["url"])) == "added yard"
                with pytest.raises(SettingsError, match=r"sources\.2\.name: yard is the name of sources\.1 too"):
                    pipeline.add_source("yard", 0)
            if result.source == "yard" and seen.count("yard") == 5:
                assert pipeline.remove_source("door") == "removed door"
            if seen.count("yard") > 5 and "door" not in seen[-30:]:
                pipeline.stop()
        assert [source.name for source in pipeline.plan.config.sources] == ["yard"]
    with pytest.raises(UsageError, match="the pipeline has ended"):
        pipeline.remove_source("yard")
