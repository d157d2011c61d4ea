"""Vectors that every reader rejects."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from functools import partial

from golden.samples import JPEG, full_result
from golden.vector import Json, Vector, edited, result_vector

from streamseg.messages import SourceState
from streamseg.wire.protocol import encode_event

BOM = b"\xef\xbb\xbf"
PARTS = result_vector("", "", "masks", full_result()).parts


def rejected() -> Iterator[Vector]:
    """Parts, headers and values that break the format."""
    topic, header, blob = PARTS

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
    yield _changed("kind", "a kind that does not exist", lambda header: header.update(kind="picture"))
    yield _changed("missing-key", "no seq", lambda header: header.pop("seq"))
    yield _changed(
        "null-in-dropped", "a count that is null", lambda header: header["dropped"].update(detect_replaced=None)
    )
    yield _changed("long-run-id", "the name of a run of 129 characters", lambda header: header.update(run_id="r" * 129))
    state = encode_event(SourceState(run_id="r1", source="cam", stage="capture", state="running"))
    yield Vector(
        "reject-large-event",
        "a header of 64 KiB and one byte without a result",
        edited(
            state, lambda header: header.update(detail="x" * (64 * 1024 + 1 - len(json.dumps(header | {"detail": ""}))))
        ),
        None,
    )
    yield _changed("null-key", "a width that is null", lambda header: header.update(width=None))
    yield _changed("number-as-boolean", "a width that is true", lambda header: header.update(width=True))
    yield _changed("objects-not-array", "objects in an object", lambda header: header.update(objects={}))
    yield Vector("reject-byte-order-mark", "a byte order mark before the header", [topic, BOM + header, blob], None)
    huge_number = header.replace(b'"confidence":0.75', b'"confidence":1e400', 1)
    yield Vector("reject-number-too-large", "a number beyond every double", [topic, huge_number, blob], None)
    yield _changed("number-as-text", "a width as a string", lambda header: header.update(width="64"))
    yield _changed("pixel-aspect-zero", "pixels without a height", lambda header: header.update(pixel_aspect=[64, 0]))
    yield _changed("pixel-aspect-single", "a ratio of one number", lambda header: header.update(pixel_aspect=[1]))
    yield _changed("seq-as-number", "a 64-bit number that is not a string", lambda header: header.update(seq=7))
    yield _changed("seq-too-large", "a number of more than 64 bits", lambda header: header.update(seq=str(2**63)))
    yield _changed("seq-not-decimal", "a 64-bit number in hexadecimal", lambda header: header.update(seq="0x10"))
    yield _changed("frame-too-large", "a frame of 8193 columns", lambda header: header.update(width=8193))
    yield _changed(
        "nan", "a number that JSON does not have", lambda header: header["objects"][0].update(confidence=float("nan"))
    )
    yield _changed("header-version", "a header of another major version", lambda header: header.update(v=2))
    yield _changed("number-not-whole", "a class of 41.5", lambda header: header["objects"][0].update(class_id=41.5))
    yield _changed("seq-twenty-digits", "a 64-bit number of 20 digits", lambda header: header.update(seq="7".zfill(20)))
    yield _changed(
        "seq-lowest", "-2**63, whose magnitude is too large", lambda header: header.update(seq=str(-(2**63)))
    )
    yield _changed("seq-plus", "a 64-bit number with a plus sign", lambda header: header.update(seq="+7"))
    yield _changed("object-not-object", "an object in an array", lambda header: header.update(objects=[[]]))
    yield _changed("mask-not-object", "a mask in an array", lambda header: header["objects"][0].update(mask=[]))
    yield Vector("reject-header-not-object", "a header in an array", [topic, b"[" + header + b"]", blob], None)
    for key in ("timings", "dropped", "models"):
        for name, value in (("boolean", True), ("number", 5), ("text", "x"), ("array", [])):
            yield _changed(f"{key}-{name}", f"{key}: no object", partial(_set, key, value))
    for name, about, member in (
        ("lone-surrogate-unknown", "half of a surrogate pair under an unknown key", rb'"later":["\ud83d"]'),
        ("lone-surrogate-last", "the second half of a surrogate pair under an unknown key", rb'"later":"\ude00"'),
        ("lone-surrogate-key", "half of a surrogate pair in an unknown key", rb'"later":{"\ud83d":1}'),
        ("utf-8-unknown", "bytes under an unknown key that are not UTF-8", b'"later":"\xff"'),
        ("utf-8-surrogate", "a surrogate in UTF-8 under an unknown key", b'"later":"\xed\xa0\xbd"'),
        ("nan-unknown", "a number under an unknown key that JSON does not have", b'"later":NaN'),
    ):
        yield Vector(f"reject-{name}", about, [topic, b"{" + member + b"," + header[1:], blob], None)
    lone = header.replace(b'"cup"', rb'"\ud83d"', 1)
    yield Vector("reject-lone-surrogate", "half of a surrogate pair in a text", [topic, lone, blob], None)


def rejected_masks() -> Iterator[Vector]:
    """Masks that break the format."""
    topic, header, blob = PARTS

    yield _changed("mask-outside", "a mask that leaves the frame", _in_mask(0, x=63))
    yield _changed("mask-empty", "a mask without columns", _in_mask(0, w=0))
    yield _changed("mask-offset", "a mask behind the end of the blob", _in_mask(0, off=len(blob)))
    yield _changed("mask-bits-short", "fewer bits than the rectangle needs", _in_mask(0, h=5))
    yield _changed("mask-bits-long", "more bits than the rectangle needs", _in_mask(0, h=2))
    yield _changed("masks-share-bytes", "two masks that claim the same bytes", _share_bytes)
    yield _changed("not-zlib", "plain bits announced as zlib", _in_mask(0, enc="bits+zlib"))
    stream = zlib.compress(bytes(384), 1)
    preset = zlib.compressobj(1, zdict=b"dictionary")
    for name, about, bad in (
        ("trailing", "bytes after the end of a zlib stream", stream + b"more"),
        ("checksum", "a zlib stream with a wrong checksum", stream[:-1] + bytes([stream[-1] ^ 1])),
        ("cut", "a zlib stream with half of its checksum", stream[:-2]),
        ("dictionary", "a zlib stream with a preset dictionary", preset.compress(bytes(384)) + preset.flush()),
    ):
        yield Vector(f"reject-zlib-{name}", about, edited([topic, header, bad], _alone(bad, 64, 48)), None)
    bomb = zlib.compress(bytes(4_000_000), 9)
    yield Vector(
        "reject-bomb",
        "a zlib stream of four million bytes for a small mask",
        edited([topic, header, bomb], _alone(bomb, 64, 48)),
        None,
    )
    huge, dot = zlib.compress(bytes(8192 * 8192 // 8), 9), b"\x80"
    parts = edited([topic, header, huge * 2 + dot], _huge_masks(len(huge)))
    yield Vector("reject-raw-limit", "two masks of 8192x8192 and a pixel, more than 16 MiB unpacked", parts, None)


def _changed(name: str, about: str, edit: Callable[[Json], object]) -> Vector:
    return Vector(f"reject-{name}", about, edited(PARTS, edit), None)


def _set(key: str, value: object, header: Json) -> None:
    header[key] = value


def _in_mask(index: int, **values: object) -> Callable[[Json], None]:
    return lambda header: header["objects"][index]["mask"].update(values)


def _share_bytes(header: Json) -> None:
    first = header["objects"][0]
    header["objects"] = [first] * 30


def _alone(blob: bytes, width: int, height: int) -> Callable[[Json], None]:
    def edit(header: Json) -> None:
        mask = {"enc": "bits+zlib", "x": 0, "y": 0, "w": width, "h": height, "off": 0, "len": len(blob)}
        header["objects"] = [{**header["objects"][0], "mask": mask}]

    return edit


def _huge_masks(length: int) -> Callable[[Json], None]:
    def edit(header: Json) -> None:
        header.update(width=8192, height=8192)
        masks = [
            {"enc": "bits+zlib", "x": 0, "y": 0, "w": 8192, "h": 8192, "off": index * length, "len": length}
            for index in range(2)
        ]
        masks.append({"enc": "bits", "x": 0, "y": 0, "w": 1, "h": 1, "off": 2 * length, "len": 1})
        header["objects"] = [{**header["objects"][0], "mask": mask} for mask in masks]

    return edit
