"""Segment: draws the masks of the objects of each keyframe."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from streamseg.errors import FrameOverrunError
from streamseg.ipc.control import Progress, Ready, Resend, ToStage
from streamseg.ipc.descriptors import Keyframe, Masks
from streamseg.ipc.links import LinkSender
from streamseg.ipc.ring import RingReader
from streamseg.messages import Detection, Image, ObjectMask
from streamseg.models import Segmenter
from streamseg.models.options import SegmenterOptions
from streamseg.models.registry import create_segmenter
from streamseg.models.segmenters.mobile_sam.segmenter import MobileSam
from streamseg.propagate.keyframe_mask import FrameTime, KeyframeMask, make_keyframe_masks
from streamseg.stages.answers import LatestAnswers
from streamseg.stages.attention import Attention, time_for_decoding_ns
from streamseg.stages.base import Stage, Station
from streamseg.stages.keyframe_masks import pack_keyframe_mask
from streamseg.stages.refining import refiner_of
from streamseg.stages.spare_time import SpareTime

_BATCH = 8
"""Boxes after which the supervisor hears that the work is getting on."""
_NEW_SHAPE_NS = 6_000_000_000
"""What a picture of a new shape may take, with many times which the supervisor is content: networks are exported and loaded for it."""

_Answer = TypeVar("_Answer")

_log = logging.getLogger(__name__)


class SegmentStage(Stage):
    """Reads a keyframe once and answers its boxes: of a file all, of a live source those for which there is time."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        self._keyframes = station.receiver("keyframes", Keyframe, station.policy)
        self._to_publish: LinkSender[Masks] = station.sender("masks", "ordered")
        self._ring = RingReader()
        self._answers: LatestAnswers[Masks] = LatestAnswers()
        self._attention = Attention(self.config.propagate.max_age_ms) if self.config.resolved_mode == "live" else None
        self._spare_time = SpareTime(station.progress) if self._attention is not None else None
        self._overrun = 0

    def prepare(self) -> Ready:
        """Load the segmenter and run it once, which tells the supervisor how long it may take."""
        settings, weights = self.config.segmenter, self.assignment.segmenter_weights
        self._segmenter: Segmenter[Any] = create_segmenter(
            SegmenterOptions(
                model=self.assignment.models.segmenter,
                weights=None if weights is None else Path(weights),
                device=self.config.device,
                threads=self.assignment.threads,
                backend=settings.backend,
                precision=settings.precision,
                providers=settings.providers,
                imgsz=settings.imgsz,
            ),
            exporting=_say_exporting,
        )
        self._refiner = refiner_of(self.config, self.assignment.models.segmenter)
        blank = np.zeros((360, 640, 3), np.uint8)
        centre = Detection(xyxy=(200.0, 100.0, 400.0, 300.0), confidence=1.0, class_id=0, class_name="warm-up")
        began = time.monotonic_ns()
        self._segmenter.decode(self._segmenter.encode(blank), [centre])
        self.station.report(Progress(time.monotonic_ns() - began))
        self._shape = blank.shape
        description = self._describe()
        _log.info("running %s", description)
        return Ready(description)

    def instruct(self, message: ToStage) -> None:
        """Repeat what was answered last, for a publish process that is new."""
        if isinstance(message, Resend):
            for masks in self._answers.values():
                self._to_publish.send(masks)

    def close(self, reason: str) -> None:
        """Let go of the ring and of the thread."""
        self._ring.close()
        if self._spare_time is not None:
            self._spare_time.close()

    def turn(self) -> bool:
        """Take one keyframe and answer it."""
        self._to_publish.service()
        keyframe = self._keyframes.receive()
        if keyframe is not None:
            self._take(keyframe)
        self._keyframes.grant()  # last: whoever waits without having granted waits for nothing
        return keyframe is not None

    def _take(self, keyframe: Keyframe) -> None:
        known = self._answers.get(keyframe.frame.seq)
        if known is not None and known.detections == keyframe.detections:
            self._to_publish.send(known)
            return
        try:
            masks = self._answer(keyframe)
        except FrameOverrunError:
            self._overrun += 1
            return
        if masks is not None:
            self._to_publish.send(masks)
            self._answers.remember(masks.seq, masks)

    def _describe(self) -> str:
        """What draws the masks, for people."""
        model = self._segmenter
        if not isinstance(model, MobileSam):
            return model.name
        threads = self.assignment.threads
        return f"{model.name} ({model.backend}, {model.precision}, {threads} thread{'' if threads == 1 else 's'})"

    def _answer(self, keyframe: Keyframe) -> Masks | None:
        """The masks of a keyframe; None where a live scene has not changed since the last one."""
        frame = keyframe.frame
        image = self._ring.read(frame.ring, frame.seq)
        chosen = range(len(keyframe.detections)) if self._attention is None else self._attention.choose(keyframe, image)
        if not chosen:
            return None
        detections = tuple(keyframe.detections[place] for place in chosen)
        if image.shape != self._shape:
            self._shape = image.shape
            self.station.report(Progress(_NEW_SHAPE_NS))
        began = time.monotonic_ns()
        embedding = self._unhurried(partial(self._segmenter.encode, image))
        t_encoded_ns = time.monotonic_ns()
        answers = self._decode(embedding, detections, t_encoded_ns + time_for_decoding_ns(t_encoded_ns - began))
        t_decoded_ns = time.monotonic_ns()
        detections = detections[: len(answers)]
        if self._attention is not None:
            self._attention.learn(keyframe, detections, answers)
        return Masks(
            seq=frame.seq,
            pts_ns=frame.pts_ns,
            objects=tuple(
                map(
                    pack_keyframe_mask,
                    self._keyframe_masks(FrameTime(frame.seq, frame.pts_ns), image, detections, answers),
                )
            ),
            t_encoded_ns=t_encoded_ns,
            t_decoded_ns=t_decoded_ns,
            overrun=self._overrun,
        )

    def _decode(self, embedding: object, detections: Sequence[Detection], until_ns: int) -> list[ObjectMask]:
        """The masks of the detections, in their order; of a live source those for which there is time."""
        answers: list[ObjectMask] = []
        for first in range(0, len(detections), _BATCH):
            if first and self._attention is not None and time.monotonic_ns() > until_ns:
                break
            self.station.progress()
            batch = detections[first : first + _BATCH]
            answers += self._unhurried(partial(self._segmenter.decode, embedding, batch))
        return answers

    def _unhurried(self, work: Callable[[], _Answer]) -> _Answer:
        """Do what takes long; of a live source, so that it holds up none of the other stages."""
        return work() if self._spare_time is None else self._spare_time.run(work)

    def _keyframe_masks(
        self, frame: FrameTime, image: Image, detections: Sequence[Detection], results: Sequence[ObjectMask]
    ) -> list[KeyframeMask]:
        """The masks, prepared for propagation where there is any: here, where nothing waits for it."""
        if self.config.carries_masks:
            return make_keyframe_masks(frame, image, detections, results, self._refiner)
        return [
            KeyframeMask(frame, detection, result.mask, result.predicted_iou, result.stability)
            for detection, result in zip(detections, results, strict=True)
        ]


def _say_exporting(done: int, total: int) -> None:
    if done == 0:
        _log.warning("exporting the networks for pictures of this shape, which takes some seconds and is kept")
