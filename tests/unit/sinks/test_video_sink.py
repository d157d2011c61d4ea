from __future__ import annotations

import random
import subprocess
import sys
import textwrap
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from streamseg.errors import StageError, UsageError
from streamseg.messages import Image
from streamseg.sinks.video import VideoSink

WIDTH, HEIGHT, BLOCK = 256, 64, 16
BITS = WIDTH // BLOCK


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> Image:
    """A picture that says its number: a black or white block for each bit, above a slanted ramp."""
    image = np.zeros((height, width, 3), np.uint8)
    image[height // 2 :] = ((np.arange(width) + 3 * number) % 256)[None, :, None]
    block = width // BITS
    for bit in range(BITS):
        image[: height // 2, bit * block : (bit + 1) * block] = 255 if number >> bit & 1 else 0
    return image


def number_in(image: Image) -> int:
    height, width = image.shape[:2]
    block = width // BITS
    centres = [int(image[height // 4, bit * block + block // 2].mean()) for bit in range(BITS)]
    assert all(value < 40 or value > 215 for value in centres), centres
    return sum(1 << bit for bit, value in enumerate(centres) if value > 127)


def pts(number: int) -> int:
    """Uneven times, as a camera gives them."""
    return number * 33_366_667 + (number % 3) * 4_000_000


def played(path: Path) -> list[tuple[int, Fraction]]:
    """Number and time in seconds of every frame of a file, decoded."""
    frames = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            assert frame.pts is not None
            assert frame.time_base is not None
            frames.append(
                (number_in(np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)), frame.pts * frame.time_base)
            )
    return frames


def assert_plays(path: Path, numbers: range) -> None:
    frames = played(path)
    assert [number for number, _ in frames] == list(numbers)
    for number, time in frames:
        assert abs(time - Fraction(pts(number), 10**9)) <= Fraction(1, 180_000)


def write(path: Path, numbers: range, *, resume: bool = False) -> None:
    with VideoSink(path, 30, resume=resume) as sink:
        for number in numbers:
            sink.write(numbered(number), pts(number))


def test_frames_and_their_times_come_back(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", range(150))
    assert_plays(tmp_path / "a.mp4", range(150))


def test_the_first_time_need_not_be_zero(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", range(40, 60))
    assert_plays(tmp_path / "a.mp4", range(40, 60))


def test_every_written_frame_is_in_the_file_before_the_sink_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with VideoSink(path, 30) as sink:
        for number in range(5):
            sink.write(numbered(number), pts(number))
            assert_plays(path, range(number + 1))
            assert sink.last_pts_ns == pytest.approx(pts(number), abs=5_556)


KILLED = """
    import sys
    from pathlib import Path
    from streamseg.sinks.video import VideoSink
    sys.path.insert(0, {tests!r})
    from test_video_sink import numbered, pts
    sink = VideoSink(Path({path!r}), 30)
    for number in range(60_000):
        sink.write(numbered(number), pts(number))
        print(number, flush=True)
"""


@pytest.mark.parametrize("attempt", range(3))
def test_a_killed_process_loses_no_frame(tmp_path: Path, attempt: int) -> None:
    path = tmp_path / "a.mp4"
    script = textwrap.dedent(KILLED).format(path=str(path), tests=str(Path(__file__).parent))
    enough = random.Random().randrange(1, 60)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) >= enough:
                child.kill()
                break
        printed = [int(line) for line in child.stdout.read().splitlines()]
    written = max([enough, *printed]) + 1
    with VideoSink(path, 30, resume=True) as sink:
        assert sink.last_pts_ns is not None
        kept = round(sink.last_pts_ns / 33_366_667) + 1
        assert written <= kept <= written + 1
        assert_plays(path, range(kept))
        for number in range(kept + 30):
            sink.write(numbered(number), pts(number))
    assert_plays(path, range(kept + 30))


def test_a_file_that_ends_anywhere_is_continued(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    write(whole, range(8))
    content = whole.read_bytes()
    for length in [0, 3, 8, 28, 700, *random.Random(1).sample(range(len(content)), 20), len(content)]:
        path.write_bytes(content[:length])
        write(path, range(10), resume=True)
        assert_plays(path, range(10))


def test_what_was_cut_short_is_removed_at_once(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    write(whole, range(7))
    complete = whole.stat().st_size
    write(whole, range(8), resume=True)
    path.write_bytes(whole.read_bytes()[:-1])
    write(path, range(0), resume=True)
    assert path.stat().st_size == complete
    assert_plays(path, range(7))


def test_a_recording_is_continued_more_than_once(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    for end in (3, 3, 7, 20):
        write(path, range(end), resume=True)
        assert_plays(path, range(end))


def test_decoding_can_begin_where_the_recording_was_continued(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write(path, range(5))
    write(path, range(9), resume=True)
    with av.open(str(path)) as container:
        keys = [
            index
            for index, packet in enumerate(packet for packet in container.demux(video=0) if packet.size)
            if packet.is_keyframe
        ]
    assert keys == [0, 5]


def test_a_continued_recording_keeps_its_size(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write(path, range(3))
    with VideoSink(path, 30, resume=True) as sink:
        sink.write(numbered(3, WIDTH * 2, HEIGHT * 2), pts(3))
    assert_plays(path, range(4))


def test_without_resume_the_file_is_written_anew(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", range(10))
    write(tmp_path / "a.mp4", range(2))
    assert_plays(tmp_path / "a.mp4", range(2))


def test_times_that_do_not_rise_are_moved_by_one_tick(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "a.mp4", 30) as sink:
        for number, time in enumerate([-5, 0, 0, 1_000_000_000, 999_999_999, 2_000_000_000]):
            sink.write(numbered(number), time)
    frames = played(tmp_path / "a.mp4")
    assert [number for number, _ in frames] == list(range(6))
    assert [time * 90_000 for _, time in frames] == [0, 1, 2, 90_000, 90_001, 180_000]


@pytest.mark.parametrize(("width", "height"), [(255, 63), (256, 63), (17, 5), (1, 1)])
def test_odd_sizes_are_padded(tmp_path: Path, width: int, height: int) -> None:
    image = np.full((height, width, 3), 200, np.uint8)
    with VideoSink(tmp_path / "a.mp4", 30) as sink:
        sink.write(image, 0)
        sink.write(image, 10**9)
    with av.open(str(tmp_path / "a.mp4")) as container:
        pictures = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    assert [picture.shape for picture in pictures] == [(height + height % 2, width + width % 2, 3)] * 2
    assert all(picture.min() > 190 for picture in pictures)


def test_another_size_is_fitted_with_bars(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "a.mp4", 30) as sink:
        sink.write(np.full((64, 256, 3), 200, np.uint8), 0)
        sink.write(np.full((128, 128, 3), 200, np.uint8), 10**9)
    with av.open(str(tmp_path / "a.mp4")) as container:
        _, picture = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    assert picture.shape == (64, 256, 3)
    assert picture[:, 100:156].min() > 190
    assert picture[:, :90].max() < 20
    assert picture[:, 166:].max() < 20


def test_a_recording_without_frames_leaves_no_file(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "a.mp4", 30) as sink:
        assert sink.last_pts_ns is None
    assert not (tmp_path / "a.mp4").exists()


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere/a\.mp4 cannot be written: No such file or directory") as caught:
        VideoSink(tmp_path / "nowhere" / "a.mp4", 30)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full, which only Linux has")
def test_a_full_disk_is_one_line() -> None:
    with VideoSink(Path("/dev/full"), 30) as sink, pytest.raises(StageError, match="No space left on device") as caught:
        sink.write(numbered(0), 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"no video at all, but some text of a user", b"\x00\x00\x00\x08ftyp\x00\x00\x00\x08free"]
)
def test_something_else_is_not_continued(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="cannot be continued: it is not a fragmented recording"):
        VideoSink(path, 30, resume=True)
    assert path.read_bytes() == content


def test_a_recording_of_other_settings_is_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write(path, range(2))
    written = path.read_bytes()
    level = written.index(b"avcC") + 7
    content = written[:level] + bytes([written[level] + 1]) + written[level + 1 :]
    path.write_bytes(content)
    with pytest.raises(UsageError, match="another encoder or other settings"):
        VideoSink(path, 30, resume=True)
    assert path.read_bytes() == content
