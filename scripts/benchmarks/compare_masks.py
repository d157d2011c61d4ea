"""Shows on a clip of your own what propagating masks does, as a video of two halves.

`python scripts/benchmarks/compare_masks.py CLIP OUTPUT.mp4`

Both halves have the same detector and tracker, and the same segmenter, which is asked once a second and answers late. On the left
the last answer stays as it was until the next one is there; on the right its masks are carried to every frame.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from streamseg.messages import Detection, Dropped, Frame, Image, Models, Result, Timings, TrackedObject
from streamseg.models import Detector, Segmenter
from streamseg.models.options import Compute, DetectorSettings, SegmenterSettings
from streamseg.models.registry import create_detector, create_segmenter
from streamseg.models.segmenters.nano.refiner import Refiner
from streamseg.monitor.progress import WorkDisplay
from streamseg.propagate.keyframe_mask import FrameTime, KeyframeMask, make_keyframe_masks
from streamseg.propagate.propagator import Budget, Propagator
from streamseg.render import render
from streamseg.sinks.video import VideoWriter
from streamseg.sources import SourceSettings
from streamseg.sources.file import FileSource
from streamseg.stages.tracking import Tracker

BUDGET = Budget(max_age_ns=6_000_000_000, missed_frames=5)
"""As the pipeline's own for a live source."""
FROZEN, CARRIED = "frozen until the next answer", "carried to every frame"
CAPTION_HEIGHT, CAPTION_SCALE = 56, 1.2
STILL_WIDTH, STILL_QUALITY = 1280, 80


@dataclass(frozen=True, slots=True)
class Answer:
    """What the segmenter says of a keyframe, and the number of the frame with which that is known."""

    due: int
    learnt: tuple[KeyframeMask, ...]


class LateSegmenter:
    """A segmenter that is asked every `interval` frames, and answers `latency` frames later."""

    def __init__(self, segmenter: Segmenter[Any], interval: int, latency: int) -> None:
        self._segmenter, self._interval, self._latency = segmenter, interval, latency
        self._pending: deque[Answer] = deque()

    def next(self, moment: FrameTime, image: Image, detections: Sequence[Detection]) -> tuple[KeyframeMask, ...] | None:
        """Take in a frame; the answer that is known with it, if there is a new one."""
        if moment.seq % self._interval == 0:
            self._pending.append(Answer(moment.seq + self._latency, self._learnt(moment, image, detections)))
        return self._pending.popleft().learnt if self._pending and self._pending[0].due <= moment.seq else None

    def _learnt(self, moment: FrameTime, image: Image, detections: Sequence[Detection]) -> tuple[KeyframeMask, ...]:
        drawn = self._segmenter.decode(self._segmenter.encode(image), detections)
        return tuple(make_keyframe_masks(moment, image, detections, drawn))


@dataclass(slots=True)
class Comparison:
    """Draws both halves of each frame."""

    detector: Detector
    tracker: Tracker
    segmenter: LateSegmenter
    propagator: Propagator
    models: Models
    newest: tuple[KeyframeMask, ...] = ()

    def draw(self, seq: int, frame: Frame) -> Image:
        """Frame `seq` twice, side by side: shape (height + CAPTION_HEIGHT, 2 * width, 3), uint8, BGR."""
        moment = FrameTime(seq, frame.pts_ns)
        detections = self.tracker.update(self.detector.detect(frame.image), frame.pts_ns)
        answered = self.segmenter.next(moment, frame.image, detections)
        if answered is not None:
            self.newest = answered
            self.propagator.add(answered)
        carried = self.propagator.update(moment, frame.image, detections)
        self.propagator.refine()
        frozen = tuple(_frozen(learnt, moment) for learnt in self.newest)
        halves = ((frozen, FROZEN), (carried, CARRIED))
        return np.hstack(
            [_captioned(render(frame.image, self._result(moment, frame, shown)), text) for shown, text in halves]
        )

    def _result(self, moment: FrameTime, frame: Frame, objects: tuple[TrackedObject, ...]) -> Result:
        return Result(
            run_id="",
            epoch=0,
            seq=moment.seq,
            source="clip",
            width=frame.width,
            height=frame.height,
            pts_ns=frame.pts_ns,
            t_capture_unix_ns=frame.t_capture_unix_ns,
            timings=Timings(),
            dropped=Dropped(),
            models=self.models,
            boxes_seq=moment.seq,
            objects=objects,
        )


def main(
    clip: Annotated[Path, typer.Argument(metavar="CLIP", help="A video file.")],
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT.mp4", help="The video to write; an existing one is overwritten.")
    ],
    start: Annotated[float, typer.Option(metavar="S", help="Second of the clip at which to begin.")] = 0.0,
    seconds: Annotated[float, typer.Option(metavar="S", help="How long to go on.")] = 10.0,
    stills: Annotated[
        list[int] | None,
        typer.Option("--still", metavar="N", help="Write frame N of the output as OUTPUT-N.jpg, too. May be repeated."),
    ] = None,
    detector_weights: Annotated[
        Path | None,
        typer.Option(metavar="F.onnx", help="A YOLOX export to find objects with; `motion` does, where not given."),
    ] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", metavar="NAME", help="A class to keep; all, where not given.")
    ] = None,
    confidence: Annotated[float, typer.Option(metavar="X", help="Least confidence of an object.")] = 0.25,
    segmenter: Annotated[str, typer.Option(metavar="NAME", help="The segmenter, such as mobilesam.")] = "nano",
    segmenter_weights: Annotated[Path | None, typer.Option(metavar="FILE", help="Weights of that segmenter.")] = None,
    interval: Annotated[int, typer.Option(metavar="N", min=1, help="Frames after which it is asked again.")] = 30,
    latency: Annotated[int, typer.Option(metavar="N", min=0, help="Frames after which its answer is there.")] = 25,
) -> None:
    """Compare masks that stay where they were with masks that are carried to every frame."""
    source = FileSource(SourceSettings(url=str(clip)))
    fps = source.info.fps or 30.0
    frames = round(seconds * fps)
    finding = "motion" if detector_weights is None else str(detector_weights)
    detector = create_detector(
        DetectorSettings(model=finding, conf=confidence, classes=tuple(classes) if classes else None),
        Compute(threads=1),
    )
    drawing = create_segmenter(
        SegmenterSettings(model=segmenter, weights=None if segmenter_weights is None else str(segmenter_weights)),
        Compute(),
    )
    comparison = Comparison(
        detector,
        Tracker(confidence),
        LateSegmenter(drawing, interval, latency),
        Propagator(BUDGET, Refiner()),
        Models(detector=detector.name, segmenter=drawing.name),
    )
    with VideoWriter(output) as sink, WorkDisplay("comparing", frames) as display:
        for seq, frame in enumerate(_frames(source, round(start * fps), frames)):
            image = comparison.draw(seq, frame)
            sink.write(image, frame.pts_ns)
            if seq in (stills or ()):
                _write_still(output.with_name(f"{output.stem}-{seq}.jpg"), image)
            display.update(seq + 1)


def _frames(source: FileSource, start: int, count: int) -> Iterator[Frame]:
    stop = threading.Event()
    for place, item in enumerate(source.frames(start, stop)):
        if place == count:
            return
        yield item


def _frozen(learnt: KeyframeMask, now: FrameTime) -> TrackedObject:
    """The object as it was on the keyframe, box and mask."""
    return replace(learnt.as_object(learnt.detection), age_ms=(now.pts_ns - learnt.frame.pts_ns) / 1e6)


def _captioned(image: Image, text: str) -> Image:
    bar = np.zeros((CAPTION_HEIGHT, image.shape[1], 3), np.uint8)
    cv2.putText(
        bar, text, (16, CAPTION_HEIGHT - 18), cv2.FONT_HERSHEY_SIMPLEX, CAPTION_SCALE, (255, 255, 255), 2, cv2.LINE_AA
    )
    return np.vstack([bar, image])


def _write_still(path: Path, image: Image) -> None:
    scale = STILL_WIDTH / image.shape[1]
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path), small, [cv2.IMWRITE_JPEG_QUALITY, STILL_QUALITY])


if __name__ == "__main__":
    typer.run(main)
