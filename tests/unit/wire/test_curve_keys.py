from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st
from zmq.utils import z85

from streamseg.errors import OutputExistsError, SettingsError, UsageError
from streamseg.keys import make_key_pair
from streamseg.wire.curve import read_client_keys, read_server_keys, write_key, write_key_pair

OVERFLOW = b"#####" + b"0" * 35  # Z85's characters, but more than 32 bits


def allowed(path: Path) -> frozenset[bytes]:
    secret = path.with_name("other.key")
    if not secret.exists():
        secret.write_bytes(zmq.curve_keypair()[1])
    return read_server_keys(str(secret), [str(path)]).allowed


def refusal(path: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        allowed(path)
    message = str(caught.value)
    assert message.startswith("publish.curve.allow: ")
    assert "\n" not in message
    return message


def test_a_pair_is_read_as_it_was_made_and_only_its_owner_can_read_the_secret_one(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        secret_file, public_file = make_key_pair(tmp_path / "my.viewer")
    finally:
        os.umask(before)
    assert (secret_file.name, public_file.name) == ("my.viewer.key", "my.viewer.pub")
    assert stat.S_IMODE(secret_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(public_file.stat().st_mode) == 0o644
    server = read_server_keys(str(secret_file), [str(public_file)])
    client = read_client_keys(secret_file, str(public_file))
    assert server.allowed == {zmq.curve_public(server.secret)} == {client.server}
    assert client.secret == server.secret
    assert server.secret not in public_file.read_bytes()
    for shown in (repr(server), repr(client)):
        assert server.secret.decode() not in shown


@pytest.mark.parametrize("suffix", [".key", ".pub"])
def test_a_key_is_never_overwritten(tmp_path: Path, suffix: str) -> None:
    there = tmp_path / f"viewer{suffix}"
    there.write_text("mine\n")
    with pytest.raises(OutputExistsError, match=re.escape(f"viewer{suffix} exists")):
        make_key_pair(tmp_path / "viewer")
    assert there.read_text() == "mine\n"
    assert list(tmp_path.iterdir()) == [there]
    with pytest.raises(UsageError, match="cannot be written: File exists"):
        write_key(there, b"", "secret")
    assert there.read_text() == "mine\n"


@pytest.mark.parametrize("stem", ["gone/viewer", "", "/"])
def test_a_pair_that_cannot_be_written_is_refused(tmp_path: Path, stem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        make_key_pair(Path(stem))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_file_may_hold_many_keys_with_remarks(tmp_path: Path) -> None:
    pairs = [zmq.curve_keypair() for _ in range(3)]
    path = tmp_path / "viewers"
    path.write_bytes(
        b"\r\n".join([pairs[0][0], b"", pairs[1][0] + b"  of the kitchen", pairs[2][0] + b"\tpublic key", b""])
    )
    assert allowed(path) == {public for public, _ in pairs}
    more = tmp_path / "more"
    more.write_bytes(pairs[0][1])
    files = [str(path), str(more)]
    assert read_server_keys(str(more), files).allowed == {public for public, _ in pairs} | {pairs[0][1]}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "holds no key"),
        (b"\n \n", "holds no key"),
        (b"0" * 39, "line 1 of "),
        (b"0" * 41, "line 1 of "),
        (b"0" * 40 + b"\nnonsense", "line 2 of "),
        (b"0" * 39 + b"'", "is not a key"),
        (b"\xff" * 40, "is not a key"),
        (OVERFLOW, "is not a key"),
        (b"0" * 40 + b" secret key", "holds a secret key; expected the public one"),
    ],
)
def test_what_is_not_a_file_of_public_keys_is_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "viewers"
    path.write_bytes(content)
    message = refusal(path)
    assert complaint in message
    assert str(path) in message


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "gone")
    assert "Is a directory" in refusal(tmp_path)
    assert "not a path" in refusal(tmp_path / "a\0b")


def test_a_secret_key_is_one_and_is_not_repeated_in_a_message(tmp_path: Path) -> None:
    public, secret = zmq.curve_keypair()
    _, public_file = write_key_pair(tmp_path / "pair", public, secret)
    path = tmp_path / "secret"
    for content, complaint in (
        (secret + b"\n" + secret, "holds 2 keys"),
        (secret[:-1], "is not a key"),
        (secret + b"'", "is not a key"),
    ):
        path.write_bytes(content)
        with pytest.raises(SettingsError, match=rf"^publish\.curve\.secret_key_file: .*{complaint}") as caught:
            read_server_keys(str(path), [str(public_file)])
        assert secret[:-1].decode() not in str(caught.value)
    with pytest.raises(SettingsError, match=r"^secret_key_file: .* holds a public key; expected the secret one"):
        read_client_keys(public_file, public_file)
    with pytest.raises(SettingsError, match=r"^server_key_file: .*gone cannot be read"):
        read_client_keys(tmp_path / "pair.key", tmp_path / "gone")


@given(st.binary(min_size=32, max_size=32))
def test_every_32_bytes_are_a_key(tmp_path_factory: pytest.TempPathFactory, key: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(z85.encode(key))
    assert allowed(path) == {z85.encode(key)}
