"""Masks on the frames between keyframes: whole runs over a scene with known masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support.pipeline_runs import Record, Run, read_records, until
from support.true_masks import best_ious

from streamseg.messages import PROPAGATED, SEGMENTED
from streamseg.sources.scene_options import SceneOptions
from streamseg.sources.synthetic import SyntheticScene

FRAMES, INTERVAL = 90, 5
URL = f"synthetic:?size=640x480&fps=30&frames={FRAMES}&seed=1"


def arguments(output: Path) -> list[str]:
    settings = (f"segmenter.keyframe_interval={INTERVAL}", "publish.bind=tcp://127.0.0.1:*")
    options = [part for setting in settings for part in ("--set", setting)]
    return ["run", "--source", URL, "--detector", "motion", "--segmenter", "nano", "--jsonl", str(output), *options]


def mean_iou(records: list[Record]) -> float:
    """The mean over all true objects of all frames but the first; an object without a mask counts as zero."""
    scene = SyntheticScene(SceneOptions.parse(URL))
    return float(np.mean([score for record in records[1:] for score in best_ious(scene, int(record.seq), record)]))


def test_frames_between_keyframes_have_propagated_masks(tmp_path: Path) -> None:
    with Run(*arguments(tmp_path / "out.jsonl")) as run:
        status, _, errors = run.finish(120)
    assert status == 0, errors
    records = read_records(tmp_path / "out.jsonl")
    assert [int(record.seq) for record in records] == list(range(FRAMES))
    masked = 0
    for record in records:
        seq = int(record.seq)
        keyframe = seq - seq % INTERVAL
        for item in record.objects:
            if item.mask is not None:
                masked += 1
                assert item.method == (SEGMENTED if seq == keyframe else PROPAGATED)
                assert item.origin_seq == str(keyframe)
    mean = mean_iou(records)
    print(f"{URL}, every {INTERVAL}th frame segmented: mean mask IoU {mean:.3f}, {masked} masks")
    assert mean >= 0.75


def test_a_publish_process_that_is_killed_loses_no_frame(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    with Run(*arguments(output)) as run:
        until(lambda: output.exists() and output.read_bytes().count(b"\n") >= 33, 60, "33 records")
        victim = run.stages()["publish"]
        victim.kill()
        until(lambda: (new := run.stages().get("publish")) and new.pid != victim.pid, 30, "a new publish")
        status, _, errors = run.finish(120)
    assert status == 0, errors
    records = read_records(output)
    assert [int(record.seq) for record in records] == list(range(FRAMES))
    mean = mean_iou(records)
    print(f"{URL}, publish killed: mean mask IoU {mean:.3f}")
    assert mean >= 0.75
