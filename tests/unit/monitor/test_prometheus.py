from __future__ import annotations

import pytest
from support.published_frames import published

from streamseg.ipc.stage_messages import PublishedMask, Subscribers
from streamseg.messages import Dropped
from streamseg.monitor.prometheus import RunInfo, StatsCollector
from streamseg.monitor.stats import RunStats

PROCESSES = (("capture", "main"), ("publish", "main"))


@pytest.fixture
def stats() -> RunStats:
    return RunStats(PROCESSES, ["main"])


def samples(stats: RunStats) -> dict[str, float]:
    """Every sample by its name and labels."""
    collector = StatsCollector(stats)
    collector.info = RunInfo(version="1.2.3", detector="motion", segmenter="nano")
    found = [sample for family in collector.collect() for sample in family.samples]
    return {
        " ".join(
            [sample.name.removeprefix("streamseg_"), *(text for text in sample.labels.values() if text != "main")]
        ): sample.value
        for sample in found
    }


def test_before_the_first_event_every_figure_is_there(stats: RunStats) -> None:
    found = samples(stats)
    assert found.pop("info 1.2.3 motion nano") == 1
    assert set(found.values()) == {0}
    assert {name for name in found if name.startswith("masks ")} == {
        "masks segmented", "masks propagated", "masks refined", "masks moved"
    }  # fmt: skip
    assert {name for name in found if "dropped" in name} == {
        f"frames_dropped_total {cause}"
        for cause in (*Dropped.__struct_fields__, "record_replaced", "record_overrun")
        if cause != "masks_limited"
    }
    assert {name for name in found if "restarts" in name} == {f"stage_restarts_total {stage}" for stage, _ in PROCESSES}


def test_a_frame_is_shown_with_its_ages_objects_and_masks(stats: RunStats) -> None:
    masks = PublishedMask("segmented", 0.0), PublishedMask("propagated", 400.0)
    stats.published(published(*masks, objects=3, age_ms=40.0, boxes_seq=0, masks_seq=0))
    found = samples(stats)
    assert found["frames_published_total"] == found["frames_with_own_boxes_total"] == 1
    assert found["keyframes_segmented_total"] == found["source_connected"] == 1
    assert found["objects"] == 3
    assert found["masks segmented"] == found["masks propagated"] == 1
    assert found["frame_age_seconds_sum"] == pytest.approx(0.04)
    assert found["frame_age_seconds_bucket 0.035"] == 0
    assert found["frame_age_seconds_bucket 0.05"] == found["frame_age_seconds_bucket +Inf"] == 1
    assert found["mask_age_seconds_sum"] == pytest.approx(0.4)
    assert found["mask_age_seconds_count"] == 2
    assert found["mask_age_seconds_bucket 0.0"] == 1
    stats.published(published(masks[0], objects=1))
    found = samples(stats)
    assert found["frames_published_total"] == 2
    assert (found["masks segmented"], found["masks propagated"]) == (1, 0)


def test_the_ages_of_masks_are_told_apart_up_to_the_age_at_which_they_are_dropped(stats: RunStats) -> None:
    stats.published(published(PublishedMask("propagated", 6000.0), PublishedMask("refined", 9900.0), objects=2))
    found = samples(stats)
    counts = [found[f"mask_age_seconds_bucket {bound}"] for bound in ("5.0", "7.5", "10.0", "60.0", "+Inf")]
    assert counts == [0, 1, 2, 2, 2]


def test_the_subscribers_of_the_moment_are_shown(stats: RunStats) -> None:
    for count in (1, 3, 2):
        stats.subscribed(Subscribers(count))
        assert samples(stats)["subscribers"] == count


def test_lost_frames_and_left_out_masks_are_metrics_of_their_own(stats: RunStats) -> None:
    stats.published(published(dropped=Dropped(detect_replaced=5, segment_overrun=7, masks_limited=2)))
    found = samples(stats)
    assert found["frames_dropped_total detect_replaced"] == 5
    assert found["frames_dropped_total segment_overrun"] == 7
    assert found["masks_limited_total"] == 2


def test_the_figures_of_each_source_have_its_name() -> None:
    stats = RunStats(PROCESSES, ["door", "yard"])
    stats.published(published(source="yard", objects=2))
    found = samples(stats)
    assert (found["frames_published_total door"], found["frames_published_total yard"]) == (0, 1)
    assert (found["objects door"], found["objects yard"]) == (0, 2)
    assert found["frame_age_seconds_count yard"] == 1


def test_a_source_that_was_removed_has_no_metrics() -> None:
    stats = RunStats(PROCESSES, ["door", "yard"])
    stats.published(published(source="yard"))
    stats.added("gate", ["capture", "publish"])
    stats.removed("yard")
    found = samples(stats)
    assert found["info door,gate 1.2.3 motion nano"] == 1
    assert found["frames_published_total gate"] == found["up"] == 0
    assert not [name for name in found if "yard" in name]
