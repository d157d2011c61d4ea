"""Opens a source for some seconds and measures what it sends."""

from __future__ import annotations

import logging
import re
import statistics
import threading
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import av.logging
import msgspec

from streamseg.errors import SourceError
from streamseg.messages import Frame, Image
from streamseg.sources import SourceChange, SourceSettings
from streamseg.sources.opening import open_source

_SETTLE_NS: Final = 500_000_000
"""A camera sends the first pictures faster than it takes them."""
_MISSED: Final = re.compile(r"RTP: missed (\d+) packets")


class SourceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a source sends; None for what it does not tell.

    Attributes:
        size: Width and height of its pictures.
        fps: Frames a second, by their presentation times.
        jitter_ms: Of a live source: mean difference between the times from frame to frame as they arrive and as the
            source counts them.
        lost_packets: Of a camera over UDP: FFmpeg counts no others.
        read_share: Processor time that reading and decoding take, of one core, at that rate.
    """

    size: tuple[int, int]
    codec: str | None
    fps: float | None
    jitter_ms: float | None
    lost_packets: int | None
    read_share: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """Figures and a picture of a source."""

    figures: SourceFigures
    image: Image


@dataclass(frozen=True, slots=True)
class _Moment:
    """When a frame is shown and when it arrived, and the processor time that the thread had used by then."""

    pts_ns: int
    arrived_ns: int
    cpu_ns: int


def probe_source(settings: SourceSettings, seconds: float) -> Probe:
    """Read a source for some seconds after its first frame, or to its end. Opening it may take `start_timeout`.

    Raises:
        SourceError: It cannot be opened, or sends no picture.
        SettingsError: Its password file cannot be read.
    """
    source = open_source(msgspec.structs.replace(settings, wait=False), threads=1)
    counts_losses = settings.kind == "rtsp" and settings.transport == "udp"
    if counts_losses:
        _log_losses()
    stop = threading.Event()
    timer = threading.Timer(seconds, stop.set)
    timer.daemon = True
    with closing(source), av.logging.Capture() as lines:
        timer.start()
        began_ns, moments, image, lost = time.monotonic_ns(), [], None, ""
        for item in source.frames(0, stop):
            if isinstance(item, Frame):
                moments.append(_Moment(item.pts_ns, item.t_capture_ns, time.thread_time_ns()))
                image = item.image
            elif isinstance(item, SourceChange):
                lost = item.detail
            if time.monotonic_ns() - began_ns > seconds * 1e9:
                break
    timer.cancel()
    if image is None:
        raise SourceError(f"{source.info.description} sent no picture within {seconds:g} s{lost and f' ({lost})'}")
    return Probe(
        SourceFigures(
            size=(image.shape[1], image.shape[0]),
            codec=source.info.codec,
            fps=_rate(moments),
            jitter_ms=_jitter_ms(moments) if settings.is_live else None,
            lost_packets=lost_packets(text for _, _, text in lines) if counts_losses else None,
            read_share=_read_share(moments),
        ),
        image,
    )


def lost_packets(lines: Iterable[str]) -> int:
    """The packets that FFmpeg missed, by its log."""
    return sum(int(found[1]) for line in lines if (found := _MISSED.search(line)))


def _log_losses() -> None:
    """Make FFmpeg's warnings available; what no one captures is not printed."""
    logger = logging.getLogger("libav")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    av.logging.set_level(av.logging.WARNING)


def _rate(moments: list[_Moment]) -> float | None:
    seconds = (moments[-1].pts_ns - moments[0].pts_ns) / 1e9
    return (len(moments) - 1) / seconds if seconds > 0 else None


def _jitter_ms(moments: list[_Moment]) -> float | None:
    settled = [each for each in moments if each.arrived_ns - moments[0].arrived_ns >= _SETTLE_NS]
    differences = [
        abs((after.arrived_ns - before.arrived_ns) - (after.pts_ns - before.pts_ns)) / 1e6
        for before, after in pairwise(settled)
    ]
    return statistics.fmean(differences) if differences else None


def _read_share(moments: list[_Moment]) -> float | None:
    shown_ns = moments[-1].pts_ns - moments[0].pts_ns
    return (moments[-1].cpu_ns - moments[0].cpu_ns) / shown_ns if shown_ns > 0 else None
