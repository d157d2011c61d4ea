"""Controls a running pipeline from another process: lists, adds and removes its sources, and takes snapshots.

Importing this module loads neither torch nor PyAV nor OpenCV nor supervision.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeVar

import zmq

from streamseg.endpoints import check_remote
from streamseg.errors import ControlTimeoutError, MessageError, UsageError, error_from_name
from streamseg.messages import ResultMessage
from streamseg.result import Result
from streamseg.subscription import Deadline
from streamseg.wire.curve import read_client_key_pair
from streamseg.wire.limits import PART_BYTES
from streamseg.wire.protocol import decode
from streamseg.wire.requests import (
    AddRequest,
    ChangedReply,
    ErrorReply,
    HealthReply,
    HealthRequest,
    ReloadRequest,
    RemoveRequest,
    Reply,
    Request,
    SnapshotReply,
    SnapshotRequest,
    SourcesReply,
    SourcesRequest,
    SourceStatus,
    decode_reply,
    encode,
)

_Reply = TypeVar("_Reply", bound=Reply)


class Control:
    """Controls a running pipeline whose setting `control.bind` is set.

        with Control("tcp://127.0.0.1:5556") as control:
            control.add_source("yard", "rtsp://192.0.2.11/stream2")
            print([source.name for source in control.sources()])

    A request that the pipeline refuses raises the error that it names, such as `SettingsError`, and changes nothing.
    Every method raises `ControlTimeoutError` if no reply arrives in time. An object belongs to one thread.

    Args:
        endpoint: ZeroMQ address, `control.bind` of the pipeline.
        timeout: Seconds to wait for each reply.
        secret_key_file: File with this program's secret key, for a pipeline that admits certain keys only.
        server_key_file: File with that pipeline's public key.

    Raises:
        UsageError: The endpoint or a key file is invalid.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        timeout: float = 10.0,
        secret_key_file: str | Path | None = None,
        server_key_file: str | Path | None = None,
    ) -> None:
        check_remote("endpoint", endpoint)
        keys = read_client_key_pair(secret_key_file, server_key_file)
        self.endpoint = endpoint
        self._timeout = timeout
        self._ids = count(1)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.setsockopt(zmq.MAXMSGSIZE, PART_BYTES)
        if keys is not None:
            keys.guard(self._socket)
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise UsageError(
                f"endpoint {endpoint!r}: {error.strerror}; expected tcp://127.0.0.1:5556 or its like"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect. Closing twice does nothing."""
        self._socket.close()
        self._context.term()

    def sources(self) -> list[SourceStatus]:
        """The sources of the run, and the state of each."""
        reply, _ = self._request(SourcesRequest(id=self._id()), SourcesReply)
        return list(reply.sources)

    def health(self) -> HealthReply:
        """Whether every process of the run is running, and which is not."""
        return self._request(HealthRequest(id=self._id()), HealthReply)[0]

    def add_source(self, name: str, url: str | int, **settings: object) -> str:
        """Add a source, and return what changes in one line.

        It starts within seconds. If it cannot be opened, it fails as one at the start of a run.

        Args:
            name: On the wire.
            url: As in the setting `sources.0.url`.
            settings: Others of the source, such as `mirror=True`.
        """
        source = {"name": name, "url": url, **settings}
        return self._request(AddRequest(id=self._id(), source=source), ChangedReply)[0].changes

    def remove_source(self, name: str) -> str:
        """Remove a source, and return what changes in one line. Its recording is finished after that."""
        return self._request(RemoveRequest(id=self._id(), source=name), ChangedReply)[0].changes

    def reload(self) -> str:
        """Make the run read its settings file again, and return what changes in one line."""
        return self._request(ReloadRequest(id=self._id()), ChangedReply)[0].changes

    def snapshot(self, source: str, *, drawn: bool = False) -> Result:
        """The next result of a source, with its picture and its masks.

        A `SourceError` says at once that the source has ended or waits for other files, and after 5 seconds that it has
        sent nothing.

        Args:
            source: Its name.
            drawn: Whether masks, boxes and labels are drawn on the picture.
        """
        view: Literal["overlay", "clean"] = "overlay" if drawn else "clean"
        _, parts = self._request(SnapshotRequest(id=self._id(), source=source, view=view), SnapshotReply)
        message = decode(parts)
        if not isinstance(message, ResultMessage):
            raise MessageError("a snapshot is a result")
        return Result.of(message, view)

    def _id(self) -> str:
        return str(next(self._ids))

    def _request(self, request: Request, kind: type[_Reply]) -> tuple[_Reply, list[bytes]]:
        """Send a request, and return its reply and the parts after it. Late replies to earlier requests are dropped."""
        deadline = Deadline(self._timeout)
        if self._socket.poll(deadline.milliseconds(), zmq.POLLOUT):
            with suppress(zmq.Again):  # the hub has just refused the connection
                self._socket.send(encode(request), zmq.NOBLOCK)
        while self._socket.poll(deadline.milliseconds()):
            first, *parts = self._socket.recv_multipart()
            reply = decode_reply([first])
            if isinstance(reply, ErrorReply) and reply.id in (request.id, ""):
                raise error_from_name(reply.error, reply.message)
            if reply.id == request.id and isinstance(reply, kind):
                return reply, parts
        raise ControlTimeoutError(
            f"no reply from {self.endpoint} within {self._timeout:g} s; is the pipeline running with control.bind, and "
            "does it need a key (control.allow)?"
        )
