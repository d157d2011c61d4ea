"""What the sources of a run cost on this machine, by a short measurement of its models."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from streamseg.config import Config
from streamseg.errors import UsageError
from streamseg.messages import Detection, Image
from streamseg.models.options import MOBILE_SAM, YOLOX_MODELS, Compute
from streamseg.models.registry import check_segmenter, create_detector, create_segmenter
from streamseg.models.segmenters.mobile_sam.export import exported_sizes
from streamseg.models.segmenters.mobile_sam.input_grid import CAMERA
from streamseg.monitor.suggestions import STARVING_MS, faster_segmenter
from streamseg.sources.probe import Probe
from streamseg.threads import available_cores

_SECONDS: Final = 1.0
_LEAST: Final = 3
_FULL: Final = 0.8
"""Share of the detector's time from which frames wait for it."""
_SMALL_SIDE: Final = 320
BOXES: Final = 3
"""Objects of a keyframe that is measured."""
_SIZES: Final = 2
"""Sizes of pictures that are measured: each may take seconds to load its networks."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What the frames of all sources cost together.

    Attributes:
        detect_ms: Time of the detector for a frame.
        read_share: Processor time for reading and decoding all sources, of one core.
        detect_share: Share of the detector's time that the frames to analyse need: above 1 it cannot keep up. None for
            files, which wait.
        remedies: What would help; empty if nothing is too much.
    """

    detector: str
    detect_ms: float
    read_share: float
    detect_share: float | None
    remedies: tuple[str, ...]


class Keyframes(msgspec.Struct, frozen=True, kw_only=True):
    """How often the sources can be segmented.

    Attributes:
        segment_ms: Time of the segmenter for a keyframe with three objects.
        rate: Keyframes a second that all sources together get at most.
        source_rate: Those that each gets, as they have turns.
        remedy: What would help; None if that is enough, or for files, which wait.
    """

    segmenter: str
    segment_ms: float
    rate: float
    source_rate: float
    remedy: str | None


def measure_load(config: Config, probes: dict[str, Probe], threads: int) -> Load:
    """Run the detector on a picture of each source.

    Args:
        config: Of the run, with the models that it would use now.
        probes: The sources that can be opened, at least one.
        threads: Of the detector.

    Raises:
        StreamsegError: The detector does not run.
    """
    detector = create_detector(config.detector, Compute(device=config.device, threads=threads))
    detect_ms = _median_ms(detector.detect, [probe.image for probe in probes.values()])
    figures = {name: probe.figures for name, probe in probes.items()}
    rates = {name: min(config.of(name).fps or 1e9, each.fps or 0.0) for name, each in figures.items()}
    load = Load(
        detector=config.detector.model,
        detect_ms=detect_ms,
        read_share=sum(each.read_share or 0.0 for each in figures.values()),
        detect_share=sum(rates.values()) * detect_ms / 1000 if config.resolved_mode == "live" else None,
        remedies=(),
    )
    return msgspec.structs.replace(load, remedies=tuple(find_remedies(config, load, len(probes))))


def measure_keyframes(config: Config, probes: dict[str, Probe], threads: int) -> Keyframes:
    """Run the segmenter on pictures of some sources, without exporting any network.

    Args:
        config: Of the run, with the models that it would use now.
        probes: The sources that can be opened, at least one.
        threads: Of the segmenter.

    Raises:
        UsageError: MobileSAM's networks have to be exported first.
        StreamsegError: The segmenter does not run.
    """
    check_segmenter(config.segmenter)
    compute = Compute(device=config.device, threads=threads)
    images = _ready_images(config, compute, _of_each_size([probe.image for probe in probes.values()]))
    segmenter = create_segmenter(config.segmenter, compute, _refuse_export)

    def segment(image: Image) -> object:
        return segmenter.decode(segmenter.encode(image), _boxes(image))

    segment_ms = _median_ms(segment, images)
    rate = 1000 / segment_ms
    source_rate = rate / len(probes)
    starves = config.resolved_mode == "live" and 1000 / source_rate > STARVING_MS
    return Keyframes(
        segmenter=segmenter.describe(),
        segment_ms=segment_ms,
        rate=rate,
        source_rate=source_rate,
        remedy=faster_segmenter(config) if starves else None,
    )


def find_remedies(config: Config, load: Load, sources: int) -> Iterator[str]:
    """What would help if frames of live sources cost too much; files wait.

    Args:
        config: Of the run, with models in place of `auto`.
        load: What they cost.
        sources: Their number.
    """
    if load.detect_share is None:
        return
    if load.detect_share > _FULL:
        fps = int(_FULL * 1000 / (load.detect_ms * sources))
        fewer = f"--set fps={fps}" if fps >= 1 else "fewer sources"
        smaller = config.detector.model in YOLOX_MODELS and config.detector.imgsz is None
        yield f"{fewer} or --set detector.imgsz={_SMALL_SIDE}" if smaller else fewer
    if load.read_share > available_cores() / 2:
        yield "smaller streams (sub-streams) of the cameras"


def _ready_images(config: Config, compute: Compute, images: Sequence[Image]) -> list[Image]:
    """The pictures that the segmenter can be measured with now."""
    settings = config.segmenter
    if settings.model != MOBILE_SAM or settings.weights is None:
        return list(images)
    sizes = [CAMERA, *map(_size, images)]  # the segmenter always makes ready for the first
    ready = exported_sizes(Path(settings.weights), settings, compute, sizes)
    found = [image for image in images if _size(image) in ready]
    if CAMERA not in ready or not found:
        raise _not_exported()
    return found


def _refuse_export(done: int, total: int) -> None:
    """Stands for the progress of an export, which begins if one that is there turns out to be damaged."""
    raise _not_exported()


def _not_exported() -> UsageError:
    return UsageError(
        f"not measured, the networks of {MOBILE_SAM} for these pictures are not exported; start a run, or "
        "`streamseg weights export`"
    )


def _of_each_size(images: Sequence[Image]) -> list[Image]:
    """A picture of each of the most frequent sizes."""
    sizes = Counter(map(_size, images)).most_common(_SIZES)
    return [next(image for image in images if _size(image) == size) for size, _ in sizes]


def _size(image: Image) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


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
        for place in range(BOXES)
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
