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
from streamseg.wire.curve import make_key_pair, read_client_keys, read_server_keys, write_public_key

OVERFLOW = "#####" + "0" * 35  # Z85's characters, but more than 32 bits


def test_a_pair_is_read_back_and_only_its_owner_can_read_the_secret_key(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        secret_file, public_file = make_key_pair(tmp_path / "my.viewer")
    finally:
        os.umask(before)
    assert (secret_file.name, public_file.name) == ("my.viewer.key", "my.viewer.pub")
    assert sorted(tmp_path.iterdir()) == [secret_file, public_file]
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
    existing = tmp_path / f"viewer{suffix}"
    existing.write_text("mine\n")
    with pytest.raises(OutputExistsError, match=re.escape(f"viewer{suffix} exists")):
        make_key_pair(tmp_path / "viewer")
    assert existing.read_text() == "mine\n"
    assert list(tmp_path.iterdir()) == [existing]


@pytest.mark.parametrize("stem", ["gone/viewer", "", "/"])
def test_a_pair_that_cannot_be_written_is_refused(tmp_path: Path, stem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        make_key_pair(Path(stem))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is not a key file"),
        (b"These are no keys.\n", "is not a key file"),
        (b"public-key\n", "is not a key file"),
        (b"\xff" * 40, "is not a key file"),
        (b'public-key = "' + b"0" * 39 + b'"', "holds a damaged key"),
        (b'public-key = "' + b"0" * 45 + b'"', "holds a damaged key"),
        (b'public-key = "' + b"0" * 39 + b"|", "holds a damaged key"),
        (b'public-key = "' + OVERFLOW.encode() + b'"', "holds a damaged key"),
    ],
)
def test_a_bad_key_file_is_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    secret_file, _ = make_key_pair(tmp_path / "publisher")
    path = tmp_path / "viewer.pub"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=rf"^publish\.curve\.allow: {re.escape(str(path))} {complaint}") as caught:
        read_server_keys(str(secret_file), [str(path)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("gone", r"cannot be read \(No such file or directory\)"),
        (".", r"cannot be read \(it is a folder\)"),
        ("/dev/zero", r"cannot be read \(it is a device or a pipe\)"),
        ("long", r"cannot be read \(it has more than 4096 bytes\)"),
        ("a\0b", "is not a key file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, path: str, complaint: str) -> None:
    (tmp_path / "long").write_bytes(bytes(4097))
    secret_file, _ = make_key_pair(tmp_path / "publisher")
    with pytest.raises(SettingsError, match=rf"^publish\.curve\.allow: .* {complaint}"):
        read_server_keys(str(secret_file), [str(tmp_path / path)])


def test_public_and_secret_keys_are_told_apart(tmp_path: Path) -> None:
    secret_file, public_file = make_key_pair(tmp_path / "publisher")
    with pytest.raises(SettingsError, match=r"^publish\.curve\.allow: .* holds a secret key; expected the public one"):
        read_server_keys(str(secret_file), [str(secret_file)])
    with pytest.raises(SettingsError, match=r"^publish\.curve\.secret_key_file: .* holds a public key; expected the"):
        read_server_keys(str(public_file), [str(public_file)])
    with pytest.raises(SettingsError, match=r"^server_key_file: .*gone cannot be read"):
        read_client_keys(secret_file, tmp_path / "gone")


def test_a_message_never_repeats_a_secret_key(tmp_path: Path) -> None:
    secret_file, public_file = make_key_pair(tmp_path / "publisher")
    secret = read_client_keys(secret_file, public_file).secret.decode()
    damaged = tmp_path / "damaged.key"
    damaged.write_text(secret_file.read_text().replace(secret, secret[:-1] + "|"))
    with pytest.raises(SettingsError, match=r"^secret_key_file: .* holds a damaged key") as caught:
        read_client_keys(damaged, public_file)
    assert secret[:-1] not in str(caught.value)


@given(st.binary(min_size=32, max_size=32))
def test_every_32_bytes_are_a_key(tmp_path_factory: pytest.TempPathFactory, key: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    if not (folder / "publisher.key").exists():
        make_key_pair(folder / "publisher")
    write_public_key(folder / "any.pub", z85.encode(key))
    assert read_client_keys(folder / "publisher.key", folder / "any.pub").server == z85.encode(key)
