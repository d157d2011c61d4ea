"""The loop of the window, without a window."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import zmq
from support.results import EMPTY_RESULT

from streamseg import show
from streamseg.client import Subscriber
from streamseg.messages import End, Heartbeat, Image, Message, ResultMessage, SourceState
from streamseg.wire.protocol import encode_event, encode_result


def send(socket: zmq.Socket[bytes], message: Message) -> None:
    parts = encode_result(message, "overlay").parts if isinstance(message, ResultMessage) else encode_event(message)
    socket.send_multipart(parts)


@pytest.mark.parametrize(("width", "height"), [(320, 240), (640, 360), (3840, 2160)])
def test_a_long_text_is_broken_into_lines_that_fit(width: int, height: int) -> None:
    picture = np.full((height, width, 3), 90, np.uint8)
    lines = [_rows(show._with_text(picture, "camera disconnected " * count)) for count in (1, 12)]
    assert 0 < lines[0] < lines[1]
    assert (show._with_text(picture, "word " * 60)[:, -2:] < 250).all(), "nothing is cut off"


def _rows(scene: Image) -> int:
    """How many rows of pixels are darkened."""
    return int((scene != 90).any(axis=(1, 2)).sum())


def test_the_window_says_that_the_camera_is_lost_on_the_last_picture_and_shows_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 200, np.uint8))
    picture = replace(EMPTY_RESULT, run_id="a", source="cam", width=64, height=48, jpeg=jpeg.tobytes())
    lost = SourceState(run_id="a", source="cam", stage="capture", state="disconnected", detail="no picture for 3 s")
    returned = SourceState(run_id="a", source="cam", stage="capture", state="running")
    script: list[tuple[str, list[Message]]] = [
        ("waiting for here", [Heartbeat(run_id="a", source="cam", seq=None, t_unix_ns=1, state="running"), picture]),
        ("200", [replace(picture, seq=5, jpeg=b""), lost]),
        ("camera disconnected, retrying (0 s): no picture for 3 s", [returned, replace(picture, seq=9)]),
        ("200", [End(run_id="a", source="cam", seq=9, reason="done")]),
    ]
    said: list[str] = []
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        with Subscriber(f"tcp://127.0.0.1:{port}", source="cam", view="overlay") as subscriber:
            for _ in range(2):
                assert socket.poll(20_000)
                socket.recv()

            def shown(title: str, scene: Image) -> None:
                """Send what follows as soon as the window shows what it should."""
                if not said or said[-1] != text_of(scene):
                    said.append(text_of(scene))
                    expected, messages = script[min(len(said), len(script)) - 1]
                    assert said[-1] == expected
                    for message in messages:
                        send(socket, message)

            def text_of(scene: Image) -> str:
                return texts.get(id(scene)) or str(int(scene.mean().round()))

            texts: dict[int, str] = {}
            kept: list[Image] = []

            def with_text(scene: Image, text: str) -> Image:
                kept.append(scene.copy())
                texts[id(kept[-1])] = text
                return kept[-1]

            monkeypatch.setattr(show, "_with_text", with_text)
            monkeypatch.setattr(show, "_ended_by_user", lambda: False)
            monkeypatch.setattr(cv2, "imshow", shown)
            monkeypatch.setattr(cv2, "resizeWindow", lambda *size: None)
            show._show_results(subscriber, "waiting for here")
    assert said == [expected for expected, _ in script]


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written on pictures."""
    written: list[str] = []

    def with_text(scene: Image, text: str) -> Image:
        written.append(text)
        return scene

    monkeypatch.setattr(show, "_with_text", with_text)
    return written


def test_several_sources_are_tiles_and_a_lost_one_says_since_when(texts: list[str]) -> None:
    tiles = show.Tiles("waiting for here")
    now_s = tiles._began_s
    colours = {"door": 60, "gate": 120, "yard": 200}
    for name, grey in colours.items():
        tiles.add(name, np.full((240, 320, 3), grey, np.uint8), now_s)
    states = {name: SourceState(run_id="a", source=name, stage="capture", state="running") for name in colours}
    scene = tiles.picture(states, now_s + 0.1)
    assert scene.shape == (720, 1280, 3)
    middles = [int(scene[y, x, 0]) for y, x in ((180, 320), (180, 960), (540, 320), (540, 960))]
    assert middles == [60, 120, 200, 32], "in the order of their names, and one place is empty"
    assert scene[180, 20, 0] == 32, "a tile keeps its shape"
    assert texts == []
    states["gate"] = SourceState(run_id="a", source="gate", stage="capture", state="disconnected", detail="no picture")
    tiles.add("door", np.full((240, 320, 3), 60, np.uint8), now_s + 7)
    tiles.picture(states, now_s + 7)
    assert texts[0] == "gate: camera disconnected, retrying (7 s): no picture"


def test_a_source_that_has_ended_says_since_when_and_leaves_the_grid(texts: list[str]) -> None:
    tiles = show.Tiles("waiting for here")
    now_s = tiles._began_s
    for name in ("door", "yard"):
        tiles.add(name, np.full((240, 320, 3), 60, np.uint8), now_s)
    states = {"door": SourceState(run_id="a", source="door", stage="capture", state="running")}
    tiles.picture(states, now_s + 0.5)
    assert texts == [], "its state may follow its picture"
    tiles.add("door", np.full((240, 320, 3), 60, np.uint8), now_s + 4)
    assert tiles.picture(states, now_s + 4).shape == (360, 1280, 3)
    assert texts == ["yard: ended 4 s ago"]
    assert tiles.picture({}, now_s + 6).shape == (360, 1280, 3), "the whole pipeline is away, and may come back"
    tiles.add("door", np.full((240, 320, 3), 60, np.uint8), now_s + 6)
    assert tiles.picture(states, now_s + 6).shape == (240, 320, 3)
