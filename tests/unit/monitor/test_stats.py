from __future__ import annotations

from collections.abc import Iterable

import pytest
from support.published_frames import published

from streamseg.ipc.stage_messages import Published, PublishedMask, Ready, Recorded
from streamseg.messages import Dropped
from streamseg.monitor.stats import RunStats, SourceStats

PROCESSES = (("capture", "main"), ("publish", "main"))


def frame(
    seq: int,
    *mask_ages_ms: float,
    objects: int = 0,
    age_ms: float = 30.0,
    boxes_seq: int | None = None,
    masks_seq: int | None = None,
    dropped: Dropped | None = None,
) -> Published:
    masks = (PublishedMask("propagated", mask_age_ms) for mask_age_ms in mask_ages_ms)
    classes = ("cup",) if objects else ()
    return published(
        *masks,
        seq=seq,
        age_ms=age_ms,
        boxes_seq=boxes_seq,
        masks_seq=masks_seq,
        objects=objects,
        classes=classes,
        dropped=dropped,
    )


def counted(*frames: Published, at_s: Iterable[float] | None = None) -> SourceStats:
    """The figures of frames published one second apart, or at the given times."""
    clock = iter(range(len(frames)) if at_s is None else at_s)
    stats = RunStats(PROCESSES, ["main"], lambda: next(clock))
    for one in frames:
        stats.published(one)
    return stats.sources["main"]


def test_a_run_without_frames() -> None:
    stats = counted()
    assert (stats.frames, stats.rate, stats.keyframe_rate) == (0, 0, 0)
    assert stats.own_boxes is stats.masked is None
    assert stats.frame_age_ms.percentiles() is None


def test_a_look_at_the_sources_may_show_that_fewer_processes_start() -> None:
    stats = RunStats((*PROCESSES, ("capture", "other")), ["main", "other"])
    stats.expect(())
    assert stats.up


def test_the_rate_is_from_the_first_frame_to_the_last() -> None:
    assert counted(frame(0), at_s=[7.0]).rate == 0
    assert counted(*map(frame, range(5)), at_s=[7.0, 7.1, 7.5, 8.0, 9.0]).rate == pytest.approx(2)


def test_a_keyframe_is_counted_once_however_long_its_masks_are_used() -> None:
    frames = [frame(seq, masks_seq=masks_seq) for seq, masks_seq in enumerate([None, None, 1, 1, 1, 4, 4, 6, 6, 6])]
    assert counted(*frames).keyframe_rate == pytest.approx(2 / 7), "two more after the first, in seven seconds"


def test_shares_are_of_frames_and_of_objects() -> None:
    stats = counted(
        frame(0),
        frame(1, 0.0, objects=2, boxes_seq=1),
        frame(2, 0.0, 33.0, objects=2, boxes_seq=1),
        frame(3, boxes_seq=3, objects=2),
    )
    assert stats.own_boxes == 0.5
    assert stats.masked == 0.5
    assert stats.frames_with_masks == 2
    assert stats.classes == {"cup": 3}


def test_ages_are_those_of_frames_and_of_masks() -> None:
    stats = counted(*(frame(seq, 200.0, age_ms=40.0) for seq in range(50)), frame(50, 900.0, age_ms=80.0))
    ages, mask_ages = stats.frame_age_ms.percentiles(), stats.mask_age_ms.percentiles()
    assert ages is not None
    assert mask_ages is not None
    assert (ages.p50, ages.p99) == pytest.approx((40, 80), rel=0.01)
    assert (mask_ages.p50, mask_ages.p99) == pytest.approx((200, 900), rel=0.01)


def test_losses_add_up_over_restarts() -> None:
    counts = [(5, 0), (2, 8), (3, 0), (3, 9)]
    stats = counted(
        *(frame(seq, dropped=Dropped(detect_replaced=a, segment_overrun=b)) for seq, (a, b) in enumerate(counts))
    )
    assert +stats.dropped == {"detect_replaced": 8, "segment_overrun": 9}


def test_what_a_recording_misses_is_added_up_over_restarts() -> None:
    stats = RunStats([("record", "main")], ["main"])
    for seq, (replaced, overrun) in enumerate([(0, 0), (3, 2), (3, 1), (4, 1)]):
        stats.recorded(Recorded(source="main", seq=seq, record_replaced=replaced, record_overrun=overrun))
    assert +stats.sources["main"].dropped == {"record_replaced": 4, "record_overrun": 3}


def test_up_and_restarts_follow_the_stages() -> None:
    stats = RunStats(PROCESSES, ["main"])

    def prepared(stage: str) -> bool:
        stats.prepared(stage, "main", Ready(""))
        return stats.up

    def restarted(stage: str) -> bool:
        stats.changed(stage, "main", "restarting", "ended by signal 9")
        return stats.up

    assert not stats.up
    assert not prepared("capture")
    assert prepared("publish")
    assert not restarted("publish")
    assert prepared("publish")
    assert not (restarted("publish") or restarted("capture") or prepared("publish"))
    assert prepared("capture")
    assert stats.restarts == {"capture": 1, "publish": 2}


def test_the_source_is_connected_from_its_first_frame_until_it_disconnects() -> None:
    stats = RunStats(PROCESSES, ["main"])

    def published(seq: int) -> bool:
        stats.published(frame(seq))
        return stats.sources["main"].connected

    def changed(stage: str, state: str) -> bool:
        stats.changed(stage, "main", state, "")
        return stats.sources["main"].connected

    stats.prepared("capture", "main", Ready("a camera that is still off"))
    assert not stats.sources["main"].connected
    assert published(0)
    assert not changed("capture", "disconnected")
    assert not published(1), "the frame left capture before the source disconnected"
    assert changed("capture", "running")
    assert changed("publish", "restarting")


def test_a_restarted_capture_process_is_no_proof_that_its_source_is_connected() -> None:
    stats = RunStats(PROCESSES, ["main"])

    def published(seq: int) -> bool:
        stats.published(frame(seq))
        return stats.sources["main"].connected

    def changed(state: str) -> bool:
        stats.changed("capture", "main", state, "")
        return stats.sources["main"].connected

    def restarted() -> bool:
        changed("restarting")
        published(1)  # it left capture before the end of that process
        stats.prepared("capture", "main", Ready("a camera"))
        return changed("running")

    assert published(0)
    assert not restarted()
    assert not changed("disconnected")
    assert not published(1)
    assert changed("running")
    assert not restarted()
    assert published(2), "a source that is there at once reports no return"


def test_each_source_has_figures_of_its_own_and_one_that_failed_is_not_waited_for() -> None:
    names = ["door", "yard"]
    stats = RunStats([*(("capture", name) for name in names), ("detect", None)], names, iter(range(99)).__next__)
    for seq in range(3):
        stats.published(published(seq=seq, source="door"))
    stats.published(published(seq=0, source="yard"))
    assert [stats.sources[name].frames for name in names] == [3, 1]
    assert (stats.frames, stats.rate) == (4, 1)
    stats.prepared("capture", "door", Ready(""))
    stats.prepared("detect", None, Ready(""))
    waiting = [stats.up]
    stats.changed("capture", "yard", "failed", "no such camera")
    assert [*waiting, stats.up] == [False, True]
    assert [stats.sources[name].failure for name in names] == [None, "no such camera"]


def test_the_figures_of_a_source_that_was_removed_are_kept_and_continue_if_it_is_added_again() -> None:
    stats = RunStats([("capture", "door")], ["door"], iter(range(99)).__next__)
    stats.prepared("capture", "door", Ready(""))
    stats.added("yard", ["capture"])
    stats.published(published(seq=0, source="yard", dropped=Dropped(detect_replaced=3)))
    stats.changed("capture", "yard", "disconnected", "")
    stats.removed("yard")
    yard = stats.sources["yard"]
    assert stats.up, "its processes are not waited for"
    assert (yard.removed, yard.connected, list(stats.present)) == (True, False, ["door"])
    assert yard.lost_s == yard.lost_s, "it is no longer missed"
    stats.added("yard", ["capture"])
    stats.published(published(seq=0, source="yard", dropped=Dropped(detect_replaced=1)))
    assert (stats.sources["yard"].frames, stats.frames, yard.dropped["detect_replaced"]) == (2, 2, 4)
    assert list(stats.present) == ["door", "yard"]


def test_a_source_that_was_removed_before_its_first_frame_leaves_no_figures() -> None:
    stats = RunStats(PROCESSES, ["main"])
    stats.added("yard", ["capture"])
    stats.removed("yard")
    assert list(stats.sources) == ["main"]
