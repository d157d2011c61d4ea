"""What a monitoring system can ask of a run over HTTP, in Prometheus' text format."""

from __future__ import annotations

import errno
from collections import Counter as Tally
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, start_http_server

from streamseg.errors import UsageError
from streamseg.messages import PROPAGATED
from streamseg.monitor.drops import DropTally

if TYPE_CHECKING:
    from streamseg.ipc.control import Published, Ready
    from streamseg.messages import Models

_LOOPBACK = "127.0.0.1"
_FRAME_AGE_S = (0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.2, 0.35, 0.5, 1, 2, 5)
_MASK_AGE_S = (0.0, 0.035, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 5)


class RunMetrics:
    """Counts what happens in a run; an observer of the pipeline. All metrics lie in a registry of its own."""

    def __init__(self, stages: Sequence[str]) -> None:
        self.registry = registry = CollectorRegistry()
        self._stages = frozenset(stages)
        self._ready: set[str] = set()
        self._methods = {PROPAGATED}
        self._dropped = DropTally()
        self._keyframe: int | None = None
        self._seen_a_frame = False
        self._up = Gauge("streamseg_up", "1 while every stage runs, 0 while one starts.", registry=registry)
        self._info = Info("streamseg", "The models of the run.", registry=registry)
        self._connected = Gauge(
            "streamseg_source_connected", "1 while the source delivers, 0 while it is lost.", registry=registry
        )
        self._frames = Counter("streamseg_frames_published_total", "Frames published.", registry=registry)
        self._own_boxes = Counter(
            "streamseg_frames_with_own_boxes_total",
            "Frames published with boxes that were found on the frame itself.",
            registry=registry,
        )
        self._keyframes = Counter(
            "streamseg_keyframes_segmented_total",
            "Keyframes whose masks have come to a published frame.",
            registry=registry,
        )
        self._drops = Counter(
            "streamseg_frames_dropped_total", "Frames a stage did without, by cause.", ["cause"], registry=registry
        )
        self._limited = Counter(
            "streamseg_masks_limited_total", "Masks left out of too large messages.", registry=registry
        )
        self._objects = Gauge("streamseg_objects", "Objects in the newest frame.", registry=registry)
        self._masks = Gauge(
            "streamseg_masks", "Masks in the newest frame, by the method that made them.", ["method"], registry=registry
        )
        self._frame_age = Histogram(
            "streamseg_frame_age_seconds",
            "Age of a frame when it is published, since its capture.",
            buckets=_FRAME_AGE_S,
            registry=registry,
        )
        self._mask_age = Histogram(
            "streamseg_mask_age_seconds", "Time from the frame a mask was made on to the frame it is published with.",
            buckets=_MASK_AGE_S, registry=registry,
        )  # fmt: skip
        self._restarts = Counter("streamseg_stage_restarts_total", "Restarts of a stage.", ["stage"], registry=registry)
        for stage in stages:
            self._restarts.labels(stage)

    def describe(self, models: Models) -> None:
        """Say which models the run has."""
        self._info.info({"detector": models.detector, "segmenter": models.segmenter})
        self._methods.add(models.segmenter)

    def prepared(self, stage: str, ready: Ready) -> None:
        """A stage runs."""
        self._ready.add(stage)
        self._up.set(self._ready == self._stages)

    def published(self, published: Published) -> None:
        """Count a frame, and what was lost before it."""
        if not self._seen_a_frame:
            # A source that is waited for may still be absent when capture is ready: only a frame proves it.
            self._seen_a_frame = True
            self._connected.set(1)
        self._frames.inc()
        self._own_boxes.inc(published.boxes_seq == published.seq)
        if published.masks_seq is not None and published.masks_seq != self._keyframe:
            self._keyframe = published.masks_seq
            self._keyframes.inc()
        self._frame_age.observe(published.age_ms / 1e3)
        self._objects.set(published.objects)
        methods = Tally(mask.method for mask in published.masks)
        self._methods.update(methods)
        for method in self._methods:
            self._masks.labels(method).set(methods[method])
        for mask in published.masks:
            self._mask_age.observe(mask.age_ms / 1e3)
        for cause, count in self._dropped.add(published.dropped).items():
            (self._limited if cause == "masks_limited" else self._drops.labels(cause)).inc(count)

    def changed(self, stage: str, state: str, detail: str) -> None:
        """Follow the source and the restarts."""
        if state == "restarting":
            self._restarts.labels(stage).inc()
            self._ready.discard(stage)
            self._up.set(self._ready == self._stages)
        if stage == "capture":
            self._connected.set(state == "running")

    def logged(self, level: int, text: str) -> None:
        """Log lines are not counted."""


class MetricsServer:
    """Answers HTTP requests with the metrics of a run, from entry to exit."""

    def __init__(self, address: str, metrics: RunMetrics) -> None:
        """Listen on `HOST:PORT`, or on a port of the loopback; port 0 takes a free one.

        Raises:
            UsageError: The address is malformed, in use, or not of this machine.
        """
        host, port = _parse(address)
        try:
            self._server, self._thread = start_http_server(port, host, metrics.registry)
        except (OSError, UnicodeError) as error:
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                raise UsageError(
                    f"--metrics: {address} is in use; end the program that listens there, or choose another port"
                ) from error
            reason = error.strerror if isinstance(error, OSError) else "not a host's name"
            raise UsageError(
                f"--metrics: cannot listen on {address} ({reason}); expected an address of this machine"
            ) from error
        self.metrics = metrics
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self._server.server_port}/metrics"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _parse(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    if (
        not (port.isascii() and port.isdecimal() and int(port) < 2**16)
        or (colon and not bare)
        or (":" in bare and not bracketed)
    ):
        raise UsageError(
            f"--metrics: {address!r} is not an address; expected HOST:PORT, such as 127.0.0.1:9100, or a port"
        )
    return bare or _LOOPBACK, int(port)
