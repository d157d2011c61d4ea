from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zmq
from support.results import EMPTY_RESULT

from streamseg import Pipeline
from streamseg.errors import SettingsError
from streamseg.ipc.frame_memory import SharedFrames
from streamseg.ipc.links import LinkSender
from streamseg.ipc.ring import RingWriter, remove_blocks
from streamseg.messages import Image, ResultMessage
from streamseg.topology import TAP
from streamseg.wire.protocol import encode_result

MODELS = {"detector": {"model": "motion"}, "segmenter": {"model": "nano"}, "publish": {"bind": "tcp://127.0.0.1:*"}}
PATIENCE_S = 20.0
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
    lane = supervisor.lanes.get("main")
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


def test_a_picture_of_a_source_that_was_changed_is_not_one_of_the_source_that_replaced_it(prefix: str) -> None:
    pipeline = Pipeline({"sources": [{"url": "synthetic:"}], **MODELS}, images=True)
    supervisor = pipeline._supervise(tap=True)
    lane = supervisor.lanes.get("main")
    assert lane is not None
    old = replace(EMPTY_RESULT, run_id="before the change", source="main", seq=5)
    with pipeline._exit, closing(SharedFrames()) as frames, closing(RingWriter(prefix, 0, 48, 64)) as writer:
        writer.write(5, FRAME)
        lane.replace_ring(writer.ring)
        new = replace(old, run_id=lane.run_id)
        pixels = [pipeline._pixels(each, frames, supervisor, threading.current_thread()) for each in (old, new)]
    assert pixels[0] is None
    assert pixels[1] is not None
    assert np.array_equal(pixels[1], FRAME)


class Publishing:
    """Stands for capture and publish of every source: each has a result as soon as the loop takes one."""

    def __init__(self, pipeline: Pipeline, prefix: str, gone: tuple[str, ...] = ()) -> None:
        """Begin; the pictures of `gone` sources are not in shared memory."""
        self._supervisor = pipeline._supervise(tap=True)
        self._gone = gone
        self._stop = threading.Event()
        self._exit = ExitStack()
        self._rings: dict[str, RingWriter] = {}
        for lane in self._supervisor.lanes:
            ring = self._exit.enter_context(closing(RingWriter(f"{prefix}-{lane.name}", 0, 48, 64)))
            self._rings[lane.name] = ring
            lane.replace_ring(ring.ring)
        self._thread = threading.Thread(target=self._publish)
        pipeline._thread = self._thread
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._exit.close()

    def _publish(self) -> None:
        with ExitStack() as opened:
            context = opened.enter_context(zmq.Context())
            senders: dict[str, LinkSender[list[bytes]]] = {}
            for link in self._supervisor.lanes.links:
                if link.receiver == TAP:
                    sender: LinkSender[list[bytes]] = LinkSender(
                        context, link.address, self._supervisor.link_key, link.policy
                    )
                    senders[link.source] = opened.enter_context(closing(sender))
            seqs = dict.fromkeys(senders, 0)
            while not self._stop.wait(0.001):
                for name in [name for name, sender in senders.items() if sender.credit]:
                    if name not in self._gone:
                        self._rings[name].write(seqs[name], picture(name))
                    senders[name].send(encode_result(self._result(name, seqs[name]), "masks").parts)
                    seqs[name] += 1

    def _result(self, source: str, seq: int) -> ResultMessage:
        lane = self._supervisor.lanes.get(source)
        assert lane is not None
        return replace(EMPTY_RESULT, run_id=lane.run_id, source=source, seq=seq)


def picture(source: str) -> Image:
    return np.full((48, 64, 3), sum(source.encode()) % 256, np.uint8)


@pytest.mark.parametrize(("mode", "gone"), [("every-frame", ()), ("live", ()), ("live", ("door",))])
def test_a_loop_with_pictures_serves_every_source(prefix: str, mode: str, gone: tuple[str, ...]) -> None:
    names = ("door", "gate", "yard")
    sources = [{"url": "synthetic:?frames=0", "name": name} for name in names]
    pipeline = Pipeline({"sources": sources, "mode": mode, **MODELS}, images=True)
    seqs: dict[str, list[int]] = {name: [] for name in names}
    deadline = time.monotonic() + PATIENCE_S
    with pipeline._exit, closing(Publishing(pipeline, prefix, gone)):
        for result in pipeline:
            seqs[result.source].append(int(result.seq))
            assert result.image is not None and np.array_equal(result.image, picture(result.source))
            if all(len(seqs[name]) >= 10 for name in names if name not in gone):
                break
            assert time.monotonic() < deadline, seqs
    for name in names:
        assert seqs[name] == list(range(len(seqs[name]))), "none is lost"
        assert not (seqs[name] and name in gone)
