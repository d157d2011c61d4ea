"""The settings: one typed tree; every error names its key."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec

from streamseg.errors import SettingsError
from streamseg.models.options import DetectorSettings, SegmenterSettings
from streamseg.settings import Count, Positive, Settings, read_settings
from streamseg.sources import SourceSettings

Mode = Literal["live", "every-frame"]

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")


class TrackerSettings(Settings, frozen=True, kw_only=True):
    """Which tracker gives objects their numbers."""

    model: Literal["bytetrack", "none"] = "bytetrack"


class PropagateSettings(Settings, frozen=True, kw_only=True):
    """Whether masks are carried to newer frames, and for how long.

    Attributes:
        enabled: Without it, an object has a mask only on the frame that the segmenter has answered.
        max_age_ms: Age beyond which a mask is given up. A scene that stands still is segmented anew at half of it.
        refine: Whether the small segmenter of the package (`nano`) sharpens carried masks, one a frame; it is compared with the
            segmenter once for each of its masks.
    """

    enabled: bool = True
    max_age_ms: Positive = 10000.0
    refine: bool = True


class CurveSettings(Settings, frozen=True, kw_only=True):
    """Who may subscribe: results are encrypted, and only the keys that are allowed get any.

    Attributes:
        secret_key_file: A file with this publisher's secret key.
        allow: A file with the public keys of those who may subscribe, one a line; or a list of such files.
    """

    secret_key_file: str
    allow: str | Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]

    @property
    def allow_files(self) -> tuple[str, ...]:
        """The files of `allow`, whichever way they were given."""
        return (self.allow,) if isinstance(self.allow, str) else self.allow


class PublishSettings(Settings, frozen=True, kw_only=True):
    """Where results are published, and to whom.

    Attributes:
        bind: ZeroMQ endpoint; `:*` takes a free port.
        connect: Endpoint of a proxy's XSUB socket, which gets the results as well.
        quality: JPEG quality of pictures on the wire.
        curve: The keys; anyone who reaches the address can watch, where not given.
        insecure: Allows an address that other machines can reach without keys; anyone there can then watch.
    """

    bind: str = "tcp://127.0.0.1:5555"
    connect: str | None = None
    quality: Annotated[int, msgspec.Meta(ge=1, le=100)] = 80
    curve: CurveSettings | None = None
    insecure: bool = False


class RecordSettings(Settings, frozen=True, kw_only=True):
    """Which files are written; `view` is what the video shows."""

    video: str | None = None
    jsonl: str | None = None
    view: Literal["overlay", "clean"] = "overlay"

    @property
    def enabled(self) -> bool:
        """Whether the run writes any file."""
        return self.video is not None or self.jsonl is not None


class Config(Settings, frozen=True, kw_only=True):
    """All settings of one run.

    Attributes:
        sources: Exactly one for now.
        mode: `auto` is `every-frame` for what has an end (a file) and `live` for what has none.
        device: Where PyTorch's segmenters and plug-ins compute: `cpu`, `cuda`, or `auto`.
        threads: Threads of the detector and of the segmenter, each; where not given, half of the cores, and all of them for the segmenter
            of a file.
        duration: Seconds after which the run ends.
        max_frames: Frames after which the run ends.
    """

    sources: Annotated[tuple[SourceSettings, ...], msgspec.Meta(min_length=1, max_length=1)]
    mode: Literal["auto", "live", "every-frame"] = "auto"
    detector: DetectorSettings = DetectorSettings()
    tracker: TrackerSettings = TrackerSettings()
    segmenter: SegmenterSettings = SegmenterSettings()
    propagate: PropagateSettings = PropagateSettings()
    publish: PublishSettings = PublishSettings()
    record: RecordSettings = RecordSettings()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Count | None = None
    duration: Positive | None = None
    max_frames: Count | None = None

    @property
    def source(self) -> SourceSettings:
        """The one source."""
        return self.sources[0]

    @property
    def carries_masks(self) -> bool:
        """Whether there are frames between those that are segmented, and masks are to be carried to them."""
        return self.propagate.enabled and (self.resolved_mode == "live" or self.segmenter.keyframe_interval > 1)

    @property
    def resolved_mode(self) -> Mode:
        """The mode with `auto` decided by the source."""
        if self.mode == "auto":
            return "live" if self.source.live else "every-frame"
        return self.mode


def check_config(tree: object) -> Config:
    """Turn a plain tree into `Config`.

    Raises:
        SettingsError: With the key, what was wrong and what was expected.
    """
    config = read_settings(tree, Config)
    _check_combinations(config)
    return config


def _check_combinations(config: Config) -> None:
    publish = config.publish
    if not config.source.address:
        raise SettingsError("sources.0.url: empty; expected a path, rtsp://..., a camera's number, or synthetic:")
    guarded = publish.curve is not None or publish.insecure
    _check_endpoint("publish.bind", publish.bind, r"tcp://.+:(\d+|\*)|ipc://.+", guarded=guarded)
    if publish.connect is not None:
        _check_endpoint("publish.connect", publish.connect, r"tcp://.+:\d+|ipc://.+", guarded=guarded)


def _check_endpoint(key: str, endpoint: str, form: str, *, guarded: bool) -> None:
    if not re.fullmatch(form, endpoint):
        raise SettingsError(f"{key}: {endpoint!r} is not an endpoint; expected tcp://HOST:PORT or ipc://PATH")
    if endpoint.startswith("tcp://") and endpoint[6:].rpartition(":")[0] not in LOOPBACK_HOSTS and not guarded:
        raise SettingsError(
            f"{key}: {endpoint} can be reached from other machines and nothing guards it; expected a loopback address, or keys in "
            "publish.curve (`streamseg keys` makes them), or --insecure (publish.insecure=true), which lets anyone watch"
        )
