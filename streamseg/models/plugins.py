"""What other packages bring: found by entry point, made, and held to its protocol.

A plug-in's numbers may be NumPy's and its boxes may reach over the frame's edge or lie beyond it; whatever else breaks the protocol,
or is raised, becomes an error that names the plug-in.
"""

from __future__ import annotations

import importlib.metadata
import logging
import operator
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from streamseg import errors
from streamseg.errors import SettingsError, StageError, StreamsegError
from streamseg.geometry import clip_box
from streamseg.masks import Mask
from streamseg.messages import Detection, Image, ObjectMask
from streamseg.models import Detector, Segmenter

if TYPE_CHECKING:
    from streamseg.models.options import DetectorOptions, SegmenterOptions

Kind = Literal["detector", "segmenter"]

_log = logging.getLogger(__name__)
_LONGEST = 300
"""Characters of a foreign error's text that are passed on."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """An entry point that makes a detector or a segmenter from its options."""

    kind: Kind
    entry: importlib.metadata.EntryPoint

    def __str__(self) -> str:
        package = "" if self.entry.dist is None else f" of {self.entry.dist.name}"
        return f"the plug-in {self.entry.name!r}{package}"

    def make(self, options: object, parts: Sequence[str]) -> Any:
        """Load what the entry point names, call it with the options, and see that the result has the protocol's parts.

        Raises:
            StreamsegError: As the plug-in raised it, or a `StageError` in place of any other exception.
        """
        with self.blamed():
            made = self.entry.load()(options)
            missing = [part for part in parts if not hasattr(made, part)]
            if missing:
                raise StageError(
                    f"its {type(made).__name__} has no {' and no '.join(missing)}; a {self.kind} has {', '.join(parts)}"
                )
        return made

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Let every error name the plug-in."""
        try:
            yield
        except StreamsegError as error:
            known = next(base.__name__ for base in type(error).__mro__ if base.__module__ == errors.__name__)
            raise errors.error_from_name(known, f"{self}: {error}") from error
        except Exception as error:
            _log.debug("%s failed", self, exc_info=True)
            text = textwrap.shorten(f"{type(error).__name__}: {error}", _LONGEST, placeholder=" …")
            raise StageError(f"{self} failed: {text}; repair it, or choose another {self.kind}.model") from error


def names(kind: Kind) -> tuple[str, ...]:
    """The detectors or segmenters that installed packages offer."""
    return tuple(sorted(importlib.metadata.entry_points(group=f"streamseg.{kind}s").names))


def find(kind: Kind, model: str, known: Sequence[str]) -> Plugin:
    """The plug-in of a name.

    Args:
        kind: What it is to be: the entry point is one of the group `streamseg.detectors` or `streamseg.segmenters`.
        model: Its name.
        known: What else the setting may be, for the message.

    Raises:
        SettingsError: No package offers it, or more than one does.
    """
    found = tuple(importlib.metadata.entry_points(group=f"streamseg.{kind}s", name=model))
    if not found:
        expected = ", ".join((*known, *names(kind)))
        raise SettingsError(f"{kind}.model: {model!r} is unknown; expected {expected}, or a plug-in that is installed")
    if len(found) > 1:
        packages = " and ".join(sorted(entry.dist.name for entry in found if entry.dist is not None))
        raise SettingsError(f"{kind}.model: {model!r} is offered by {packages}; uninstall all but one")
    return Plugin(kind, found[0])


class PluginDetector:
    """A detector of another package.

    Boxes are clipped to the frame, those that cover nothing of it are left out, and no more than `max_det` are passed on.

    Raises:
        StreamsegError: The plug-in failed, in making the detector or later, or gave what its protocol does not say.
    """

    def __init__(self, plugin: Plugin, options: DetectorOptions) -> None:
        self._plugin = plugin
        self._max_det = options.max_det
        self._detector: Detector = plugin.make(options, ("name", "classes", "detect"))
        self.name = self._detector.name

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of all classes that it can report."""
        with self._plugin.blamed():
            return tuple(self._detector.classes)

    def detect(self, image: Image) -> list[Detection]:
        """Find objects in a frame of shape (height, width, 3), uint8, BGR; boxes in its pixels."""
        with self._plugin.blamed():
            found = (
                _plain_detection(detection, image, self._detector.classes) for detection in self._detector.detect(image)
            )
            return list(islice((detection for detection in found if detection is not None), self._max_det))


@dataclass(frozen=True, slots=True, eq=False)
class _Encoded:
    """A plug-in's embedding of a frame of that size in pixels."""

    embedding: Any
    height: int
    width: int


class PluginSegmenter:
    """A segmenter of another package.

    Raises:
        StreamsegError: The plug-in failed, in making the segmenter or later, or gave what its protocol does not say.
    """

    def __init__(self, plugin: Plugin, options: SegmenterOptions) -> None:
        self._plugin = plugin
        self._segmenter: Segmenter[Any] = plugin.make(options, ("name", "encode", "decode", "describe"))
        self.name = self._segmenter.name

    def encode(self, image: Image) -> _Encoded:
        """Read a frame of shape (height, width, 3), uint8, BGR, once."""
        with self._plugin.blamed():
            return _Encoded(self._segmenter.encode(image), image.shape[0], image.shape[1])

    def decode(self, embedding: _Encoded, detections: Sequence[Detection]) -> list[ObjectMask]:
        """Return one mask for each detection, in the order given."""
        with self._plugin.blamed():
            masks = list(self._segmenter.decode(embedding.embedding, detections))
            if len(masks) != len(detections):
                raise StageError(
                    f"decode returned {len(masks)} masks for {len(detections)} detections; expected one for each"
                )
            return [_checked_mask(mask, embedding) for mask in masks]

    def describe(self) -> str:
        """Return the plug-in's own description."""
        with self._plugin.blamed():
            return str(self._segmenter.describe())


def _plain_detection(found: object, image: Image, classes: Sequence[str]) -> Detection | None:
    """A detection in Python's own numbers, which are what travels between processes; None where its box covers nothing of the frame."""
    if not isinstance(found, Detection):
        raise StageError(f"detect gave a {type(found).__name__}; expected streamseg.messages.Detection")
    height, width = image.shape[:2]
    left, top, right, bottom = map(float, found.xyxy)
    if left > right or top > bottom:
        raise StageError(
            f"the box {(left, top, right, bottom)} ends before it begins; expected left, top, right, bottom"
        )
    class_id = operator.index(found.class_id)
    if not 0 <= class_id < len(classes) or classes[class_id] != found.class_name:
        raise StageError(
            f"class_id {class_id} is not the place of {found.class_name!r} among its {len(classes)} classes"
        )
    box = clip_box((left, top, right, bottom), width, height)
    if box is None:
        return None
    tracker_id = None if found.tracker_id is None else operator.index(found.tracker_id)
    return Detection(
        xyxy=box,
        confidence=float(found.confidence),
        class_id=class_id,
        class_name=str(found.class_name),
        tracker_id=tracker_id,
    )


def _checked_mask(result: object, frame: _Encoded) -> ObjectMask:
    if not isinstance(result, ObjectMask):
        raise StageError(f"decode returned a {type(result).__name__}; expected streamseg.messages.ObjectMask")
    if result.mask is None:
        return ObjectMask(None)
    if not isinstance(result.mask, Mask) or not result.mask.inside(frame.height, frame.width):
        raise StageError(
            f"decode returned a mask that is not a streamseg.masks.Mask inside the frame, {frame.width}x{frame.height}"
        )
    return ObjectMask(result.mask, _plain_number(result.predicted_iou), _plain_number(result.stability))


def _plain_number(value: float | None) -> float | None:
    return None if value is None else float(value)
