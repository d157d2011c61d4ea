"""A supervisor without processes or real time."""

from __future__ import annotations

from pathlib import Path

from streamseg.config import Config
from streamseg.ipc.instance import Instance
from streamseg.ipc.stage_messages import Progress, Ready
from streamseg.messages import Models
from streamseg.plan import RunPlan
from streamseg.supervisor import Supervisor
from streamseg.topology import Link, StageEntry, Topology
from support.stage_context import FakeClock, stage_config
from support.stage_handles import FakeLauncher, FakeStage, RecordingObserver

TOPOLOGY = Topology(
    (
        StageEntry("eye", "eye", reads_source=True, replays=True),
        StageEntry("finder", "finder", shared=True, acknowledges=True),
        StageEntry("painter", "painter", shared=True, replays=True),
        StageEntry("voice", "voice", acknowledges=True, announces=True, finishes=True),
    ),
    (
        Link("eye", "finder"),
        Link("eye", "voice"),
        Link("finder", "painter"),
        Link("finder", "voice", "ordered"),
        Link("painter", "voice", "ordered"),
    ),
)
"""A pipeline under other names: the supervisor contains no stage name."""


class Bench:
    """A supervisor with fake stages, on a fake clock."""

    def __init__(self, folder: Path, config: Config | None = None, topology: Topology = TOPOLOGY) -> None:
        self.clock = FakeClock()
        self.stages = FakeLauncher()
        self.observer = RecordingObserver()
        instance = Instance()
        instance.directory = folder
        models = Models(detector="motion", segmenter="nano")
        self.plan = RunPlan(config or stage_config(), models, ())
        self.supervisor = Supervisor(self.plan, topology, instance, self.observer, self.stages, clock=self.clock)

    def settle(self) -> None:
        """Handle everything that waits."""
        while self.supervisor.processes.pending:
            self.supervisor.step(0)
        self.supervisor.step(0)

    def start(self) -> None:
        """Start every stage and report it ready."""
        self.supervisor.start()
        for stage in self.stages.started:
            stage.say(Ready("ready"))
        self.settle()

    def pass_ms(self, ms: float) -> None:
        """Let time pass in small steps while every living stage reports progress."""
        while ms > 0:
            self.clock.advance(min(ms, 500))
            ms -= 500
            for stage in self.stages.started:
                if stage.alive:
                    stage.say(Progress(0))
            self.settle()

    def restart(self, stage: str, source: str = "main") -> FakeStage:
        """Kill a stage and start it again, up to its readiness."""
        self.stages(stage, source).die()
        self.settle()
        self.pass_ms(5000)
        again = self.stages(stage, source)
        assert again.alive
        return again
