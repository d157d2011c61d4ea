"""Pictures and sequences with true masks, from folders of sequences and folders of COCO instances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from streamseg.errors import DataError, SourceError
from streamseg.extras import needed_for
from streamseg.geometry import Box
from streamseg.images import image_files, read_image
from streamseg.masks import Mask
from streamseg.messages import Image
from streamseg.models.trained_on import TrainedOn


@dataclass(frozen=True, slots=True, eq=False)
class TruePicture:
    """One picture, shape (height, width, 3), uint8, BGR, and the masks of its objects."""

    image: Image
    masks: tuple[Mask, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TrueFrame:
    """One frame of a sequence or drawn scene; objects keep their places in the tuples from frame to frame.

    Attributes:
        image: Shape (height, width, 3), uint8, BGR.
        masks: The visible pixels of each object; None for a hidden one.
        boxes: The detector's box of each object, in pixels; None for a hidden one.
    """

    image: Image
    masks: tuple[Mask | None, ...]
    boxes: tuple[Box | None, ...]


@dataclass(frozen=True, slots=True)
class Sequence:
    """Files of the frames in order, and as many files of masks, each of the one object in its frame."""

    frames: tuple[Path, ...]
    masks: tuple[Path, ...]

    def mask(self, place: int) -> Mask | None:
        """Read the object's mask, the pixels brighter than half; None in a frame without the object."""
        return Mask.crop(read_image(self.masks[place])[..., 0] > 127)

    def pictures(self) -> Iterator[TruePicture]:
        """Yield the frames with the object."""
        for place, frame in enumerate(self.frames):
            mask = self.mask(place)
            if mask is not None:
                yield TruePicture(read_image(frame), (mask,))

    def true_frames(self) -> Iterator[TrueFrame]:
        """Yield all frames, with the boxes of the true masks.

        Raises:
            DataError: Frames differ in size, or a mask is larger than its frame.
        """
        shape: tuple[int, ...] | None = None
        for place, frame in enumerate(self.frames):
            image, mask = read_image(frame), self.mask(place)
            if shape is not None and image.shape != shape:
                raise DataError(f"{frame} is {_size(image.shape)}; expected {_size(shape)}, as the frames before it")
            shape = image.shape
            if mask is not None and not mask.inside(*shape[:2]):
                raise DataError(f"{self.masks[place]} is larger than {frame}; expected a mask of {_size(shape)}")
            yield TrueFrame(image, (mask,), (None if mask is None else mask.xyxy,))


def is_coco(folder: Path) -> bool:
    """Return whether a folder holds COCO instances: `instances.json` and `images`."""
    return (folder / "instances.json").is_file()


def coco_pictures(folder: Path, trained_on: TrainedOn) -> Iterator[TruePicture]:
    """Yield the photographs of a folder of COCO instances without those that a network was trained on.

    Raises:
        DataError: The folder has another layout.
        MissingPackageError: A package is missing.
    """
    with needed_for("reading outlines", "train"):
        from streamseg.train.outlines import read_outlines
    for photograph in read_outlines(folder / "instances.json", folder / "images").photographs:
        if not trained_on.saw(photograph.path.read_bytes()):
            yield TruePicture(photograph.read(), photograph.masks)


def sequences(folder: Path) -> dict[str, Sequence]:
    """List the sequences of a folder by name: `NAME/frames` and `NAME/masks`.

    Raises:
        DataError: The folder has another layout.
    """
    places = sorted(place.parent for place in folder.glob("*/frames") if place.is_dir())
    if not places:
        raise DataError(f"{folder} holds no sequence to measure on; expected NAME/frames and NAME/masks")
    try:
        found = {
            place.name: Sequence(tuple(image_files(place / "frames")), tuple(image_files(place / "masks")))
            for place in places
        }
    except SourceError as error:
        raise DataError(str(error)) from error
    for name, sequence in found.items():
        if len(sequence.frames) != len(sequence.masks):
            raise DataError(
                f"{folder / name} holds {len(sequence.frames)} frames and {len(sequence.masks)} masks; expected as many"
            )
    return found


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
