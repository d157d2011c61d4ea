"""Text from elsewhere neither controls a terminal nor adds lines, wherever it is printed."""

from __future__ import annotations

import logging

import msgspec
import pytest

from streamseg.cli.output import print_line
from streamseg.errors import StreamsegError, error_from_name
from streamseg.logs import ForwardingHandler
from streamseg.printable import printable, printable_json

HOSTILE = "cup\x1b]0;title\x07\n\x9b31m\u202eevil"
SHOWN = r"cup\x1b]0;title\x07 \x9b31m\u202eevil"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (HOSTILE, SHOWN),
        ("Küche  2 + 杯子 🙂", "Küche  2 + 杯子 🙂"),
        ("Screenshot 9.41\u202fAM.png", "Screenshot 9.41\u202fAM.png"),
        ("caf\udce9.mp4", r"caf\udce9.mp4"),
        ("two\r\n\tlines\u2028", "two lines"),
    ],
)
def test_what_does_not_show_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


def test_json_decodes_to_the_same_text_and_only_what_does_not_show_is_escaped() -> None:
    text = HOSTILE + '\x7f\\"\u2028\U000e0041 Küche 杯子 🙂'
    escaped = printable_json(msgspec.json.encode({text: text}))
    assert msgspec.json.decode(escaped) == {text: text}
    assert escaped.decode().isprintable()
    assert "Küche 杯子 🙂".encode() in escaped
    assert rb"\u009b31m\u202eevil\u007f" in escaped


def test_every_error_is_one_printable_line() -> None:
    assert str(StreamsegError(HOSTILE)) == SHOWN
    assert str(error_from_name("SourceError", HOSTILE)) == SHOWN


def test_lines_and_logs_are_printable(capsys: pytest.CaptureFixture[str]) -> None:
    print_line(HOSTILE)
    print_line(HOSTILE, err=True)
    assert capsys.readouterr() == (f"{SHOWN}\n", f"{SHOWN}\n")
    forwarded: list[str] = []
    record = logging.LogRecord("streamseg", logging.WARNING, "", 0, "from %s", (HOSTILE,), None)
    ForwardingHandler(lambda _, text: forwarded.append(text)).emit(record)
    assert forwarded == [f"from {SHOWN}"]
