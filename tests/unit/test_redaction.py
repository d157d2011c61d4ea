from __future__ import annotations

import itertools
import time

import pytest

from streamseg.errors import SourceError, SubscriptionTimeoutError
from streamseg.redaction import redact

PASSWORDS = ("s3cret", "p%40ss", "pa/ss", "pa@ss", "pa:ss", "pa?ss", "pa#ss", "pa\"s's", "pa\\ss", "päss", "1234")
SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "udp", "srt", "tcp", "a+b.c-d", "RTSP")
SEPARATORS = ("://", "//", ":/", ":///", ":\\\\", ";//", ".//", ":", "")
TEXTS = ("{}", " {}", "{}: no such file; give a video", "endpoint {!r}: Invalid argument", "--set sources.0.url={}")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_password_of_an_address_is_left_however_the_address_is_mistyped(scheme: str) -> None:
    for password, separator, text in itertools.product(PASSWORDS, SEPARATORS, TEXTS):
        address = f"{scheme if separator else ''}{separator}user:{password}@camera.example:554/stream"
        shown = redact(text.format(address))
        before, found, _ = shown.partition("@camera.example:554/stream")
        assert found and password not in shown and "ss" not in before, shown
        assert redact(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://user:my pass@cam/1 failed", "rtsp://***@cam/1 failed"),
        ("rtsp://user:line\nbreak@cam/1", "rtsp://***@cam/1"),
        ("rtsp%3A%2F%2Fuser%3Asecret%40cam", "rtsp%3A%2F%2F***@cam"),
        ("http://token@cam/x", "http://***@cam/x"),
        ("a rtsp://u:p@one and rtsp://v:q@two", "a rtsp://***@one and rtsp://***@two"),
        ("srt://cam:9000?passphrase=hunter2&mode=caller", "srt://cam:9000?passphrase=***&mode=caller"),
        ("rtsp://cam/user=admin_password=tlJwpbo6_channel=1", "rtsp://cam/user=admin_password=***"),
        ("http://cam/x?access_token=abc", "http://cam/x?access_token=***"),
        ("rtsp/user:secret@cam/x: no such file", "rtsp/***@cam/x: no such file"),
    ],
)
def test_what_is_left_of_an_address(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "HTTPS://cam/a@b?c=d: HTTPS:// cannot be read",
        "clip@2x.mp4: no such file",
        "sources.0.url: /clips@home/a.mp4: no such file",
        "tcp://127.0.0.1:5555 is in use; end the program that publishes there",
        "rtsp://cam:554/x refused the user name or password; check sources.a.username and sources.a.password_file",
        "x: expected key=value, such as detector.conf=0.4",
        'write --set \'sources.0.password_file="..."\', or password_file: "..." in the file',
        'File "/lib/python3.11/a.py", line 3, in <module>',
        "ask for help: someone@example.org",
        "bad RTSP URL; expected rtsp://HOST[:PORT]/PATH, with percent-encoding for / ? # @ in a password",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert redact(text) == text


def test_a_long_text_costs_little() -> None:
    began = time.monotonic()
    for text in ("//a:" * 20_000 + "@", "a:" * 20_000 + "@", "x" * 100_000 + "@", "://" * 20_000, "%40" * 20_000):
        redact(text)
    assert time.monotonic() - began < 20


def test_an_error_holds_no_password() -> None:
    for error in (SourceError("http://u:secret@cam"), SubscriptionTimeoutError("http://u:secret@cam")):
        assert str(error) == "http://***@cam"
        assert error.args == ("http://***@cam",)
