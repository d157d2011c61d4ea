"""The settings of a run: one typed tree, composed of the settings of its components. Every error names its key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import msgspec
from msgspec.structs import replace

from streamseg.endpoints import check_endpoint, check_remote, is_loopback
from streamseg.errors import SettingsError, SourceError
from streamseg.models.options import DetectorSettings, SegmenterSettings
from streamseg.paths import refuse_url
from streamseg.render_settings import RenderSettings
from streamseg.settings import Count, Fraction, Settings, Threads, read_settings
from streamseg.sources import SourceSettings
from streamseg.sources.folder import expand_sources
from streamseg.sources.names import source_keys, source_names

Mode = Literal["live", "every-frame"]
Analyse = Literal["every", "fps"]

MOST_SOURCES: Final = 64
VIDEO_SUFFIX: Final = ".mp4"
"""Ending of the names of recorded videos."""
OTHER_SOURCES: Final = (
    "rtsp://... or http://... of a camera, the path of a video file, a camera's number, push: or synthetic:"
)


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
    """Encryption and authentication with CURVE, of subscribers or of programs that send frames.

    Attributes:
        secret_key_file: File with this pipeline's secret key.
        allow: File with the public key of one that may connect, or a list of such files.
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


class ControlSettings(Settings, frozen=True, kw_only=True):
    """Where other programs control the run: they list, add and remove sources.

    Attributes:
        bind: ZeroMQ endpoint; `:*` takes a free port. None: the run cannot be controlled.
        allow: Files with the public keys that may control the run, if subscribers need keys (`publish.curve`).
    """

    bind: str | None = None
    allow: str | tuple[str, ...] = ()

    @property
    def allow_files(self) -> tuple[str, ...]:
        """`allow` as a tuple."""
        return (self.allow,) if isinstance(self.allow, str) else self.allow


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

    def named(self, source: str) -> Self:
        """The same with the name of a source in those of the files: `out.mp4` becomes `out-door.mp4`."""
        video, jsonl = (None if path is None else _with_source(path, source) for path in (self.video, self.jsonl))
        return replace(self, video=video, jsonl=jsonl)


class DetectorOverrides(Settings, frozen=True, kw_only=True):
    """What the detector reports of one source, in place of `detector`'s settings.

    Attributes:
        conf: Minimum confidence.
        classes: Names or numbers of the classes to keep.
    """

    conf: Fraction | None = None
    classes: tuple[str | int, ...] | None = None


class SegmenterOverrides(Settings, frozen=True, kw_only=True):
    """How often one source is segmented, in place of `segmenter`'s setting.

    Attributes:
        keyframe_interval: Frames from one keyframe to the next.
    """

    keyframe_interval: Count | None = None


class RunSource(SourceSettings, frozen=True, kw_only=True):
    """A source of a run, and the settings that it has of its own.

    Attributes:
        analyse: In place of the run's.
        record: Its files, in place of `record`'s.
        curve: Keys of a source that takes frames of other programs, and of these programs.
    """

    analyse: Analyse | None = None

    detector: DetectorOverrides = DetectorOverrides()
    segmenter: SegmenterOverrides = SegmenterOverrides()
    record: RecordSettings | None = None
    curve: CurveSettings | None = None


class Config(Settings, frozen=True, kw_only=True):
    """All settings of one run.

    Attributes:
        sources: One or more, with different names. Without names, several are `camera-0`, `camera-1` and so on. A
            folder or a pattern stands for its files.
        mode: `auto` is `live` if any source has no end, as cameras, else `every-frame`.
        device: Device of PyTorch's segmenters and of plug-ins: `cpu`, `cuda`, or `auto`.
        threads: Threads of the detector and of the segmenter, each. By default half of the cores; all for the segmenter
            of a file.
        duration: Seconds after which the run stops.
        max_frames: Frames of each source after which it ends.
        fps: Frames of each source to analyse a second, by their presentation times; all that detect has time for, if
            absent. A source may have its own.
        analyse: What happens to the frames between. `every`: live ones are published too, with propagated masks, and do
            not wait for detect. `fps`: they are left out.
        files_at_once: In every-frame mode, how many sources that end run at the same time; the others follow.
        on_source_failure: Whether the other sources go on when one fails for good, or the run ends.
    """

    sources: Annotated[tuple[RunSource, ...], msgspec.Meta(min_length=1, max_length=MOST_SOURCES)]
    mode: Literal["auto", "live", "every-frame"] = "auto"
    detector: DetectorSettings = DetectorSettings()
    tracker: TrackerSettings = TrackerSettings()
    segmenter: SegmenterSettings = SegmenterSettings()
    propagate: PropagateSettings = PropagateSettings()
    render: RenderSettings = RenderSettings()
    publish: PublishSettings = PublishSettings()
    control: ControlSettings = ControlSettings()
    record: RecordSettings = RecordSettings()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Threads | None = None
    duration: Annotated[float, msgspec.Meta(gt=0, le=1e9)] | None = None
    max_frames: Count | None = None
    fps: Annotated[float, msgspec.Meta(gt=0, le=1000)] | None = None
    analyse: Analyse = "every"
    files_at_once: Count = 4
    on_source_failure: Literal["continue", "end"] = "continue"

    def of(self, name: str) -> Self:
        """The settings as they hold for one source. Of several sources that record, each writes files of its own."""
        source = next(source for source in self.sources if source.name == name)
        conf, classes = source.detector.conf, source.detector.classes
        interval = source.segmenter.keyframe_interval
        record = source.record or (self.record if len(self.sources) == 1 else self.record.named(name))
        return replace(
            self,
            sources=(source,),
            mode=self.resolved_mode,
            fps=self.fps if source.fps is None else source.fps,
            analyse=source.analyse or self.analyse,
            detector=replace(
                self.detector,
                conf=self.detector.conf if conf is None else conf,
                classes=self.detector.classes if classes is None else classes,
            ),
            segmenter=self.segmenter if interval is None else replace(self.segmenter, keyframe_interval=interval),
            record=record,
        )

    @property
    def ending(self) -> list[str]:
        """The sources of which at most `files_at_once` run at the same time: those that end, in every-frame mode."""
        return [source.name for source in self.sources if not source.is_live and self.resolved_mode == "every-frame"]

    @property
    def waiting(self) -> list[str]:
        """Those that start when others have ended."""
        return self.ending[self.files_at_once :]

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
            return "live" if any(source.is_live for source in self.sources) else "every-frame"
        return self.mode


def check_config(tree: object) -> Config:
    """Convert a plain tree to `Config`.

    Raises:
        SettingsError: The message has the key, what was wrong and what was expected.
        SourceError: A folder has no videos, or no file matches a pattern.
    """
    config = read_settings(_expanded(tree), Config)
    _check_sources(config.sources)
    check_combinations(config)
    return config


def _expanded(tree: object) -> object:
    """Give the sources names, and put files in the place of folders and patterns.

    Each source is checked before: afterwards its place is another one.
    """
    sources = tree.get("sources") if isinstance(tree, dict) else None
    if not isinstance(tree, dict) or not isinstance(sources, list | tuple):
        return tree
    for key, source in zip(source_keys(sources), sources, strict=True):
        read_settings(source, RunSource, key)
    _check_names(source_names(sources))
    groups = expand_sources(sources)
    expanded = [_recorded_apart(source) if len(group) > 1 else source for group in groups for source in group]
    if len(sources) < len(expanded) > MOST_SOURCES:
        raise SettingsError(
            f"sources: these are {len(expanded)} files, and a run takes at most {MOST_SOURCES}; choose some with a "
            "pattern, such as 'clips/a*.mp4', and run again for the others"
        )
    return {**tree, "sources": expanded}


def _recorded_apart(source: object) -> object:
    """One of the files of a source, with its name in those that it records."""
    record = source.get("record") if isinstance(source, dict) else None
    if not isinstance(source, dict) or not isinstance(record, dict):
        return source
    files = {
        key: _with_source(path, source["name"])
        for key, path in record.items()
        if key in ("video", "jsonl") and isinstance(path, str) and path not in STANDARD_OUTPUT
    }
    return {**source, "record": {**record, **files}}


def _with_source(path: str, source: str) -> str:
    """The path of a recording with the name of its source."""
    return str(Path(path).with_stem(f"{Path(path).stem}-{source}")) if Path(path).name else path


def _check_names(names: Sequence[str]) -> None:
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        first = places.setdefault(name, place)
        if first != place:
            raise SettingsError(
                f"sources.{place}.name: {name} is the name of sources.{first} too; give each a name of its own"
            )


def _check_sources(sources: Sequence[RunSource]) -> None:
    for source in sources:
        key = f"{source.key}.url"
        if not source.address:
            raise SettingsError(
                f"{key}: empty; expected a path, rtsp://..., http://..., a camera's number, push: or synthetic:"
            )
        if source.kind == "file":
            _check_path(key, source.address)
        _check_push(source)
        if source.live is not None and not source.may_be_live:
            raise SettingsError(
                f"{source.key}.live: only for http:// and HLS lists (.m3u8); leave it out, this source is always "
                + ("live" if source.is_live else "a file")
            )


def check_combinations(config: Config) -> None:
    """Check settings that exclude each other; some do once a look has shown whether a source is live.

    Raises:
        SettingsError: Two of them do.
    """
    publish = config.publish
    _check_video("record.video", config.record)
    for source in config.sources:
        _check_video(f"{source.key}.record.video", source.record or RecordSettings())
    check_endpoint("publish.bind", publish.bind, any_port=True)
    _check_exposure("publish.bind", publish.bind, publish)
    if publish.wait_for_subscriber and config.resolved_mode == "live":
        raise SettingsError(
            "publish.wait_for_subscriber: a live source does not wait; expected a file, or mode=every-frame"
        )
    _check_rates(config)
    if publish.connect is not None:
        check_remote("publish.connect", publish.connect)
        _check_exposure("publish.connect", publish.connect, publish)
    _check_control(config.control, publish)


def _check_control(control: ControlSettings, publish: PublishSettings) -> None:
    if control.bind is None:
        return
    check_endpoint("control.bind", control.bind, any_port=True)
    if publish.curve is not None and not control.allow_files:
        raise SettingsError("control.allow: missing; with publish.curve, name the public keys that may control the run")
    if publish.curve is None and control.allow_files:
        raise SettingsError("control.allow: needs this publisher's key too; expected publish.curve.secret_key_file")
    if publish.curve is None and _is_reachable(control.bind):
        raise SettingsError(
            f"control.bind: {control.bind} is reachable from other machines without keys; expected a loopback address, "
            "or keys in publish.curve and control.allow (`streamseg keys` makes them)"
        )


def _check_rates(config: Config) -> None:
    if config.resolved_mode == "live":
        return
    for source in config.sources:
        own = config.of(source.name)
        if own.fps is not None and own.analyse == "every":
            key = "fps" if source.fps is None else f"{source.key}.fps"
            raise SettingsError(
                f"{key}: in every-frame mode each published frame is analysed; add analyse=fps to leave out the frames "
                "between, or segment fewer with segmenter.keyframe_interval"
            )


def _check_video(key: str, record: RecordSettings) -> None:
    if record.video is not None and Path(record.video).suffix.lower() != VIDEO_SUFFIX:
        raise SettingsError(
            f"{key}: {record.video} does not end in {VIDEO_SUFFIX}, and recordings are MP4; name such a file"
        )


def _check_path(key: str, text: str) -> None:
    try:
        refuse_url(text, OTHER_SOURCES)
    except SourceError as error:
        raise SettingsError(f"{key}: {error}") from error


def _check_push(source: RunSource) -> None:
    """Check where a source takes frames of other programs: nobody without a key may put frames in from elsewhere."""
    key, endpoint = f"{source.key}.url", source.address.partition(":")[2]
    if source.kind != "push":
        if source.curve is not None:
            raise SettingsError(f"{source.key}.curve: only for push:; leave it out, or set {key} to push:tcp://...")
        return
    if endpoint:
        check_endpoint(key, endpoint)
    if _is_reachable(endpoint) and source.curve is None:
        raise SettingsError(
            f"{key}: other machines can send frames to {endpoint} without keys; expected a loopback address, or keys "
            f"in {source.key}.curve (`streamseg keys` makes them)"
        )


def _is_reachable(endpoint: str) -> bool:
    """Whether other machines can connect."""
    return endpoint.startswith("tcp://") and not is_loopback(endpoint[6:].rpartition(":")[0])


def _check_exposure(key: str, endpoint: str, publish: PublishSettings) -> None:
    if _is_reachable(endpoint) and publish.curve is None and not publish.insecure:
        raise SettingsError(
            f"{key}: {endpoint} is reachable from other machines without keys; expected a loopback address, keys "
            "in publish.curve (`streamseg keys` makes them), or --insecure (publish.insecure=true) to let anyone read"
        )
