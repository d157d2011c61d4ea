from __future__ import annotations

import logging
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from support.stage_context import FakeClock
from support.stage_handles import FakeLauncher, FakeStage

from streamseg import cli, pipeline, supervisor
from streamseg.ipc.launcher import Deliver
from streamseg.ipc.stage_messages import Ready, StageSpec, Start, ToStage


class HurriedClock(FakeClock):
    """A clock on which time passes whenever somebody looks."""

    def now_ns(self) -> int:
        self.advance(100)
        return super().now_ns()


class FailingStage(FakeStage):
    """A stage that dies as soon as it has started."""

    def send(self, message: ToStage) -> None:
        super().send(message)
        if isinstance(message, Start):
            self.die(1)


class Launcher(FakeLauncher):
    """Launches stages that are ready at once; detect dies of its first frame."""

    def launch(self, module: str, spec: StageSpec, deliver: Deliver) -> FakeStage:
        stage = (FailingStage if spec.stage == "detect" else FakeStage)(spec, deliver)
        stage.say(Ready(""))
        return stage


def test_a_stage_that_fails_too_often_ends_the_run_with_its_own_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pipeline, "ProcessLauncher", lambda modules: nullcontext(Launcher()))
    monkeypatch.setattr(supervisor, "SystemClock", HurriedClock)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(logging.getLogger("streamseg"), "setLevel", lambda level: None)
    models = ("--detector", "motion", "--segmenter", "nano")
    monkeypatch.setattr(
        sys,
        "argv",
        ["streamseg", "run", "--source", "synthetic:", *models, "--set", f"publish.bind=ipc://{tmp_path}/s"],
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 70
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("streamseg:")]
    assert line == "streamseg: detect ended with status 1, after 5 restarts within 60 s; run with --verbose to see why"
