"""Data sets made by a detector and a segmenter: YOLO, COCO, and AnyLabeling's files."""

from __future__ import annotations

from streamseg.annotate.auto import auto_annotate

__all__ = ["auto_annotate"]
