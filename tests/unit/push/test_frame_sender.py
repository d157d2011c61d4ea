from __future__ import annotations

import subprocess
import sys
import time
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags
from PIL import Image as PilImage
from support.pipeline_runs import free_endpoint, until
from support.pushed import WITHIN_S, ReadSource

from streamseg.config import CurveSettings, RunSource
from streamseg.errors import EndpointInUseError, FrameRefusedError, UsageError
from streamseg.messages import Image
from streamseg.push.receiver import FrameReceiver
from streamseg.push.sender import FrameSender
from streamseg.wire.curve import make_key_pair

IMPORT = """
import sys
from streamseg import FrameSender
heavy = {"torch", "av", "cv2", "PIL", "filelock", "supervision", "onnxruntime"} & sys.modules.keys()
assert not heavy, heavy
sender = FrameSender(sys.argv[1])
print("made", flush=True)
"""


def picture(level: int = 0, height: int = 48, width: int = 64) -> Image:
    return np.full((height, width, 3), level, np.uint8)


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path / 'push'}"


def robot(endpoint: str, timeout: float = 3.0, **more: object) -> RunSource:
    return RunSource(url=f"push:{endpoint}", name="robot", timeout=timeout, **more)  # type: ignore[arg-type]


def send_until_taken(sender: FrameSender, level: int = 0) -> None:
    """Send pictures until the pipeline has taken one more."""
    before = sender.taken
    sender.send(picture(level))
    until(lambda: sender.taken > before, WITHIN_S, "a frame that is taken")


def test_every_frame_arrives_as_it_was_sent(endpoint: str) -> None:
    generator = np.random.default_rng(1)
    pictures = [generator.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(20)]
    with ReadSource(robot(endpoint)) as pipeline, FrameSender(endpoint, "robot") as sender:
        for number, each in enumerate(pictures):
            buffer = each.copy()
            sender.send(buffer)
            buffer[:] = 0  # the program may use its buffer again at once
            pipeline.until_frames(number + 1)
        until(lambda: sender.taken == 20, WITHIN_S, "the last answer")
        assert sender.connected
        assert (sender.taken, sender.dropped) == (20, 0)
        assert all(np.array_equal(frame.image, each) for frame, each in zip(pipeline.frames, pictures, strict=True))
        assert pipeline.changes == [
            ("disconnected", "no program has sent a frame"),
            ("running", f"frames of another program at {endpoint}"),
        ]
        times = [frame.pts_ns for frame in pipeline.frames]
        assert times == sorted(set(times))


def test_views_and_grey_arrays_and_numbers_of_another_type(endpoint: str) -> None:
    image = np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)
    with ReadSource(robot(endpoint)) as pipeline, FrameSender(endpoint, "robot") as sender:
        sender.send(image[::-1, ::2])
        pipeline.until_frames(1)
        assert np.array_equal(pipeline.frames[0].image, image[::-1, ::2])
        for wrong in (image[:, :, 0], image.astype(np.float32), image[:0], np.zeros((8, 8193, 3), np.uint8)):
            with pytest.raises(UsageError, match=r"expected sides of 1 to 8192|array of uint8 in BGR"):
                sender.send(wrong)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="no JPEG file"):
            sender.send(b"no picture")
        with pytest.raises(UsageError, match=r"a frame of 50,331,648 bytes: at most 33,554,432 are sent"):
            sender.send(np.zeros((4096, 4096, 3), np.uint8))


def test_a_busy_pipeline_gets_the_newest_frame_and_send_does_not_wait(endpoint: str) -> None:
    with ReadSource(robot(endpoint)) as pipeline, FrameSender(endpoint, "robot") as sender:
        send_until_taken(sender, 0)
        pipeline.hold.clear()
        sender.send(picture(1))
        pipeline.until_frames(2)
        longest_s = 0.0
        for level in range(2, 102):
            start_s = time.monotonic()
            sender.send(picture(level))
            longest_s = max(longest_s, time.monotonic() - start_s)
            time.sleep(0.002)
        assert longest_s < 0.2
        pipeline.hold.set()
        pipeline.until(lambda read: read.frames[-1].image[0, 0, 0] == 101, "the newest frame")
        until(lambda: sender.taken + sender.dropped == 102, WITHIN_S, "the figures")
        assert sender.taken == len(pipeline.frames) <= 4
        assert sender.dropped >= 98


def test_a_jpeg_is_decoded_and_an_array_may_be_sent_as_one(endpoint: str) -> None:
    content = cv2.imencode(".jpg", picture(90, 120, 160))[1].tobytes()
    with ReadSource(robot(endpoint)) as pipeline:
        with FrameSender(endpoint, "robot", quality=80) as sender:
            sender.send(content)
            pipeline.until_frames(1)
            sender.send(picture(200, 60, 80))
            pipeline.until_frames(2)
        assert [frame.image.shape for frame in pipeline.frames] == [(120, 160, 3), (60, 80, 3)]
        assert [round(frame.image.mean()) for frame in pipeline.frames] == pytest.approx([90, 200], abs=2)


def test_a_jpeg_is_turned_upright_by_its_exif_orientation(endpoint: str) -> None:
    content, exif = BytesIO(), PilImage.Exif()
    exif[ExifTags.Base.Orientation] = 6
    PilImage.fromarray(picture(90, 32, 64)).save(content, "jpeg", exif=exif)
    with ReadSource(robot(endpoint)) as pipeline, FrameSender(endpoint, "robot") as sender:
        sender.send(content.getvalue())
        pipeline.until_frames(1)
        assert pipeline.frames[0].image.shape == (64, 32, 3)


def test_the_size_may_change_and_the_picture_is_turned(endpoint: str) -> None:
    with ReadSource(robot(endpoint, rotate=90)) as pipeline, FrameSender(endpoint, "robot") as sender:
        for number, (height, width) in enumerate([(48, 64), (100, 30), (48, 64)]):
            sender.send(picture(number, height, width))
            pipeline.until_frames(number + 1)
        assert [frame.image.shape for frame in pipeline.frames] == [(64, 48, 3), (30, 100, 3), (64, 48, 3)]


def test_a_silent_program_is_lost_after_the_timeout_and_back_with_its_next_frame(endpoint: str) -> None:
    with ReadSource(robot(endpoint, timeout=0.5)) as pipeline, FrameSender(endpoint, "robot") as sender:
        send_until_taken(sender)
        silent_s = time.monotonic()
        pipeline.until(lambda read: read.changes[-1] == ("disconnected", "no frame for 0.5 s"), "the loss")
        assert 0.4 < time.monotonic() - silent_s < 5
        time.sleep(0.3)
        send_until_taken(sender)
        assert [state for state, _ in pipeline.changes] == ["disconnected", "running"] * 2
        first, second = pipeline.frames
        passed_s = (second.pts_ns - first.pts_ns) / 1e9
        assert passed_s == pytest.approx((second.t_capture_ns - first.t_capture_ns) / 1e9, abs=0.1)
        assert passed_s > 0.7


def test_a_slow_program_is_not_lost_between_its_frames(endpoint: str) -> None:
    with ReadSource(robot(endpoint, timeout=0.4)) as pipeline, FrameSender(endpoint, "robot") as sender:
        for _ in range(8):
            send_until_taken(sender)
            time.sleep(0.3)
        assert [state for state, _ in pipeline.changes] == ["disconnected", "running"]


def test_a_killed_program_is_lost_at_once_and_its_successor_takes_over(endpoint: str) -> None:
    program = f"""
import sys, time
import numpy as np
from streamseg import FrameSender
sender = FrameSender({endpoint!r}, "robot")
while True:
    sender.send(np.zeros((48, 64, 3), np.uint8))
    time.sleep(0.01)
"""
    with ReadSource(robot(endpoint, timeout=30.0)) as pipeline:
        for _ in range(2):
            child = subprocess.Popen([sys.executable, "-c", program])
            pipeline.until(lambda read: read.changes[-1][0] == "running", "its frames")
            child.kill()
            child.wait()
            pipeline.until(
                lambda read: read.changes[-1] == ("disconnected", "the program has disconnected"), "the loss"
            )
        assert [state for state, _ in pipeline.changes] == ["disconnected", *["running", "disconnected"] * 2]
        times = [frame.pts_ns for frame in pipeline.frames]
        assert all(earlier < later for earlier, later in pairwise(times))


def test_a_program_that_closes_its_sender_is_lost_with_that_reason(endpoint: str) -> None:
    with ReadSource(robot(endpoint)) as pipeline:
        with FrameSender(endpoint, "robot") as sender:
            sender.send(picture(7))  # and no wait: leaving the block sends it
        assert (sender.taken, sender.dropped) == (1, 0)
        pipeline.until(
            lambda read: read.changes[-1] == ("disconnected", "the program has closed its sender"), "the loss"
        )
        assert [frame.image[0, 0, 0] for frame in pipeline.frames] == [7]
        with pytest.raises(UsageError, match="the sender is closed"):
            sender.send(picture())


def test_a_sender_survives_a_restart_of_the_run_and_counts_what_was_lost(endpoint: str) -> None:
    with FrameSender(endpoint, "robot") as sender:
        for level in range(5):
            sender.send(picture(level))
        assert not sender.connected
        with ReadSource(robot(endpoint)) as first:
            first.until(lambda read: read.frames, "the frame that waited")
            assert first.frames[0].image[0, 0, 0] == 4
            send_until_taken(sender)
        until(lambda: not sender.connected, WITHIN_S, "the end of the run")
        sender.send(picture(8))
        sender.send(picture(9))
        with ReadSource(robot(endpoint)) as second:
            second.until(lambda read: read.frames, "a frame for the next run")
            assert second.frames[0].image[0, 0, 0] == 9
            until(lambda: sender.taken == 3, WITHIN_S, "the answer")
        assert sender.dropped == 5


def test_of_two_senders_the_second_is_refused_until_the_first_one_ends(endpoint: str) -> None:
    with ReadSource(robot(endpoint)) as pipeline, FrameSender(endpoint, "robot") as second:
        with FrameSender(endpoint, "robot") as first:
            send_until_taken(first, 1)
            refused: list[str] = []

            def try_second() -> bool:
                first.send(picture(1))
                try:
                    second.send(picture(2))
                except FrameRefusedError as error:
                    refused.append(str(error))
                time.sleep(0.01)
                return bool(refused)

            until(try_second, WITHIN_S, "the refusal")
            reason = "source robot has another sender; close that one, or use another source"
            assert refused == [f"{endpoint} refused this program: {reason}"]
            assert {int(frame.image[0, 0, 0]) for frame in pipeline.frames} == {1}
        pipeline.until(lambda read: int(read.frames[-1].image[0, 0, 0]) == 2, "the second one's frame")


def test_a_name_of_another_source_is_refused(endpoint: str) -> None:
    with ReadSource(robot(endpoint)), FrameSender(endpoint, "door") as sender:

        def refusal() -> str | None:
            try:
                sender.send(picture())
            except FrameRefusedError as error:
                return str(error)
            return None

        until(lambda: "this is the address of source robot, not of door" in (refusal() or ""), WITHIN_S, "the refusal")
        assert sender.taken == 0


def test_the_time_of_capture_counts_on_this_machine(endpoint: str) -> None:
    with ReadSource(robot(endpoint)) as pipeline, FrameSender(endpoint, "robot") as sender:
        captured_ns = time.monotonic_ns() - 700_000_000
        sender.send(picture(), captured_ns)
        pipeline.until_frames(1)
        (frame,) = pipeline.frames
        assert frame.t_capture_ns == captured_ns
        assert time.time_ns() - frame.t_capture_unix_ns == pytest.approx(
            time.monotonic_ns() - captured_ns, abs=50_000_000
        )
        for wrong_ns in (time.monotonic_ns() + 10**12, time.monotonic_ns() - 10**12):  # no clock of this machine
            before = len(pipeline.frames)
            sender.send(picture(), wrong_ns)
            pipeline.until_frames(before + 1)
            assert time.monotonic_ns() - pipeline.frames[-1].t_capture_ns < 5_000_000_000


def test_times_of_capture_never_go_back(endpoint: str) -> None:
    with ReadSource(robot(endpoint)) as pipeline, FrameSender(endpoint, "robot") as sender:
        now_ns = time.monotonic_ns()
        for count, age_ns in enumerate((0, 5_000_000_000), start=1):
            sender.send(picture(), now_ns - age_ns)
            pipeline.until_frames(count)
        assert [frame.t_capture_ns for frame in pipeline.frames] == [now_ns, now_ns]


def test_of_another_machines_clock_only_the_steps_count(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamseg.push.sender.clock_name", lambda: "of another machine")
    with ReadSource(robot(endpoint)) as pipeline, FrameSender(endpoint, "robot") as sender:
        start_ns = time.monotonic_ns()
        for step in range(3):
            sender.send(picture(), 5_000_000_000 + step * 40_000_000)
            pipeline.until_frames(step + 1)
        frames = pipeline.frames
        assert frames[0].t_capture_ns >= start_ns
        assert [later.pts_ns - earlier.pts_ns for earlier, later in pairwise(frames)] == [40_000_000] * 2


def test_two_runs_cannot_take_the_frames_of_one_source_and_a_dead_one_leaves_no_trace(endpoint: str) -> None:
    with ReadSource(robot(endpoint)), pytest.raises(EndpointInUseError, match="cannot be bound for source robot; end"):
        FrameReceiver(endpoint, "robot", None)
    assert not Path(endpoint.removeprefix("ipc://")).exists()
    taken = free_endpoint()
    first = FrameReceiver(taken, "robot", None)
    with pytest.raises(EndpointInUseError, match=r"cannot be bound for source robot \(Address already in use\)"):
        FrameReceiver(taken, "robot", None)
    first.close()
    FrameReceiver(taken, "robot", None).close()


def test_with_keys_only_an_allowed_program_sends(tmp_path: Path) -> None:
    for name in ("camera", "robot", "stranger"):
        make_key_pair(tmp_path / name)
    endpoint = free_endpoint()
    curve = CurveSettings(secret_key_file=str(tmp_path / "camera.key"), allow=str(tmp_path / "robot.pub"))
    with ReadSource(robot(endpoint, curve=curve)) as pipeline:
        server = tmp_path / "camera.pub"
        stranger = FrameSender(endpoint, "robot", secret_key_file=tmp_path / "stranger.key", server_key_file=server)
        for refused in (stranger, FrameSender(endpoint, "robot")):
            with refused:
                until(lambda sender=refused: is_refused(sender), WITHIN_S, "the refusal")  # type: ignore[misc]
                assert is_refused(refused), "a refusal of a key is final"
        own = tmp_path / "robot.key"
        with FrameSender(endpoint, "robot", secret_key_file=own, server_key_file=server) as sender:
            send_until_taken(sender, 2)
        assert [frame.image[0, 0, 0] for frame in pipeline.frames] == [2]


def is_refused(sender: FrameSender) -> bool:
    try:
        sender.send(picture(1))
    except FrameRefusedError as error:
        return "does not admit this key" in str(error)
    return False


def test_a_program_without_a_pipeline_imports_little_and_ends_although_it_closes_nothing(endpoint: str) -> None:
    start_s = time.monotonic()
    done = subprocess.run([sys.executable, "-c", IMPORT, endpoint], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "made\n"), done.stderr
    assert time.monotonic() - start_s < 30
