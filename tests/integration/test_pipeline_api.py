from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pytest
from support.pipeline_runs import STAGES

from streamseg import Config, Pipeline, Subscriber
from streamseg.config import check_config
from streamseg.errors import SourceError, SubscriptionTimeoutError, UsageError
from streamseg.sources.scene_options import SceneOptions
from streamseg.sources.synthetic import SyntheticScene


def config(url: str, **more: object) -> Config:
    return check_config(
        {
            "sources": [{"url": url}],
            "detector": {"model": "fixed", "boxes": [{"xyxy": [20, 20, 120, 120], "name": "patch"}]},
            "segmenter": {"model": "nano"},
            "publish": {"bind": "tcp://127.0.0.1:*"},
            **more,
        }
    )


@pytest.fixture(autouse=True)
def nothing_left() -> object:
    """No process outlives a test."""
    before = set(psutil.Process().children(recursive=True))
    yield
    assert set(psutil.Process().children(recursive=True)) <= before


def test_a_loop_gets_every_frame_of_a_file() -> None:
    with Pipeline(config("synthetic:?size=320x240&frames=40&seed=3")) as pipeline:
        results = list(pipeline)
    assert [result.seq for result in results] == list(range(40))
    assert all(result.boxes_seq == result.seq for result in results)
    assert {item.detection.class_name for result in results for item in result.objects} == {"patch"}
    assert all(item.origin_seq == result.seq for result in results for item in result.objects if item.mask is not None)


def test_a_loop_loses_and_repeats_no_frame_and_no_picture_when_processes_are_killed() -> None:
    url = "synthetic:?size=320x240&frames=60&seed=3"
    scene = SyntheticScene(SceneOptions.parse(url))
    killed = {7: "publish", 21: "publish", 30: "capture", 40: "publish"}
    seen = []
    with Pipeline(config(url), images=True) as pipeline:
        for result in pipeline:
            seen.append(result.seq)
            assert result.image is not None
            assert np.array_equal(result.image, scene.render(result.seq))
            if result.seq in killed:
                stage(killed[result.seq]).kill()
    assert seen == list(range(60))


def stage(name: str) -> psutil.Process:
    (found,) = [child for child in psutil.Process().children(recursive=True) if f"streamseg {name}" in child.cmdline()]
    return found


def test_a_loop_may_be_left_and_the_pipeline_ends() -> None:
    before = set(psutil.Process().children(recursive=True))
    with Pipeline(config("synthetic:?size=320x240&frames=0&fps=30")) as pipeline:
        assert next(result for result in pipeline if result.seq >= 5).width == 320
        assert len(set(psutil.Process().children(recursive=True)) - before) >= len(STAGES)
    assert set(psutil.Process().children(recursive=True)) <= before


def test_a_loop_gets_the_newest_live_result_without_waiting_for_another() -> None:
    with (
        Pipeline(config("synthetic:?size=320x240&frames=0&fps=1"), images=True) as pipeline,
        Subscriber(pipeline.endpoint, timeout=60) as wire,
    ):
        results = iter(pipeline)
        first = next(results)
        newest = next(result for result in wire if result.seq > first.seq)
        result = next(results)
        assert result.seq == newest.seq
        assert result.plot().shape == (240, 320, 3)


def test_masks_are_carried_between_keyframes() -> None:
    settings = config("synthetic:?size=320x240&frames=12", segmenter={"model": "nano", "keyframe_interval": 4})
    with Pipeline(settings) as pipeline:
        results = list(pipeline)
    for result in results:
        (item,) = result.objects
        assert item.origin_seq == result.seq // 4 * 4
        assert item.method == ("segmented" if result.seq % 4 == 0 else "propagated")
        assert item.age_ms == pytest.approx((result.seq % 4) * 1000 / 30, abs=0.1)


def test_an_error_at_the_start_reaches_the_loop(tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    with Pipeline(config(str(text))) as pipeline, pytest.raises(SourceError, match=r"text\.mp4"):
        list(pipeline)


def test_iterating_outside_the_block_is_refused() -> None:
    pipeline = Pipeline(config("synthetic:?frames=3"))
    with pytest.raises(UsageError, match="with Pipeline"):
        next(iter(pipeline))
    pipeline.run()


def test_a_subscriber_beside_the_loop_sees_the_same_run() -> None:
    with (
        Pipeline(config("synthetic:?size=320x240&frames=0&fps=30")) as pipeline,
        Subscriber(pipeline.endpoint, timeout=20) as subscriber,
    ):
        from_loop = next(iter(pipeline))
        from_wire = next(iter(subscriber))
        assert from_wire.run_id == from_loop.run_id
        assert from_wire.width == 320
    with Subscriber(pipeline.endpoint, timeout=0.2) as late, pytest.raises(SubscriptionTimeoutError):
        late.latest()
