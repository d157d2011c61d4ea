"""Vectors that every reader reads, and those that it may reject."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from golden.samples import JPEG, empty_result, full_result, stripes, tracked
from golden.vector import Json, Vector, describe, edited, event_vector, result_vector

from streamseg.messages import MOVED, Dropped, End, Heartbeat, SourceState, Timings
from streamseg.wire.protocol import encode_event

GONE = SourceState(run_id="r1", source="cam", stage="capture", state="disconnected", detail="no frame for 3 s — Küche")


def results() -> Iterator[Vector]:
    """Results in each view."""
    full = full_result()
    yield result_vector(
        "result-masks", "two masks, packed plainly and with zlib; one object pending, one without a mask", "masks", full
    )
    yield result_vector("result-overlay", "the same with a picture", "overlay", replace(full, jpeg=JPEG))
    yield result_vector("result-clean", "the other view with a picture", "clean", replace(full, jpeg=JPEG, objects=()))
    yield result_vector(
        "result-no-objects", "nothing was found, and the detector has not answered yet", "masks", empty_result()
    )
    large = replace(
        empty_result(),
        epoch=2**62 + 1,
        seq=2**63 - 1,
        pts_ns=2**53 + 1,
        t_capture_unix_ns=2**63 - 1,
        boxes_seq=2**63 - 2,
    )
    yield result_vector("result-large-numbers", "64-bit numbers that a double cannot hold", "masks", large)
    yield result_vector(
        "result-negative-pts",
        "a presentation time before the first frame's",
        "masks",
        replace(empty_result(), pts_ns=-41708333),
    )
    yield result_vector(
        "result-pixel-aspect", "pixels that are not square", "masks", replace(empty_result(), pixel_aspect=(64, 45))
    )
    moved = tracked(mask=stripes(9), method=MOVED, origin_seq=38, age_ms=100.0)
    yield result_vector(
        "result-moved", "a mask that was only moved", "masks", replace(empty_result(), objects=(moved,))
    )
    edges = replace(
        empty_result(), objects=tuple(tracked(mask=stripes(width), origin_seq=0) for width in (1, 7, 8, 9, 64))
    )
    yield result_vector(
        "result-widths", "masks whose rows end within a byte, at its end, and just after it", "masks", edges
    )


def odd_spellings() -> Iterator[Vector]:
    """What senders need not write, and readers read."""
    base = result_vector("", "", "masks", full_result())
    topic, header, blob = base.parts
    minus = header.replace(b'"class_id":41', b'"class_id":-0').replace(b'"age_ms":0.0', b'"age_ms":-0.0')
    expected = describe(full_result(), "masks")
    for item in expected["objects"]:
        item["class_id"] = 0
    yield Vector("result-minus-zero", "zeros with a minus sign: their value is 0", [topic, minus, blob], expected)
    decimals = header.replace(b'"epoch":"1"', b'"epoch":"-0"').replace(b'"seq":"41"', b'"seq":"0000000000000000041"')
    yield Vector(
        "result-leading-zeros",
        "64-bit numbers with leading zeros, and one of minus zero",
        [topic, decimals, blob],
        describe(replace(full_result(), epoch=0), "masks"),
    )
    escapes = header.replace(b'"cup"', rb'"\ud83d\ude00\\ud83d"').replace(b"{", rb'{"\ud83d\ude00":"\\ud83d",', 1)
    expected = describe(full_result(), "masks")
    for item in expected["objects"]:
        item["class_name"] = item["class_name"].replace("cup", "\U0001f600\\ud83d")
    yield Vector(
        "result-escapes",
        "surrogate pairs as escapes, and a backslash before what looks like half of one",
        [topic, escapes, blob],
        expected,
    )
    yield replace(
        base,
        name="result-masks-fourth-part",
        about="a picture in the view without pictures, to be ignored",
        parts=[*base.parts, JPEG],
    )
    empty = replace(empty_result(), jpeg=b"")
    yield result_vector("result-empty-picture", "a picture of 0 bytes, which cannot be decoded", "clean", empty)
    state = event_vector("state-more-parts", "parts of a state, to be ignored", GONE)
    yield replace(state, parts=[*state.parts, b"\xff", JPEG])


def events() -> Iterator[Vector]:
    """State, heartbeat, end."""
    yield event_vector("state", "a source that is gone; text beyond ASCII", GONE)
    beat = Heartbeat(
        run_id="r1",
        source="cam",
        seq=2**53 + 7,
        t_unix_ns=1_700_000_000_000_000_001,
        state="disconnected",
        detail="no frame for 3 s",
    )
    yield event_vector("heartbeat", "a sign of life while the camera is away", beat)
    first = Heartbeat(run_id="r1", source="cam", seq=None, t_unix_ns=1_700_000_000_000_000_000, state="starting")
    yield event_vector("heartbeat-no-frame", "a sign of life before the first frame", first)
    reason = "end of source; about 13 of 300 frames could not be read"
    end = End(run_id="r1", source="cam", seq=286, reason=reason, unreadable=13, others_follow=True)
    yield event_vector("end", "the last message of a run", end)


def later_minor_versions() -> Iterator[Vector]:
    """Messages with more, or less, than this version defines."""
    base = result_vector("", "", "masks", full_result())

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
        parts=edited(base.parts, unknown_keys),
    )

    def unknown_encoding(header: Json) -> None:
        header["objects"][0]["mask"] = {"enc": "tiles", "tiles": [1, 2, 3], "x": "left"}

    expected = describe(full_result(), "masks")
    expected["objects"][0]["mask"] = None
    yield Vector(
        "later-unknown-encoding",
        "a mask in an encoding of a later version: the object stays, its mask does not",
        edited(base.parts, unknown_encoding),
        expected,
    )

    def optional_keys(header: Json) -> None:
        for item in header["objects"]:
            del item["predicted_iou"], item["stability"], item["colour"]
        header["timings"] = {}
        header["dropped"] = {}
        del header["models"]["notice"], header["pixel_aspect"], header["mode"]

    expected = describe(replace(full_result(), timings=Timings(), dropped=Dropped()), "masks")
    expected["models"]["notice"] = None
    expected["mode"] = ""
    for item in expected["objects"]:
        item["predicted_iou"] = item["stability"] = item["colour"] = None

    def no_state(header: Json) -> None:
        del header["state"], header["detail"]

    def nothing_lost(header: Json) -> None:
        del header["unreadable"], header["others_follow"]

    end = End(run_id="r1", source="cam", seq=286, reason="the source ended")
    yield Vector(
        "end-optional-keys-absent",
        "the last message of a run whose source lacked nothing",
        edited(encode_event(end), nothing_lost),
        describe(end, "state"),
    )

    beat = Heartbeat(run_id="r1", source="cam", seq=7, t_unix_ns=1)
    yield Vector(
        "heartbeat-optional-keys-absent",
        "a sign of life that does not tell the state of the source",
        edited(encode_event(beat), no_state),
        describe(beat, "state"),
    )
    state = SourceState(run_id="r1", source="cam", stage="detect", state="running")
    yield Vector(
        "state-optional-key-null",
        "an optional key that is null means the same as an absent one",
        edited(encode_event(state), lambda header: header.update(detail=None)),
        describe(state, "state"),
    )
    yield Vector(
        "result-optional-keys-absent", "keys that may be left out", edited(base.parts, optional_keys), expected
    )

    topic, header, blob = base.parts
    yield replace(
        base,
        name="later-nested",
        about="16 levels of objects and arrays, the header being the first",
        parts=[topic, _with_member(header, b'"later":' + b"[" * 15 + b"]" * 15), blob],
    )


def either() -> Iterator[Vector]:
    """Messages that no sender makes. A reader survives them, and reads or rejects them."""
    base = result_vector("", "", "masks", replace(full_result(), objects=()))
    topic, header, blob = base.parts
    for name, about, data in (
        ("fraction", "a whole number with a fraction", header.replace(b'"width":64', b'"width":64.0')),
        ("exponent", "a whole number with an exponent", header.replace(b'"width":64', b'"width":6.4e1')),
        ("duplicate-key", "a key that occurs twice", _with_member(header, b'"width":64')),
        ("large-number", "a number beyond every double under an unknown key", _with_member(header, b'"later":1e400')),
        ("deep", "100,000 levels of arrays", _with_member(header, b'"later":' + b"[" * 100_000 + b"]" * 100_000)),
    ):
        yield replace(base, name=f"either-{name}", about=about, parts=[topic, data, blob], may_reject=True)
    bold = replace(full_result(), objects=(tracked(confidence=2.0),))
    yield replace(
        result_vector("either-promise", "a confidence of 2, which no sender promises", "masks", bold), may_reject=True
    )


def _with_member(header: bytes, member: bytes) -> bytes:
    return b"{" + member + b"," + header[1:]
