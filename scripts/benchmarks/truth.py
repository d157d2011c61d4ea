"""Pictures whose objects' true masks are known: folders of sequences, and folders of COCO instances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from streamseg.errors import DataError, SourceError, UsageError
from streamseg.images import image_files, read_image
from streamseg.masks import Mask
from streamseg.messages import Image
from streamseg.models.segmenters.nano.network_file import TrainedOn


@dataclass(frozen=True, slots=True, eq=False)
class TruePicture:
    """One picture and the masks of its objects."""

    image: Image
    masks: tuple[Mask, ...]


@dataclass(frozen=True, slots=True)
class Sequence:
    """Frames in order, each with the mask of the one object in it; as many of the one as of the other."""

    frames: tuple[Path, ...]
    masks: tuple[Path, ...]

    def mask(self, place: int) -> Mask | None:
        """The object of a frame, which is brighter than half; None where it is not in the frame."""
        return Mask.crop(read_image(self.masks[place])[..., 0] > 127)

    def pictures(self) -> Iterator[TruePicture]:
        """All frames in which the object is."""
        for place, frame in enumerate(self.frames):
            mask = self.mask(place)
            if mask is not None:
                yield TruePicture(read_image(frame), (mask,))


def is_photographs(folder: Path) -> bool:
    """Whether a folder holds COCO instances: `instances.json` and `images`."""
    return (folder / "instances.json").is_file()


def check_layout(folder: Path) -> None:
    """Find out whether a folder can be measured on, before anything is.

    Raises:
        DataError: It holds neither.
    """
    if is_photographs(folder):
        return
    if not _sequence_folders(folder):
        raise DataError(
            f"{folder} holds nothing to measure on; expected NAME/frames and NAME/masks, or instances.json and images"
        )
    sequences(folder)


def photographs(folder: Path, trained_on: TrainedOn) -> Iterator[TruePicture]:
    """The photographs of such a folder, but for those that a network has seen.

    Raises:
        DataError: It is not laid out so.
        UsageError: A package is missing.
    """
    try:
        from streamseg.train.outlines import read_outlines
    except ModuleNotFoundError as error:
        raise UsageError(f"reading outlines needs the package {error.name}; pip install 'streamseg[train]'") from error
    for photograph in read_outlines(folder / "instances.json", folder / "images"):
        if not trained_on.saw(photograph.path.read_bytes()):
            yield TruePicture(photograph.read(), photograph.masks)


def sequences(folder: Path) -> dict[str, Sequence]:
    """The sequences of a folder by name: `NAME/frames` and `NAME/masks`.

    Raises:
        DataError: It is not laid out so.
    """
    places = _sequence_folders(folder)
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


def _sequence_folders(folder: Path) -> list[Path]:
    return [place for place in sorted(folder.iterdir()) if (place / "frames").is_dir()] if folder.is_dir() else []
