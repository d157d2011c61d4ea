"""A golden vector: the parts of a message and its meaning, taken from the values that are encoded."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from streamseg.masks import Mask
from streamseg.messages import End, Heartbeat, Message, ResultMessage, SourceState, TrackedObject
from streamseg.wire.protocol import View, encode_event, encode_result

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Vector:
    """One message: its parts, and what they mean, or None where a reader has to reject them.

    Attributes:
        may_reject: Whether a reader may reject the parts too.
    """

    name: str
    about: str
    parts: list[bytes]
    expected: Json | None
    may_reject: bool = False

    def to_json(self) -> str:
        """The text of its file."""
        parts = [base64.b64encode(part).decode("ascii") for part in self.parts]
        content: Json = {"about": self.about, "parts": parts, "expected": self.expected}
        if self.may_reject:
            content["may_reject"] = True
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def result_vector(name: str, about: str, view: View, result: ResultMessage) -> Vector:
    """The vector of a result."""
    assert view != "state"
    return Vector(name, about, encode_result(result, view).parts, describe(result, view))


def event_vector(name: str, about: str, event: SourceState | Heartbeat | End) -> Vector:
    """The vector of any other message."""
    return Vector(name, about, encode_event(event), describe(event, "state"))


def edited(parts: list[bytes], edit: Callable[[Json], object]) -> list[bytes]:
    """The parts with a changed header."""
    header = json.loads(parts[1])
    edit(header)
    return [parts[0], json.dumps(header).encode(), *parts[2:]]


def describe(message: Message, view: View) -> Json:
    """A message in plain JSON: 64-bit numbers as decimal strings, masks as rows of `#` and `.`, a picture in base64."""
    return {"view": view, "source": message.source, **_describe(message)}


def _describe(message: Message) -> Json:
    if isinstance(message, SourceState):
        return {
            "kind": "state",
            "run_id": message.run_id,
            "stage": message.stage,
            "state": message.state,
            "detail": message.detail,
        }
    if isinstance(message, Heartbeat):
        return {
            "kind": "heartbeat",
            "run_id": message.run_id,
            "seq": _decimal(message.seq),
            "t_unix_ns": str(message.t_unix_ns),
            "state": message.state,
            "detail": message.detail,
        }
    if isinstance(message, End):
        return {
            "kind": "end",
            "run_id": message.run_id,
            "seq": _decimal(message.seq),
            "reason": message.reason,
            "unreadable": message.unreadable,
            "others_follow": message.others_follow,
        }
    return {
        "kind": "result",
        "run_id": message.run_id,
        "epoch": str(message.epoch),
        "seq": str(message.seq),
        "width": message.width,
        "height": message.height,
        "pixel_aspect": list(message.pixel_aspect),
        "pts_ns": str(message.pts_ns),
        "t_capture_unix_ns": str(message.t_capture_unix_ns),
        "timings": msgspec.to_builtins(message.timings),
        "dropped": msgspec.to_builtins(message.dropped),
        "models": msgspec.to_builtins(message.models),
        "boxes_seq": _decimal(message.boxes_seq),
        "mode": message.mode,
        "objects": [_describe_object(item) for item in message.objects],
        "jpeg": None if message.jpeg is None else base64.b64encode(message.jpeg).decode("ascii"),
    }


def _describe_object(item: TrackedObject) -> Json:
    return {
        **msgspec.to_builtins(item.detection),
        "xyxy": list(item.detection.xyxy),
        "mask": None if item.mask is None else _describe_mask(item.mask),
        "origin_seq": _decimal(item.origin_seq),
        "age_ms": item.age_ms,
        "method": item.method,
        "predicted_iou": item.predicted_iou,
        "stability": item.stability,
        "colour": item.colour,
    }


def _describe_mask(mask: Mask) -> Json:
    return {
        "x": mask.x,
        "y": mask.y,
        "rows": ["".join("#" if bit else "." for bit in row) for row in mask.bits.tolist()],
    }


def _decimal(number: int | None) -> str | None:
    return None if number is None else str(number)
