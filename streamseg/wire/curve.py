"""Key files for CURVE, ZeroMQ's encryption: who may publish and who may watch. Read and written here, used by those with sockets.

Each line of a key file is a key of 32 bytes as 40 characters of Z85 (ZeroMQ RFC 32). What follows it after a space is a remark;
where that begins with `secret` or `public`, it must be the kind of key that is wanted.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from streamseg.errors import OutputExistsError, SettingsError, UsageError

Kind = Literal["public", "secret"]

_ALPHABET = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_KEY_CHARACTERS = 40
_LARGEST_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """What a publisher needs: its own secret key, and the public keys of those that it lets in."""

    secret: bytes = field(repr=False)
    allowed: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """What a subscriber needs: its own secret key, and the public key by which it knows the publisher."""

    secret: bytes = field(repr=False)
    server: bytes


def read_server_keys(secret_key_file: str, allow: Sequence[str]) -> ServerKeys:
    """Read a publisher's keys; `allow` are files that each hold the public key of one subscriber or of several.

    Raises:
        SettingsError: A file cannot be read, or has no such key.
    """
    allowed = [key for path in allow for key in _read_keys(Path(path), "public", "publish.curve.allow")]
    return ServerKeys(_read_key(Path(secret_key_file), "secret", "publish.curve.secret_key_file"), frozenset(allowed))


def read_client_keys(secret_key_file: str | Path, server_key_file: str | Path) -> ClientKeys:
    """Read a subscriber's keys.

    Raises:
        SettingsError: A file cannot be read, or has no such key.
    """
    return ClientKeys(
        _read_key(Path(secret_key_file), "secret", "secret_key_file"),
        _read_key(Path(server_key_file), "public", "server_key_file"),
    )


def write_key_pair(stem: Path, public: bytes, secret: bytes) -> tuple[Path, Path]:
    """Write a pair in Z85 as `stem.key`, which only this user can read, and `stem.pub`; return their paths.

    Raises:
        OutputExistsError: One of them is there; a key is never overwritten.
        UsageError: They cannot be written there.
    """
    if not stem.name:
        raise UsageError(f"{str(stem)!r} is not a name for a key pair; expected one such as `viewer`")
    secret_file, public_file = (stem.with_name(f"{stem.name}{suffix}") for suffix in (".key", ".pub"))
    for path in (secret_file, public_file):
        if os.path.lexists(path):
            raise OutputExistsError(f"{path} exists, and a key is never overwritten; choose another name")
    write_key(secret_file, secret, "secret")
    write_key(public_file, public, "public")
    return secret_file, public_file


def write_key(path: Path, key: bytes, kind: Kind) -> None:
    """Write one key in Z85 to a new file; a secret one so that only this user can read it.

    Raises:
        UsageError: It cannot be written there.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if kind == "secret" else 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key + f" {kind} key\n".encode())
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}; choose another folder") from error


def _read_key(path: Path, kind: Kind, name: str) -> bytes:
    keys = _read_keys(path, kind, name)
    if len(keys) > 1:
        raise SettingsError(f"{name}: {path} holds {len(keys)} keys; expected one")
    return keys[0]


def _read_keys(path: Path, kind: Kind, name: str) -> list[bytes]:
    remedy = "`streamseg keys NAME` makes a pair"
    try:
        with path.open("rb") as file:
            lines = file.read(_LARGEST_FILE).splitlines()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise SettingsError(
            f"{name}: {path} cannot be read ({reason}); expected a file with a {kind} key, {remedy}"
        ) from error
    keys = []
    for number, words in enumerate((line.split() for line in lines), start=1):
        if not words:
            continue
        if not _is_key(words[0]):
            raise SettingsError(
                f"{name}: line {number} of {path} is not a key; expected {_KEY_CHARACTERS} characters of Z85, {remedy}"
            )
        if words[1:2] in ([b"public"], [b"secret"]) and words[1] != kind.encode():
            raise SettingsError(f"{name}: {path} holds a {words[1].decode()} key; expected the {kind} one of a pair")
        keys.append(words[0])
    if not keys:
        raise SettingsError(f"{name}: {path} holds no key; expected a {kind} key, {remedy}")
    return keys


def _is_key(text: bytes) -> bool:
    if len(text) != _KEY_CHARACTERS or text.translate(None, _ALPHABET):
        return False
    # Five characters are four bytes; the largest such groups stand for more than that.
    return all(_value(text[start : start + 5]) < 1 << 32 for start in range(0, _KEY_CHARACTERS, 5))


def _value(group: bytes) -> int:
    value = 0
    for character in group:
        value = value * len(_ALPHABET) + _ALPHABET.index(character)
    return value
