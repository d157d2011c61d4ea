"""Hub: the run's only door to the network, for the results of all sources."""

from __future__ import annotations

import logging
from typing import Any

from streamseg import open_files
from streamseg.ipc.control import LaneSpec, Ready, Subscribers
from streamseg.ipc.links import LINGER_MS, Receiver
from streamseg.sinks.hub import Hub
from streamseg.stages.base import SharedStage
from streamseg.wire.limits import READERS

_log = logging.getLogger(__name__)


class HubStage(SharedStage):
    """Forwards results to subscribers, and their subscriptions to the publish processes."""

    def prepare(self) -> Ready:
        """Bind the endpoint."""
        settings = self.config.publish
        most = max(1, min(READERS, open_files.limit() - open_files.OWN))
        self._hub = Hub(self.context.sockets, settings, self.spec.hub, live=self.spec.live, most=most)
        for socket in self._hub.sockets:
            self.context.watch(socket)
        if most < READERS:
            _log.warning("at most %d subscribers: a process may have few files open (`ulimit -n 1024`)", most)
        self._subscribers: int | None = None
        return Ready(settings.bind)

    def add_lane(self, lane: LaneSpec) -> None:
        """Publish processes connect by themselves."""

    def remove_lane(self, source: str) -> list[Receiver[Any]]:
        """Publish processes disconnect by themselves."""
        return []

    def turn(self) -> bool:
        """Forward what has arrived."""
        worked = self._hub.service()
        count = self._hub.connections()
        if count != self._subscribers:
            self._subscribers = count
            self.context.report(Subscribers(count))
        return worked

    def close(self, reason: str) -> None:
        """Forward the ends of the sources; their processes have ended before."""
        self._hub.finish(LINGER_MS)
