"""Hub: the run's only door to the network, for the results of all sources."""

from __future__ import annotations

import logging
from typing import Any

from streamseg import open_files
from streamseg.ipc.links import LINGER_MS, Receiver, Sender
from streamseg.ipc.stage_messages import Answer, LaneSpec, Ready, Requested, Subscribers, ToStage
from streamseg.sinks.control_socket import ControlSocket
from streamseg.sinks.hub import Hub
from streamseg.stages.base import SharedStage
from streamseg.wire.curve import read_allowed_keys
from streamseg.wire.limits import READERS

_log = logging.getLogger(__name__)


class HubStage(SharedStage):
    """Forwards results to subscribers, and their subscriptions to the publish processes."""

    def prepare(self) -> Ready:
        """Bind the endpoint."""
        settings = self.config.publish
        most = max(1, min(READERS, open_files.limit() - open_files.OWN))
        self._hub = Hub(self.context.sockets, settings, self.spec.hub, live=self.spec.live, most=most)
        if most < READERS:
            _log.warning("at most %d subscribers: a process may have few files open (`ulimit -n 1024`)", most)
        control = self.config.control
        self._control: ControlSocket | None = None
        if control.bind is not None:
            allowed = read_allowed_keys(control.allow_files, "control.allow")
            self._control = ControlSocket(self.context.sockets, self._hub, control.bind, allowed)
        # In this order they are closed: what decides about keys comes last.
        for socket in (*(() if self._control is None else self._control.sockets), *self._hub.sockets):
            self.context.watch(socket)
        self._subscribers: int | None = None
        return Ready(settings.bind)

    def instruct(self, message: ToStage) -> None:
        """Send a reply to the program that sent the request."""
        super().instruct(message)
        if isinstance(message, Answer) and self._control is not None:
            self._control.reply(message.client, message.reply)

    def add_lane(self, lane: LaneSpec) -> None:
        """Publish processes connect by themselves."""

    def remove_lane(self, source: str) -> list[Sender[Any] | Receiver[Any]]:
        """Publish processes disconnect by themselves."""
        return []

    def turn(self) -> bool:
        """Forward what has arrived."""
        if self._control is None:
            worked = self._hub.service()
        else:
            worked = self._hub.service(self._control.forwarded)
            for client, request in self._control.requests():
                self.context.report(Requested(client, request))
        count = self._hub.connections()
        if count != self._subscribers:
            self._subscribers = count
            self.context.report(Subscribers(count))
        return worked

    def close(self, reason: str) -> None:
        """Forward the ends of the sources; their processes have ended before."""
        self._hub.finish(LINGER_MS)
