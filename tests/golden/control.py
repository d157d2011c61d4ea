"""The golden vectors of requests and replies."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from streamseg.wire.limits import REQUEST_ID
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
    StageStatus,
    encode,
)

Direction = Literal["request", "reply"]


@dataclass(frozen=True, slots=True)
class ControlVector:
    """One JSON object, and what it means, or None where the receiver has to reject it."""

    name: str
    about: str
    direction: Direction
    part: bytes
    expected: dict[str, Any] | None

    def to_json(self) -> str:
        """The text of its file."""
        part = base64.b64encode(self.part).decode("ascii")
        content = {"about": self.about, "direction": self.direction, "part": part, "expected": self.expected}
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def control_vectors() -> list[ControlVector]:
    """Every vector."""
    return [*_requests(), *_replies(), *_rejected()]


def _requests() -> Iterator[ControlVector]:
    yard = {"name": "yard", "url": "rtsp://192.0.2.11/stream2", "mirror": True}
    yield _vector("request-sources", "lists the sources", SourcesRequest(id="1"))
    yield _vector("request-health", "lists the processes", HealthRequest(id="2"))
    yield _vector("request-reload", "reads the settings file again", ReloadRequest(id="3"))
    yield _vector("request-add", "adds a source", AddRequest(id="4", source=yard))
    yield _vector("request-remove", "removes a source", RemoveRequest(id="5", source="yard"))
    yield _vector("request-snapshot", "the drawn picture", SnapshotRequest(id="6", source="yard", view="overlay"))
    plain = SnapshotRequest(id="7", source="yard")
    part = b'{"kind":"snapshot","v":1,"id":"7","source":"yard","later":[1]}'
    yield ControlVector(
        "request-snapshot-default", "without a view, with an unknown key", "request", part, meaning(plain)
    )
    longest = SourcesRequest(id="é" * REQUEST_ID)
    yield _vector("request-longest-id", "an id of 64 characters", longest)


def _replies() -> Iterator[ControlVector]:
    sources = (SourceStatus(name="door", state="running"), SourceStatus(name="yard", state="failed", detail="gone"))
    stages = (
        StageStatus(stage="detect", source=None, running=True),
        StageStatus(stage="capture", source="yard", running=False),
    )
    yield _vector("reply-sources", "two sources", SourcesReply(id="1", sources=sources))
    yield _vector("reply-health", "a process that starts", HealthReply(id="2", up=False, stages=stages))
    yield _vector("reply-changed", "a source is added", ChangedReply(id="4", changes="added yard"))
    yield _vector("reply-snapshot", "a result follows", SnapshotReply(id="6"))
    refused = ErrorReply(id="5", error="UsageError", message="yard is the only source; stop the run instead")
    yield _vector("reply-error", "a refused request", refused)


def _rejected() -> Iterator[ControlVector]:
    def rejected(name: str, about: str, part: bytes, direction: Direction = "request") -> ControlVector:
        return ControlVector(f"reject-{name}", about, direction, part, None)

    yield rejected("no-json", "no JSON", b"sources")
    yield rejected("no-id", "a request without an id", b'{"kind":"sources","v":1}')
    yield rejected(
        "long-id", "an id of 65 characters", json.dumps({"kind": "sources", "v": 1, "id": "x" * 65}).encode()
    )
    yield rejected("kind", "an unknown kind", b'{"kind":"prompt","v":1,"id":"1"}')
    yield rejected("version", "another major version", b'{"kind":"sources","v":2,"id":"1"}')
    yield rejected(
        "view", "a view without a picture", b'{"kind":"snapshot","v":1,"id":"1","source":"door","view":"masks"}'
    )
    yield rejected("name", "a name that no source has", b'{"kind":"snapshot","v":1,"id":"1","source":"Door"}')
    yield rejected("source", "a source that is no object", b'{"kind":"add_source","v":1,"id":"1","source":"yard"}')
    yield rejected("reply", "a reply without its sources", b'{"kind":"sources","v":1,"id":"1"}', "reply")


def _vector(name: str, about: str, message: Request | Reply) -> ControlVector:
    return ControlVector(
        name, about, "request" if name.startswith("request") else "reply", encode(message), meaning(message)
    )


def meaning(message: Request | Reply) -> dict[str, Any]:
    """A message in plain JSON, with every key."""
    plain: dict[str, Any] = json.loads(msgspec.json.encode(message))
    return plain
