"""`streamseg subscribe` without a terminal: a line for each message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

import msgspec

from streamseg.cli.output import print_json, print_line
from streamseg.errors import SubscriptionTimeoutError
from streamseg.messages import End, Message, ResultMessage, SourceState
from streamseg.monitor.texts import objects_text
from streamseg.wire.protocol import encode_event, json_line

WAITING_S: Final = 2.0
"""Seconds of silence that are worth a line; a pipeline that runs sends a heartbeat each second."""


class Messages(Protocol):
    """What a `Subscriber` with a time-out offers."""

    def messages(self) -> Iterator[Message]:
        """Every message until the run ends, or a `SubscriptionTimeoutError`."""
        ...


class _Waiting(msgspec.Struct, frozen=True, tag_field="kind", tag="waiting"):
    endpoint: str


def print_lines(subscriber: Messages, endpoint: str, *, as_json: bool) -> None:
    """Print results to standard output, and to standard error what is waited for, until the run ends.

    With `as_json`, standard output has all of it; else changes of the source and the end go to standard error.
    """
    show = _show_json if as_json else _show_text
    waiting = False
    while True:
        try:
            for message in subscriber.messages():
                waiting = False
                show(message)
            return
        except SubscriptionTimeoutError:
            if not waiting:
                waiting = True
                print_line(f"waiting for {endpoint}", err=True)
                if as_json:
                    print_json(msgspec.json.encode(_Waiting(endpoint)))


def _show_json(message: Message) -> None:
    match message:
        case ResultMessage():
            print_json(json_line(message))
        case SourceState() | End():
            print_json(encode_event(message)[1])


def _show_text(message: Message) -> None:
    match message:
        case ResultMessage():
            lost = f" (+{message.gap} missed)" if message.gap else ""
            print_line(f"{message.source} {message.seq}{lost}: {objects_text(message.objects)}")
        case SourceState():
            detail = f" ({message.detail})" if message.detail else ""
            print_line(f"{message.source} {message.stage}: {message.state}{detail}", err=True)
        case End():
            print_line(f"{message.source} ended: {message.reason}", err=True)
