"""Detectors and segmenters of other packages: found by entry point, made, and checked against their protocol.

A plug-in's numbers may be NumPy's, and its boxes may reach over the frame's edge or lie beyond it. Any other breach of
the protocol, and any exception, becomes an error that names the plug-in.
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
from typing import Any, Literal

from streamseg import errors
from streamseg.errors import SettingsError, StageError, StreamsegError
from streamseg.geometry import clip_box
from streamseg.masks import Mask
from streamseg.messages import Detection, Image, ObjectMask
from streamseg.models import Detector, Segmenter, StatefulDetector
from streamseg.models.options import Compute, DetectorSettings, SegmenterSettings
from streamseg.paths import is_unicode
from streamseg.settings import Settings
from streamseg.spelling import suggestion

Kind = Literal["detector", "segmenter"]

_log = logging.getLogger(__name__)
_LONGEST = 300
"""Maximum number of characters of a plug-in's exception in our error."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """An entry point that makes a detector or a segmenter from its settings."""

    kind: Kind
    entry: importlib.metadata.EntryPoint

    def __str__(self) -> str:
        package = "" if self.entry.dist is None else f" of {self.entry.dist.name}"
        return f"the plug-in {self.entry.name!r}{package}"

    def make(self, settings: Settings, compute: Compute, members: Sequence[str]) -> Any:
        """Load the entry point, call it, and check that the result has the protocol's members.

        Raises:
            StreamsegError: As raised by the plug-in; a `StageError` for any other exception.
        """
        with self.blamed():
            made = self.entry.load()(settings, compute)
            missing = [member for member in members if not hasattr(made, member)]
            if missing:
                raise StageError(
                    f"its {type(made).__name__} has no {' and no '.join(missing)}; "
                    f"a {self.kind} has {', '.join(members)}"
                )
        return made

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Make every error name the plug-in."""
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
    """List the detectors or segmenters that installed packages offer."""
    return tuple(sorted(importlib.metadata.entry_points(group=f"streamseg.{kind}s").names))


def find(kind: Kind, model: str, known: Sequence[str]) -> Plugin:
    """Find a plug-in by its name.

    Args:
        kind: Selects the group of entry points, `streamseg.detectors` or `streamseg.segmenters`.
        model: The entry point's name.
        known: The built-in choices, for the error.

    Raises:
        SettingsError: No package offers it, or more than one does.
    """
    found = tuple(importlib.metadata.entry_points(group=f"streamseg.{kind}s", name=model))
    if not found:
        choices = (*known, *names(kind))
        raise SettingsError(
            f"{kind}.model: {model!r} is unknown; expected {', '.join(choices)}, or a plug-in that is installed"
            f"{suggestion(model, choices)}"
        )
    if len(found) > 1:
        packages = " and ".join(sorted(entry.dist.name for entry in found if entry.dist is not None))
        raise SettingsError(f"{kind}.model: {model!r} is offered by {packages}; uninstall all but one")
    return Plugin(kind, found[0])


class PluginDetector:
    """A detector of another package.

    Boxes are clipped to the frame, boxes outside it are dropped, and at most `max_det` are returned.

    Raises:
        StreamsegError: The plug-in failed or broke its protocol, in the constructor or later.
    """

    def __init__(self, plugin: Plugin, settings: DetectorSettings, compute: Compute) -> None:
        self._plugin = plugin
        self._max_det = settings.max_det
        self._detector: Detector = plugin.make(settings, compute, ("name", "classes", "detect"))
        self.name = self._detector.name

    @property
    def classes(self) -> tuple[str, ...]:
        """All class names."""
        with self._plugin.blamed():
            return tuple(self._detector.classes)

    def detect(self, image: Image) -> list[Detection]:
        """Find objects in a frame of shape (height, width, 3), uint8, BGR; boxes in its pixels."""
        with self._plugin.blamed():
            found = (
                _checked_detection(detection, image, self._detector.classes)
                for detection in self._detector.detect(image)
            )
            return list(islice((detection for detection in found if detection is not None), self._max_det))

    def state(self) -> bytes:
        """The plug-in's own state; empty if it has none."""
        with self._plugin.blamed():
            return self._detector.state() if isinstance(self._detector, StatefulDetector) else b""

    def restore(self, state: bytes) -> None:
        """Continue from the plug-in's own state, if it has one."""
        with self._plugin.blamed():
            if isinstance(self._detector, StatefulDetector):
                self._detector.restore(state)


@dataclass(frozen=True, slots=True, eq=False)
class _Encoded:
    """A plug-in's embedding of a frame of that size in pixels."""

    embedding: Any
    height: int
    width: int


class PluginSegmenter:
    """A segmenter of another package.

    Raises:
        StreamsegError: The plug-in failed or broke its protocol, in the constructor or later.
    """

    def __init__(self, plugin: Plugin, settings: SegmenterSettings, compute: Compute) -> None:
        self._plugin = plugin
        self._segmenter: Segmenter[Any] = plugin.make(settings, compute, ("name", "encode", "decode", "describe"))
        self.name = self._segmenter.name

    def encode(self, image: Image) -> _Encoded:
        """Encode a frame of shape (height, width, 3), uint8, BGR."""
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


def _checked_detection(found: object, image: Image, classes: Sequence[str]) -> Detection | None:
    """Convert to Python's own numbers, which msgspec encodes; None if the box lies outside the frame."""
    if not isinstance(found, Detection):
        raise StageError(f"detect returned a {type(found).__name__}; expected streamseg.messages.Detection")
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
    if not is_unicode(found.class_name):
        raise StageError(f"the class name {found.class_name!a} is not Unicode; results could not hold it")
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
