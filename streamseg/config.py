"""The settings: one typed tree; every error names its key."""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal, get_args, get_origin
from urllib.parse import parse_qs, urlsplit

import msgspec

from streamseg.errors import SettingsError

Mode = Literal["live", "every-frame"]
SourceKind = Literal["webcam", "rtsp", "file", "synthetic"]
Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")


class _Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all settings: immutable, keyword only, unknown keys refused."""


class SourceSettings(_Settings, frozen=True, kw_only=True):
    """Where frames come from.

    Attributes:
        url: A path, `rtsp://…`, a camera's number or device, or `synthetic:…`.
        name: Names the source on the wire.
        rotate: Degrees clockwise.
        timeout: Seconds without a frame after which a live source counts as disconnected.
        start_timeout: Seconds within which the source must open.
        wait: Wait for a live source that is absent at the start, without end.
        password_file: A file whose first line is the password.
    """

    url: str | int
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_-]{1,64}\Z")] = "main"
    width: Count | None = None
    height: Count | None = None
    fps: Positive | None = None
    rotate: Literal[0, 90, 180, 270] = 0
    mirror: bool = False
    transport: Literal["tcp", "udp"] = "tcp"
    timeout: Positive = 3.0
    start_timeout: Positive = 10.0
    wait: bool = False
    username: str | None = None
    password_file: str | None = None

    @property
    def address(self) -> str:
        """The URL as text; YAML reads a camera's number as a number."""
        return str(self.url)

    @property
    def kind(self) -> SourceKind:
        """Which kind of source the URL names."""
        scheme = self.address.split(":", 1)[0].lower()
        if scheme in ("rtsp", "rtsps"):
            return "rtsp"
        if scheme == "synthetic":
            return "synthetic"
        if self.address.isdecimal() or re.match(r"/dev/video\d+$", self.address) or scheme in ("video", "webcam"):
            return "webcam"
        return "file"

    @property
    def live(self) -> bool:
        """Whether frames come at their own pace and without an end."""
        if self.kind == "synthetic":
            return parse_qs(urlsplit(self.address).query).get("frames", ["0"])[-1] == "0"
        return self.kind in ("webcam", "rtsp")


class FixedBox(_Settings, frozen=True, kw_only=True):
    """A box for the `fixed` detector, in pixels of the frame, and the class it is given."""

    xyxy: tuple[float, float, float, float]
    name: str = "object"


class DetectorSettings(_Settings, frozen=True, kw_only=True):
    """Which detector, and what it may report.

    Attributes:
        model: `auto`, `yolox-…`, `motion`, `fixed`, a YOLOX export that ends in `.onnx`, or an installed plug-in.
        weights: A file of the user's own in place of the official weights.
        sha256: The hash that downloaded weights must have, in place of the one that is known here.
        conf: Least confidence of a detection.
        iou: Overlap above which the weaker of two boxes of a class is dropped.
        imgsz: Longer side of the network's input, in pixels.
        classes: Names or numbers of the classes to keep; all, where not given. A plug-in may take any text: what it is to look for.
        boxes: For `fixed`.
    """

    model: str = "auto"
    weights: str | None = None
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")] | None = None
    conf: Fraction = 0.25
    iou: Fraction = 0.45
    max_det: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 100
    imgsz: Annotated[int, msgspec.Meta(ge=64, le=4096, multiple_of=32)] | None = None
    classes: tuple[str | int, ...] | None = None
    boxes: tuple[FixedBox, ...] = ()


class TrackerSettings(_Settings, frozen=True, kw_only=True):
    """Which tracker gives objects their numbers."""

    model: Literal["bytetrack", "none"] = "bytetrack"


class SegmenterSettings(_Settings, frozen=True, kw_only=True):
    """Which segmenter draws the masks.

    Attributes:
        model: `auto`, `mobilesam`, `sam-vit-…`, `nano`, or an installed plug-in.
        weights: A file of the user's own in place of the official one; for `nano` one that `streamseg train nano` wrote.
        backend: The library that runs MobileSAM; `auto` takes the fastest that is here.
        precision: What it computes in; `auto` takes the fastest of the backend.
        imgsz: Side of MobileSAM's input in pixels; below 1024 it is faster, and its masks are coarser.
        providers: ONNX Runtime's execution providers, in its own names, the best first.
        keyframe_interval: Every how many frames the segmenter is asked; masks are carried over the frames between.
    """

    model: str = "auto"
    weights: str | None = None
    backend: Literal["auto", "torch", "onnxruntime", "openvino"] = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    imgsz: Literal[512, 768, 1024] = 1024
    providers: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ("CPUExecutionProvider",)
    keyframe_interval: Count = 1


class PropagateSettings(_Settings, frozen=True, kw_only=True):
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


class CurveSettings(_Settings, frozen=True, kw_only=True):
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


class PublishSettings(_Settings, frozen=True, kw_only=True):
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


class RecordSettings(_Settings, frozen=True, kw_only=True):
    """Which files are written; `view` is what the video shows."""

    video: str | None = None
    jsonl: str | None = None
    view: Literal["overlay", "clean"] = "overlay"


class Config(_Settings, frozen=True, kw_only=True):
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
    _refuse_non_finite(tree, "")
    try:
        config = msgspec.convert(tree, Config)
    except msgspec.ValidationError as error:
        raise SettingsError(_explain(str(error))) from error
    _check_combinations(config)
    return config


def _refuse_non_finite(node: object, key: str) -> None:
    if isinstance(node, dict):
        for name, value in node.items():
            _refuse_non_finite(value, f"{key}.{name}".lstrip("."))
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            _refuse_non_finite(value, f"{key}.{index}")
    elif isinstance(node, float) and not math.isfinite(node):
        raise SettingsError(f"{key}: {node} is not a finite number")


def _explain(message: str) -> str:
    text, _, path = message.partition(" - at `$")
    key = re.sub(r"\[(\d+)\]", r".\1", path.rstrip("`")).lstrip(".")
    choice = re.match(r"Invalid enum value (.+)", text)
    unknown = re.match(r"Object contains unknown field `(.+)`", text)
    missing = re.match(r"Object missing required field `(.+)`", text)
    if unknown:
        return f"{_join(key, unknown[1])}: unknown key; expected one of {', '.join(_known_keys(key))}"
    if choice:
        return f"{key}: {choice[1]} is not a choice; expected one of {', '.join(map(str, _choices(_annotation(key))))}"
    if missing:
        return f"{_join(key, missing[1])}: missing; give it a value" + (
            " (--source, or `sources: [{url: ...}]` in the file)" if missing[1] in ("sources", "url") else ""
        )
    return f"{key or 'settings'}: {text[0].lower()}{text[1:]}"


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _annotation(key: str) -> object:
    node: object = Config
    for name in [part for part in key.split(".") if part and not part.isdecimal()]:
        settings = _struct_inside(node)
        node = (
            next((field.type for field in msgspec.structs.fields(settings) if field.name == name), None)
            if settings
            else None
        )
    return node


def _known_keys(key: str) -> tuple[str, ...]:
    settings = _struct_inside(_annotation(key))
    return tuple(field.name for field in msgspec.structs.fields(settings)) if settings else ()


def _struct_inside(annotation: object) -> type[msgspec.Struct] | None:
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation
    return next((found for part in get_args(annotation) if (found := _struct_inside(part)) is not None), None)


def _choices(annotation: object) -> tuple[object, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((found for part in get_args(annotation) if (found := _choices(part))), ())


def _check_combinations(config: Config) -> None:
    detector, publish = config.detector, config.publish
    if detector.model == "fixed" and not detector.boxes:
        raise SettingsError(
            "detector.boxes: the detector `fixed` needs at least one box, such as [{xyxy: [10, 10, 90, 90]}]"
        )
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
