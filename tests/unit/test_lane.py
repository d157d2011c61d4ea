from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.published_frames import published
from support.stage_context import stage_config

from streamseg.ipc import ring, snapshot
from streamseg.ipc.ring import RingWriter
from streamseg.ipc.snapshot import SharedSnapshot
from streamseg.lane import Lane
from streamseg.messages import Dropped
from streamseg.topology import StageEntry

CAPTURE = StageEntry("capture", "capture", reads_source=True, replays=True)
DETECT = StageEntry("detect", "detect", shared=True, acknowledges=True)
PUBLISH = StageEntry("publish", "publish", acknowledges=True)
RECORD = StageEntry("record", "record", acknowledges=True)


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of shared memory."""
    for module in (ring, snapshot):
        monkeypatch.setattr(module, "block_folder", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def lane() -> Lane:
    return Lane(stage_config(), 0, "streamseg-x", ["detect", "publish", "record"])


def acknowledge(lane: Lane, detect: int, publish: int, record: int) -> None:
    for stage, seq in (("detect", detect), ("publish", publish), ("record", record)):
        lane.acknowledge(stage, seq)


def write(lane: Lane, epoch: int, *seqs: int) -> RingWriter:
    """Capture's ring of that epoch."""
    writer = RingWriter(lane.begin(PUBLISH, live=True).ring, epoch, 4, 4)
    for seq in seqs:
        writer.write(seq, np.zeros((4, 4, 3), np.uint8))
    return writer


def test_a_frame_is_done_when_the_slowest_stage_is_done_with_it(lane: Lane) -> None:
    assert (lane.done, lane.take_newly_done()) == (-1, None)
    acknowledge(lane, 9, 6, 3)
    assert (lane.take_newly_done(), lane.take_newly_done()) == (3, None)
    acknowledge(lane, 8, 2, 5)
    assert lane.take_newly_done() == 5


def test_a_publish_that_takes_over_gets_what_record_lacks_and_what_it_published(lane: Lane) -> None:
    acknowledge(lane, 9, 6, 3)
    spec = lane.begin(PUBLISH, live=False)
    assert (spec.resume_after, spec.highest_acknowledged) == (3, 6)
    lane.acknowledge("record", 6)
    assert lane.done == 3, "the new publish has not read frame 4 yet"
    lane.acknowledge("publish", 4)
    assert lane.done == 4
    assert lane.begin(PUBLISH, live=False).highest_acknowledged == 6


def test_a_new_capture_gets_to_know_what_is_done(lane: Lane) -> None:
    acknowledge(lane, 5, 5, 5)
    assert lane.take_newly_done() == 5
    assert lane.begin(CAPTURE, live=False).resume_after == 5
    assert lane.take_newly_done() == 5


def test_a_live_capture_goes_on_after_the_newest_frame_written(lane: Lane) -> None:
    lane.acknowledge("publish", 4)
    writer = write(lane, 0, 4, 5, 6)
    lane.replace_ring(writer.ring)
    spec = lane.begin(CAPTURE, live=True)
    assert (spec.resume_after, spec.epoch) == (6, 1)
    assert lane.begin(PUBLISH, live=True).resume_after == 4
    assert lane.begin(CAPTURE, live=True).resume_after == 4, "its ring is gone"


def test_old_rings_are_removed_and_snapshots_are_not(lane: Lane, memory: Path) -> None:
    first = write(lane, 0, 0)
    lane.replace_ring(first.ring)
    second = write(lane, 1, 1)
    SharedSnapshot(lane.begin(DETECT, live=False).snapshot).save(b"state")
    lane.replace_ring(second.ring)
    assert not (memory / first.ring.name).exists()
    unreported = write(lane, 2, 2)
    lane.begin(CAPTURE, live=False)
    assert not (memory / second.ring.name).exists()
    assert not (memory / unreported.ring.name).exists()
    assert SharedSnapshot(lane.begin(DETECT, live=False).snapshot).load() == b"state"


def test_lanes_share_no_file() -> None:
    names = set()
    for number in (1, 11):
        spec = Lane(stage_config(), number, "streamseg-x", []).begin(DETECT, live=True)
        names |= {f"{spec.ring}-", spec.snapshot}
    assert not any(first != second and first.startswith(second) for first in names for second in names)


def test_a_new_process_learns_what_was_lost_before_it(lane: Lane) -> None:
    lane.note_published(published(dropped=Dropped(detect_replaced=4)))
    spec = lane.begin(CAPTURE, live=True)
    assert (spec.dropped, spec.state) == (Dropped(detect_replaced=4), "running")
