"""Makes data sets with a detector and a segmenter, in the formats of YOLO, COCO and AnyLabeling."""

from __future__ import annotations

from streamseg.annotate.auto import auto_annotate

__all__ = ["auto_annotate"]
