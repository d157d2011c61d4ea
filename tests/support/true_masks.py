"""Agreement of recorded masks with the true masks of a synthetic scene."""

from __future__ import annotations

from streamseg.masks import Mask
from streamseg.sources.synthetic import SyntheticScene
from support.pipeline_runs import Record


def best_ious(scene: SyntheticScene, seq: int, record: Record) -> list[float]:
    """For each true object of a frame, IoU with the best matching mask; 0 without one."""
    masks = [Mask.crop(item.mask.bits()) for item in record.objects if item.mask is not None]
    return [
        max((truth.mask.iou(mask) for mask in masks if mask is not None), default=0.0) for truth in scene.truth(seq)
    ]
