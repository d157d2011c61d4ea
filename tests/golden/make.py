"""Writes the golden vectors: `python tests/golden/make.py`. README.md beside this file says what they are."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from streamseg.masks import Mask
from streamseg.messages import (
    MOVED,
    NONE,
    PROPAGATED,
    REFINED,
    SEGMENTED,
    Detection,
    Dropped,
    End,
    Heartbeat,
    Message,
    Models,
    ResultMessage,
    SourceState,
    Timings,
    TrackedObject,
)
from streamseg.wire.protocol import View, encode_event, encode_result

VECTORS = Path(__file__).parent / "vectors"

Json = dict[str, Any]

BOM = b"\xef\xbb\xbf"

# A grey picture of 8x8 pixels.
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdA"
    "SFxOQERXRTc4UG1RV19iZ2hnPk1xeXBkeFxlZ2P/"
    "wAALCAAIAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AP//Z"
)


@dataclass(frozen=True, slots=True)
class Vector:
    """One message: its parts, and what they mean, or None where a reader has to reject them."""

    name: str
    about: str
    parts: list[bytes]
    expected: Json | None

    def to_json(self) -> str:
        parts = [base64.b64encode(part).decode("ascii") for part in self.parts]
        return (
            json.dumps({"about": self.about, "parts": parts, "expected": self.expected}, indent=1, ensure_ascii=False)
            + "\n"
        )


def vectors() -> list[Vector]:
    """Every vector."""
    return [*_results(), *_news(), *_later_minor_versions(), *_rejected()]


def describe(message: Message, view: View) -> Json:
    """A message in plain JSON: 64-bit numbers as decimal strings, masks as rows of `#` and `.`, a picture in base64."""
    return {"view": view, "source": message.source, **_describe(message)}


def _describe(message: Message) -> Json:
    if isinstance(message, SourceState):
        return {
            "kind": "state",
            "run_id": message.run_id,
            "stage": message.stage,
            "state": message.state,
            "detail": message.detail,
        }
    if isinstance(message, Heartbeat):
        return {
            "kind": "heartbeat",
            "run_id": message.run_id,
            "seq": _decimal(message.seq),
            "t_unix_ns": str(message.t_unix_ns),
            "state": message.state,
            "detail": message.detail,
        }
    if isinstance(message, End):
        return {
            "kind": "end",
            "run_id": message.run_id,
            "seq": _decimal(message.seq),
            "reason": message.reason,
            "unreadable": message.unreadable,
        }
    return {
        "kind": "result",
        "run_id": message.run_id,
        "epoch": str(message.epoch),
        "seq": str(message.seq),
        "width": message.width,
        "height": message.height,
        "pixel_aspect": list(message.pixel_aspect),
        "pts_ns": str(message.pts_ns),
        "t_capture_unix_ns": str(message.t_capture_unix_ns),
        "timings": msgspec.to_builtins(message.timings),
        "dropped": msgspec.to_builtins(message.dropped),
        "models": msgspec.to_builtins(message.models),
        "boxes_seq": _decimal(message.boxes_seq),
        "mode": message.mode,
        "objects": [_describe_object(item) for item in message.objects],
        "jpeg": None if message.jpeg is None else base64.b64encode(message.jpeg).decode("ascii"),
    }


def _describe_object(item: TrackedObject) -> Json:
    return {
        **msgspec.to_builtins(item.detection),
        "xyxy": list(item.detection.xyxy),
        "mask": None if item.mask is None else _describe_mask(item.mask),
        "origin_seq": _decimal(item.origin_seq),
        "age_ms": item.age_ms,
        "method": item.method,
        "predicted_iou": item.predicted_iou,
        "stability": item.stability,
        "colour": item.colour,
    }


def _describe_mask(mask: Mask) -> Json:
    return {
        "x": mask.x,
        "y": mask.y,
        "rows": ["".join("#" if bit else "." for bit in row) for row in mask.bits.tolist()],
    }


def _decimal(number: int | None) -> str | None:
    return None if number is None else str(number)


def _results() -> Iterator[Vector]:
    full = _result()
    yield _vector(
        "result-masks", "two masks, packed plainly and with zlib; one object pending, one without a mask", "masks", full
    )
    yield _vector("result-overlay", "the same with a picture", "overlay", replace(full, jpeg=JPEG))
    yield _vector("result-clean", "the other view with a picture", "clean", replace(full, jpeg=JPEG, objects=()))
    yield _vector("result-no-objects", "nothing was found, and the detector has not answered yet", "masks", _empty())
    large = replace(
        _empty(), epoch=2**62 + 1, seq=2**63 - 1, pts_ns=2**53 + 1, t_capture_unix_ns=2**63 - 1, boxes_seq=2**63 - 2
    )
    yield _vector("result-large-numbers", "64-bit numbers that a double cannot hold", "masks", large)
    yield _vector(
        "result-negative-pts",
        "a presentation time before the first frame's",
        "masks",
        replace(_empty(), pts_ns=-41708333),
    )
    yield _vector(
        "result-pixel-aspect", "pixels that are not square", "masks", replace(_empty(), pixel_aspect=(64, 45))
    )
    moved = _object(mask=_stripes(9), method=MOVED, origin_seq=38, age_ms=100.0)
    yield _vector("result-moved", "a mask that was only moved", "masks", replace(_empty(), objects=(moved,)))
    edges = replace(_empty(), objects=tuple(_object(mask=_stripes(width), origin_seq=0) for width in (1, 7, 8, 9, 64)))
    yield _vector("result-widths", "masks whose rows end within a byte, at its end, and just after it", "masks", edges)


def _news() -> Iterator[Vector]:
    state = SourceState(
        run_id="r1", source="cam", stage="capture", state="disconnected", detail="no frame for 3 s — Küche"
    )
    yield Vector(
        "state",
        "a source that is gone; text beyond ASCII",
        encode_event(state),
        describe(state, "state"),
    )
    beat = Heartbeat(
        run_id="r1",
        source="cam",
        seq=2**53 + 7,
        t_unix_ns=1_700_000_000_000_000_001,
        state="disconnected",
        detail="no frame for 3 s",
    )
    yield Vector("heartbeat", "a sign of life while the camera is away", encode_event(beat), describe(beat, "state"))
    first = Heartbeat(run_id="r1", source="cam", seq=None, t_unix_ns=1_700_000_000_000_000_000, state="starting")
    yield Vector(
        "heartbeat-no-frame",
        "a sign of life before the first frame",
        encode_event(first),
        describe(first, "state"),
    )
    end = End(
        run_id="r1",
        source="cam",
        seq=286,
        reason="end of source; about 13 of 300 frames could not be read",
        unreadable=13,
    )
    yield Vector("end", "the last message of a run", encode_event(end), describe(end, "state"))


def _later_minor_versions() -> Iterator[Vector]:
    base = _vector("", "", "masks", _result())

    def unknown_keys(header: Json) -> None:
        header["colour_space"] = {"name": "bt709", "list": [1, None, {"deep": True}]}
        header["timings"]["propagated"] = 12.5
        header["dropped"]["render_replaced"] = 3
        header["models"]["tracker"] = "bytetrack"
        header["objects"][0]["keypoints"] = [[1, 2], [3, 4]]
        header["objects"][0]["mask"]["colour"] = "red"

    yield replace(
        base,
        name="later-unknown-keys",
        about="keys of a later version, to be ignored",
        parts=_edited(base.parts, unknown_keys),
    )

    def unknown_encoding(header: Json) -> None:
        header["objects"][0]["mask"] = {"enc": "tiles", "tiles": [1, 2, 3], "x": "left"}

    expected = describe(_result(), "masks")
    expected["objects"][0]["mask"] = None
    yield Vector(
        "later-unknown-encoding",
        "a mask in an encoding of a later version: the object stays, its mask does not",
        _edited(base.parts, unknown_encoding),
        expected,
    )

    def optional_keys(header: Json) -> None:
        for item in header["objects"]:
            del item["predicted_iou"], item["stability"], item["colour"]
        header["timings"] = {}
        header["dropped"] = {}
        del header["models"]["notice"], header["pixel_aspect"], header["mode"]

    expected = describe(replace(_result(), timings=Timings(), dropped=Dropped()), "masks")
    expected["models"]["notice"] = None
    expected["mode"] = ""
    for item in expected["objects"]:
        item["predicted_iou"] = item["stability"] = item["colour"] = None

    def no_state(header: Json) -> None:
        del header["state"], header["detail"]

    def nothing_lost(header: Json) -> None:
        del header["unreadable"]

    end = End(run_id="r1", source="cam", seq=286, reason="the source ended")
    yield Vector(
        "end-optional-keys-absent",
        "the last message of a run whose source lacked nothing",
        _edited(encode_event(end), nothing_lost),
        describe(end, "state"),
    )

    beat = Heartbeat(run_id="r1", source="cam", seq=7, t_unix_ns=1)
    yield Vector(
        "heartbeat-optional-keys-absent",
        "a sign of life that does not tell the state of the source",
        _edited(encode_event(beat), no_state),
        describe(beat, "state"),
    )
    state = SourceState(run_id="r1", source="cam", stage="detect", state="running")
    yield Vector(
        "state-optional-key-null",
        "an optional key that is null means the same as an absent one",
        _edited(encode_event(state), lambda header: header.update(detail=None)),
        describe(state, "state"),
    )
    yield Vector(
        "result-optional-keys-absent", "keys that may be left out", _edited(base.parts, optional_keys), expected
    )


def _rejected() -> Iterator[Vector]:
    topic, header, blob = _vector("", "", "masks", _result()).parts

    def changed(name: str, about: str, edit: Callable[[Json], None]) -> Vector:
        return Vector(f"reject-{name}", about, _edited([topic, header, blob], edit), None)

    def in_mask(index: int, **values: object) -> Callable[[Json], None]:
        return lambda header: header["objects"][index]["mask"].update(values)

    yield Vector("reject-version", "another major version", [b"streamseg/2/cam/masks", header, blob], None)
    yield Vector("reject-topic", "a source's name in capitals", [b"streamseg/1/CAM/masks", header, blob], None)
    yield Vector("reject-view", "a result in the view of the news", [b"streamseg/1/cam/state", header, blob], None)
    yield Vector(
        "reject-other-source",
        "a header of another source than the topic",
        [b"streamseg/1/cam2/masks", header, blob],
        None,
    )
    yield Vector("reject-one-part", "a topic alone", [topic], None)
    yield Vector("reject-five-parts", "one part too many", [topic, header, blob, JPEG, b""], None)
    yield Vector("reject-no-blob", "a result without the part that holds the masks", [topic, header], None)
    yield Vector("reject-not-json", "a header cut short", [topic, header[:-1], blob], None)
    yield Vector("reject-short-blob", "masks cut short", [topic, header, blob[:-1]], None)
    yield changed("kind", "a kind that does not exist", lambda header: header.update(kind="picture"))
    yield changed("missing-key", "no seq", lambda header: header.pop("seq"))
    yield changed(
        "null-in-dropped", "a count that is null", lambda header: header["dropped"].update(detect_replaced=None)
    )
    yield changed("long-run-id", "the name of a run of 129 characters", lambda header: header.update(run_id="r" * 129))
    state = encode_event(SourceState(run_id="r1", source="cam", stage="capture", state="running"))
    yield Vector(
        "reject-large-event",
        "a header of 64 KiB and one byte without a result",
        _edited(
            state, lambda header: header.update(detail="x" * (64 * 1024 + 1 - len(json.dumps(header | {"detail": ""}))))
        ),
        None,
    )
    yield changed("null-key", "a width that is null", lambda header: header.update(width=None))
    yield changed("number-as-boolean", "a width that is true", lambda header: header.update(width=True))
    yield changed("objects-not-array", "objects in an object", lambda header: header.update(objects={}))
    yield Vector("reject-byte-order-mark", "a byte order mark before the header", [topic, BOM + header, blob], None)
    huge_number = header.replace(b'"confidence":0.75', b'"confidence":1e400', 1)
    yield Vector("reject-number-too-large", "a number beyond every double", [topic, huge_number, blob], None)
    yield changed("number-as-text", "a width as a string", lambda header: header.update(width="64"))
    yield changed("pixel-aspect-zero", "pixels without a height", lambda header: header.update(pixel_aspect=[64, 0]))
    yield changed("pixel-aspect-single", "a ratio of one number", lambda header: header.update(pixel_aspect=[1]))
    yield changed("seq-as-number", "a 64-bit number that is not a string", lambda header: header.update(seq=7))
    yield changed("seq-too-large", "a number of more than 64 bits", lambda header: header.update(seq=str(2**63)))
    yield changed("seq-not-decimal", "a 64-bit number in hexadecimal", lambda header: header.update(seq="0x10"))
    yield changed("frame-too-large", "a frame of 8193 columns", lambda header: header.update(width=8193))
    yield changed(
        "nan", "a number that JSON does not have", lambda header: header["objects"][0].update(confidence=float("nan"))
    )
    yield changed("header-version", "a header of another major version", lambda header: header.update(v=2))
    yield changed("mask-outside", "a mask that leaves the frame", in_mask(0, x=63))
    yield changed("mask-empty", "a mask without columns", in_mask(0, w=0))
    yield changed("mask-offset", "a mask behind the end of the blob", in_mask(0, off=len(blob)))
    yield changed("mask-bits-short", "fewer bits than the rectangle needs", in_mask(0, h=5))
    yield changed("mask-bits-long", "more bits than the rectangle needs", in_mask(0, h=2))
    yield changed("masks-share-bytes", "two masks that claim the same bytes", _share_bytes)
    yield changed("not-zlib", "plain bits announced as zlib", in_mask(0, enc="bits+zlib"))
    loose = zlib.compress(bytes(384), 1) + b"more"
    yield Vector(
        "reject-zlib-trailing",
        "bytes after the end of a zlib stream",
        _edited([topic, header, loose], _alone(loose, 64, 48)),
        None,
    )
    bomb = zlib.compress(bytes(4_000_000), 9)
    yield Vector(
        "reject-bomb",
        "a zlib stream of four million bytes for a small mask",
        _edited([topic, header, bomb], _alone(bomb, 64, 48)),
        None,
    )
    huge = zlib.compress(bytes(16), 1)
    parts = _edited([topic, header, huge * 3], _three_huge_masks(len(huge)))
    yield Vector("reject-raw-limit", "three masks of 8192x8192, more than 16 MiB unpacked", parts, None)


def _vector(name: str, about: str, view: View, result: ResultMessage) -> Vector:
    assert view != "state"
    return Vector(name, about, encode_result(result, view).parts, describe(result, view))


def _edited(parts: list[bytes], edit: Callable[[Json], object]) -> list[bytes]:
    header = json.loads(parts[1])
    edit(header)
    return [parts[0], json.dumps(header).encode(), *parts[2:]]


def _share_bytes(header: Json) -> None:
    first = header["objects"][0]
    header["objects"] = [first] * 30


def _alone(blob: bytes, width: int, height: int) -> Callable[[Json], None]:
    def edit(header: Json) -> None:
        mask = {"enc": "bits+zlib", "x": 0, "y": 0, "w": width, "h": height, "off": 0, "len": len(blob)}
        header["objects"] = [{**header["objects"][0], "mask": mask}]

    return edit


def _three_huge_masks(length: int) -> Callable[[Json], None]:
    def edit(header: Json) -> None:
        header.update(width=8192, height=8192)
        masks = [
            {"enc": "bits+zlib", "x": 0, "y": 0, "w": 8192, "h": 8192, "off": index * length, "len": length}
            for index in range(3)
        ]
        header["objects"] = [{**header["objects"][0], "mask": mask} for mask in masks]

    return edit


def _result() -> ResultMessage:
    small = Mask.crop(np.array([[0, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 1, 0, 0, 1]]), x=12, y=8)
    rows, columns = np.mgrid[:48, :64]
    disc = Mask.crop((rows - 24) ** 2 + (columns - 40) ** 2 < 400)
    return ResultMessage(
        run_id="r1",
        epoch=1,
        seq=41,
        source="cam",
        width=64,
        height=48,
        pts_ns=1_366_700_000,
        t_capture_unix_ns=1_700_000_000_123_456_789,
        timings=Timings(received=0.5, detected=9.25, decoded=410.0, published=10.125),
        dropped=Dropped(segment_replaced=17, masks_limited=2),
        models=Models(
            detector="yolox-nano", segmenter="nano", notice="no weights of MobileSAM: the network is unreachable"
        ),
        boxes_seq=40,
        mode="live",
        objects=(
            _object(mask=small, method=REFINED, origin_seq=38, age_ms=100.0),
            _object(
                mask=disc,
                method=PROPAGATED,
                origin_seq=20,
                age_ms=700.5,
                tracker_id=None,
                predicted_iou=0.875,
                stability=0.9375,
                colour="#2dd2ff",
            ),
            _object(method="pending"),
            _object(method=NONE, class_name='a "quoted" näme', confidence=1.0),
        ),
    )


def _empty() -> ResultMessage:
    return replace(_result(), seq=0, boxes_seq=None, objects=())


def _object(
    *,
    mask: Mask | None = None,
    method: str = SEGMENTED,
    origin_seq: int | None = None,
    age_ms: float = 0.0,
    tracker_id: int | None = 3,
    class_name: str = "cup",
    confidence: float = 0.75,
    predicted_iou: float | None = None,
    stability: float | None = None,
    colour: str | None = None,
) -> TrackedObject:
    return TrackedObject(
        detection=Detection(
            xyxy=(-1.5, 8.0, 17.25, 11.0),
            confidence=confidence,
            class_id=41,
            class_name=class_name,
            tracker_id=tracker_id,
        ),
        mask=mask,
        method=method,
        origin_seq=origin_seq,
        age_ms=age_ms,
        predicted_iou=predicted_iou,
        stability=stability,
        colour=colour,
    )


def _stripes(width: int) -> Mask | None:
    return Mask.crop(np.array([[(column + row) % 2 == 0 or row == 1 for column in range(width)] for row in range(3)]))


def main() -> None:
    """Write one file for each vector, and remove those that are no more."""
    VECTORS.mkdir(exist_ok=True)
    wanted = {f"{vector.name}.json": vector.to_json() for vector in vectors()}
    for path in VECTORS.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (VECTORS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
