from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec import structs

from streamseg.errors import SettingsError, SourceError
from streamseg.sources import SourceSettings
from streamseg.sources.address import NetworkAddress
from streamseg.sources.connection import no_picture


def parse(url: str, username: str | None = None, password: str | None = None) -> NetworkAddress:
    return NetworkAddress.parse(url, username, password)


@pytest.mark.parametrize(
    ("url", "shown", "host", "port"),
    [
        ("rtsp://cam/stream", "rtsp://cam/stream", "cam", 554),
        ("RTSP://10.0.0.1:8554", "rtsp://10.0.0.1:8554", "10.0.0.1", 8554),
        ("rtsps://cam:322/a/b", "rtsps://cam:322/a/b", "cam", 322),
        ("rtsp://[fe80::1]:8554/x", "rtsp://[fe80::1]:8554/x", "fe80::1", 8554),
        ("rtsp://u:secret@cam/x", "rtsp://cam/x", "cam", 554),
        ("rtsp://u:sec@ret@cam/x", "rtsp://cam/x", "cam", 554),
        ("rtsp://cam/x?user=u&password=secret", "rtsp://cam/x", "cam", 554),
        ("rtsp://cam/user=u_password=secret_channel=1.sdp", "rtsp://cam/...", "cam", 554),
    ],
)
def test_the_shown_address_has_no_password(url: str, shown: str, host: str, port: int) -> None:
    address = parse(url)
    assert (address.shown, address.host, address.port) == (shown, host, port)
    assert "secret" not in repr(address) and "sec@ret" not in repr(address)


@pytest.mark.parametrize(
    ("url", "username", "password", "expected"),
    [
        ("rtsp://cam/x", "u", "p@s:s/w#d?%41", "rtsp://u:p%40s%3As%2Fw%23d%3F%2541@cam/x"),
        ("rtsp://old:older@cam/x", "new", "newer", "rtsp://new:newer@cam/x"),
        ("rtsp://u@cam/x", None, "p", "rtsp://u:p@cam/x"),
        ("rtsp://u:p%40ss@cam/x", None, None, "rtsp://u:p%40ss@cam/x"),
        ("rtsp://u:p@ss@cam/x", None, None, "rtsp://u:p%40ss@cam/x"),
        ("rtsp://u:50%@cam/x?a=1", None, None, "rtsp://u:50%25@cam/x?a=1"),
        ("rtsp://cam/x", None, None, "rtsp://cam/x"),
        ("rtsp://cam/x", os.fsdecode(b"\xdf"), "ß", "rtsp://%DF:%C3%9F@cam/x"),
    ],
)
def test_credentials_are_percent_encoded_once(
    url: str, username: str | None, password: str | None, expected: str
) -> None:
    assert parse(url, username, password).url == expected


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://u:sec/ret@cam/x",
        "rtsp://u:secret@cam:port/x",
        "rtsp://u:1/secret@cam/x",
        "ftp://u:secret@cam/x",
        "rtsp:///x",
    ],
)
def test_the_error_for_a_bad_url_does_not_repeat_it(url: str) -> None:
    with pytest.raises(SourceError, match="percent-encoding") as raised:
        parse(url)
    assert "sec" not in str(raised.value)


def test_settings_do_not_show_secrets() -> None:
    assert "secret" not in repr(SourceSettings(url="rtsp://u:secret@cam"))
    assert "secret" not in repr(NetworkAddress.parse("rtsp://u:secret@cam", "u", "secret-two"))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "has no first line"),
        (b"\nsecret\n", "has no first line"),
        (b"\xdf", "is not UTF-8"),
        (b"s" * 4097, "cannot be read: it has more than 4096 bytes"),
    ],
)
def test_a_password_file_that_is_unusable(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=rf"^sources\.main\.password_file: {file} {why}; expected a file whose"):
        SourceSettings(url="rtsp://cam", password_file=str(file)).read_password()


def test_a_pipe_or_device_holds_no_password() -> None:
    with pytest.raises(SettingsError, match="/dev/zero cannot be read: it is a device or a pipe; expected"):
        SourceSettings(url="rtsp://cam", password_file="/dev/zero").read_password()


def test_what_may_be_the_password_itself_is_not_repeated() -> None:
    with pytest.raises(SettingsError, match=r"^sources\.main\.password_file: there is no such file; expected"):
        SourceSettings(url="rtsp://cam", password_file="S3cret").read_password()


@pytest.mark.parametrize("content", ["secret\nnote\n", "secret\r\n", "\ufeffsecret\r\n", "secret"])
def test_the_password_is_the_first_line_of_its_file(tmp_path: Path, content: str) -> None:
    file = tmp_path / "password"
    file.write_bytes(content.encode())
    assert SourceSettings(url="rtsp://cam", password_file=str(file)).read_password() == "secret"


def test_without_a_file_there_is_no_password() -> None:
    assert SourceSettings(url="rtsp://cam").read_password() is None


@pytest.mark.parametrize(("url", "password"), [("rtsp://cam/x", "secret"), ("rtsp://:secret@cam/x", None)])
def test_a_password_needs_a_user_name(url: str, password: str | None) -> None:
    with pytest.raises(SourceError, match="a password without a user name") as caught:
        parse(url, password=password)
    assert "secret" not in str(caught.value)


def test_messages_have_the_key_of_the_source(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret")
    door = SourceSettings(url="rtsp://cam/x", name="door", password_file=str(file))
    with pytest.raises(SourceError, match=r"; set sources\.door\.username, or"):
        NetworkAddress.of(door)
    denied = NetworkAddress.of(structs.replace(door, username="user")).denied(" (401)")
    assert str(denied) == (
        "rtsp://cam/x refused the user name or password (401); check sources.door.username and "
        "sources.door.password_file"
    )
    assert str(no_picture("rtsp://cam/x", door)).endswith("needs a longer sources.door.start_timeout")
    with pytest.raises(SettingsError, match=r"^sources\.door\.password_file: "):
        structs.replace(door, password_file="gone").read_password()
