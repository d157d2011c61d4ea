from __future__ import annotations

import json
import math
import string
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from golden.make import vectors as golden_vectors
from golden.vector import describe
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from streamseg.errors import MessageError, UsageError
from streamseg.masks import Mask
from streamseg.messages import (
    Detection,
    Dropped,
    End,
    Event,
    Heartbeat,
    Models,
    ResultMessage,
    SourceState,
    Timings,
    TrackedObject,
)
from streamseg.wire.limits import HEADER_BYTES, INT64, OBJECTS, PART_BYTES
from streamseg.wire.protocol import (
    EncodedResult,
    ResultView,
    decode,
    encode_event,
    encode_result,
    json_line,
    requests_view,
    topic,
    validate_source_name,
    validate_view,
)

WIDTH, HEIGHT = 64, 48

names = st.text(string.ascii_lowercase + string.digits + "_-", min_size=1, max_size=64)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
int64 = st.integers(0, INT64)
finite = st.floats(allow_nan=False, allow_infinity=False)
milliseconds = st.none() | st.floats(0, 1e9)


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    width, height = draw(st.integers(1, WIDTH)), draw(st.integers(1, HEIGHT))
    bits = draw(arrays(np.bool_, (height, width), fill=st.just(True)))
    return Mask(draw(st.integers(0, WIDTH - width)), draw(st.integers(0, HEIGHT - height)), bits)


objects = st.builds(
    TrackedObject,
    detection=st.builds(
        Detection,
        xyxy=st.tuples(finite, finite, finite, finite),
        confidence=st.floats(0, 1),
        class_id=st.integers(0, 10_000),
        class_name=texts,
        tracker_id=st.none() | st.integers(1, 2**40),
    ),
    mask=st.none() | masks(),
    method=texts,
    origin_seq=st.none() | int64,
    age_ms=st.floats(0, 1e9),
    predicted_iou=st.none() | st.floats(0, 1),
    stability=st.none() | st.floats(0, 1),
    colour=st.none() | st.from_regex(r"^#[0-9a-f]{6}\Z"),
)
results = st.builds(
    ResultMessage,
    run_id=texts,
    epoch=int64,
    seq=int64,
    source=names,
    width=st.just(WIDTH),
    height=st.just(HEIGHT),
    pts_ns=st.integers(-INT64, INT64),
    t_capture_unix_ns=int64,
    timings=st.builds(
        Timings, received=milliseconds, detected=milliseconds, encoded=milliseconds, rendered=milliseconds
    ),
    dropped=st.builds(Dropped, detect_replaced=st.integers(0, 2**50), masks_limited=st.integers(0, 9)),
    models=st.builds(Models, detector=texts, segmenter=texts, notice=st.none() | texts),
    boxes_seq=st.none() | int64,
    objects=st.lists(objects, max_size=5).map(tuple),
    jpeg=st.none() | st.binary(max_size=50),
)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(SourceState, run_id=texts, source=names, stage=texts, state=texts, detail=texts),
    st.builds(Heartbeat, run_id=texts, source=names, seq=st.none() | int64, t_unix_ns=int64),
    st.builds(End, run_id=texts, source=names, seq=st.none() | int64, reason=texts),
)


def plain(**changes: Any) -> ResultMessage:
    values: dict[str, Any] = {
        "run_id": "r",
        "epoch": 1,
        "seq": 5,
        "source": "cam",
        "width": WIDTH,
        "height": HEIGHT,
        "pts_ns": 0,
        "t_capture_unix_ns": 0,
        "timings": Timings(),
        "dropped": Dropped(),
        "models": Models(detector="d", segmenter="s"),
        "boxes_seq": None,
        "objects": (),
    }
    return ResultMessage(**(values | changes))


def thing(confidence: float = 0.5, mask: Mask | None = None, class_name: str = "cup", **changes: Any) -> TrackedObject:
    detection = Detection(xyxy=(0.0, 0.0, 9.0, 9.0), confidence=confidence, class_id=1, class_name=class_name)
    return TrackedObject(detection=detection, mask=mask, **changes)


@given(results, st.sampled_from(["masks", "clean", "overlay"]))
def test_a_result_is_read_as_it_was_sent(result: ResultMessage, view: ResultView) -> None:
    encoded = encode_result(result, view)
    assert encoded.masks_limited == 0
    sent = result if view != "masks" else replace(result, jpeg=None)
    assert describe(decode(encoded.parts), view) == describe(sent, view)


@given(events)
def test_an_event_is_read_as_it_was_sent(message: Event) -> None:
    assert decode(encode_event(message)) == message


def test_parts_may_be_memoryviews() -> None:
    parts = encode_result(
        plain(objects=(thing(mask=Mask(0, 0, np.ones((3, 3), dtype=np.bool_))),), jpeg=b"jpeg"), "clean"
    ).parts
    assert describe(decode([memoryview(part) for part in parts]), "clean") == describe(decode(parts), "clean")


VALID = [vector.parts for vector in golden_vectors() if vector.expected is not None and not vector.may_reject]


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_random_parts_raise_nothing_but_message_errors(parts: list[bytes]) -> None:
    read_or_reject(parts)


@given(st.data())
@settings(max_examples=500)
def test_mutated_messages_raise_nothing_but_message_errors(data: st.DataObject) -> None:
    parts = [bytearray(part) for part in data.draw(st.sampled_from(VALID))]
    for _ in range(data.draw(st.integers(1, 4))):
        part = data.draw(st.sampled_from(parts))
        if part:
            start = data.draw(st.integers(0, len(part) - 1))
            part[start : start + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    read_or_reject([bytes(part) for part in parts])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.data())
@settings(max_examples=500)
def test_headers_with_other_values_raise_nothing_but_message_errors(data: st.DataObject) -> None:
    parts = data.draw(st.sampled_from(VALID))
    header = json.loads(parts[1])
    place = header
    while True:
        key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else list(range(len(place)))))
        if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(json_values)
        break
    read_or_reject([parts[0], json.dumps(header).encode("utf-8", "surrogatepass"), *parts[2:]])


def read_or_reject(parts: list[bytes]) -> None:
    try:
        message = decode(parts)
    except MessageError as error:
        assert "\n" not in str(error)
        return
    if isinstance(message, ResultMessage):
        masks_of = [item.mask for item in message.objects if item.mask is not None]
        assert all(mask.inside(message.height, message.width) for mask in masks_of)


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 500_000,
        b'{"kind":"state","x":' + b"[" * 500_000,
        b'{"kind":"result","v":1,"objects":[{"mask":' + b"[" * 400_000 + b"]" * 400_000 + b"}]}",
        b'{"kind":"state","v":1,"run_id":"\xff"}',
        b'{"kind":"state","v":1,"run_id":"\\ud800"}',
        b"\x00",
        b"null",
        b'{"v":' + b"9" * 100_000 + b"}",
    ],
    ids=["deep", "deep-unknown", "deep-mask", "not-utf8", "surrogate", "nul", "null", "long-number"],
)
def test_a_hostile_header_is_rejected(header: bytes) -> None:
    with pytest.raises(MessageError):
        decode([b"streamseg/1/cam/masks", header, b""])
    with pytest.raises(MessageError):
        decode([b"streamseg/1/cam/state", header])


@pytest.mark.parametrize("part", [0, 1, 2, 3])
def test_a_part_beyond_its_limit_is_rejected(part: int) -> None:
    parts = encode_result(plain(jpeg=b"jpeg"), "clean").parts
    parts[part] = parts[part] + bytes(PART_BYTES + 1)
    with pytest.raises(MessageError, match="larger than the limit"):
        decode(parts)


def test_a_header_beyond_its_limit_is_rejected() -> None:
    parts = encode_event(End(run_id="r", source="cam", seq=None, reason=""))
    with pytest.raises(MessageError, match="larger than the limit"):
        decode([parts[0], parts[1] + b" " * HEADER_BYTES])


def test_more_objects_than_allowed_are_rejected() -> None:
    header = json.loads(encode_result(plain(objects=(thing(),)), "masks").parts[1])
    header["objects"] *= OBJECTS
    assert len(decoded_objects(header)) == OBJECTS
    header["objects"] += header["objects"][:1]
    with pytest.raises(MessageError, match="header"):
        decoded_objects(header)


def decoded_objects(header: dict[str, Any]) -> tuple[TrackedObject, ...]:
    message = decode([b"streamseg/1/cam/masks", msgspec.json.encode(header), b""])
    assert isinstance(message, ResultMessage)
    return message.objects


def test_beyond_the_number_of_objects_the_least_confident_are_left_out_in_order() -> None:
    mask = Mask(0, 0, np.ones((2, 2), dtype=np.bool_))
    many = tuple(thing(confidence=index / 2000, mask=mask) for index in range(OBJECTS + 100))
    encoded = encode_result(plain(objects=many), "masks")
    confidences = [item.detection.confidence for item in decoded_result(encoded.parts).objects]
    assert confidences == [index / 2000 for index in range(100, OBJECTS + 100)]
    assert encoded.masks_limited == 100


def test_beyond_the_raw_limit_the_least_confident_lose_their_masks() -> None:
    full = Mask(0, 0, np.ones((8192, 8192), dtype=np.bool_))
    scores = [0.1 * ((7 * index) % 10) for index in range(10)]
    encoded = encode_result(
        plain(width=8192, height=8192, objects=tuple(thing(score, full) for score in scores)), "masks"
    )
    entries = json.loads(encoded.parts[1])["objects"]
    assert len(entries) == 10
    assert {entry["confidence"] for entry in entries if entry["mask"] is None} == set(sorted(scores)[:8])
    assert encoded.masks_limited == 8


def test_names_too_long_for_a_header_leave_out_the_least_confident_objects() -> None:
    long = tuple(thing(confidence=index / 100, class_name="x" * 100_000) for index in range(16))
    parts = encode_result(plain(objects=long), "masks").parts
    kept = decoded_result(parts).objects
    assert len(parts[1]) <= HEADER_BYTES
    assert [item.detection.confidence for item in kept] == [index / 100 for index in range(8, 16)]


def test_a_header_has_room_for_later_timings() -> None:
    def encoded(spare: int) -> EncodedResult:
        return encode_result(
            plain(objects=(thing(class_name="x" * (HEADER_BYTES - 1000)), thing(class_name="x" * spare))), "masks"
        )

    spare = next(length for length in range(1000, 0, -1) if len(json.loads(encoded(length).parts[1])["objects"]) == 2)
    full = encoded(spare)
    later = msgspec.structs.replace(plain().timings, rendered=1 / 3, published=1 / 3)
    assert len(full.parts[1]) + 100 > HEADER_BYTES, "the header is full"
    assert decoded_result(full.with_timings(later).parts).timings == later


def decoded_result(parts: list[bytes]) -> ResultMessage:
    message = decode(parts)
    assert isinstance(message, ResultMessage)
    return message


def test_another_view_has_the_same_header_and_masks() -> None:
    encoded = encode_result(plain(objects=(thing(mask=Mask(1, 2, np.ones((3, 4), dtype=np.bool_))),)), "masks")
    overlay = encoded.as_view("cam", "overlay", b"jpeg")
    assert overlay.parts == [b"streamseg/1/cam/overlay", encoded.parts[1], encoded.parts[2], b"jpeg"]
    assert overlay.as_view("cam", "masks", b"jpeg").parts == encoded.parts


def test_a_picture_beyond_the_limit_of_a_part_is_left_out() -> None:
    encoded = encode_result(plain(jpeg=bytes(PART_BYTES + 1)), "clean")
    assert len(encoded.parts) == 3
    assert len(encode_result(plain(jpeg=bytes(PART_BYTES)), "clean").parts) == 4


@pytest.mark.parametrize(
    "bad",
    [
        plain(width=8193),
        plain(height=0),
        plain(objects=(thing(mask=Mask(63, 0, np.ones((1, 2), dtype=np.bool_))),)),
        plain(objects=(thing(age_ms=math.nan),)),
        plain(run_id="\ud800"),
        plain(run_id="r" * HEADER_BYTES),
    ],
    ids=["wide", "flat", "mask-outside", "nan", "surrogate", "long"],
)
def test_a_result_that_cannot_be_sent_is_an_error(bad: ResultMessage) -> None:
    with pytest.raises(MessageError):
        encode_result(bad, "masks")


def test_values_that_are_not_finite_are_sent_as_absent() -> None:
    parts = encode_result(
        plain(timings=Timings(received=math.nan), objects=(thing(predicted_iou=math.nan, stability=math.inf),)), "masks"
    ).parts
    assert b"NaN" not in parts[1]
    result = decoded_result(parts)
    assert result.timings.received is None
    assert (result.objects[0].predicted_iou, result.objects[0].stability) == (None, None)


def test_a_long_line_is_cut_to_fit_into_a_header() -> None:
    message = decode(encode_event(End(run_id="r", source="cam", seq=None, reason="\x1b" * 1_000_000)))
    assert isinstance(message, End)
    assert message.reason == "\x1b" * 4096


def test_a_file_name_that_is_not_unicode_can_be_announced() -> None:
    state = SourceState(run_id="r", source="cam", stage="source", state="failed", detail="no file caf\udce9.mp4")
    message = decode(encode_event(state))
    assert isinstance(message, SourceState)
    assert message.detail == "no file caf?.mp4"


def test_64_bit_numbers_are_decimal_strings() -> None:
    header = json.loads(
        encode_result(plain(seq=INT64, boxes_seq=INT64, objects=(thing(origin_seq=INT64),)), "masks").parts[1]
    )
    assert header["seq"] == header["boxes_seq"] == header["objects"][0]["origin_seq"] == "9223372036854775807"
    assert [header[key] for key in ("epoch", "pts_ns", "t_capture_unix_ns")] == ["1", "0", "0"]


@pytest.mark.parametrize("name", ["cam", "0", "a" * 64, "front_door-2"])
def test_source_names_that_are_valid(name: str) -> None:
    assert validate_source_name(name) == name
    assert topic(name, "masks") == f"streamseg/1/{name}/masks".encode()


@pytest.mark.parametrize("name", ["", "Cam", "a" * 65, "a/b", "a b", "ü", "cam\n", "٣"])
def test_source_names_that_are_invalid(name: str) -> None:
    with pytest.raises(UsageError, match="source name"):
        validate_source_name(name)


def test_an_unknown_view_is_an_error() -> None:
    with pytest.raises(UsageError, match="masks, clean, overlay, state"):
        validate_view("video")


@pytest.mark.parametrize(
    ("subscription", "view", "expected"),
    [
        (b"", "masks", True),
        (b"streamseg/1/", "masks", True),
        (b"streamseg/1/cam", "state", True),
        (b"streamseg/1/cam/masks", "masks", True),
        (b"streamseg/1/cam/masks", "overlay", False),
        (b"streamseg/1/cam2/masks", "masks", False),
        (b"streamseg/1/", "overlay", False),
        (b"streamseg/1/cam/overlay", "overlay", True),
        (b"streamseg/1/cam/overlay", "clean", False),
    ],
)
def test_which_subscriptions_request_which_view(subscription: bytes, view: Any, expected: bool) -> None:
    assert requests_view(subscription, "cam", view) is expected


def test_a_json_line_is_the_header_with_masks_as_coco_run_lengths() -> None:
    parts = next(vector.parts for vector in golden_vectors() if vector.name == "result-masks")
    result, header = decoded_result(parts), json.loads(parts[1])
    line = json.loads(json_line(result))
    for written, sent, item in zip(line["objects"], header["objects"], result.objects, strict=True):
        rle = written.pop("mask")
        sent.pop("mask")
        if item.mask is None:
            assert rle is None
        else:
            expected: Any = coco.encode(np.asfortranarray(item.mask.paste(48, 64).astype(np.uint8)))
            assert rle == {"size": [48, 64], "counts": expected["counts"].decode("ascii")}
    assert line == header


def test_a_json_line_has_the_masks_of_the_most_confident_objects_while_they_fit() -> None:
    checkerboard = Mask(0, 0, np.indices((2100, 2100)).sum(axis=0) % 2 == 1)
    small = Mask(3, 2, np.ones((4, 4), dtype=np.bool_))
    things = (thing(0.1, small), thing(0.5, checkerboard), thing(0.9, small), thing(0.95))
    written = json.loads(json_line(plain(width=2100, height=2100, objects=things)))["objects"]
    assert [item["mask"] for item in written] == [None, None, small.rle(2100, 2100), None]


def test_a_json_line_has_no_line_feed_and_every_object() -> None:
    line = json_line(plain(objects=(thing(class_name="a\nb"),) * 1600))
    assert b"\n" not in line
    assert len(json.loads(line)["objects"]) == 1600
