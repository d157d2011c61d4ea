"""Requests to a running pipeline and its replies: one JSON object each. `SPEC.md` beside this file describes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from streamseg.errors import MessageError, StreamsegError
from streamseg.printable import printable
from streamseg.wire.limits import EVENT_BYTES, LINE, REQUEST_BYTES, REQUEST_ID, SOURCES

RequestId = Annotated[str, Meta(max_length=REQUEST_ID)]
_Name = Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,64}\Z")]


class _Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    v: Literal[1] = 1
    id: RequestId


class SourcesRequest(_Request, frozen=True, kw_only=True, tag="sources"):
    """List the sources."""


class HealthRequest(_Request, frozen=True, kw_only=True, tag="health"):
    """List the processes."""


class ReloadRequest(_Request, frozen=True, kw_only=True, tag="reload"):
    """Read the settings file again."""


class AddRequest(_Request, frozen=True, kw_only=True, tag="add_source"):
    """Add a source, given as in the setting `sources`."""

    source: dict[str, Any]


class RemoveRequest(_Request, frozen=True, kw_only=True, tag="remove_source"):
    """Remove a source."""

    source: str


class SnapshotRequest(_Request, frozen=True, kw_only=True, tag="snapshot"):
    """Send the next result of a source with its picture."""

    source: _Name
    view: Literal["clean", "overlay"] = "clean"


Request = SourcesRequest | HealthRequest | ReloadRequest | AddRequest | RemoveRequest | SnapshotRequest


class _Reply(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    v: Literal[1] = 1
    id: RequestId


class SourceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A source of the run.

    Attributes:
        state: `starting`, `running`, `disconnected`, `restarting`, `failed` or `ended`.
        detail: One line on that for people; may be empty.
    """

    name: str
    state: str
    detail: str = ""


class SourcesReply(_Reply, frozen=True, kw_only=True, tag="sources"):
    """The sources."""

    sources: Annotated[tuple[SourceStatus, ...], Meta(max_length=SOURCES)]


class StageStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A process of the run.

    Attributes:
        source: Of a process that serves one source; None for one that serves all.
        running: False while it starts or is restarted.
    """

    stage: str
    source: str | None
    running: bool


class HealthReply(_Reply, frozen=True, kw_only=True, tag="health"):
    """The processes.

    Attributes:
        up: Whether every process runs.
    """

    up: bool
    stages: tuple[StageStatus, ...]


class ChangedReply(_Reply, frozen=True, kw_only=True, tag="changed"):
    """Sources are added, removed or changed from now on; `changes` has their names, in one line for people."""

    changes: str


class SnapshotReply(_Reply, frozen=True, kw_only=True, tag="snapshot"):
    """The parts of a result follow."""


class ErrorReply(_Reply, frozen=True, kw_only=True, tag="error"):
    """The request was refused, and nothing has changed.

    Attributes:
        error: Name of a class of `streamseg.errors`.
        message: One line for people.
    """

    error: str
    message: str


Reply = SourcesReply | HealthReply | ChangedReply | SnapshotReply | ErrorReply

_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_replies: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)


def decode_request(parts: Sequence[bytes]) -> Request:
    """Decode a request. Unknown keys are ignored.

    Raises:
        MessageError: It breaks the format or its limits.
    """
    if len(parts) != 1:
        raise MessageError(f"a request has 1 part, not {len(parts)}")
    if len(parts[0]) > REQUEST_BYTES:
        raise MessageError(f"a request has at most {REQUEST_BYTES} bytes")
    try:
        return _requests.decode(parts[0])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(f"the request is not valid: {error}") from None


def decode_reply(parts: Sequence[bytes]) -> Reply:
    """Decode the first part of a reply. Unknown keys are ignored.

    Raises:
        MessageError: It breaks the format or its limits.
    """
    if not parts or len(parts[0]) > EVENT_BYTES:
        raise MessageError(f"a reply has a part of at most {EVENT_BYTES} bytes")
    try:
        return _replies.decode(parts[0])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(f"the reply is not valid: {error}") from None


def encode(message: Request | Reply) -> bytes:
    """Encode a request, or the first part of a reply.

    Raises:
        MessageError: It holds a text that is not Unicode.
    """
    try:
        return msgspec.json.encode(message)
    except UnicodeEncodeError:
        raise MessageError("a text is not Unicode") from None


def refusal(request_id: str, error: StreamsegError) -> ErrorReply:
    """The reply to a request that was refused."""
    return ErrorReply(id=request_id, error=type(error).__name__, message=printable(str(error))[:LINE])
