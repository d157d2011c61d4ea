"""The settings of a run: one typed tree, composed of the settings of its components. Every error names its key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from streamseg.endpoints import check_endpoint, is_loopback
from streamseg.errors import SettingsError, SourceError
from streamseg.models.options import DetectorSettings, SegmenterSettings
from streamseg.paths import refuse_url
from streamseg.render_settings import RenderSettings
from streamseg.settings import Count, Settings, Threads, read_settings
from streamseg.sources import SourceSettings

Mode = Literal["live", "every-frame"]

VIDEO_SUFFIX: Final = ".mp4"
"""Ending of the names of recorded videos."""
OTHER_SOURCES: Final = "rtsp://... of a camera, the path of a video file, a camera's number, or synthetic:"


class TrackerSettings(Settings, frozen=True, kw_only=True):
    """The tracker that gives objects their ids: `flow` follows all classes by optical flow, place and colours."""

    model: Literal["flow", "none"] = "flow"


class PropagateSettings(Settings, frozen=True, kw_only=True):
    """Propagation of masks to newer frames.

    Attributes:
        enabled: If false, an object has a mask only on frames that were segmented.
        max_age_ms: Age at which a mask is dropped. A static scene is segmented again at half of it.
        refine: Whether the small segmenter `nano` refines propagated masks, one per frame.
    """

    enabled: bool = True
    max_age_ms: Annotated[float, msgspec.Meta(gt=0, le=3_600_000)] = 10000.0
    refine: bool = True


class CurveSettings(Settings, frozen=True, kw_only=True):
    """Encryption and authentication of subscribers with CURVE.

    Attributes:
        secret_key_file: File with this publisher's secret key.
        allow: File with the public key of a subscriber, or a list of such files.
    """

    secret_key_file: str
    allow: str | Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]

    @property
    def allow_files(self) -> tuple[str, ...]:
        """`allow` as a tuple."""
        return (self.allow,) if isinstance(self.allow, str) else self.allow


class PublishSettings(Settings, frozen=True, kw_only=True):
    """Where and how results are published.

    Attributes:
        bind: ZeroMQ endpoint; `:*` takes a free port.
        connect: Endpoint of a proxy's XSUB socket that gets the results too.
        quality: JPEG quality of pictures, 1 to 100.
        curve: Keys of this publisher and its subscribers; without them anyone who reaches the endpoint can subscribe.
        insecure: Allow an endpoint that other machines can reach without keys.
        wait_for_subscriber: Hold the first frame of a file until a subscriber has requested a view.
    """

    bind: str = "tcp://127.0.0.1:5555"
    connect: str | None = None
    quality: Annotated[int, msgspec.Meta(ge=1, le=100)] = 80
    curve: CurveSettings | None = None
    insecure: bool = False
    wait_for_subscriber: bool = False


STANDARD_OUTPUT: Final = ("-", "/dev/stdout")
"""In place of a JSON Lines file."""


class RecordSettings(Settings, frozen=True, kw_only=True):
    """Files to record.

    Attributes:
        video: Video file (MP4).
        jsonl: JSON Lines file, one line per frame; `streamseg run` takes one of `STANDARD_OUTPUT` too.
        view: Whether the video shows the overlay or the plain picture.
    """

    video: str | None = None
    jsonl: str | None = None
    view: Literal["overlay", "clean"] = "overlay"

    @property
    def enabled(self) -> bool:
        """Whether the run records a file."""
        return self.video is not None or self.jsonl is not None


class Config(Settings, frozen=True, kw_only=True):
    """All settings of one run.

    Attributes:
        sources: Exactly one.
        mode: `auto` is `every-frame` for a source with an end (a file), else `live`.
        device: Device of PyTorch's segmenters and of plug-ins: `cpu`, `cuda`, or `auto`.
        threads: Threads of the detector and of the segmenter, each. By default half of the cores; all for the segmenter
            of a file.
        duration: Seconds after which the run stops.
        max_frames: Frames after which the run stops.
    """

    sources: Annotated[tuple[SourceSettings, ...], msgspec.Meta(min_length=1, max_length=1)]
    mode: Literal["auto", "live", "every-frame"] = "auto"
    detector: DetectorSettings = DetectorSettings()
    tracker: TrackerSettings = TrackerSettings()
    segmenter: SegmenterSettings = SegmenterSettings()
    propagate: PropagateSettings = PropagateSettings()
    render: RenderSettings = RenderSettings()
    publish: PublishSettings = PublishSettings()
    record: RecordSettings = RecordSettings()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Threads | None = None
    duration: Annotated[float, msgspec.Meta(gt=0, le=1e9)] | None = None
    max_frames: Count | None = None

    @property
    def source(self) -> SourceSettings:
        """The one source."""
        return self.sources[0]

    @property
    def propagates_masks(self) -> bool:
        """Whether masks are propagated to frames between segmented ones."""
        return self.propagate.enabled and (self.resolved_mode == "live" or self.segmenter.keyframe_interval > 1)

    @property
    def tracks(self) -> bool:
        """Whether objects get ids."""
        return self.tracker.model != "none"

    @property
    def resolved_mode(self) -> Mode:
        """The mode, with `auto` resolved by the source."""
        if self.mode == "auto":
            return "live" if self.source.live else "every-frame"
        return self.mode


def check_config(tree: object) -> Config:
    """Convert a plain tree to `Config`.

    Raises:
        SettingsError: The message has the key, what was wrong and what was expected.
    """
    config = read_settings(tree, Config)
    _check_combinations(config)
    return config


def _check_combinations(config: Config) -> None:
    publish = config.publish
    if not config.source.address:
        raise SettingsError("sources.0.url: empty; expected a path, rtsp://..., a camera's number, or synthetic:")
    if config.source.kind == "file":
        _check_path("sources.0.url", config.source.address)
    video = config.record.video
    if video is not None and Path(video).suffix.lower() != VIDEO_SUFFIX:
        raise SettingsError(
            f"record.video: {video} does not end in {VIDEO_SUFFIX}, and recordings are MP4; name such a file"
        )
    check_endpoint("publish.bind", publish.bind, any_port=True)
    _check_exposure("publish.bind", publish.bind, publish)
    if publish.wait_for_subscriber and config.resolved_mode == "live":
        raise SettingsError(
            "publish.wait_for_subscriber: a live source does not wait; expected a file, or mode=every-frame"
        )
    if publish.connect is not None:
        check_endpoint("publish.connect", publish.connect)
        _check_exposure("publish.connect", publish.connect, publish)


def _check_path(key: str, text: str) -> None:
    try:
        refuse_url(text, OTHER_SOURCES)
    except SourceError as error:
        raise SettingsError(f"{key}: {error}") from error


def _check_exposure(key: str, endpoint: str, publish: PublishSettings) -> None:
    protected = publish.curve is not None or publish.insecure
    if endpoint.startswith("tcp://") and not is_loopback(endpoint[6:].rpartition(":")[0]) and not protected:
        raise SettingsError(
            f"{key}: {endpoint} is reachable from other machines without keys; expected a loopback address, keys "
            "in publish.curve (`streamseg keys` makes them), or --insecure (publish.insecure=true) to let anyone read"
        )
