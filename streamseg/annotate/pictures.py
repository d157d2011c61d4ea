"""Pictures to annotate: the pictures of a folder, one picture, or frames of a video."""

from __future__ import annotations

import filecmp
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import cv2

from streamseg.errors import SourceError, UsageError
from streamseg.images import image_files, is_still, is_upright, left_out, read_image
from streamseg.messages import Image
from streamseg.models.options import YOLOX_MODELS
from streamseg.paths import unicode_name
from streamseg.sources import SourceDamage, SourceSettings
from streamseg.sources.opening import open_file

QUALITY: Final = 95
"""Of the pictures that are compressed, 0 to 100."""
_PARAMETERS: Final = {
    ".avif": (cv2.IMWRITE_AVIF_QUALITY, QUALITY),
    **dict.fromkeys((".jpg", ".jpeg"), (cv2.IMWRITE_JPEG_QUALITY, QUALITY)),
}
"""By ending, for `cv2.imencode`."""
_KNOWN_AS: Final = {
    **dict.fromkeys((".jfif", ".jpe"), ".jpg"),
    **dict.fromkeys((".dib", ".gif", ".j2k", ".jp2", ".pam", ".pbm", ".pgm", ".pnm", ".ppm", ".ras", ".sr"), ".png"),
}
"""Endings in a data set in place of those that tools for data sets do not read."""


class Picture(Protocol):
    """One picture of a source."""

    @property
    def name(self) -> str:
        """File name in the data set, as Unicode: label files hold it."""
        ...

    @property
    def wanted(self) -> bool:
        """Whether to annotate it; otherwise only the detector needs it."""
        ...

    def read(self) -> Image:
        """The picture, shape (height, width, 3), uint8, BGR.

        Raises:
            SourceError: It cannot be read.
        """
        ...

    def save(self, path: Path) -> None:
        """Write it to a file, in the format of the file's name."""
        ...

    def matches(self, path: Path) -> bool:
        """Whether an existing file is what `save` would write.

        Raises:
            SourceError: The picture cannot be read.
        """
        ...


class Pictures(Protocol):
    """The pictures of a source, in the same order each time."""

    @property
    def name(self) -> str:
        """Name of the source, without its folder."""
        ...

    @property
    def size(self) -> int | None:
        """Size of a video file in bytes; None for pictures."""
        ...

    @property
    def total(self) -> int | None:
        """Number of wanted pictures; None if unknown."""
        ...

    @property
    def consecutive(self) -> bool:
        """Whether a detection may depend on earlier pictures, so that the detector needs those labelled already."""
        ...

    @property
    def left_out(self) -> str:
        """What the source holds beside its pictures, such as `2 .heic, 1 folder`; empty if there is nothing."""
        ...

    def __iter__(self) -> Iterator[Picture]:
        """Iterate over the pictures.

        Raises:
            SourceError: The source cannot be read further.
        """
        ...


class PictureFile:
    """A picture file, copied unchanged if other tools know its kind and show it upright; otherwise it is converted."""

    wanted = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._suffix = _KNOWN_AS.get(path.suffix.lower(), path.suffix)
        self.name = unicode_name(path.stem + self._suffix)

    def read(self) -> Image:
        """The picture, upright."""
        return read_image(self._path)

    def save(self, path: Path) -> None:
        """Copy or write the file, with the modification time of the picture."""
        if self._is_copied():
            shutil.copyfile(self._path, path)
        else:
            path.write_bytes(self._encode())
        found = self._path.stat()
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))

    def matches(self, path: Path) -> bool:
        """Whether a file has the modification time of the picture and its size if it is copied, or the content."""
        try:
            if filecmp.cmp(self._path, path):
                return self._path.stat().st_mtime_ns == path.stat().st_mtime_ns or self._is_copied()
            if self._is_copied():
                return False
            same_time = self._path.stat().st_mtime_ns == path.stat().st_mtime_ns
            return same_time or self._encode() == path.read_bytes()
        except OSError as error:
            raise SourceError(f"{self._path} cannot be read: {error.strerror or error}; expected a picture") from error

    def _is_copied(self) -> bool:
        return self._suffix.lower() in (self._path.suffix.lower(), ".jpg") and is_upright(self._path)

    def _encode(self) -> bytes:
        return _encode(self._suffix, self.read())


class PictureFiles:
    """The pictures directly in a folder, sorted by name, or a single picture."""

    size = None
    consecutive = False

    def __init__(self, source: Path) -> None:
        """Find the pictures.

        Raises:
            SourceError: The folder cannot be read, or holds no picture.
            UsageError: The names of two pictures differ only in their endings.
        """
        self.name = unicode_name(source.resolve().name)
        self._files = image_files(source) if source.is_dir() else [source]
        self.left_out = left_out(source) if source.is_dir() else ""
        self.total = len(self._files)
        stems: dict[str, Path] = {}
        for path in self._files:
            other = stems.setdefault(unicode_name(path.stem), path)
            if other is not path:
                raise UsageError(f"{other} and {path} would share one label file; rename one of them")

    def __iter__(self) -> Iterator[PictureFile]:
        return map(PictureFile, self._files)


class VideoFrame:
    """A frame of a video, saved as a JPEG."""

    def __init__(self, name: str, image: Image, *, wanted: bool) -> None:
        self.name = name
        self.wanted = wanted
        self._image = image

    def read(self) -> Image:
        """The frame."""
        return self._image

    def save(self, path: Path) -> None:
        """Compress the frame; equal frames give equal bytes."""
        path.write_bytes(_encode(".jpg", self._image))

    def matches(self, path: Path) -> bool:
        """True: the size identifies the video, and decoding always gives the same frames."""
        return True


class VideoFrames:
    """Every Nth frame of a video, named after it and their number from 0: `clip_000120.jpg`."""

    left_out = ""

    def __init__(self, path: Path, *, every: int, between: bool, consecutive: bool) -> None:
        """Open the video.

        Args:
            path: Of the file.
            every: 1 for all frames, 2 for every second one, and so on.
            between: Whether the detector needs the frames between.
            consecutive: Whether a detection may depend on earlier frames.

        Raises:
            SourceError: The file cannot be played.
        """
        self._source = open_file(SourceSettings(url=str(path)))
        self._stem, self._every, self._between = unicode_name(path.stem), every, between
        count = self._source.info.frame_count
        self.name = unicode_name(path.name)
        self.size = path.stat().st_size
        self.consecutive = consecutive
        self.total = None if count is None else -(-count // every)

    def __iter__(self) -> Iterator[VideoFrame]:
        for number, frame in enumerate(self._source.frames(0, threading.Event())):
            if isinstance(frame, SourceDamage):
                raise SourceError(f"{self.name}: {frame}; is the file complete?")
            wanted = number % self._every == 0
            if wanted or self._between:
                yield VideoFrame(f"{self._stem}_{number:06}.jpg", frame.image, wanted=wanted)


def _encode(suffix: str, image: Image) -> bytes:
    _, encoded = cv2.imencode(suffix, image, _PARAMETERS.get(suffix.lower(), ()))
    return encoded.tobytes()


def open_pictures(source: Path, *, every: int, detector: str) -> PictureFiles | VideoFrames:
    """Open a source, and check that it suits the detector.

    Args:
        source: A folder, a picture, or a video.
        every: For a video: annotate every Nth frame.
        detector: Name of the detector. `motion` needs all frames of a video; YOLOX handles each frame by itself.

    Raises:
        SourceError: The source cannot be read, or has no picture.
        UsageError: Two pictures would share one label file, or an option does not suit the source.
    """
    try:
        source.stat()
    except FileNotFoundError as error:
        raise SourceError(f"{source}: no such file; give a folder of pictures, a picture, or a video") from error
    except OSError as error:
        raise SourceError(
            f"{source} cannot be read: {error.strerror or error}; give a folder of pictures, a picture, or a video"
        ) from error
    if every < 1:
        raise UsageError(f"--every {every} is not positive; 1 takes every frame of a video, 10 every tenth")
    if not source.is_dir() and not is_still(source):
        stateful = not (detector in YOLOX_MODELS or detector.endswith(".onnx"))
        return VideoFrames(source, every=every, between=detector == "motion", consecutive=stateful)
    if every > 1:
        raise UsageError(f"--every is for videos, and {source} is none; leave it out")
    if detector == "motion":
        raise UsageError(f"motion compares frames of a video, and {source} is none; choose a yolox detector")
    return PictureFiles(source)
