"""Prompts for objects, from plain numbers, lists, arrays or tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamseg.errors import UsageError
from streamseg.models.segmenters.resizing import Size

if TYPE_CHECKING:  # prompts are checked before PyTorch is loaded, which takes seconds
    from streamseg.models.segmenters.sam import ImageEmbedding, Prompts


@runtime_checkable
class Tensor(Protocol):
    """A tensor of PyTorch."""

    def numpy(self, *, force: bool) -> NDArray[Any]:
        """Convert to an array; `force` also from a GPU, or where gradients are computed."""


Numbers = ArrayLike | Tensor
LOGITS_SIZE = (256, 256)
"""Height and width of the network's logits."""
_LABELS = (-1, 0, 1)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ObjectPrompts:
    """Prompts for n objects, in pixels of the picture; at least one field is given.

    Attributes:
        boxes: Shape (n, 4), float64: left, top, right, bottom.
        points: Shape (n, points, 2), float64: x, y.
        labels: Shape (n, points), int64: 1 on the object, 0 off it, -1 for padding.
        masks: Shape (n, 1, 256, 256), float32: logits of an earlier prediction.
    """

    boxes: NDArray[np.float64] | None = None
    points: NDArray[np.float64] | None = None
    labels: NDArray[np.int64] | None = None
    masks: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        given = {"boxes": self.boxes, "sets of points": self.points, "masks": self.masks}
        counts = {f"{len(array)} {name}": len(array) for name, array in given.items() if array is not None}
        if len(set(counts.values())) > 1:
            raise UsageError(f"{' and '.join(counts)} do not pair up; give one of each per object")

    @classmethod
    def read(
        cls,
        *,
        points: Numbers | None = None,
        labels: Numbers | None = None,
        bboxes: Numbers | None = None,
        masks: Numbers | None = None,
    ) -> Self | None:
        """Read prompts as Ultralytics documents them; None without prompts.

        Args:
            points: One point (2,), one point per object (n, 2), or several per object (n, points, 2).
            labels: One per point: (), (1,), (n,) or (n, points); all 1 if absent.
            bboxes: One box (4,), or one per object (n, 4).
            masks: Logits of an earlier prediction: (256, 256), (n, 256, 256) or (n, 1, 256, 256).

        Raises:
            UsageError: A prompt is not an array of finite numbers of such a shape, or the shapes do not match.
        """
        if labels is not None and points is None:
            raise UsageError("labels were given without points; give one point for each label")
        if points is None and bboxes is None and masks is None:
            return None
        read_points = None if points is None else _points(_numbers("points", points))
        return cls(
            boxes=None if bboxes is None else _boxes(_numbers("bboxes", bboxes)),
            points=read_points,
            labels=None if read_points is None else _labels(labels, read_points),
            masks=None if masks is None else _masks(_numbers("masks", masks)),
        )

    @property
    def count(self) -> int:
        """Number of objects."""
        return next(len(array) for array in (self.boxes, self.points, self.masks) if array is not None)

    def check_inside(self, size: Size) -> None:
        """Check that each box overlaps a picture of that height and width, and each point lies in it.

        Raises:
            UsageError: The message names the first one that does not.
        """
        limits = np.array((size[1], size[0]))
        for box in () if self.boxes is None else self.boxes:
            if not ((box[:2] < limits) & (box[2:] > 0)).all():
                raise UsageError(
                    f"the box {_text(box)} lies outside the picture, {size[1]}x{size[0]}; "
                    "expected pixels of the picture"
                )
        if self.points is None or self.labels is None:
            return
        for point in self.points[self.labels >= 0]:
            if not ((point >= 0) & (point <= limits)).all():
                raise UsageError(
                    f"the point {_text(point)} lies outside the picture, {size[1]}x{size[0]}; "
                    "expected pixels of the picture"
                )

    def clipped(self, size: Size) -> Self:
        """The same with boxes clipped to a picture of that height and width, which each of them overlaps."""
        limits = np.array((size[1], size[0]) * 2, np.float64)
        return self if self.boxes is None else replace(self, boxes=np.clip(self.boxes, 0, limits))

    def on(self, embedding: ImageEmbedding) -> Prompts:
        """Convert to the network's prompts on an encoded picture."""
        return embedding.prompts(boxes=self.boxes, points=self.points, labels=self.labels, masks=self.masks)


def _points(points: NDArray[np.float64]) -> NDArray[np.float64]:
    if points.size == 0:
        return points.reshape(0, 1, 2)
    if points.ndim == 1:
        points = points[None]
    if points.ndim == 2:
        points = points[:, None]
    if points.ndim != 3 or points.shape[2] != 2:
        raise UsageError(f"points must have the shape (2,), (objects, 2) or (objects, points, 2), not {points.shape}")
    return points


def _labels(given: Numbers | None, points: NDArray[np.float64]) -> NDArray[np.int64]:
    if given is None:
        return np.ones(points.shape[:2], np.int64)
    labels = _numbers("labels", given)
    objects, each = points.shape[:2]
    fits = (
        labels.shape == (objects, each)
        or (each == 1 and labels.shape == (objects,))
        or (objects == each == labels.size == 1)
    )
    if not fits:
        expected = f"({objects}, {each})" if each > 1 else f"({objects},)"
        raise UsageError(f"labels must have the shape {expected}, one per point, not {labels.shape}")
    if not np.isin(labels, _LABELS).all():
        raise UsageError("labels must be 1 (on the object), 0 (off it) or -1 (padding)")
    return labels.reshape(objects, each).astype(np.int64)


def _boxes(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    if boxes.size == 0:
        return boxes.reshape(0, 4)
    if boxes.ndim == 1:
        boxes = boxes[None]
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise UsageError(
            f"bboxes must have the shape (4,) or (objects, 4), left, top, right, bottom, not {boxes.shape}"
        )
    for box in boxes:
        if not (box[:2] < box[2:]).all():
            raise UsageError(
                f"the box {_text(box)} has no area; "
                "expected left, top, right, bottom with left < right and top < bottom"
            )
    return boxes


def _masks(masks: NDArray[np.float64]) -> NDArray[np.float32]:
    if masks.ndim == 2:
        masks = masks[None]
    if masks.ndim == 3:
        masks = masks[:, None]
    if masks.ndim != 4 or masks.shape[1:] != (1, *LOGITS_SIZE):
        raise UsageError(
            f"masks must be the logits of an earlier prediction, one (256, 256) per object, not {masks.shape}"
        )
    return masks.astype(np.float32)


def _numbers(name: str, given: Numbers) -> NDArray[np.float64]:
    try:
        array = np.asarray(_plain(given), dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{name} must be numbers in lists of equal length, an array or a tensor, "
            f"not {type(given).__name__}: {error}"
        ) from error
    if not np.isfinite(array).all():
        raise UsageError(f"{name} must be finite numbers")
    return array


def _plain(given: Any) -> Any:
    """Convert tensors to arrays, on any device and in nested lists."""
    if isinstance(given, Tensor):
        return given.numpy(force=True)
    return [_plain(item) for item in given] if isinstance(given, list | tuple) else given


def _text(numbers: NDArray[np.float64]) -> str:
    return ",".join(f"{number:g}" for number in numbers)
