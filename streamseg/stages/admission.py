"""Who may subscribe: answers ZeroMQ's question about each key that knocks (ZAP, ZeroMQ RFC 27).

CURVE alone encrypts, and lets in any key.
"""

from __future__ import annotations

import logging

import zmq
from zmq.utils import z85

from streamseg.wire.curve import ServerKeys

_log = logging.getLogger(__name__)

_ADDRESS = "inproc://zeromq.zap.01"
_DOMAIN = b"streamseg"
_LOGGED_KEYS = 64


class Admission:
    """Guards one socket. It must be made before that socket is bound, and be closed after it."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: ServerKeys) -> None:
        self._keys = keys
        self._refused: set[bytes] = set()
        self.socket = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind(_ADDRESS)

    def guard(self, socket: zmq.Socket[bytes]) -> None:
        """Have a socket let in only who is allowed, and nobody while nobody answers."""
        socket.curve_server = True
        socket.curve_secretkey = self._keys.secret
        socket.zap_domain = _DOMAIN
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def answer(self) -> None:
        """Decide on everybody who has knocked since."""
        while True:
            try:
                version, request, _domain, address, _identity, mechanism, *credentials = self.socket.recv_multipart(
                    zmq.NOBLOCK
                )
            except zmq.Again:
                return
            key = z85.encode(credentials[0]) if mechanism == b"CURVE" else b""
            if key in self._keys.allowed:
                status, text = b"200", b"OK"
            else:
                status, text = b"400", b"not allowed"
                self._log_refusal(key, address)
            self.socket.send_multipart([version, request, status, text, b"", b""])

    def _log_refusal(self, key: bytes, address: bytes) -> None:
        # A refused subscriber knocks again and again, and somebody may come with ever new keys.
        if key not in self._refused and len(self._refused) < _LOGGED_KEYS:
            self._refused.add(key)
            _log.warning(
                "a subscriber at %s was refused: its key %s is not in publish.curve.allow",
                address.decode(),
                key.decode(),
            )
