from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import cv2
import numpy as np
import psutil
import pytest
import zmq
from support import raw_zmtp
from support.pipeline_runs import free_endpoint, until
from support.pushed import WITHIN_S, ReadSource

from streamseg.config import RunSource
from streamseg.push.receiver import FrameReceiver
from streamseg.push.sender import FrameSender
from streamseg.wire.limits import FRAME_BYTES, PROGRAMS

HEADER = {"v": 1, "kind": "frame", "source": "robot", "seq": "0", "width": 8, "height": 4, "encoding": "bgr8",
          "t_capture_ns": "1"}  # fmt: skip
JPEG = cv2.imencode(".jpg", np.zeros((4, 8, 3), np.uint8))[1].tobytes()
LONGER = cv2.imencode(".jpg", np.zeros((8000, 8000, 3), np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 1])[1].tobytes()


@pytest.fixture
def pipeline() -> Iterator[ReadSource]:
    with ReadSource(RunSource(url=f"push:{free_endpoint()}", name="robot", timeout=30.0)) as reading:
        yield reading


@pytest.fixture
def program(pipeline: ReadSource) -> Iterator[zmq.Socket[bytes]]:
    """A connection that may send anything."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(pipeline.endpoint)
        yield dealer


def answer(program: zmq.Socket[bytes], parts: list[bytes]) -> dict[str, object]:
    program.send_multipart(parts)
    assert program.poll(round(WITHIN_S * 1000))
    (reply,) = program.recv_multipart()
    decoded: dict[str, object] = json.loads(reply)
    return decoded


def frame(pixels: bytes = bytes(96), **changes: object) -> list[bytes]:
    return [json.dumps({**HEADER, **changes}).encode(), pixels]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([b""], "the header is not valid"),
        ([b"\xff\xfe"], "the header is not valid"),
        ([b"[" * 4000], "the header is not valid"),
        ([b" " * 4097], "no header, or one of more than 4096 bytes"),
        ([b'{"v":2,"kind":"hello","source":"robot"}'], "the header is not valid"),
        ([b'{"v":1,"kind":"hullo","source":"robot"}'], "the header is not valid"),
        ([b'{"v":1,"kind":"hello","source":"robot"}', b""], "a message of this kind has 1 part, not 2"),
        ([b'{"v":1,"kind":"hello","source":"door"}'], "the address of source robot, not of door"),
        (frame()[:1], "a message of this kind has 2 parts, not 1"),
        ([*frame(), b""], "a message of this kind has 2 parts, not 3"),
        (frame(bytes(95)), "a frame of 8x4 pixels in bgr8 has 96 bytes, not 95"),
        (frame(b""), "a frame of 8x4 pixels in bgr8 has 96 bytes, not 0"),
        (frame(width=8193), "the header is not valid"),
        (frame(height=0), "the header is not valid"),
        (frame(width=8.5), "the header is not valid"),
        (frame(encoding="png"), "the header is not valid"),
        (frame(seq="x"), "the header is not valid"),
        (frame(seq="9223372036854775808"), "more than 64 bits"),
        (frame(t_capture_ns=1), "the header is not valid"),
        (frame(clock="c" * 65), "the header is not valid"),
        (frame(b"no picture", encoding="jpeg"), "frame 0 is not a JPEG of 8x4 pixels"),
        (frame(JPEG[:100], encoding="jpeg"), "frame 0 is not a JPEG of 8x4 pixels"),
        (frame(JPEG, encoding="jpeg", width=16), "frame 0 is not a JPEG of 16x4 pixels"),
    ],
)
def test_what_breaks_the_format_is_refused_in_one_line_and_the_next_frame_is_taken(
    pipeline: ReadSource, program: zmq.Socket[bytes], parts: list[bytes], reason: str
) -> None:
    refusal = answer(program, parts)
    assert refusal["kind"] == "refused"
    assert reason in str(refusal["reason"]) and "\n" not in str(refusal["reason"])
    assert answer(program, frame()) == {"kind": "next", "v": 1, "taken": "0"}
    assert [each.image.shape for each in pipeline.frames] == [(4, 8, 3)]


def test_a_small_jpeg_of_a_large_picture_is_not_decoded(pipeline: ReadSource, program: zmq.Socket[bytes]) -> None:
    start_s = time.process_time()
    for _ in range(20):  # decoding one takes 0.1 s
        assert answer(program, frame(LONGER, encoding="jpeg"))["kind"] == "refused"
    assert time.process_time() - start_s < 1.0
    assert pipeline.frames == []


def test_a_part_that_is_too_large_ends_the_connection(pipeline: ReadSource, program: zmq.Socket[bytes]) -> None:
    program.send_multipart([frame()[0], bytes(FRAME_BYTES + 1)])
    with FrameSender(pipeline.endpoint, "robot") as sender:
        sender.send(np.zeros((4, 8, 3), np.uint8))
        until(lambda: sender.taken == 1, WITHIN_S, "the frame of another program")


def test_a_message_without_an_end_is_cut_before_it_fills_the_memory(
    pipeline: ReadSource, caplog: pytest.LogCaptureFixture
) -> None:
    own = psutil.Process()
    before = own.memory_info().rss
    peer = raw_zmtp.connect(pipeline.endpoint)
    peer.sendall(raw_zmtp.handshake(b"DEALER"))
    part = raw_zmtp.frame(bytes(4 << 20), raw_zmtp.MORE)
    with suppress(OSError):
        while not caplog.messages:
            peer.sendall(part)
    until(lambda: caplog.messages, WITHIN_S, "the line")
    peer.close()
    assert caplog.messages[0] == "a program sends source robot a message without an end: disconnected"
    assert own.memory_info().rss - before < 1 << 29
    with FrameSender(pipeline.endpoint, "robot") as sender:
        sender.send(np.zeros((4, 8, 3), np.uint8))
        until(lambda: sender.taken == 1, WITHIN_S, "the frame of another program")


def test_connections_that_send_nothing_leave_room_for_a_program(pipeline: ReadSource) -> None:
    host, port = pipeline.endpoint.removeprefix("tcp://").split(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(3 * PROGRAMS)]
    with FrameSender(pipeline.endpoint, "robot") as sender:
        sender.send(np.zeros((4, 8, 3), np.uint8))
        until(lambda: sender.taken == 1, WITHIN_S, "the frame of a program")
    for each in silent:
        each.close()


def test_a_program_whose_first_frame_comes_before_the_event_of_its_connection_stays_the_sender(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamseg.push.receiver._EVENTS_S", float("inf"))
    endpoint = free_endpoint()
    with (
        closing(FrameReceiver(endpoint, "robot", None)) as receiver,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as program,
    ):
        program.linger = 0
        program.connect(endpoint)
        program.send_multipart(frame())
        until(lambda: receiver._socket.poll(0), WITHIN_S, "the frame")
        assert receiver.receive(0) is not None
        receiver.receive(0)  # reads the events
        assert receiver.lost == ""
