"""Sources are added, removed and changed while the supervisor runs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from support.published_frames import published
from support.stage_context import stage_config
from support.stage_handles import FakeStage
from support.supervisor_bench import Bench

from streamseg.config import RunSource
from streamseg.ipc import ring
from streamseg.ipc.stage_messages import (
    Acknowledge,
    AddLane,
    Failed,
    Finished,
    LaneRemoved,
    OthersFollow,
    Ready,
    RemoveLane,
    Start,
    Stop,
)

SHARED = ("finder", "painter")
OWN = ("eye", "voice")


class Run(Bench):
    """A run whose sources change."""

    def change(self, *sources: RunSource) -> None:
        """Let the run have these sources."""
        config = msgspec.structs.replace(self.plan.config, sources=sources)
        self.supervisor.lanes.change(config)
        self.settle()

    def own(self, source: str) -> list[FakeStage]:
        """The newest processes of a source alone."""
        return [self.stages(stage, source) for stage in OWN]

    def confirm(self, source: str) -> None:
        """Let the shared stages report that they closed a lane."""
        for stage in SHARED:
            self.stages(stage, "door").say(LaneRemoved(source))
        self.settle()


def source(name: str, **more: object) -> RunSource:
    return msgspec.convert({"url": "synthetic:", "name": name, **more}, RunSource)


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of shared memory."""
    monkeypatch.setattr(ring, "block_folder", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def run(memory: Path) -> Run:
    """A run of door and yard, whose frames flow."""
    sources = (source("door"), source("yard"))
    run = Run(memory, msgspec.structs.replace(stage_config("live"), sources=sources))
    run.start()
    return run


def test_an_added_source_gets_processes_of_its_own_and_shares_the_others(run: Run) -> None:
    before = list(run.stages.started)
    run.change(source("door"), source("yard"), source("gate"))
    assert [(stage.spec.stage, stage.spec.lane.name) for stage in run.stages.started[len(before) :]] == [
        ("eye", "gate"),
        ("voice", "gate"),
    ]
    assert all(stage.alive and not stage.got(Stop) for stage in before)
    for name in SHARED:
        ((lane, links, config),) = [
            (each.lane, each.links, each.config) for each in run.stages(name, "door").got(AddLane)
        ]
        assert lane.name == "gate"
        assert {link.source for link in links} == {"gate"}
        assert all(name in (link.sender, link.receiver) for link in links)
        assert [each.name for each in config.sources] == ["door", "yard", "gate"]
    addresses = [link.address for link in run.supervisor.lanes.links]
    assert len(addresses) == len(set(addresses)) == 15
    assert run.observer.came_and_went == [("added", "gate")]
    for stage in run.own("gate"):
        assert not stage.got(Start)
        stage.say(Ready("ready"))
    run.settle()
    assert all(stage.got(Start) == [Start(run.clock.ns, -1)] for stage in run.own("gate"))


def test_the_frames_of_an_added_source_begin_when_it_is_ready(run: Run) -> None:
    run.pass_ms(60_000)
    run.change(source("door"), source("yard"), source("gate"))
    eye, _ = run.own("gate")
    eye.say(Ready("ready"))
    run.settle()
    began = eye.got(Start)[0].origin_ns
    assert began == run.clock.ns, "a file that is played at its rate would else run after a minute that it missed"
    again = run.restart("eye", "gate")
    again.say(Ready("ready"))
    run.settle()
    assert again.got(Start)[0].origin_ns == began


def test_nothing_is_started_for_an_added_source_that_failed(run: Run) -> None:
    run.stages.refusals = 11  # the last is the sixth of "eye", when "voice" is due too
    run.change(source("door"), source("yard"), source("gate"))
    run.pass_ms(60_000)
    assert run.stages.refusals == 0
    assert [str(error) for error in run.supervisor.lanes.failures] == [
        "eye failed: eye cannot be started, after 5 restarts within 60 s; run with --verbose to see why"
    ]
    assert not any(stage.spec.lane.name == "gate" for stage in run.stages.started if stage.spec.stage in OWN)


def test_a_removed_source_is_forgotten_when_every_process_is_done_with_it(run: Run, memory: Path) -> None:
    eye, voice = run.own("yard")
    prefix = eye.spec.lane.ring
    left = [memory / f"{prefix}-0", memory / f"{prefix}.finder"]
    for path in left:
        path.touch()
    run.change(source("door"))
    assert eye.got(Stop) == voice.got(Stop) == [Stop("source removed")]
    assert all(run.stages(name, "door").got(RemoveLane) == [RemoveLane("yard")] for name in SHARED)
    voice.say(published(seq=7, source="yard"))
    eye.die(0)
    voice.die(0)
    run.settle()
    assert [frame.source for frame in run.observer.frames] == ["yard"], "its last frames count"
    assert run.supervisor.lanes.get("yard") is not None, "a shared stage may still write a state"
    run.confirm("yard")
    assert run.supervisor.lanes.get("yard") is None
    assert not any(path.exists() for path in left)
    assert {link.source for link in run.supervisor.lanes.links} == {"door"}
    assert run.observer.came_and_went == [("removed", "yard")]
    assert all(stage.alive and not stage.got(Stop) for stage in run.own("door"))
    run.pass_ms(60_000)
    assert not any(stage.alive for stage in run.own("yard")), "nothing of it is started again"
    assert not run.supervisor.over


def test_a_changed_source_starts_again_when_its_processes_have_ended(run: Run) -> None:
    old = run.own("yard")
    run.change(source("door"), source("yard", mirror=True))
    assert len(run.stages.all("eye", "yard")) == 1, "two recorders would write the same file"
    for stage in old:
        stage.die(0)
    run.confirm("yard")
    new = run.own("yard")
    assert [stage.spec.lane.source.mirror for stage in new] == [True, True]
    assert new[0].spec.lane.ring != old[0].spec.lane.ring
    assert new[1].spec.lane.run_id != old[1].spec.lane.run_id, (
        "a reader that missed the end would drop its frames as repeated"
    )
    assert all([each.lane.name for each in run.stages(name, "door").got(AddLane)] == ["yard"] for name in SHARED)
    assert run.observer.came_and_went == [("removed", "yard"), ("added", "yard")]
    old[1].say(published(seq=3, source="yard"))
    run.settle()
    assert run.observer.frames == [], "a late message of the old process is none of the new one"


def test_settings_that_change_back_while_a_source_ends_start_it_again(run: Run) -> None:
    run.change(source("door"))
    run.change(source("door"), source("yard"))
    for stage in run.own("yard"):
        stage.die(0)
    run.confirm("yard")
    assert all(stage.alive for stage in run.own("yard"))


def test_a_process_that_is_not_ready_ends_at_once(run: Run) -> None:
    run.change(source("door"), source("yard"), source("gate"))
    run.change(source("door"), source("yard"))
    assert [stage.status for stage in run.own("gate")] == [-15, -15]


def test_a_shared_process_that_dies_no_longer_serves_a_source_that_ends(run: Run) -> None:
    run.change(source("door"))
    finder = run.restart("finder", "door")
    assert [lane.name for lane in finder.spec.lanes] == ["door"]
    assert {link.source for link in finder.spec.links} == {"door"}
    for stage in run.own("yard"):
        stage.die(0)
    run.stages("painter", "door").say(LaneRemoved("yard"))
    run.settle()
    assert run.supervisor.lanes.get("yard") is None


def test_what_a_shared_process_reports_before_it_closed_the_lane_still_counts(memory: Path) -> None:
    sources = (source("door", url="synthetic:?frames=5"), source("yard", url="synthetic:?frames=5"))
    run = Run(memory, msgspec.structs.replace(stage_config(), sources=sources))
    run.start()
    run.change(sources[0], source("yard", url="synthetic:?frames=9"))
    for stage in run.own("yard"):
        stage.die(0)
    run.stages("finder", "door").say(Acknowledge("yard", 4))
    run.confirm("yard")
    assert run.own("yard")[0].spec.lane.resume_after is None, "the new source begins with its first frame"


def test_a_source_that_failed_starts_again_when_it_is_changed(run: Run) -> None:
    eye, voice = run.own("yard")
    eye.say(Failed("SourceError", "no such camera"))
    eye.die(1)
    run.settle()
    voice.die(0)
    run.change(source("door"), source("yard"))
    assert len(run.stages.all("eye", "yard")) == 1, "its recording would be overwritten"
    run.change(source("door"), source("yard", wait=True))
    run.confirm("yard")
    assert all(stage.alive for stage in run.own("yard"))


@pytest.mark.parametrize("change", [[source("door")], [source("door"), source("yard", wait=True)]])
def test_the_failure_of_a_source_counts_also_after_it_was_removed_or_changed(run: Run, change: list[RunSource]) -> None:
    eye, voice = run.own("yard")
    eye.say(Failed("SourceError", "no such camera"))
    eye.die(1)
    run.settle()
    voice.die(0)
    run.change(*change)
    run.confirm("yard")
    lane = run.supervisor.lanes.get("yard")
    assert (lane is None) == (len(change) == 1)
    assert lane is None or lane.state != "failed"
    assert [str(error) for error in run.supervisor.lanes.failures] == ["no such camera"]


def test_a_recording_of_a_removed_source_that_cannot_be_finished_is_reported(run: Run) -> None:
    _, voice = run.own("yard")
    run.change(source("door"))
    voice.say(Failed("OutputError", "out-yard.mp4: no space left"))
    voice.die(1)
    run.settle()
    assert run.observer.lines == ["yard: voice: out-yard.mp4: no space left"]
    assert run.supervisor.lanes.failures == []


def test_a_change_before_the_start_takes_place_at_once(memory: Path) -> None:
    run = Run(memory, msgspec.structs.replace(stage_config("live"), sources=(source("door"),)))
    run.supervisor.start()
    run.change(source("door"), source("yard"))
    assert {stage.spec.lanes[0].name for stage in run.stages.started} == {"door", "yard"}


def test_without_a_source_that_never_became_ready_the_others_start(memory: Path) -> None:
    config = msgspec.structs.replace(stage_config("every-frame"), sources=(source("door"), source("yard")))
    run = Run(memory, config)
    run.supervisor.start()
    late = run.stages("eye", "yard")
    for stage in run.stages.started:
        if stage is not late:
            stage.say(Ready("ready"))
    run.settle()
    assert not any(isinstance(message, Start) for message in run.stages("eye", "door").received)
    run.change(source("door"))
    for stage in run.own("yard"):
        stage.die(0)
    run.confirm("yard")
    assert any(isinstance(message, Start) for message in run.stages("eye", "door").received)


def test_files_that_are_added_wait_for_others_to_end(memory: Path) -> None:
    files = [RunSource(url="synthetic:?frames=9", name=name) for name in "abcde"]
    config = msgspec.structs.replace(stage_config("every-frame"), sources=tuple(files[:1]), files_at_once=2)
    run = Run(memory, config)
    run.start()
    run.change(*files)
    assert [name for name in "abcde" if run.stages.all("eye", name)] == ["a", "b"]
    assert {place.key.source for place in run.supervisor.processes.needed} == {None, "a", "b"}
    run.stages("voice", "a").say(Finished("a", 8, "end of source"))
    run.settle()
    assert [name for name in "abcde" if run.stages.all("eye", name)] == ["a", "b", "c"]


def test_shared_processes_let_go_of_a_file_that_ended(memory: Path) -> None:
    files = [RunSource(url="synthetic:?frames=9", name=name) for name in "ab"]
    run = Run(memory, msgspec.structs.replace(stage_config("every-frame"), sources=tuple(files), files_at_once=1))
    run.start()
    voice = run.stages("voice", "a")
    assert OthersFollow(True) in voice.received, "readers stay for the next file"
    voice.say(Finished("a", 8, "end of source"))
    run.settle()
    finder = run.stages("finder", "a")
    assert RemoveLane("a") in finder.received
    assert run.stages("voice", "b").got(OthersFollow) == [OthersFollow(False)]
    finder.die(1)
    run.settle()
    run.pass_ms(5000)
    assert [lane.name for lane in run.stages("finder", "b").spec.lanes] == ["b"]


def test_a_file_that_is_removed_while_it_waits_never_starts(memory: Path) -> None:
    files = [RunSource(url="synthetic:?frames=9", name=name) for name in "abc"]
    run = Run(memory, msgspec.structs.replace(stage_config("every-frame"), sources=tuple(files), files_at_once=1))
    run.start()
    run.change(files[0], files[2])
    run.stages("voice", "a").say(Finished("a", 8, "end of source"))
    run.settle()
    assert [name for name in "abc" if run.stages.all("eye", name)] == ["a", "c"]


def test_readers_stay_for_a_file_that_is_added_and_waits(memory: Path) -> None:
    files = [RunSource(url="synthetic:?frames=9", name=name) for name in "ab"]
    config = msgspec.structs.replace(stage_config("every-frame"), sources=(files[0],), files_at_once=1)
    run = Run(memory, config)
    run.start()
    run.change(*files)
    run.change(files[0])
    assert [each.follow for each in run.stages("voice", "a").got(OthersFollow)] == [False, True, False]


def test_readers_stay_for_a_source_that_starts_again(memory: Path) -> None:
    run = Run(memory, msgspec.structs.replace(stage_config("live"), sources=(source("door"),)))
    run.start()
    old = run.own("door")
    run.change(source("door", mirror=True))
    assert old[1].received[-2:] == [OthersFollow(True), Stop("source removed")], "its end has what was sent before"
    for stage in old:
        stage.die(0)
    run.confirm("door")
    assert run.own("door")[1].got(OthersFollow) == [OthersFollow(False)]


def test_a_source_without_an_end_waits_for_no_file(memory: Path) -> None:
    sources = (source("a", url="synthetic:?frames=9"), source("b", url="synthetic:?frames=9"), source("endless"))
    run = Run(memory, msgspec.structs.replace(stage_config("every-frame"), sources=sources[:2], files_at_once=1))
    run.start()
    run.change(*sources)
    assert [each.name for each in sources if run.stages.all("eye", each.name)] == ["a", "endless"]


def test_a_shared_process_that_dies_while_the_only_source_ends_is_back(memory: Path) -> None:
    run = Run(memory, msgspec.structs.replace(stage_config("live"), sources=(source("door"),)))
    run.start()
    run.change(source("door", mirror=True))
    run.stages("finder", "door").die(1)
    run.settle()
    run.pass_ms(1000)
    again = run.stages.started[-1]
    assert (again.spec.stage, again.spec.lanes, again.alive) == ("finder", (), True)


def test_the_run_is_over_when_the_sources_that_are_left_are_finished(run: Run) -> None:
    run.stages("voice", "door").say(Finished("door", 9, "end of source"))
    run.change(source("door"))
    assert not run.supervisor.over, "the other one has not ended yet"
    for stage in run.own("yard"):
        stage.die(0)
    run.confirm("yard")
    assert run.supervisor.over
