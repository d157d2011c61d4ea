"""Measures another implementation: `python rival_process.py WORK.json MEASURED.json`, as `model_process.py` does.

It runs in the rivals' environment and imports nothing of streamseg.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

IMGSZ = 1024
_FASTSAM = {"fastsam-s": "yolov8s-seg.yaml", "fastsam-x": "yolov8x-seg.yaml"}
"""FastSAM is YOLOv8's segmentation network with one class."""


class Original:
    """The original MobileSAM."""

    def __init__(self, weights: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from mobile_sam import SamPredictor, sam_model_registry
        # `eval` computes the tables of its attention; the loader calls it before it reads the weights.
        self.predictor = SamPredictor(sam_model_registry["vit_t"](checkpoint=weights).eval())

    def encode(self, image: np.ndarray) -> None:
        """Embed a BGR frame."""
        self.predictor.set_image(image, image_format="BGR")

    def decode(self, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return masks over the frame and their predicted IoU."""
        frame = self.predictor.original_size
        prompts = self.predictor.transform.apply_boxes_torch(torch.from_numpy(boxes), frame)
        masks, scores, _ = self.predictor.predict_torch(None, None, boxes=prompts, multimask_output=False)
        return masks[:, 0].numpy(), scores[:, 0].numpy()

    def segment(self, image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Encode and decode."""
        self.encode(image)
        return self.decode(boxes)


class Ultralytics:
    """Ultralytics' `SAM`, or its YOLOv8 with random weights instead of FastSAM."""

    def __init__(self, subject: str, weights: str) -> None:
        import ultralytics  # type: ignore[import-not-found, unused-ignore]

        ultralytics.settings.update(sync=False)
        if subject in _FASTSAM:
            self.model: Any = ultralytics.YOLO(_FASTSAM[subject], task="segment")
        else:
            self.model = ultralytics.SAM(weights)
        self.prompted = subject not in _FASTSAM

    def segment(self, image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return masks over the frame and their scores.

        FastSAM segments everything; choosing by boxes afterwards takes next to no time.
        """
        options: dict[str, Any] = {"bboxes": boxes.tolist(), "conf": 0.0} if self.prompted else {"retina_masks": True}
        (result,) = self.model.predict(image, imgsz=IMGSZ, device="cpu", verbose=False, **options)
        if result.masks is None:
            return np.zeros((0, *image.shape[:2]), np.bool_), np.zeros(0)
        return result.masks.data.numpy().astype(np.bool_), result.boxes.conf.numpy()


def measure(work: dict[str, Any]) -> dict[str, Any]:
    """Load the model, run everything once, then time it."""
    image, boxes = np.load(work["picture"]), np.load(work["boxes"])
    start = time.perf_counter()
    model = (
        Original(work["weights"]) if work["subject"] == "original" else Ultralytics(work["subject"], work["weights"])
    )
    load_ms = 1000 * (time.perf_counter() - start)
    torch.set_num_threads(work["threads"])
    few = boxes[: work["frame_boxes"]]
    first_ms = _timed(lambda: model.segment(image, few))
    if not work["own_threads"]:
        # Ultralytics changes the number with its first prediction.
        torch.set_num_threads(work["threads"])
    if work["masks"] is not None:
        masks, scores = model.segment(image, boxes)
        np.savez_compressed(work["masks"], masks=masks, scores=scores)
    encoder: list[float] = []
    decoder: dict[str, list[float]] = {}
    frame: list[float] = []
    start = time.perf_counter()
    while len(frame) < work["rounds"] and (len(frame) < 2 or time.perf_counter() - start < work["budget_s"]):
        if isinstance(model, Original):
            encoder.append(_timed(lambda: model.encode(image)))
            for count in work["counts"]:
                decoder.setdefault(str(count), []).append(_timed(partial(model.decode, boxes[:count])))
        frame.append(_timed(lambda: model.segment(image, few)))
    return {
        "encoder_ms": encoder,
        "decoder_ms": decoder,
        "frame_ms": frame,
        "load_ms": load_ms,
        "first_ms": first_ms,
        "rss_mb": _resident_mb(),
        "threads": torch.get_num_threads(),
    }


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def _resident_mb() -> float | None:
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except FileNotFoundError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(measure(json.loads(Path(sys.argv[1]).read_text()))))
