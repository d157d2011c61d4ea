"""The result of one picture, and the folder that holds it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import msgspec
import numpy as np
import supervision as sv
from numpy.typing import NDArray

from streamseg.errors import UsageError
from streamseg.geometry import Box
from streamseg.masks import CocoRle, Mask
from streamseg.messages import Image

RECORDS: Final = "masks.json"
LOGITS: Final = "logits.npy"
OVERLAY: Final = "overlay.jpg"

_OPACITY = 0.5
_ON, _OFF, _RIM = (80, 220, 60), (60, 60, 240), (255, 255, 255)
"""BGR colours of a point on the object, of one off it, and of their outline."""


class PromptRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An object's prompt, in pixels of the picture: left, top, right, bottom; x and y of points, and their labels."""

    box: list[float] | None = None
    points: list[list[float]] | None = None
    labels: list[int] | None = None
    mask_input: bool = False


class MaskRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One mask.

    Attributes:
        file: The mask as a picture of the full size, 255 where the mask is, 0 elsewhere.
        object: Index into the record's `prompts`.
        candidate: Index among the object's masks; `logits.npy` holds it at [object, candidate].
        xyxy: The tight box, right and bottom exclusive.
        area: In pixels.
        predicted_iou: The model's own estimate of the mask's quality.
        stability: Stability of the mask against the threshold, 0 to 1.
        segmentation: COCO's compressed run lengths.
    """

    file: str
    object: int
    candidate: int
    xyxy: Box
    area: int
    predicted_iou: float
    stability: float
    segmentation: CocoRle


class ImageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `masks.json`.

    Attributes:
        image: The picture's file name.
        width: In pixels.
        height: In pixels.
        model: Name of the model.
        prompts: One per object; in everything mode the point that found it.
        masks: In the order of the objects; an object may have none.
    """

    image: str
    width: int
    height: int
    model: str
    prompts: list[PromptRecord]
    masks: list[MaskRecord]


@dataclass(frozen=True, slots=True, eq=False)
class CandidateMask:
    """One mask of the object with that index among the prompts."""

    object: int
    candidate: int
    mask: Mask
    predicted_iou: float
    stability: float


@dataclass(frozen=True, slots=True, eq=False)
class PictureResult:
    """The masks that a model found in one picture.

    Attributes:
        model: Name of the model.
        prompts: One per object.
        masks: Without empty ones.
        logits: Shape (objects, candidates, 256, 256), of all masks; None in everything mode.
    """

    model: str
    prompts: list[PromptRecord]
    masks: list[CandidateMask]
    logits: NDArray[np.float32] | None

    def file(self, found: CandidateMask) -> str:
        """Name a mask's file; empty masks are counted, so that a number fixes the object and candidate."""
        candidates = 1 if self.logits is None else self.logits.shape[1]
        return f"mask_{found.object * candidates + found.candidate:03d}.png"


def write_result(folder: Path, image_name: str, image: Image, result: PictureResult) -> None:
    """Write a picture's result, in place of an earlier one; it is never incomplete.

    Raises:
        OSError: A file cannot be written.
    """
    height, width = image.shape[:2]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as beside:
        new = Path(beside, "new")
        new.mkdir()
        for found in result.masks:
            _write_picture(new / result.file(found), found.mask.paste(height, width).astype(np.uint8) * np.uint8(255))
        _write_picture(new / OVERLAY, overlay(image, result))
        (new / RECORDS).write_bytes(msgspec.json.encode(_record(image_name, image, result)) + b"\n")
        if result.logits is not None:
            np.save(new / LOGITS, result.logits)
        if folder.exists():
            folder.rename(Path(beside, "old"))
        new.rename(folder)


def foreign_content(folder: Path) -> str | None:
    """Why a folder, or a file in its place, is not only what `write_result` wrote; None if it is.

    Raises:
        UsageError: The folder cannot be read.
    """
    if not folder.is_dir():
        return "is a file"
    try:
        names = {path.name for path in folder.iterdir()}
        record = msgspec.json.decode((folder / RECORDS).read_bytes(), type=ImageRecord) if RECORDS in names else None
    except msgspec.MsgspecError:
        return f"holds a {RECORDS} of another program"
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror or error}; name another --output") from error
    if record is None:
        return f"exists and holds no {RECORDS}"
    others = names - {RECORDS, LOGITS, OVERLAY, *(mask.file for mask in record.masks)}
    return f"also holds {min(others)}" if others else None


def overlay(image: Image, result: PictureResult) -> Image:
    """Draw the best mask of each object in a colour of its own, and the prompts, on a copy of the image."""
    best = {one.object: one for one in sorted(result.masks, key=lambda one: one.predicted_iou)}
    coloured = image.copy()
    for one in sorted(best.values(), key=lambda one: one.mask.area, reverse=True):
        mask = one.mask
        coloured[mask.y : mask.y + mask.height, mask.x : mask.x + mask.width][mask.bits] = _colour(one.object)
    scene = np.asarray(cv2.addWeighted(coloured, _OPACITY, image, 1 - _OPACITY, 0), np.uint8)
    if result.logits is not None:
        for place, prompt in enumerate(result.prompts):
            _draw_prompt(scene, prompt, _colour(place))
    return scene


def _colour(place: int) -> tuple[int, int, int]:
    return sv.ColorPalette.DEFAULT.by_idx(place).as_bgr()


def _draw_prompt(scene: Image, prompt: PromptRecord, colour: tuple[int, int, int]) -> None:
    thickness = max(round(min(scene.shape[:2]) / 300), 1)
    if prompt.box is not None:
        left, top, right, bottom = (round(side) for side in prompt.box)
        cv2.rectangle(scene, (left, top), (right, bottom), colour, thickness)
    for (x, y), label in zip(prompt.points or [], prompt.labels or [], strict=True):
        centre, radius = (round(x), round(y)), 3 * thickness
        cv2.circle(scene, centre, radius + thickness, _RIM, cv2.FILLED, cv2.LINE_AA)
        cv2.circle(scene, centre, radius, _ON if label == 1 else _OFF, cv2.FILLED, cv2.LINE_AA)


def _record(image_name: str, image: Image, result: PictureResult) -> ImageRecord:
    height, width = image.shape[:2]
    masks = [
        MaskRecord(
            file=result.file(one),
            object=one.object,
            candidate=one.candidate,
            xyxy=one.mask.xyxy,
            area=one.mask.area,
            predicted_iou=one.predicted_iou,
            stability=one.stability,
            segmentation=one.mask.rle(height, width),
        )
        for one in result.masks
    ]
    return ImageRecord(
        image=image_name, width=width, height=height, model=result.model, prompts=result.prompts, masks=masks
    )


def _write_picture(path: Path, picture: Image) -> None:
    _, content = cv2.imencode(path.suffix, picture)
    path.write_bytes(content.tobytes())
