"""Sinks that publish results through the hub; pictures are encoded only for a view that has a subscriber."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, get_args

import cv2
import msgspec
import zmq

from streamseg.errors import StageError
from streamseg.ipc.links import LINGER_MS
from streamseg.wire.protocol import EncodedResult, ResultView, View, encode_event, requests_view, topic

if TYPE_CHECKING:
    from streamseg.messages import End, Heartbeat, Image, SourceState
    from streamseg.sinks.sink import Pictures, PublishedResult

_LIVE_QUEUE: Final = 8
"""Messages of a live source that wait for a hub that is slow; of a file, ZeroMQ's default of 1000."""
_MESSAGES_PER_TURN = 64
_SUBSCRIBE, _CANCEL = b"\x01", b"\x00"


class Network:
    """An XPUB socket connected to the hub: unlike PUB, it shows which views of a source have a subscriber."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], address: str, source: str, quality: int, *, live: bool = False
    ) -> None:
        """Connect to the hub, which may not be there yet.

        Args:
            context: Of the socket.
            address: Of the hub.
            source: Name of the source.
            quality: Of JPEG pictures, 1 to 100.
            live: Keep little for a hub that is slow.
        """
        self.socket = context.socket(zmq.XPUB)
        self.socket.linger = 0
        if live:
            self.socket.sndhwm = _LIVE_QUEUE
        self.socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # shows the subscription of every subscriber
        self.socket.immediate = True  # so subscriptions end with a hub that ends
        self.socket.connect(address)
        self._source = source
        self._quality = quality
        self._topics: set[bytes] = set()
        self._views: Counter[View] = Counter()
        self._complete = {topic(source, view) for view in get_args(ResultView)}

    def service(self) -> bool:
        """Process subscriptions and cancellations, and return whether there is a new subscriber to the source.

        Call it every turn.
        """
        added = False
        for _ in range(_MESSAGES_PER_TURN):
            try:
                message = self.socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            kind, name = message[:1], message[1:]
            if kind == _SUBSCRIBE:
                views = [view for view in get_args(View) if requests_view(name, self._source, view)]
                added |= bool(views)
                if name not in self._topics:
                    self._topics.add(name)
                    self._views.update(views)
            elif kind == _CANCEL and name in self._topics:
                self._topics.remove(name)
                self._views.subtract(view for view in get_args(View) if requests_view(name, self._source, view))
        return added

    def wants(self, view: View) -> bool:
        """Whether a view has a subscriber."""
        return self._views[view] > 0

    @property
    def requested(self) -> bool:
        """Whether a subscriber has requested one view of the results: a prefix of the topics does not."""
        return not self._complete.isdisjoint(self._topics)

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
        """Send the last message; the hub then has a moment to receive what is in flight."""
        self._send(encode_event(end))
        self.socket.linger = LINGER_MS

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
