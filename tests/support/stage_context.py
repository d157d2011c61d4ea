"""What a stage has around it, without processes, sockets, shared memory or real time."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import zmq

from streamseg.config import Config, RunSource, check_config
from streamseg.errors import FrameOverrunError
from streamseg.ipc.descriptors import FrameDescriptor
from streamseg.ipc.links import LinkAddress
from streamseg.ipc.ring import DEFAULT_SLOTS, RingName
from streamseg.ipc.stage_messages import LaneSpec, StageSpec, ToSupervisor
from streamseg.messages import Dropped, Image, Models

PERIOD_NS = 33_000_000


class FakeClock:
    """A clock that stands still until `advance`, or until somebody sleeps.

    `set_ns` is by how much the wall clock was set.
    """

    def __init__(self, ns: int = 1_000_000_000_000) -> None:
        self.ns = ns
        self.set_ns = 0

    def now_ns(self) -> int:
        return self.ns

    def unix_ns(self) -> int:
        return self.ns + self.set_ns + 1_700_000_000_000_000_000

    def sleep(self, seconds: float) -> None:
        self.advance(seconds * 1000)

    def advance(self, ms: float) -> None:
        self.ns += round(ms * 1e6)


class FakeSender:
    """Keeps what a stage sends in `sent`, and in `kept` what may replace nothing; set `credit` for the receiver."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.kept: list[Any] = []
        self.credit = True
        self.closed = False
        self.replaced = 0

    def send(self, payload: Any, *, replace: bool = True) -> None:
        self.sent.append(payload)
        if not replace:
            self.kept.append(payload)

    def service(self) -> None:
        pass

    def take(self) -> list[Any]:
        """What was sent since the last call."""
        sent, self.sent = self.sent, []
        return sent


class FakeReceiver:
    """Gives a stage the messages that a test puts into `waiting`; counts the credits."""

    def __init__(self) -> None:
        self.waiting: deque[Any] = deque()
        self.closed = False
        self.grants = 0

    def grant(self) -> None:
        self.grants += 1

    def receive(self) -> Any:
        return self.waiting.popleft() if self.waiting else None


class FakeRing:
    """A ring whose slots a test can look into; it is lost when it is no longer in `frames`."""

    def __init__(self, ring: RingName, frames: FakeFrames) -> None:
        self.ring = ring
        self._frames = frames
        self.images: dict[int, Image] = {}
        self.closed = False

    def write(self, seq: int, image: Image) -> None:
        self.images.pop(seq - self.ring.slots, None)
        self.images[seq] = image.copy()

    def intact(self) -> bool:
        return self._frames.rings.get(self.ring.name) is self

    def move(self, epoch: int) -> FakeRing:
        prefix = self.ring.name.removesuffix(f"-{self.ring.epoch}")
        moved = self._frames.create(prefix, epoch, 1, self.ring.slot_bytes // 3)
        moved.images = self.images
        self.close()
        return moved

    def close(self) -> None:
        self.closed = True


class FakeFrames:
    """Rings by name."""

    def __init__(self) -> None:
        self.rings: dict[str, FakeRing] = {}
        self.forgotten: list[str] = []

    def create(self, prefix: str, epoch: int, height: int, width: int) -> FakeRing:
        name = RingName(f"{prefix}-{epoch}", epoch, DEFAULT_SLOTS, height * width * 3)
        self.rings[name.name] = FakeRing(name, self)
        return self.rings[name.name]

    def read(self, ring: RingName, seq: int) -> Image:
        try:
            return self.rings[ring.name].images[seq].copy()
        except KeyError:
            raise FrameOverrunError(f"frame {seq} is no longer in its slot") from None

    def forget(self, prefix: str) -> None:
        self.forgotten.append(prefix)

    def close(self) -> None:
        pass


class FakeSnapshot:
    """State in memory; `saves` counts."""

    def __init__(self) -> None:
        self.state: bytes | None = None
        self.saves = 0

    def save(self, state: bytes) -> None:
        self.state = state
        self.saves += 1

    def load(self) -> bytes | None:
        return self.state


class FakeContext:
    """A `StageContext` for tests. Links are made on first use, by the stage or by the test."""

    def __init__(self, spec: StageSpec, frames: FakeFrames | None = None, clock: FakeClock | None = None) -> None:
        self.spec = spec
        self.clock = clock or FakeClock()
        self.frames = frames or FakeFrames()
        self.reports: list[ToSupervisor] = []
        self.wakes = 0
        self.progressed = 0
        self._receivers: dict[tuple[str, str], FakeReceiver] = {}
        self._senders: dict[tuple[str, str], FakeSender] = {}
        self._snapshots: dict[str, FakeSnapshot] = {}
        self._sockets: zmq.Context[zmq.Socket[bytes]] | None = None
        self._watched: list[zmq.Socket[bytes]] = []

    @property
    def sockets(self) -> zmq.Context[zmq.Socket[bytes]]:
        self._sockets = self._sockets or zmq.Context()
        return self._sockets

    def receiver(self, stage: str, source: str = "main", kind: Any = None) -> FakeReceiver:
        return self._receivers.setdefault((stage, source), FakeReceiver())

    def sender(self, stage: str, source: str = "main", linger_ms: int = 0) -> FakeSender:
        return self._senders.setdefault((stage, source), FakeSender())

    def close_link(self, link: Any) -> None:
        link.closed = True

    def has_link_to(self, stage: str) -> bool:
        return any((link.sender, link.receiver) == (self.spec.stage, stage) for link in self.spec.links)

    def snapshot(self, lane: LaneSpec) -> FakeSnapshot:
        return self._snapshots.setdefault(lane.name, FakeSnapshot())

    def report(self, message: ToSupervisor) -> None:
        self.reports.append(message)

    def progress(self) -> None:
        self.progressed += 1

    def wake(self) -> None:
        self.wakes += 1

    def watch(self, socket: zmq.Socket[bytes]) -> None:
        self._watched.append(socket)

    def restart(self, *lanes: LaneSpec) -> FakeContext:
        """The context of the process that takes over: new links; the same frames, clock and snapshots."""
        again = FakeContext(stage_spec(self.spec.stage, *lanes, config=self.spec.config), self.frames, self.clock)
        again._snapshots = self._snapshots
        return again

    def close(self) -> None:
        """Close the sockets, where the stage opened some."""
        for watched in self._watched:
            watched.close(0)
        if self._sockets is not None:
            self._sockets.term()


def lane_spec(
    name: str = "main",
    resume_after: int | None = None,
    highest_acknowledged: int | None = None,
    url: str | int = "synthetic:?size=64x48&frames=5",
    dropped: Dropped | None = None,
) -> LaneSpec:
    return LaneSpec(
        source=RunSource(url=url, name=name),
        run_id="run",
        ring=f"streamseg-test-{name}",
        epoch=0,
        snapshot=f"streamseg-test-{name}.stage",
        resume_after=resume_after,
        highest_acknowledged=highest_acknowledged,
        dropped=dropped or Dropped(),
    )


def stage_config(mode: str = "every-frame", **more: object) -> Config:
    """Settings with models that need no file."""
    tree = {
        "sources": [{"url": "synthetic:?size=64x48&frames=5"}],
        "mode": mode,
        "detector": {"model": "motion"},
        "segmenter": {"model": "nano"},
        **more,
    }
    return check_config(tree)


def stage_spec(
    stage: str, *lanes: LaneSpec, config: Config | None = None, links: Sequence[LinkAddress] = ()
) -> StageSpec:
    lanes = lanes or (lane_spec(),)
    config = msgspec.structs.replace(config or stage_config(), sources=tuple(lane.source for lane in lanes))
    return StageSpec(
        stage=stage,
        title=stage,
        config=config,
        lanes=lanes,
        link_key=b"key",
        links=tuple(links),
        hub="inproc://hub",
        models=Models(detector=config.detector.model, segmenter=config.segmenter.model),
        threads=1,
        niceness=0,
        log_level=30,
    )


def link_to(stage: str, receiver: str, source: str = "main") -> LinkAddress:
    """A link for `FakeContext.has_link_to`."""
    return LinkAddress(stage, receiver, source, "", "ordered")


def put_frame(context: FakeContext, seq: int, image: Image | None = None, source: str = "main") -> FrameDescriptor:
    """Write a frame into a source's ring, grey without an image, and describe it."""
    if image is None:
        image = np.full((48, 64, 3), 100, np.uint8)
    height, width = image.shape[:2]
    name = f"streamseg-test-{source}"
    ring = context.frames.rings.get(f"{name}-0") or context.frames.create(name, 0, height, width)
    ring.write(seq, image)
    return FrameDescriptor(
        source=source,
        seq=seq,
        ring=ring.ring,
        width=width,
        height=height,
        pts_ns=seq * PERIOD_NS,
        t_capture_ns=context.clock.now_ns(),
        t_capture_unix_ns=context.clock.unix_ns(),
    )
