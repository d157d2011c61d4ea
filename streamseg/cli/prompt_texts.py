"""Parses the prompts of `streamseg segment`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from streamseg.errors import UsageError
from streamseg.object_prompts import ObjectPrompts
from streamseg.paths import irregularity


def read_prompts(boxes: Sequence[str], points: Sequence[str], mask_input: Path | None) -> tuple[ObjectPrompts, ...]:
    """Parse the prompts of each object; empty without prompts.

    Args:
        boxes: `left,top,right,bottom` of each object.
        points: `x,y[,label] ...` of each object.
        mask_input: A `logits.npy` of an earlier call, with one mask per object.

    Raises:
        UsageError: A text or the file is malformed, or the options prompt different numbers of objects.
    """
    masks = None if mask_input is None else _read_masks(mask_input)
    counts = {
        "--box": len(boxes),
        "--points": len(points),
        f"masks in {mask_input}": 0 if masks is None else len(masks),
    }
    given = [f"{count} {name}" for name, count in counts.items() if count]
    if len({count for count in counts.values() if count}) > 1:
        raise UsageError(
            f"{' and '.join(given)} do not pair up; give as many of each, the first ones for one object, and so on"
        )
    return tuple(
        _one_object(
            boxes[index] if boxes else None, points[index] if points else None, None if masks is None else masks[index]
        )
        for index in range(max(counts.values()))
    )


def _one_object(box: str | None, points: str | None, mask: NDArray[np.float32] | None) -> ObjectPrompts:
    pointed = None if points is None else _read_points(points)
    prompts = ObjectPrompts.read(
        points=None if pointed is None else [[(x, y) for x, y, _ in pointed]],
        labels=None if pointed is None else [[label for _, _, label in pointed]],
        bboxes=None if box is None else _read_box(box),
        masks=mask,
    )
    assert prompts is not None
    return prompts


def _read_box(text: str) -> list[float]:
    numbers = _numbers(text)
    if len(numbers) != 4:
        raise UsageError(
            f"--box {text!r}: expected x1,y1,x2,y2, the left, top, right and bottom in pixels, such as 439,437,524,709"
        )
    return numbers


def _read_points(text: str) -> list[tuple[float, float, int]]:
    points = [_numbers(word) for word in text.split()]
    if not points or not all(len(point) == 2 or (len(point) == 3 and point[2] in (0, 1)) for point in points):
        raise UsageError(
            f"--points {text!r}: expected x,y per point, or x,y,0 for one off the object, such as '400,370 900,370,0'"
        )
    return [(point[0], point[1], int(point[2]) if len(point) == 3 else 1) for point in points]


def _numbers(text: str) -> list[float]:
    """The numbers between commas; empty if one is malformed."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []


def _read_masks(path: Path) -> NDArray[np.float32]:
    """Shape (objects, 256, 256)."""
    expected = "expected a logits.npy of an earlier call"
    try:
        if other := irregularity(path):
            raise UsageError(f"it is {other}; {expected}")
        # A mapped array is as large as its file, whatever its header claims.
        with np.errstate(over="ignore"):
            held: Any = open_memmap(path, mode="r")
        prompts = ObjectPrompts.read(masks=held) if held.size else None
    except UsageError as error:
        raise UsageError(f"--mask-input {path}: {error}") from error
    except OSError as error:
        raise UsageError(f"--mask-input {path}: {error.strerror or error}; {expected}") from error
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--mask-input {path}: no array of masks; {expected}") from error
    if prompts is None or prompts.masks is None:
        raise UsageError(f"--mask-input {path}: no array of masks; {expected}")
    return prompts.masks[:, 0]
