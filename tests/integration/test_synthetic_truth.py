from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.pipeline_runs import Run, read_records
from support.true_masks import best_ious

from streamseg.sources.scene_options import SceneOptions
from streamseg.sources.synthetic import SyntheticScene

SCENES = (
    "synthetic:?size=640x480&fps=30&frames=45&seed=1",
    "synthetic:?size=960x540&fps=25&frames=40&seed=7&objects=3",
)


@pytest.mark.parametrize("url", SCENES)
def test_moving_objects_get_their_true_masks(url: str, tmp_path: Path) -> None:
    """The mean IoU over all true objects of all frames; an object without a mask counts as zero."""
    output = tmp_path / "out.jsonl"
    options = ["--detector", "motion", "--segmenter", "nano", "--set", "publish.bind=tcp://127.0.0.1:*"]
    with Run("run", "--source", url, *options, "--jsonl", str(output)) as run:
        status, _, errors = run.finish(120)
    assert status == 0, errors
    scene = SyntheticScene(SceneOptions.parse(url))
    records = read_records(output)
    assert len(records) == scene.options.frames
    scores = [score for seq, record in enumerate(records) if seq > 0 for score in best_ious(scene, seq, record)]
    mean = float(np.mean(scores))
    print(f"{url}: mean mask IoU {mean:.3f} over {len(scores)} objects")
    assert mean >= 0.75
