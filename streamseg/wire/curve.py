"""CURVE, ZeroMQ's encryption: key files, and the lists of keys that may subscribe and control.

Key files are certificates of `zmq.auth`, which CZMQ reads too. Functions import `zmq.auth` themselves: it loads
asyncio, which a subscriber without keys does not need.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import zmq
from zmq.utils import z85

from streamseg.errors import OutputExistsError, SettingsError, UsageError
from streamseg.paths import read_small

_log = logging.getLogger(__name__)

_LOGGED_KEYS = 64
_DECISIONS = 64
_REMEDY = "`streamseg keys NAME` makes a pair"


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """The secret key of a side that binds and the public keys that it admits, in Z85; `setting` names these."""

    secret: bytes = field(repr=False)
    allowed: frozenset[bytes]
    setting: str = "publish.curve.allow"


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """The secret key of a side that connects and the public key of the other, in Z85."""

    secret: bytes = field(repr=False)
    server: bytes

    def guard(self, socket: zmq.Socket[bytes]) -> None:
        """Encrypt a socket that connects, and accept no other server."""
        socket.curve_secretkey = self.secret
        socket.curve_publickey = zmq.curve_public(self.secret)
        socket.curve_serverkey = self.server


def read_server_keys(secret_key_file: str, allow: Sequence[str], key: str = "publish.curve") -> ServerKeys:
    """Read the keys of a side that binds; `allow` are the files of the others' public keys, `key` names the settings.

    Raises:
        SettingsError: A file cannot be read, or does not hold such a key.
    """
    setting = f"{key}.allow"
    allowed = read_allowed_keys(allow, setting)
    return ServerKeys(_read_secret(secret_key_file, f"{key}.secret_key_file"), allowed, setting)


def read_allowed_keys(paths: Sequence[str], setting: str) -> frozenset[bytes]:
    """Read the public keys of an allow-list.

    Raises:
        SettingsError: A file cannot be read, or does not hold such a key.
    """
    return frozenset(_read_public(path, setting) for path in paths)


def read_client_keys(secret_key_file: str | Path, server_key_file: str | Path) -> ClientKeys:
    """Read the keys of a side that connects.

    Raises:
        SettingsError: A file cannot be read, or does not hold such a key.
    """
    return ClientKeys(
        _read_secret(secret_key_file, "secret_key_file"), _read_public(server_key_file, "server_key_file")
    )


def read_client_key_pair(secret_key_file: str | Path | None, server_key_file: str | Path | None) -> ClientKeys | None:
    """Read the keys of the side that connects; None if it has none.

    Raises:
        UsageError: One of the two is missing.
        SettingsError: A file cannot be read, or does not hold such a key.
    """
    if secret_key_file is None and server_key_file is None:
        return None
    if secret_key_file is None or server_key_file is None:
        missing = "secret_key_file" if secret_key_file is None else "server_key_file"
        raise UsageError(
            f"{missing}: missing; it takes the secret key of this side and the public key of the pipeline, or neither"
        )
    return read_client_keys(secret_key_file, server_key_file)


def make_key_pair(stem: Path) -> tuple[Path, Path]:
    """Make a pair and write `stem.key`, a secret key that only this user can read, and `stem.pub`; return both.

    Raises:
        OutputExistsError: A file exists; keys are never overwritten.
        UsageError: The files cannot be written.
    """
    if not stem.name:
        raise UsageError(f"{str(stem)!r} is not a name for a key pair; expected one such as `viewer`")
    secret_file, public_file = (stem.with_name(f"{stem.name}{suffix}") for suffix in (".key", ".pub"))
    for path in (secret_file, public_file):
        if os.path.lexists(path):
            raise OutputExistsError(f"{path} exists, and a key is never overwritten; choose another name")
    from zmq.auth import create_certificates

    try:
        # pyzmq writes secret keys that everybody can read; this folder admits only its owner.
        with TemporaryDirectory(dir=stem.parent, prefix=".keys-") as folder:
            public, secret = create_certificates(folder, "pair")
            Path(secret).chmod(0o600)
            Path(public).chmod(0o644)
            Path(secret).rename(secret_file)
            Path(public).rename(public_file)
    except OSError as error:
        raise UsageError(f"{secret_file} cannot be written: {error.strerror}; choose another folder") from error
    return secret_file, public_file


def write_public_key(path: Path, key: bytes) -> None:
    """Write the certificate of one public key in Z85."""
    path.write_text(f'curve\n    public-key = "{key.decode()}"\n')


_LIKE_A_PASSWORD: Final = str.maketrans("@:%=", "????")
"""Characters of a public key that a log would hide with what is between them."""


class Admission:
    """Admits peers by their keys, over ZAP (ZeroMQ RFC 27): CURVE alone encrypts and admits any key.

    Create it before the sockets that it guards are bound, and close its own socket after those.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: ServerKeys) -> None:
        from zmq.auth import Authenticator

        self._keys = keys
        self._address = ""
        self._authenticator = Authenticator(context)
        self._authenticator.start()
        self.socket: zmq.Socket[bytes] = self._authenticator.zap_socket
        self.socket.linger = 0

    def guard(self, socket: zmq.Socket[bytes]) -> None:
        """Encrypt a socket, and admit nobody without a decision of `decide`."""
        self._guard(socket, self._keys.allowed, self._keys.setting)

    def guard_control(self, socket: zmq.Socket[bytes], allowed: frozenset[bytes]) -> None:
        """Encrypt the control socket in the same way; it has keys of its own that are allowed."""
        self._guard(socket, allowed, "control.allow")

    def _guard(self, socket: zmq.Socket[bytes], allowed: frozenset[bytes], setting: str) -> None:
        self._authenticator.configure_curve_callback(setting, _AllowList(allowed, setting, lambda: self._address))
        socket.curve_server = True
        socket.curve_secretkey = self._keys.secret
        socket.zap_domain = setting.encode()
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def decide(self) -> None:
        """Admit or refuse those that tried to connect since the last call, at most a turn's work of them."""
        for _ in range(_DECISIONS):
            try:
                request = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._address = request[3].decode()
            # It waits for nothing, and an event loop of its own would need three descriptors for each decision.
            with contextlib.suppress(StopIteration):
                self._authenticator.handle_zap_message(request).send(None)


class _AllowList:
    """The keys that one socket admits; it logs those that it refuses."""

    def __init__(self, allowed: frozenset[bytes], setting: str, address: Callable[[], str]) -> None:
        self._allowed = allowed
        self._setting = setting
        self._address = address
        self._refused: set[bytes] = set()

    def callback(self, domain: str, key: bytes) -> bool:
        """Decide about one key in Z85; called by pyzmq."""
        if key in self._allowed:
            return True
        # A refused subscriber tries again and again; an attacker, with ever new keys.
        if key not in self._refused and len(self._refused) < _LOGGED_KEYS:
            self._refused.add(key)
            _log.warning(
                "a program at %s was refused: its key %s is not in %s",
                self._address(),
                key.decode().translate(_LIKE_A_PASSWORD),
                self._setting,
            )
        return False


def _read_secret(path: str | Path, setting: str) -> bytes:
    _, secret = _read(path, setting)
    if secret is None:
        raise SettingsError(f"{setting}: {path} holds a public key; expected the secret one of a pair")
    return secret


def _read_public(path: str | Path, setting: str) -> bytes:
    public, secret = _read(path, setting)
    if secret is not None:
        raise SettingsError(f"{setting}: {path} holds a secret key; expected the public one of a pair")
    return public


def _read(path: str | Path, setting: str) -> tuple[bytes, bytes | None]:
    from zmq.auth import load_certificate

    try:
        read_small(Path(path))  # pyzmq would read a device for ever
        public, secret = load_certificate(path)
    except OSError as error:
        raise SettingsError(
            f"{setting}: {path} cannot be read ({error.strerror}); expected a key file, {_REMEDY}"
        ) from error
    except (ValueError, IndexError) as error:
        raise SettingsError(f"{setting}: {path} is not a key file; {_REMEDY}") from error
    if not all(_is_key(key) for key in (public, secret) if key is not None):
        raise SettingsError(f"{setting}: {path} holds a damaged key; {_REMEDY}")
    return public, secret


def _is_key(text: bytes) -> bool:
    try:
        return len(z85.decode(text)) == 32
    except (KeyError, ValueError, struct.error):
        return False
