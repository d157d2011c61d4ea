"""A live run with more objects than it can propagate in each frame."""

from __future__ import annotations

import signal
import time
from collections import Counter

import msgspec
import pytest
from support.leftovers import Place
from support.pipeline_runs import free_endpoint

from streamseg.client import Subscriber
from streamseg.messages import MOVED, NONE, PENDING, PROPAGATED, SEGMENTED

COLUMNS, ROWS = 6, 4
OBJECTS = COLUMNS * ROWS
"""More than a frame of a camera at 100 frames per second has time for."""

pytestmark = pytest.mark.timeout(240)


def test_every_object_has_a_mask_and_its_turn(place: Place) -> None:
    boxes = [
        {"xyxy": [100 * column + 20, 85 * row + 20, 100 * column + 90, 85 * row + 80]}
        for row in range(ROWS)
        for column in range(COLUMNS)
    ]
    endpoint = free_endpoint()
    settings = {
        "sources": [{"url": f"synthetic:?scene=crowd&size=640x360&objects={OBJECTS}&fps=100"}],
        "detector": {"model": "fixed", "boxes": boxes, "merge_duplicates": False},
        "segmenter": {"model": "nano"},
        "publish": {"bind": endpoint},
    }
    (place.folder / "run.yaml").write_bytes(msgspec.json.encode(settings))
    moved: Counter[int] = Counter()
    propagated: Counter[int] = Counter()
    deadline = time.monotonic() + 150
    with place.run("run", "run.yaml") as run, Subscriber(endpoint, timeout=100) as results:
        for result in results:
            if result.boxes_seq is None:  # detect is busy
                continue
            assert len(result.objects) == OBJECTS
            methods = Counter(item.method for item in result.objects)
            assert methods.keys() <= {MOVED, PROPAGATED, SEGMENTED, PENDING, NONE}
            for number, item in enumerate(result.objects):
                assert (item.mask is None) == (item.method in (PENDING, NONE))
                moved[number] += item.method == MOVED
                propagated[number] += item.method == PROPAGATED
            if min(*propagated.values(), *moved.values()) > 0:
                break
            assert time.monotonic() < deadline, (methods, propagated, moved)
        run.process.send_signal(signal.SIGINT)
        status, _, errors = run.finish(20)
    assert status == 130, errors
    place.check_nothing_left()
