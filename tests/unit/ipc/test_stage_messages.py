from __future__ import annotations

import io
import os

import pytest
from support.stage_context import stage_config, stage_spec

from streamseg.ipc.stage_messages import (
    Announce,
    Failed,
    LogLine,
    StageMessageWriter,
    StageSpec,
    ToStage,
    ToSupervisor,
    read_from_stage,
    read_from_supervisor,
)

NOT_UTF8 = os.fsdecode(b"stra\xdfe.mp4")
SPEC: StageSpec = stage_spec("record", config=stage_config(record={"video": NOT_UTF8}))


@pytest.mark.parametrize("message", [SPEC, Announce("main", "capture", "disconnected", NOT_UTF8)])
def test_the_supervisor_sends_any_text(message: ToStage) -> None:
    stream = io.BytesIO()
    for _ in range(2):
        StageMessageWriter(stream).send(message)
    stream.seek(0)
    assert list(read_from_supervisor(stream)) == [message] * 2


@pytest.mark.parametrize("message", [LogLine(30, NOT_UTF8), Failed("SourceError", NOT_UTF8), LogLine(30, "plain")])
def test_a_stage_sends_any_text(message: ToSupervisor) -> None:
    stream = io.BytesIO()
    StageMessageWriter(stream).send(message)
    stream.seek(0)
    assert list(read_from_stage(stream)) == [message]
