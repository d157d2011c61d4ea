from __future__ import annotations

import pytest
from support.stage_context import FakeClock

from streamseg.stages.frame_budget import ALWAYS, ALWAYS_OF_A_CROWD, FrameBudget

INTERVAL_MS = 33.0


class Camera:
    """Frames of a camera, and the time that publish takes for them: on a clock that only that advances."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.budget = FrameBudget(self.clock)
        self.seq = 0

    def frames(self, count: int, objects: int, per_object_ms: float, other_ms: float, skipped: int = 0) -> list[int]:
        """How many objects each of the next frames propagates."""
        propagated = []
        for _ in range(count):
            self.seq += 1 + skipped
            self.budget.add_frame(self.seq, round(self.seq * INTERVAL_MS * 1e6))
            chosen = min(objects, self.budget.most(objects))
            with self.budget.turn():
                self.clock.advance(other_ms / 2)
                with self.budget.propagation():  # prefetched
                    self.clock.advance(chosen * per_object_ms / 2)
            with self.budget.turn():
                with self.budget.propagation():
                    self.clock.advance(chosen * per_object_ms / 2)
                self.budget.add_propagated(chosen)
                self.clock.advance(other_ms / 2)
            self.budget.add_published()
            propagated.append(chosen)
        return propagated


def test_as_many_objects_are_propagated_as_the_time_between_two_frames_allows() -> None:
    camera = Camera()
    found = camera.frames(40, 100, per_object_ms=0.5, other_ms=5.0)
    assert found[0] == ALWAYS_OF_A_CROWD, "nothing is measured yet"
    assert found[-1] == pytest.approx((0.6 * INTERVAL_MS - 5) / 0.5, abs=1)


def test_the_budget_follows_the_machine() -> None:
    camera = Camera()
    fast = camera.frames(40, 100, per_object_ms=0.2, other_ms=2.0)[-1]
    slow = camera.frames(40, 100, per_object_ms=1.0, other_ms=4.0)[-1]
    assert fast > 4 * slow > 4 * ALWAYS_OF_A_CROWD
    assert camera.frames(40, 100, per_object_ms=0.2, other_ms=2.0)[-1] == fast


def test_a_pause_changes_nothing_and_frames_between_may_be_missing() -> None:
    camera = Camera()
    before = camera.frames(40, 100, per_object_ms=0.5, other_ms=5.0)[-1]
    camera.frames(2, 100, per_object_ms=50.0, other_ms=300.0)
    assert camera.frames(1, 100, per_object_ms=0.5, other_ms=5.0) == [before]
    assert camera.frames(30, 100, per_object_ms=0.5, other_ms=5.0, skipped=3)[-1] == before


def test_few_objects_are_always_propagated_however_slow_the_machine_is() -> None:
    camera = Camera()
    assert camera.frames(40, 5, per_object_ms=40.0, other_ms=100.0) == [5] * 40
    assert camera.frames(40, 24, per_object_ms=40.0, other_ms=100.0)[-1] == ALWAYS
    assert camera.frames(40, 100, per_object_ms=40.0, other_ms=100.0)[-1] == ALWAYS_OF_A_CROWD
