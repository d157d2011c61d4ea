from __future__ import annotations

import pytest

from streamseg.bench.cameras import FPS, SCENE_URL, cameras_figures, measure_hop
from streamseg.bench.run import PipelineRun
from streamseg.bench.true_models import TrueScene
from streamseg.messages import Detection, Dropped, Models, ResultMessage, Timings, TrackedObject

NAMES = ("camera-0", "camera-1")
FIRST_NS = {"camera-0": 70_000_000, "camera-1": 90_000_000}


def result(scene: TrueScene, source: str, number: int, masks: int) -> ResultMessage:
    """A frame of a source, of which so many objects have their true masks."""
    detection = Detection(xyxy=(0.0, 0.0, 9.0, 9.0), confidence=0.9, class_id=0, class_name="object")
    return ResultMessage(
        run_id="run",
        epoch=0,
        seq=number,
        source=source,
        width=640,
        height=360,
        pts_ns=FIRST_NS[source] + round(number * 1e9 / FPS),
        t_capture_unix_ns=0,
        timings=Timings(published=20.0 + number),
        dropped=Dropped(),
        models=Models(detector="true-boxes", segmenter="true-masks"),
        boxes_seq=number,
        objects=tuple(
            TrackedObject(detection=detection, mask=item.mask, method="propagated")
            for item in scene.objects(number)[:masks]
        ),
    )


def test_each_source_has_its_own_rates_and_its_own_truth() -> None:
    scene = TrueScene(url=SCENE_URL)
    results = [result(scene, "camera-0", number, 9) for number in range(8)]
    results += [result(scene, "camera-1", number, 1) for number in range(4)]
    true_objects = sum(len(scene.objects(each.seq)) for each in results)
    run = PipelineRun(
        2.0, results, 0, dict(zip(NAMES, (6, 2), strict=True)), [300.0, 400.0], FIRST_NS, fps=FPS, cpu_s=1.8
    )
    figures = cameras_figures(scene, [run])
    assert figures.published_fps == [4.0, 2.0]
    assert figures.keyframes_per_s == [3.0, 1.0]
    assert figures.mask_iou == 1.0
    masked = sum(len(scene.objects(number)) for number in range(8)) + 4
    assert figures.masked_share == pytest.approx(masked / true_objects)
    assert figures.rss_mb == 400.0
    assert figures.cpu_s_per_frame == pytest.approx(0.15)
    together = cameras_figures(scene, [run, run])
    assert (len(together.published_fps), together.rss_mb) == (4, 800.0)
    assert together.cpu_s_per_frame == pytest.approx(0.15)


def test_the_hub_costs_some_time() -> None:
    assert measure_hop().p50 > 0
