from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from support.published_frames import published
from support.stage_context import stage_config
from support.stage_handles import FakeStage
from support.supervisor_bench import TOPOLOGY, Bench

from streamseg.config import RunSource
from streamseg.errors import EndpointInUseError, SourceError, StageError
from streamseg.ipc import ring
from streamseg.ipc.stage_messages import (
    Acknowledge,
    Announce,
    Failed,
    Finished,
    LogLine,
    Progress,
    Ready,
    Recorded,
    Released,
    Resend,
    SourceChanged,
    Start,
    Stop,
    Subscribers,
)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def two(tmp_path: Path) -> Bench:
    """Two sources."""
    sources = (RunSource(url="synthetic:", name="door"), RunSource(url="synthetic:", name="yard"))
    return Bench(tmp_path, msgspec.structs.replace(stage_config(), sources=sources))


def test_frames_flow_once_every_stage_is_ready(bench: Bench) -> None:
    bench.supervisor.start()
    for stage in bench.stages.started[:-1]:
        stage.say(Ready("ready"))
    bench.settle()
    assert not any(stage.got(Start) for stage in bench.stages.started)
    bench.stages("voice").say(Ready("ready"))
    bench.settle()
    assert all(stage.got(Start) == [Start(bench.clock.ns, -1)] for stage in bench.stages.started)
    assert bench.observer.ready == ["eye", "finder", "painter", "voice"]


def test_every_source_has_its_own_processes_and_links_and_shares_the_others(two: Bench) -> None:
    two.start()
    names = [(stage.spec.stage, [lane.name for lane in stage.spec.lanes]) for stage in two.stages.started]
    assert names == [
        ("eye", ["door"]),
        ("eye", ["yard"]),
        ("finder", ["door", "yard"]),
        ("painter", ["door", "yard"]),
        ("voice", ["door"]),
        ("voice", ["yard"]),
    ]
    assert len({link.address for link in two.supervisor.lanes.links}) == len(two.supervisor.lanes.links) == 10
    assert [link.source for link in two.stages("finder", "door").spec.links].count("yard") == 3
    assert {link.source for link in two.stages("voice", "door").spec.links} == {"door"}
    rings = {lane.ring for stage in two.stages.started for lane in stage.spec.lanes}
    assert len(rings) == 2


def test_the_window_follows_the_slowest_acknowledging_stage_of_its_source(two: Bench) -> None:
    two.start()
    finder, voice = two.stages("finder", "door"), two.stages("voice", "door")
    finder.say(Acknowledge("door", 4))
    two.settle()
    assert two.stages("eye", "door").got(Released) == []
    voice.say(published(seq=2, source="door"))
    finder.say(Acknowledge("yard", 9))
    two.settle()
    voice.say(published(seq=6, source="door"))
    two.settle()
    assert two.stages("eye", "door").got(Released) == [Released("door", 2), Released("door", 4)]
    assert two.stages("eye", "yard").got(Released) == []


def test_a_live_source_needs_no_acknowledgement(tmp_path: Path) -> None:
    bench = Bench(tmp_path, stage_config("live"))
    bench.start()
    bench.stages("voice").say(published(seq=7))
    bench.stages("finder").say(Acknowledge("main", 7))
    bench.settle()
    assert bench.stages("eye").got(Released) == []


def test_a_new_stage_resumes_after_what_every_stage_is_done_with(bench: Bench) -> None:
    bench.start()
    bench.stages("finder").say(Acknowledge("main", 9))
    bench.stages("voice").say(published(seq=5))
    bench.settle()
    finder = bench.restart("finder")
    assert (finder.spec.lane.resume_after, finder.spec.lane.highest_acknowledged) == (5, 9)
    eye = bench.restart("eye")
    assert (eye.spec.lane.resume_after, eye.spec.lane.highest_acknowledged) == (5, None)


def test_what_is_done_while_a_new_capture_prepares_is_released_to_it(bench: Bench) -> None:
    bench.start()
    bench.stages("finder").say(Acknowledge("main", 9))
    bench.stages("voice").say(published(seq=5))
    bench.settle()
    eye = bench.restart("eye")
    assert eye.spec.lane.resume_after == 5
    bench.stages("voice").say(published(seq=9))
    bench.settle()
    eye.say(Ready("ready"))
    bench.settle()
    assert eye.got(Released) == [Released("main", 9)], "else it repeats frames 6 to 9 and waits for ever"


def test_frames_that_a_new_stage_reads_again_count_as_unacknowledged(bench: Bench) -> None:
    bench.start()
    bench.stages("finder").say(Acknowledge("main", 9))
    bench.stages("voice").say(published(seq=5))
    bench.settle()
    finder = bench.restart("finder")
    finder.say(Ready("ready"))
    bench.stages("voice").say(published(seq=8))
    bench.settle()
    assert bench.stages("eye").got(Released)[-1].seq == 5, "finder still needs frame 6"
    finder.say(Acknowledge("main", 7))
    bench.settle()
    assert bench.stages("eye").got(Released)[-1].seq == 7


@pytest.mark.parametrize(
    ("new", "repeating"), [("finder", ["eye"]), ("painter", ["eye"]), ("voice", ["eye", "painter"]), ("eye", [])]
)
def test_the_stages_upstream_of_a_new_one_repeat_what_it_missed(bench: Bench, new: str, repeating: list[str]) -> None:
    bench.start()
    bench.stages("finder").say(Acknowledge("main", 9))
    bench.stages("voice").say(published(seq=5))
    bench.settle()
    again = bench.restart(new)
    assert not any(stage.got(Resend) for stage in bench.stages.started), "it is not ready yet"
    again.say(Ready("ready"))
    bench.settle()
    asked = [stage.spec.stage for stage in bench.stages.started if stage.got(Resend)]
    assert sorted(asked) == repeating
    assert all(stage.got(Resend) in ([], [Resend("main", 5)]) for stage in bench.stages.started)
    assert again.got(Start), "frames flow at once"


def test_only_the_sources_of_a_new_stage_are_repeated(two: Bench) -> None:
    two.start()
    two.restart("voice", "yard").say(Ready("ready"))
    two.settle()
    assert two.stages("eye", "yard").got(Resend) == [Resend("yard", -1)]
    assert two.stages("eye", "door").got(Resend) == []
    assert two.stages("painter", "door").got(Resend) == [Resend("yard", -1)]


def test_presentation_times_continue_after_a_restart_of_the_source(bench: Bench) -> None:
    bench.start()
    bench.stages("voice").say(msgspec.structs.replace(published(seq=3), pts_ns=123))
    bench.settle()
    eye = bench.restart("eye")
    eye.say(Ready("ready"))
    bench.settle()
    assert eye.got(Start)[0].after_pts_ns == 123


def test_changes_reach_the_observer_and_the_wire_of_their_source(two: Bench) -> None:
    two.start()
    two.stages("eye", "yard").say(SourceChanged("yard", "disconnected", "unplugged"))
    two.settle()
    assert two.observer.changes == [("eye", "disconnected", "unplugged")]
    assert two.stages("voice", "yard").got(Announce) == [Announce("yard", "eye", "disconnected", "unplugged")]
    assert two.stages("voice", "door").got(Announce) == []
    two.restart("painter", "door")
    assert two.stages("voice", "door").got(Announce) == [Announce("door", "painter", "restarting", "ended by signal 9")]
    assert len(two.stages("voice", "yard").got(Announce)) == 2
    (lane,) = two.restart("voice", "yard").spec.lanes
    assert (lane.state, lane.detail) == ("disconnected", "unplugged")
    (lane,) = two.restart("voice", "door").spec.lanes
    assert lane.state == "starting"


def test_the_number_of_subscribers_reaches_the_observer(bench: Bench) -> None:
    bench.start()
    bench.stages("voice").say(Subscribers(2))
    bench.settle()
    assert bench.observer.subscribers == 2


def test_a_stage_that_dies_too_often_ends_the_run(bench: Bench) -> None:
    bench.start()
    for _ in range(5):
        bench.restart("painter").say(Ready("ready"))
        bench.settle()
    assert len(bench.stages.all("painter")) == 6
    bench.stages("painter").die()
    with pytest.raises(StageError, match="painter ended by signal 9, after 5 restarts within 60 s"):
        bench.settle()


def test_each_source_has_its_own_restarts_and_old_ones_are_forgiven(two: Bench) -> None:
    two.start()
    for source in ("door", "yard"):
        for _ in range(5):
            two.restart("eye", source).say(Ready("ready"))
            two.settle()
    two.pass_ms(61_000)
    two.restart("eye", "door")


def test_a_stage_that_cannot_be_started_is_tried_again(bench: Bench) -> None:
    bench.start()
    bench.stages.refusals = 2
    painter = bench.restart("painter")
    painter.say(Ready("ready"))
    bench.settle()
    assert painter.got(Start)
    bench.stages.refusals = 9
    with pytest.raises(StageError, match="painter failed: painter cannot be started, after 5 restarts"):
        bench.restart("painter")


def test_a_stage_that_cannot_be_started_at_all_ends_the_run(bench: Bench) -> None:
    bench.stages.refusals = 1
    with pytest.raises(StageError, match="eye cannot be started"):
        bench.supervisor.run()


def test_restarts_come_later_each_time(bench: Bench) -> None:
    bench.start()
    waited = []
    for _ in range(4):
        bench.stages("painter").die()
        bench.settle()
        count, before = len(bench.stages.started), bench.clock.ns
        while len(bench.stages.started) == count:
            bench.clock.advance(50)
            bench.settle()
        waited.append((bench.clock.ns - before) / 1e6)
        bench.stages("painter").say(Ready("ready"))
        bench.settle()
    assert waited == [pytest.approx(expected, abs=50) for expected in (100, 200, 400, 800)]


def test_a_stage_without_progress_is_killed_and_replaced(bench: Bench) -> None:
    bench.start()
    stuck = bench.stages("finder")
    for _ in range(22):
        bench.clock.advance(500)
        for stage in bench.stages.started:
            if stage is not stuck:
                stage.say(Progress(0))
        bench.settle()
    assert stuck.status == -9
    assert ("finder", "restarting", "hung") in bench.observer.changes
    assert [stage.spec.stage for stage in bench.stages.started if not stage.alive] == ["finder"]


def test_a_stage_whose_turns_are_long_gets_more_time(bench: Bench) -> None:
    bench.start()
    slow = bench.stages("painter")
    slow.say(Progress(3_000_000_000))
    bench.settle()
    for _ in range(80):
        bench.clock.advance(500)
        for stage in bench.stages.started:
            if stage is not slow:
                stage.say(Progress(0))
        bench.settle()
    assert slow.alive


def test_a_paused_supervisor_takes_no_stage_for_hung(bench: Bench) -> None:
    bench.start()
    bench.clock.advance(3_600_000)
    bench.settle()
    assert all(stage.alive for stage in bench.stages.started)


def test_a_stage_that_is_never_ready_ends_the_run(bench: Bench) -> None:
    bench.supervisor.start()
    for _ in range(121):
        bench.clock.advance(1000)
        bench.supervisor.step(0)
    with pytest.raises(StageError, match="made no progress in getting ready for 120 s"):
        bench.settle()


def test_a_stage_that_makes_progress_may_take_long_to_get_ready(bench: Bench) -> None:
    bench.supervisor.start()
    bench.pass_ms(400_000)
    assert all(stage.alive for stage in bench.stages.started)


def test_a_stage_that_fails_and_does_not_end_is_killed_and_its_failure_raised(bench: Bench) -> None:
    bench.supervisor.start()
    for name in ("eye", "finder", "painter"):
        bench.stages(name).say(Ready("ready"))
    bench.stages("voice").say(Failed("EndpointInUseError", "the endpoint is in use"))
    with pytest.raises(EndpointInUseError, match="the endpoint is in use"):
        for _ in range(121):
            for name in ("eye", "finder", "painter"):
                bench.stages(name).say(Progress(0))
            bench.clock.advance(1000)
            bench.settle()
    assert not bench.stages("voice").alive


def test_a_source_may_be_waited_for_without_end(tmp_path: Path) -> None:
    waiting = RunSource(url="rtsp://camera", wait=True)
    bench = Bench(tmp_path, msgspec.structs.replace(stage_config(), sources=(waiting,)))
    bench.supervisor.start()
    for name in ("finder", "painter", "voice"):
        bench.stages(name).say(Ready("ready"))
    bench.settle()
    for _ in range(200):
        bench.clock.advance(1000)
        for name in ("finder", "painter", "voice"):
            bench.stages(name).say(Progress(0))
        bench.settle()
    assert bench.stages("eye").alive
    bench.stages("eye").say(Ready("here"))
    bench.settle()
    assert bench.stages("voice").got(Start)


def test_a_failure_before_the_start_is_raised_as_it_is(bench: Bench) -> None:
    bench.supervisor.start()
    bench.stages("eye").say(Failed("SourceError", "no such camera"))
    bench.stages("eye").die(1)
    with pytest.raises(SourceError, match="no such camera"):
        bench.settle()


def test_a_death_before_the_start_ends_the_run(bench: Bench) -> None:
    bench.supervisor.start()
    bench.stages("painter").die()
    with pytest.raises(
        StageError, match="painter ended by signal 9 before it was ready; if the machine has too little"
    ):
        bench.settle()


def test_a_source_that_fails_for_good_ends_the_run_and_a_failing_stage_does_not(bench: Bench) -> None:
    bench.start()
    bench.stages("painter").say(Failed("StageError", "out of memory"))
    bench.stages("painter").die(1)
    bench.settle()
    assert bench.observer.changes == [("painter", "restarting", "failed: out of memory")]
    bench.stages("eye").say(Failed("SourceError", "the file is broken"))
    bench.stages("eye").die(1)
    with pytest.raises(SourceError, match="the file is broken"):
        bench.settle()


def test_messages_of_a_dead_process_do_not_count_for_the_new_one(bench: Bench) -> None:
    bench.start()
    old = bench.stages("voice")
    bench.restart("voice")
    old.say(published(seq=99))
    bench.settle()
    assert bench.observer.frames == []


def test_the_run_is_over_when_every_source_is_finished(two: Bench) -> None:
    two.start()
    two.stages("voice", "door").say(Finished("door", 9, "end of source"))
    two.settle()
    assert not two.supervisor.over
    two.stages("voice", "yard").say(Finished("yard", 4, "end of source"))
    two.settle()
    assert two.supervisor.over


def test_a_duration_ends_the_run(tmp_path: Path) -> None:
    bench = Bench(tmp_path, stage_config(duration=2))
    bench.start()
    bench.pass_ms(1900)
    assert not bench.supervisor.over
    bench.pass_ms(200)
    assert bench.supervisor.over


def test_stages_that_are_ready_are_stopped_in_order_and_the_others_at_once(bench: Bench) -> None:
    bench.supervisor.start()
    bench.stages("eye").say(Ready("ready"))
    bench.settle()
    bench.stages("eye").ignores_terminate = True
    bench.supervisor.stop("interrupted")
    before = bench.clock.ns
    bench.supervisor.end()
    assert bench.stages("eye").got(Stop) == [Stop("interrupted")]
    assert bench.stages("eye").status == -9
    assert all(stage.status == -15 for stage in bench.stages.started if stage.spec.stage != "eye")
    assert (bench.clock.ns - before) / 1e9 == pytest.approx(3, abs=0.1)


def test_a_stage_that_finishes_something_gets_more_time_than_the_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.start()
    before = bench.clock.ns
    terminated_s: dict[str, float] = {}
    for stage in bench.stages.started:

        def terminate(stage: FakeStage = stage) -> None:
            terminated_s.setdefault(stage.spec.stage, (bench.clock.ns - before) / 1e9)
            stage.die(-15)

        monkeypatch.setattr(stage, "terminate", terminate)
    bench.supervisor.end()
    assert terminated_s == {
        stage: pytest.approx(5 if stage == "voice" else 2, abs=0.1) for stage in ("eye", "finder", "painter", "voice")
    }


def test_a_stage_that_reports_progress_at_its_end_gets_more_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.start()
    voice, sleep = bench.stages("voice"), bench.clock.sleep
    for stage in ("eye", "finder", "painter"):
        bench.stages(stage).die(0)
    before = bench.clock.ns

    def work(seconds: float) -> None:
        sleep(seconds)
        if bench.clock.ns - before > 8e9:
            voice.die(0)
        else:
            voice.say(Progress(0))

    monkeypatch.setattr(bench.clock, "sleep", work)
    bench.supervisor.end()
    assert voice.status == 0
    assert (bench.clock.ns - before) / 1e9 == pytest.approx(8, abs=0.1)


def test_the_last_stage_stops_when_every_other_process_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = tuple(replace(entry, last=entry.name == "finder") for entry in TOPOLOGY.stages)
    bench = Bench(tmp_path, topology=replace(TOPOLOGY, stages=stages))
    bench.start()
    alive: list[bool] = []
    others = [stage for stage in bench.stages.started if stage.spec.stage != "finder"]
    monkeypatch.setattr(bench.stages("finder"), "send", lambda stop: alive.extend(stage.alive for stage in others))
    bench.supervisor.end()
    assert alive == [False] * 3


def test_after_a_kill_nothing_is_waited_for(bench: Bench) -> None:
    bench.start()
    bench.supervisor.kill()
    before = bench.clock.ns
    bench.supervisor.end()
    assert bench.clock.ns == before
    assert not any(stage.alive for stage in bench.stages.started)


def test_last_frames_and_lines_count_while_stages_end(bench: Bench) -> None:
    bench.start()
    bench.stages("voice").say(published(seq=3))
    bench.stages("voice").say(Recorded(source="main", seq=3, record_replaced=0, record_overrun=0))
    bench.stages("eye").say(LogLine(20, "eye: closed"))
    bench.supervisor.kill()
    bench.supervisor.end()
    assert [frame.seq for frame in bench.observer.frames] == [3]
    assert [frame.seq for frame in bench.observer.recorded_frames] == [3]
    assert bench.observer.lines == ["eye: closed"]


def test_the_budget_of_threads_is_logged(bench: Bench) -> None:
    bench.supervisor.stop("interrupted")
    assert bench.supervisor.run() == "interrupted"
    assert bench.observer.lines[0].startswith("threads: eye 1, finder 1")


def test_a_source_that_fails_for_good_ends_only_its_lane(two: Bench) -> None:
    two.start()
    eye, voice = two.stages("eye", "door"), two.stages("voice", "door")
    eye.say(Failed("SourceError", "the file ends in the middle"))
    eye.die()
    two.settle()
    assert voice.got(Announce) == [Announce("door", "eye", "failed", "the file ends in the middle")]
    assert voice.got(Stop) == [Stop("failed: the file ends in the middle")]
    assert {place.key.source for place in two.supervisor.processes.needed} == {None, "yard"}
    voice.die()
    two.pass_ms(60_000)
    assert [stage.alive for stage in (two.stages("eye", "door"), two.stages("voice", "door"))] == [False, False]
    assert all(two.stages(name, "yard").alive for name in ("eye", "finder", "painter", "voice"))
    assert not two.supervisor.over
    assert [str(error) for error in two.supervisor.lanes.failures] == ["the file ends in the middle"]
    two.stages("voice", "yard").say(Finished("yard", 9, "end of source"))
    two.settle()
    assert two.supervisor.over


def test_a_lane_that_does_not_stop_is_killed(two: Bench) -> None:
    two.start()
    two.stages("eye", "door").say(Failed("SourceError", "gone"))
    two.stages("eye", "door").die()

    def wait(steps: int) -> bool:
        for _ in range(steps):
            two.clock.advance(900)
            two.settle()
        return two.stages("voice", "door").alive

    two.settle()
    assert wait(4)
    two.stages("voice", "door").say(Progress(0))  # it joins its recording
    assert wait(4)
    assert not wait(4)


def test_the_others_start_without_a_source_that_cannot_be_opened(two: Bench) -> None:
    two.supervisor.start()
    two.stages("eye", "yard").say(Failed("SourceError", "no such camera"))
    two.stages("eye", "yard").die()
    for stage in two.stages.started:
        if stage.alive and (stage.spec.stage, stage.spec.lanes[-1].name) != ("voice", "yard"):
            stage.say(Ready("ready"))
    two.settle()
    assert two.stages("eye", "door").got(Start) == [Start(two.clock.ns, -1)]
    assert not two.stages("voice", "yard").alive, "it was not ready yet"


@pytest.mark.parametrize("case", ["the last source", "a shared stage", "as the settings say"])
def test_a_failure_that_leaves_nothing_to_run_ends_the_run(tmp_path: Path, case: str) -> None:
    sources = tuple(RunSource(url="synthetic:", name=name) for name in ("door", "yard"))
    ending = "end" if case == "as the settings say" else "continue"
    bench = Bench(tmp_path, msgspec.structs.replace(stage_config(), sources=sources, on_source_failure=ending))
    bench.start()
    if case == "the last source":
        bench.stages("voice", "door").say(Failed("SourceError", "broken too"))
        bench.stages("voice", "door").die()
    failing = bench.stages("finder" if case == "a shared stage" else "eye", "yard")
    failing.say(Failed("SourceError", "broken"))
    failing.die()
    with pytest.raises(SourceError, match="broken"):
        bench.settle()


def test_a_last_source_that_fails_ends_a_run_that_has_results(two: Bench) -> None:
    two.start()
    two.stages("voice", "door").say(Finished("door", 9, "end of source"))
    two.stages("eye", "yard").say(Failed("SourceError", "broken"))
    two.stages("eye", "yard").die()
    two.settle()
    assert two.supervisor.over
    assert [str(error) for error in two.supervisor.lanes.failures] == ["broken"]


@pytest.fixture
def files(tmp_path: Path) -> Bench:
    """Four files, two at once."""
    sources = tuple(RunSource(url=f"{name}.mp4", name=name) for name in "abcd")
    return Bench(tmp_path, msgspec.structs.replace(stage_config(), sources=sources, files_at_once=2))


def test_a_file_starts_when_another_has_ended(files: Bench) -> None:
    files.start()
    assert [len(files.stages.all("eye", name)) for name in "abcd"] == [1, 1, 0, 0]
    assert [lane.name for lane in files.stages("finder", "a").spec.lanes] == ["a", "b", "c", "d"]
    assert files.stages("eye", "a").got(Start), "the others are not awaited"
    files.stages("voice", "b").say(Finished("b", 9, "end of source"))
    files.settle()
    assert [stage.got(Stop) for stage in (files.stages("eye", "b"), files.stages("voice", "b"))] == [
        [Stop("end of source")]
    ] * 2
    assert [len(files.stages.all("voice", name)) for name in "abcd"] == [1, 1, 1, 0]
    assert not files.stages("eye", "c").got(Start)
    files.stages("eye", "c").say(Ready("ready"))
    files.settle()
    assert len(files.stages("eye", "c").got(Start)) == 1
    for stage in (files.stages("eye", "b"), files.stages("voice", "b")):
        stage.die(0)
    files.pass_ms(10_000)
    assert len(files.stages.all("eye", "b")) == 1, "its end needs no restart"


def test_a_file_that_fails_makes_room_before_and_after_the_start(files: Bench) -> None:
    files.supervisor.start()
    for name in "ab":
        files.stages("eye", name).say(Failed("SourceError", f"{name} is no video"))
        files.stages("eye", name).die()
    files.settle()
    for stage in files.stages.started:
        if stage.alive:
            stage.say(Ready("ready"))
    files.settle()
    assert all(files.stages("eye", name).got(Start) for name in "cd")
    files.stages("voice", "c").say(Finished("c", 9, "end of source"))
    files.stages("eye", "d").say(Failed("SourceError", "d is no video"))
    files.stages("eye", "d").die()
    files.settle()
    assert files.supervisor.over
    assert [str(error) for error in files.supervisor.lanes.failures] == [
        "a is no video",
        "b is no video",
        "d is no video",
    ]


def test_frames_of_the_others_do_not_wait_for_a_file_that_starts_when_another_failed(files: Bench) -> None:
    files.supervisor.start()
    for stage in files.stages.started:
        if stage.spec.lanes[0].name != "a" or len(stage.spec.lanes) > 1:
            stage.say(Ready("ready"))
    files.settle()
    assert not files.stages("eye", "b").got(Start)
    files.stages("eye", "a").say(Failed("SourceError", "a is no video"))
    files.stages("eye", "a").die()
    files.settle()
    assert files.stages("eye", "b").got(Start)
    assert files.stages.all("eye", "c")
    assert not files.stages("eye", "c").got(Start)


def test_the_shared_memory_of_a_file_that_ended_is_freed(
    files: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring, "block_folder", lambda: tmp_path)
    files.start()
    lanes = {name: files.stages("eye", name).spec.lane for name in "ab"}
    for lane in lanes.values():
        (tmp_path / f"{lane.ring}-0").touch()
        (tmp_path / lane.snapshot).touch()
    files.stages("voice", "a").say(Finished("a", 9, "end of source"))
    files.stages("eye", "a").die(0)
    files.settle()
    assert (tmp_path / f"{lanes['a'].ring}-0").exists(), "voice may still read it"
    files.stages("voice", "a").die(0)
    files.settle()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{lanes['b'].ring}-0", lanes["b"].snapshot]


def test_what_a_lane_that_failed_still_says_changes_nothing(two: Bench) -> None:
    two.start()
    voice, eye = two.stages("voice", "yard"), two.stages("eye", "yard")
    eye.say(SourceChanged("yard", "disconnected", "unplugged"))
    voice.say(Failed("SourceError", "broken"))
    voice.die()
    two.settle()
    eye.say(SourceChanged("yard", "running", ""))
    two.settle()
    lane = two.supervisor.lanes.get("yard")
    assert lane is not None
    assert (lane.state, lane.detail) == ("failed", "broken")


def test_a_source_that_is_finished_cannot_fail_any_more(two: Bench) -> None:
    two.start()
    two.stages("voice", "door").say(Finished("door", 9, "end of source"))
    two.settle()
    two.stages("eye", "door").say(Failed("SourceError", "the file is gone"))
    two.stages("eye", "door").die()
    two.settle()
    assert two.supervisor.lanes.failures == []
    assert not two.supervisor.over


def test_live_frames_flow_before_an_absent_camera_is_there(tmp_path: Path) -> None:
    sources = tuple(RunSource(url="synthetic:", name=name) for name in ("door", "yard"))
    bench = Bench(tmp_path, msgspec.structs.replace(stage_config("live"), sources=sources))
    bench.supervisor.start()
    late = bench.stages("eye", "yard")
    for stage in bench.stages.started:
        if stage is not late:
            stage.say(Ready("ready"))
    bench.settle()
    assert bench.stages("eye", "door").got(Start) == [Start(bench.clock.ns, -1)]
    late.say(Ready("ready"))
    bench.settle()
    assert len(late.got(Start)) == 1
