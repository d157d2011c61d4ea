"""H.264 in RTP packets that travel in an RTSP connection, as RFC 2326 interleaves them."""

from __future__ import annotations

from typing import Final

_DOLLAR: Final = b"$"
_HEADER: Final = 4
"""Bytes in front of a packet: a dollar sign, the channel, and the length."""
_RTP_HEADER: Final = 12
_SINGLE_TIME, _FRAGMENT = 24, 28
_OF_KEYFRAMES: Final = (5, 7, 8)
"""Kinds of NAL units: a slice of a keyframe, and the two sets of parameters."""


class KeyframeFilter:
    """Removes the keyframes from the bytes that a server sends."""

    def __init__(self) -> None:
        self._rest = b""

    def pass_on(self, data: bytes) -> bytes:
        """The bytes to forward of those received so far."""
        self._rest += data
        passed = b""
        while self._rest:
            if not self._rest.startswith(_DOLLAR):  # an RTSP message, which contains none
                text, dollar, rest = self._rest.partition(_DOLLAR)
                passed, self._rest = passed + text, dollar + rest
                continue
            length = _HEADER + int.from_bytes(self._rest[2:_HEADER])
            if len(self._rest) < max(_HEADER, length):
                break
            packet, self._rest = self._rest[:length], self._rest[length:]
            if packet[1] or _kind(packet[_HEADER + _RTP_HEADER :]) not in _OF_KEYFRAMES:
                passed += packet
        return passed


def _kind(payload: bytes) -> int:
    """The kind of the first NAL unit in a packet."""
    kind = payload[0] & 31
    if kind == _FRAGMENT:
        return payload[1] & 31
    return payload[3] & 31 if kind == _SINGLE_TIME else kind
