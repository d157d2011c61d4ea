from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from support.leftovers import Place
from support.pipeline_runs import free_endpoint, until

from streamseg import Subscriber

MODELS = ("--detector", "motion", "--segmenter", "nano")
PATIENCE = 60.0
PROGRAM = """
import sys, time
import numpy as np
from streamseg import FrameSender

with FrameSender(source="robot") as sender:
    for number in range(100_000):
        image = np.full((120, 160, 3), 40, np.uint8)
        left = 4 * number % 100
        image[40:80, left : left + 40] = (30, 200, 240)
        sender.send(image)
        time.sleep(0.03)
"""


def test_a_frame_of_a_users_program_becomes_a_mask_at_a_subscriber(place: Place) -> None:
    endpoint = free_endpoint()
    with (
        place.run("run", "--source", "robot=push:", *MODELS, "--set", f"publish.bind={endpoint}") as run,
        Subscriber(endpoint, source="robot", timeout=PATIENCE) as subscriber,
    ):
        with running(place, PROGRAM):
            masked = next(result for result in subscriber if any(item.mask is not None for item in result.objects))
            assert (masked.source, masked.width, masked.height) == ("robot", 160, 120)
        lost = next(message for message in subscriber.messages() if getattr(message, "state", "") == "disconnected")
        assert getattr(lost, "detail", "") == "the program has disconnected"
        run.process.terminate()
        status, _, errors = run.finish(20)
    assert status == 143, errors


def test_a_killed_capture_takes_the_frames_of_the_same_program_again(place: Place) -> None:
    endpoint = free_endpoint()
    with (
        place.run("run", "--source", "robot=push:", *MODELS, "--set", f"publish.bind={endpoint}") as run,
        Subscriber(endpoint, source="robot", timeout=PATIENCE) as subscriber,
        running(place, PROGRAM),
    ):
        before = next(iter(subscriber))
        victim = run.stages()["capture"]
        victim.kill()
        until(lambda: (new := run.stages().get("capture")) and new.pid != victim.pid, PATIENCE, "a new capture")
        after = next(result for result in subscriber if result.epoch > before.epoch)
        assert after.seq > before.seq
        assert after.pts_ns > before.pts_ns
        run.process.terminate()
        status, output, errors = run.finish(20)
    assert status == 143, errors
    assert "restarts: capture 1" in output


@contextmanager
def running(place: Place, program: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program beside the run, which is killed at the end."""
    process = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, **place.environment})
    try:
        yield process
    finally:
        process.kill()
        process.wait()
