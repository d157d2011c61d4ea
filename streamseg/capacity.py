"""What the sources of a run cost on this machine, by a short measurement of its models."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from streamseg.config import Config
from streamseg.messages import Detection, Image
from streamseg.models.options import YOLOX_MODELS, Compute
from streamseg.models.registry import create_detector, create_segmenter
from streamseg.monitor.suggestions import STARVING_MS, faster_segmenter
from streamseg.plan import find_models
from streamseg.sources.probe import Probe
from streamseg.threads import available_cores

_SECONDS: Final = 1.0
_LEAST: Final = 3
_FULL: Final = 0.8
"""Share of the detector's time from which frames wait for it."""
_SMALL_SIDE: Final = 320
_BOXES: Final = 3


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """What the sources cost together.

    Attributes:
        detect_ms: Time of the detector for a frame.
        segment_ms: Time of the segmenter for a keyframe with three objects.
        read_share: Processor time for reading and decoding all sources, of one core.
        detect_share: Share of the detector's time that the frames to analyse need: above 1 it cannot keep up. None for
            files, which wait.
        keyframe_rate: Keyframes a second that each source gets at most, if the segmenter serves them in turn.
        remedies: What would help; empty if nothing is too much.
    """

    detector: str
    segmenter: str
    detect_ms: float
    segment_ms: float
    read_share: float
    detect_share: float | None
    keyframe_rate: float
    remedies: tuple[str, ...]


def measure_capacity(config: Config, probes: dict[str, Probe], threads: tuple[int, int]) -> Capacity:
    """Run the models that a run would use now, on a picture of each source, without downloading any.

    Args:
        config: Of the run.
        probes: The sources that can be opened, at least one.
        threads: Of the detector and of the segmenter.

    Raises:
        WeightsError: Weights of a model that the settings name are missing.
        StreamsegError: A model does not run.
    """
    detector_settings, segmenter_settings = find_models(config)
    images = [probe.image for probe in probes.values()]
    detector = create_detector(detector_settings, Compute(device=config.device, threads=threads[0]))
    detect_ms = _median_ms(detector.detect, images)
    del detector
    segmenter = create_segmenter(segmenter_settings, Compute(device=config.device, threads=threads[1]))

    def segment(image: Image) -> object:
        return segmenter.decode(segmenter.encode(image), _boxes(image))

    segment_ms = _median_ms(segment, images)
    live = config.resolved_mode == "live"
    figures = {name: probe.figures for name, probe in probes.items()}
    rates = {name: min(config.of(name).fps or 1e9, each.fps or 0.0) for name, each in figures.items()}
    detect_share = sum(rates.values()) * detect_ms / 1000 if live else None
    read_share = sum(each.read_share or 0.0 for each in figures.values())
    keyframe_rate = 1000 / segment_ms / len(probes)
    run = msgspec.structs.replace(config, detector=detector_settings, segmenter=segmenter_settings)
    capacity = Capacity(
        detector=detector_settings.model,
        segmenter=segmenter.describe(),
        detect_ms=detect_ms,
        segment_ms=segment_ms,
        read_share=read_share,
        detect_share=detect_share,
        keyframe_rate=keyframe_rate,
        remedies=(),
    )
    return msgspec.structs.replace(capacity, remedies=tuple(find_remedies(run, capacity, len(probes))))


def find_remedies(config: Config, capacity: Capacity, sources: int) -> Iterator[str]:
    """What would help if live sources cost too much; files wait.

    Args:
        config: Of the run, with models in place of `auto`.
        capacity: What they cost.
        sources: Their number.
    """
    if capacity.detect_share is None:
        return
    if capacity.detect_share > _FULL:
        fps = int(_FULL * 1000 / (capacity.detect_ms * sources))
        fewer = f"--set fps={fps}" if fps >= 1 else "fewer sources"
        smaller = config.detector.model in YOLOX_MODELS and config.detector.imgsz is None
        yield f"{fewer} or --set detector.imgsz={_SMALL_SIDE}" if smaller else fewer
    if 1000 / capacity.keyframe_rate > STARVING_MS:
        yield faster_segmenter(config)
    if capacity.read_share > available_cores() / 2:
        yield "smaller streams (sub-streams) of the cameras"


def _boxes(image: Image) -> list[Detection]:
    """Boxes in the middle of a picture."""
    height, width = image.shape[:2]
    return [
        Detection(
            xyxy=(width * (0.1 + 0.25 * place), height * 0.3, width * (0.3 + 0.25 * place), height * 0.7),
            confidence=1.0,
            class_id=0,
            class_name="object",
            tracker_id=None,
        )
        for place in range(_BOXES)
    ]


def _median_ms(work: Callable[[Image], object], images: Sequence[Image]) -> float:
    """Median time for a picture, after one of each that does not count."""
    for image in images:
        work(image)
    times: list[float] = []
    began_s = time.monotonic()
    while len(times) < _LEAST or time.monotonic() - began_s < _SECONDS:
        before_s = time.perf_counter()
        work(images[len(times) % len(images)])
        times.append((time.perf_counter() - before_s) * 1000)
    return statistics.median(times)
