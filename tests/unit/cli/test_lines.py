"""What `streamseg subscribe` prints into a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import msgspec
import pytest
from support.results import EMPTY_RESULT

from streamseg.cli.lines import print_lines
from streamseg.errors import SubscriptionTimeoutError
from streamseg.messages import Detection, End, Heartbeat, Message, SourceState, TrackedObject

ENDPOINT = "tcp://127.0.0.1:5555"
FOUND = Detection(xyxy=(1.0, 2.0, 3.0, 4.0), confidence=0.5, class_id=0, class_name="日本\x1b\x9b", tracker_id=3)
MESSAGES: tuple[Message | None, ...] = (
    None,
    None,
    Heartbeat(run_id="a", source="cam", seq=None, t_unix_ns=1),
    replace(EMPTY_RESULT, source="cam", seq=7, gap=2, objects=(TrackedObject(detection=FOUND),)),
    SourceState(run_id="a", source="cam", stage="capture", state="disconnected", detail="the stream ended"),
    None,
    End(run_id="a", source="cam", seq=7, reason="end of source"),
)


class Replayed:
    """Gives messages; None is a time-out."""

    def __init__(self) -> None:
        self.left = list(MESSAGES)

    def messages(self) -> Iterator[Message]:
        while self.left:
            message = self.left.pop(0)
            if message is None:
                raise SubscriptionTimeoutError("silence")
            yield message


def test_text_has_results_and_standard_error_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines(Replayed(), ENDPOINT, as_json=False)
    printed = capsys.readouterr()
    assert printed.out == "cam 7 (+2 missed): 日本\\x1b\\x9b#3 pending\n"
    assert printed.err.splitlines() == [
        f"waiting for {ENDPOINT}",
        "cam capture: disconnected (the stream ended)",
        f"waiting for {ENDPOINT}",
        "cam ended: end of source",
    ]


def test_json_has_results_state_end_and_waiting(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    print_lines(Replayed(), ENDPOINT, as_json=True)
    printed = capsysbinary.readouterr()
    lines = [msgspec.json.decode(line) for line in printed.out.splitlines()]
    assert [line["kind"] for line in lines] == ["waiting", "result", "state", "waiting", "end"]
    assert lines[0] == {"kind": "waiting", "endpoint": ENDPOINT}
    assert lines[1]["objects"][0]["class_name"] == FOUND.class_name
    assert '"日本\\u001b\\u009b"'.encode() in printed.out
    assert printed.err.splitlines() == [f"waiting for {ENDPOINT}".encode()] * 2
