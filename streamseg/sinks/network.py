"""Sinks that publish results to subscribers; pictures are encoded only for a view that has a subscriber."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import msgspec
import zmq

from streamseg.errors import EndpointInUseError, SettingsError, StageError, StreamsegError
from streamseg.sinks.connections import Connections, limit_input
from streamseg.wire.curve import Admission, read_server_keys
from streamseg.wire.limits import READERS
from streamseg.wire.protocol import EncodedResult, ResultView, View, encode_event

if TYPE_CHECKING:
    from streamseg.config import PublishSettings
    from streamseg.messages import End, Heartbeat, Image, SourceState
    from streamseg.sinks.sink import Pictures, PublishedResult

_QUEUE = 8
_LIVE_BUFFER_BYTES = 1 << 16
"""Kernel buffer of each subscriber. With less, TCP on loopback waits 40 ms for acknowledgements of each picture."""
_FILE_BUFFER_BYTES = 1 << 20
_MESSAGES_PER_TURN = 64
LINGER_MS = 500
"""Time for messages in flight when a socket is closed at the end of a run."""


class Network:
    """An XPUB socket: unlike PUB, it shows which views have a subscriber."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        settings: PublishSettings,
        source: str,
        *,
        live: bool = False,
        most: int = READERS,
    ) -> None:
        """Bind the endpoint, and connect to the proxy if there is one.

        Args:
            context: Of the socket.
            settings: The endpoint, and who may subscribe.
            source: Name of the source.
            live: Keep little for a subscriber that is slow. For one of a file, more fits.
            most: Connections at a time.

        Raises:
            EndpointInUseError: Another process has the endpoint.
            SettingsError: A key file cannot be used, or the proxy's address cannot exist.
        """
        self.socket = context.socket(zmq.XPUB)
        self.socket.linger = 0
        self.socket.sndhwm = _QUEUE
        self.socket.sndbuf = _LIVE_BUFFER_BYTES if live else _FILE_BUFFER_BYTES
        self.socket.setsockopt(zmq.XPUB_VERBOSER, 1)  # shows every subscription and cancellation of every subscriber
        limit_input(self.socket, curve=settings.curve is not None)
        self._quality = settings.quality
        self._source = source
        self._admission: Admission | None = None
        if settings.curve is not None:
            self._admission = Admission(
                context, read_server_keys(settings.curve.secret_key_file, settings.curve.allow_files)
            )
            self._admission.guard(self.socket)
        self._connections = Connections(self.socket, source, most)
        try:
            self._bind(settings.bind)
            if settings.connect is not None:
                self._connect(settings.connect)
        except StreamsegError:
            for socket in self.sockets:  # an open socket would block the end of the context
                socket.close()
            raise

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """The sockets to watch, and to close at the end in this order."""
        own = [self.socket, self._connections.monitor]
        return own if self._admission is None else [*own, self._admission.socket]

    def service(self) -> bool:
        """Process connections, subscriptions and cancellations, and return whether there is a new subscription.

        Call it every turn.
        """
        if self._admission is not None:
            self._admission.decide()
        self._connections.update()
        added = False
        for _ in range(_MESSAGES_PER_TURN):
            try:
                added |= self._connections.receive(self.socket.recv(zmq.NOBLOCK, copy=False))
            except zmq.Again:
                break
        return added

    def connections(self) -> int:
        """How many subscribers and proxies are connected."""
        return len(self._connections)

    def wants(self, view: View) -> bool:
        """Whether a view has a subscriber."""
        return self._connections.wants(view)

    @property
    def requested(self) -> bool:
        """Whether a subscriber has requested one view of the results: a prefix of the topics does not."""
        return self._connections.requested

    def send_result(self, encoded: EncodedResult) -> None:
        """Send a result without a picture, if that view has a subscriber."""
        if self.wants("masks"):
            self._send(encoded.parts)

    def send_picture(self, encoded: EncodedResult, view: ResultView, image: Image) -> None:
        """Send a result with its picture."""
        self._send(encoded.as_view(self._source, view, self._jpeg(image)).parts)

    def send_state(self, state: SourceState) -> None:
        """Send a change of the source or of a stage."""
        self._send(encode_event(state))

    def send_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Send a heartbeat."""
        self._send(encode_event(heartbeat))

    def send_end(self, end: End) -> None:
        """Send the last message; subscribers then have a moment to receive what is in flight."""
        self._send(encode_event(end))
        self.socket.linger = LINGER_MS

    def _bind(self, endpoint: str) -> None:
        try:
            self.socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise EndpointInUseError(
                f"{endpoint}: cannot be bound ({error.strerror}); end the program that has it, or choose another"
            ) from error

    def _connect(self, endpoint: str) -> None:
        # A proxy's subscriptions end with its connection; it subscribes again when it is back.
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


class MaskSink:
    """Sends results without pictures, and the end. It comes before every sink that takes time to draw or to close."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def wants(self) -> bool:
        """This view has no picture."""
        return False

    def write(self, result: PublishedResult, pictures: Pictures) -> None:
        """Send a result to the subscribers of `masks`."""
        self._network.send_result(result.encoded)

    def close(self, end: End) -> None:
        """Send the end to the subscribers of every view."""
        self._network.send_end(end)


class PictureSink:
    """Sends results with the clean or the drawn picture."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def wants(self) -> bool:
        """Whether a view with a picture has a subscriber."""
        return self._network.wants("clean") or self._network.wants("overlay")

    def write(self, result: PublishedResult, pictures: Pictures) -> None:
        """Send a result to the subscribers of `clean` and `overlay`."""
        if pictures.clean is None:
            return
        if self._network.wants("clean"):
            self._network.send_picture(result.encoded, "clean", pictures.clean)
        if self._network.wants("overlay"):
            drawn = pictures.draw(pictures.clean)
            timings = msgspec.structs.replace(
                result.result.timings, rendered=drawn.rendered_ms, published=drawn.rendered_ms
            )
            self._network.send_picture(result.encoded.with_timings(timings), "overlay", drawn.image)

    def close(self, end: End) -> None:
        """`MaskSink` sends the end."""
