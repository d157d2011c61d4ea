"""The publishing socket: who asked for what, and sends just that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import zmq

from streamseg.errors import EndpointInUseError, SettingsError, StageError
from streamseg.wire.curve import Admission, read_server_keys
from streamseg.wire.protocol import EncodedResult, ResultView, View, encode_event, requests_view

if TYPE_CHECKING:
    from streamseg.config import PublishSettings
    from streamseg.messages import End, Heartbeat, Image, SourceState

_QUEUE = 8
_KERNEL_BUFFER_BYTES = 1 << 20
_FAREWELL_MS = 500


class Broadcast:
    """An XPUB socket: it learns of subscriptions, so that a picture nobody asked for is neither drawn nor encoded."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], settings: PublishSettings, source: str) -> None:
        """Bind the endpoint, and connect to the proxy where there is one.

        Raises:
            EndpointInUseError: Somebody else has the endpoint.
            SettingsError: A key file cannot be used, or the proxy's address cannot exist.
        """
        self.socket = context.socket(zmq.XPUB)
        self.socket.linger = 0
        self.socket.sndhwm = _QUEUE
        self.socket.sndbuf = _KERNEL_BUFFER_BYTES
        self._quality = settings.quality
        self._source = source
        self._subscriptions: set[bytes] = set()
        self._admission: Admission | None = None
        if settings.curve is not None:
            self._admission = Admission(
                context, read_server_keys(settings.curve.secret_key_file, settings.curve.allow_files)
            )
            self._admission.guard(self.socket)
        try:
            self.socket.bind(settings.bind)
        except zmq.ZMQError as error:
            raise EndpointInUseError(
                f"{settings.bind}: cannot be bound ({error.strerror}); end the program that has it, or choose another"
            ) from error
        if settings.connect is not None:
            self._connect(settings.connect)

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """What has to be served when it is readable, and closed at the end, in this order."""
        return [self.socket] if self._admission is None else [self.socket, self._admission.socket]

    def service(self) -> None:
        """Take in who wants to subscribe, subscriptions and cancellations."""
        if self._admission is not None:
            self._admission.decide()
        while True:
            try:
                message = self.socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            if message[:1] == b"\x01":
                self._subscriptions.add(message[1:])
            else:
                self._subscriptions.discard(message[1:])

    def wants(self, view: View) -> bool:
        """Whether anybody subscribed to a view."""
        return any(requests_view(subscription, self._source, view) for subscription in self._subscriptions)

    def send_result(self, encoded: EncodedResult) -> None:
        """Send a result alone, if somebody subscribed to that."""
        if self.wants("masks"):
            self._send(encoded.parts)

    def send_picture(self, encoded: EncodedResult, view: ResultView, image: Image) -> None:
        """Send a result with its picture, if somebody subscribed to that view."""
        if self.wants(view):
            self._send(encoded.as_view(self._source, view, self._jpeg(image)).parts)

    def send_state(self, state: SourceState) -> None:
        """Send a change of the source or of a stage."""
        self._send(encode_event(state))

    def send_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Send a sign of life."""
        self._send(encode_event(heartbeat))

    def say_goodbye(self, end: End) -> None:
        """Send the last message; a subscriber then has a moment to take what is under way."""
        self._send(encode_event(end))
        self.socket.linger = _FAREWELL_MS

    def _connect(self, endpoint: str) -> None:
        # What a proxy subscribed to is forgotten when it goes away; it says it again when it comes back.
        self.socket.immediate = True
        try:
            self.socket.connect(endpoint)
        except zmq.ZMQError as error:
            raise SettingsError(
                f"publish.connect: {endpoint} ({error.strerror}); expected the address of a proxy"
            ) from error

    def _send(self, parts: list[bytes]) -> None:
        self.socket.send_multipart(parts, zmq.NOBLOCK)

    def _jpeg(self, image: Image) -> bytes:
        done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        if not done:
            raise StageError("the picture could not be encoded as JPEG")
        return data.tobytes()
