"""What a running pipeline replies to the requests of other programs."""

from __future__ import annotations

from typing import Final

from streamseg.changes import ChangingPlan
from streamseg.errors import SourceError, StreamsegError, UsageError
from streamseg.messages import FAILED
from streamseg.printable import printable
from streamseg.supervisor import Supervisor
from streamseg.wire.requests import (
    AddRequest,
    ChangedReply,
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
    decode_request,
    encode,
    refusal,
)

_DETAIL: Final = 200
"""Characters, of up to four bytes, on the state of a source: all sources together must fit into one reply."""


class Answers:
    """Does what is requested, on the supervisor's thread."""

    def __init__(self, changing: ChangingPlan, supervisor: Supervisor) -> None:
        self._changing = changing
        self._supervisor = supervisor

    def reply(self, data: bytes) -> bytes:
        """Do what a valid request says, and return the reply."""
        request = decode_request([data])
        try:
            return encode(self._do(request))
        except StreamsegError as error:
            return encode(refusal(request.id, error))

    def _do(self, request: Request) -> Reply:
        match request:
            case SourcesRequest():
                return SourcesReply(id=request.id, sources=self._sources())
            case HealthRequest():
                stages = self._stages()
                return HealthReply(id=request.id, up=all(stage.running for stage in stages), stages=stages)
            case ReloadRequest():
                return ChangedReply(id=request.id, changes=self._changing.reload())
            case AddRequest():
                return ChangedReply(id=request.id, changes=self._changing.add(request.source))
            case RemoveRequest():
                return ChangedReply(id=request.id, changes=self._changing.remove(request.source))
            case SnapshotRequest():
                self._check_sends_results(request.source)
                return SnapshotReply(id=request.id)  # the hub sends the result

    def _check_sends_results(self, source: str) -> None:
        """Check that a result of a source may follow.

        Raises:
            UsageError: There is no such source.
            SourceError: It has ended, or waits for others to end.
        """
        lane = self._supervisor.lanes.get(source)
        if lane is None or lane.leaving:
            names = ", ".join(each.name for each in self._supervisor.lanes if not each.leaving)
            raise UsageError(f"{source}: no such source; expected one of {names}")
        if lane.finished is not None:
            ended = "failed" if lane.state == FAILED else "ended"
            raise SourceError(f"{source}: it has {ended} ({lane.finished.reason}); choose a source that runs")
        if not any(place.key.source == source for place in self._supervisor.processes.needed):
            raise SourceError(f"{source}: it has not started yet, other files run first; try again when one has ended")

    def _sources(self) -> tuple[SourceStatus, ...]:
        return tuple(
            SourceStatus(
                name=lane.name,
                state=lane.state if lane.finished is None or lane.state == FAILED else "ended",
                detail=printable(lane.detail)[:_DETAIL],
            )
            for lane in self._supervisor.lanes
            if not lane.leaving
        )

    def _stages(self) -> tuple[StageStatus, ...]:
        return tuple(
            StageStatus(stage=place.key.stage, source=place.key.source, running=place.ready)
            for place in self._supervisor.processes.needed
        )
