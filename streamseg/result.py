"""A result as a program gets it, from a `Pipeline` or a `Subscriber`: the message, its picture, and conversions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final, NotRequired, Self, TypedDict

import numpy as np

from streamseg import messages
from streamseg.categories import category_id
from streamseg.errors import UsageError
from streamseg.extras import needed_for
from streamseg.geometry import clamp_box
from streamseg.masks import CocoRle, Mask, Polygon
from streamseg.messages import Image, TrackedObject
from streamseg.render_settings import RenderSettings
from streamseg.rings import AROUND_CENTRES
from streamseg.wire.protocol import ResultView

if TYPE_CHECKING:
    import supervision
    from supervision import CompactMask

NO_TRACK: Final = -1
"""`tracker_id` of an object without a confirmed track in `supervision.Detections`, as in supervision's own trackers."""
_DRAWN: Final = RenderSettings()


class CocoAnnotation(TypedDict):
    """An object in COCO's JSON. `bbox` is left, top, width, height; `image_id` is the frame's `seq`.

    `category_id` is that of COCO's own files if the class is COCO's.
    """

    image_id: int
    category_id: int
    bbox: list[float]
    score: float
    area: float
    iscrowd: int
    segmentation: NotRequired[CocoRle | list[list[float]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result(messages.ResultMessage):
    """A published frame with all its objects, its picture on request, and conversions for other libraries.

        with Pipeline("settings.yaml", images=True) as pipeline:
            for result in pipeline:
                cv2.imshow("masks", result.plot())
                cv2.waitKey(1)

    Attributes:
        view: The view that it came in: with `overlay`, the objects are already drawn on the picture.
        pixels: The frame from a `Pipeline` that gives images; `image` has the picture from either side.
    """

    view: ResultView = "masks"
    pixels: Image | None = dataclasses.field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, message: messages.ResultMessage, view: ResultView, pixels: Image | None = None) -> Self:
        """Make a result from its message."""
        fields = {field.name: getattr(message, field.name) for field in dataclasses.fields(message)}
        return cls(**fields, view=view, pixels=pixels)

    @cached_property
    def image(self) -> Image | None:
        """The picture: shape (height, width, 3), uint8, BGR; decoded on first use.

        None if the result has none, or its header has another size than the frame.

        A `Pipeline` gives it with `images=True`, a `Subscriber` with the views `clean` and `overlay`.
        """
        if self.pixels is not None or self.jpeg is None:
            return self.pixels
        with needed_for("decoding a picture"):
            from streamseg.images import decode_picture

        return decode_picture(self.jpeg, self.width, self.height)

    def plot(self, settings: RenderSettings = _DRAWN) -> Image:
        """Draw on a copy of the picture: shape (height, width, 3), uint8, BGR. The view `overlay` comes drawn.

        Args:
            settings: Whether to draw masks, boxes and labels, and how.

        Raises:
            UsageError: The result has no picture.
        """
        if self.image is None:
            raise UsageError(
                'the result has no picture; take it from Pipeline(..., images=True) or Subscriber(..., view="clean")'
            )
        if self.view == "overlay":
            return self.image.copy()
        with needed_for("drawing a result"):
            from streamseg.render import render

        return render(self.image, self, settings)

    def to_coco(self, *, polygons: bool = False) -> list[CocoAnnotation]:
        """Convert every object to a COCO annotation. Without a mask it has no `segmentation`, and its box's area.

        `bbox` is the part of the box inside the frame; of a box outside it has no area.

        Args:
            polygons: Whether `segmentation` holds polygons, for readers that refuse run-length encoding.
        """
        return [self._annotation(item, polygons=polygons) for item in self.objects]

    def to_polygons(self) -> list[list[Polygon]]:
        """Convert every object to the outlines of its mask's parts, each of shape (points, 2); empty without a mask."""
        return [[] if item.mask is None else item.mask.polygons() for item in self.objects]

    def to_detections(self) -> supervision.Detections:
        """Convert the objects to `supervision.Detections` with a `CompactMask`.

        `data` holds `class_name` and `method`. An object without a mask gets an empty one; without any, `mask` is None.

            for result in Subscriber("tcp://127.0.0.1:5555", view="clean"):
                drawn = supervision.MaskAnnotator().annotate(result.image, result.to_detections())
        """
        with needed_for("supervision.Detections"):
            import supervision

        found = [item.detection for item in self.objects]
        return supervision.Detections(
            xyxy=np.array([item.xyxy for item in found], dtype=np.float32).reshape(-1, 4),
            mask=_compact([item.mask for item in self.objects], self.height, self.width),
            confidence=np.array([item.confidence for item in found], dtype=np.float32),
            class_id=np.array([item.class_id for item in found], dtype=np.int64),
            tracker_id=np.array(
                [NO_TRACK if item.tracker_id is None else item.tracker_id for item in found], dtype=np.int64
            ),
            data={
                "class_name": np.array([item.class_name for item in found], dtype=np.str_),
                "method": np.array([item.method for item in self.objects], dtype=np.str_),
            },
        )

    def _annotation(self, item: TrackedObject, *, polygons: bool) -> CocoAnnotation:
        left, top, right, bottom = clamp_box(item.detection.xyxy, self.width, self.height)
        width, height = right - left, bottom - top
        annotation = CocoAnnotation(
            image_id=self.seq,
            category_id=category_id(item.detection.class_id, item.detection.class_name),
            bbox=[left, top, width, height],
            score=item.detection.confidence,
            area=width * height if item.mask is None else float(item.mask.area),
            iscrowd=0,
        )
        if item.mask is not None:
            annotation["segmentation"] = (
                [polygon.ravel().tolist() for polygon in item.mask.polygons_without_holes(AROUND_CENTRES)]
                if polygons
                else item.mask.rle(self.height, self.width)
            )
        return annotation


def _compact(masks: Sequence[Mask | None], height: int, width: int) -> CompactMask | None:
    """Pack each mask within its own rectangle, which needs no array of the frame's size."""
    if not any(masks):
        return None
    from supervision import CompactMask

    empty = Mask(0, 0, np.zeros((1, 1), dtype=np.bool_))
    compact = []
    for mask in (mask or empty for mask in masks):
        box = np.array([[0, 0, mask.width - 1, mask.height - 1]])
        crop = CompactMask.from_dense(mask.bits[None], box, mask.bits.shape)
        compact.append(crop.with_offset(mask.x, mask.y, (height, width)))
    return CompactMask.merge(compact)
