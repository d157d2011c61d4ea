from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.results import EMPTY_RESULT

from streamseg import Pipeline
from streamseg.errors import SettingsError
from streamseg.ipc.frame_memory import SharedFrames
from streamseg.ipc.ring import RingWriter, remove_blocks

MODELS = {"detector": {"model": "motion"}, "segmenter": {"model": "nano"}, "publish": {"bind": "tcp://127.0.0.1:*"}}
FRAME = np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)


def test_settings_may_be_a_dictionary_or_the_path_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = {"sources": [{"url": "synthetic:?frames=${FRAMES}"}], **MODELS}
    with pytest.raises(SettingsError, match=r"detector\.modle: unknown key"):
        Pipeline(tree | {"detector": {"modle": "motion"}})
    file = tmp_path / "settings.yaml"
    file.write_text(json.dumps(tree))
    monkeypatch.setenv("FRAMES", "3")
    for settings in (file, str(file), json.loads(file.read_text().replace("${FRAMES}", "3"))):
        assert Pipeline(settings).plan.config.sources[0].url == "synthetic:?frames=3"


@pytest.fixture
def prefix() -> Iterator[str]:
    name = f"streamseg-{os.getpid()}-pixels"
    yield name
    remove_blocks(name)


@pytest.mark.parametrize("mode", ["every-frame", "live"])
def test_a_picture_that_left_memory_is_awaited_for_a_file_and_skipped_in_live_mode(prefix: str, mode: str) -> None:
    pipeline = Pipeline({"sources": [{"url": "synthetic:"}], "mode": mode, **MODELS}, images=True)
    supervisor = pipeline._supervise(tap=True)
    lane = supervisor.lane("main")
    assert lane is not None
    message = replace(EMPTY_RESULT, run_id=lane.run_id, source="main", seq=5)

    def capture_again() -> None:
        again.write(5, FRAME)
        lane.replace_ring(again.ring)

    with (
        pipeline._exit,
        closing(SharedFrames()) as frames,
        closing(RingWriter(prefix, 0, 48, 64)) as dead,
        closing(RingWriter(prefix, 1, 48, 64)) as again,
    ):
        lane.replace_ring(dead.ring)
        capturing = threading.Timer(0.05, capture_again)
        capturing.start()
        pixels = pipeline._pixels(message, frames, supervisor, threading.current_thread())
        capturing.join()
    assert (pixels is None) == (mode == "live")
    assert pixels is None or np.array_equal(pixels, FRAME)
