from __future__ import annotations

import random
import subprocess
import sys
import textwrap
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from support.numbered_video import assert_plays, numbered, played, pts

from streamseg.errors import StageError, UsageError
from streamseg.sinks.video import VideoWriter


def write(path: Path, numbers: range) -> None:
    with VideoWriter(path) as writer:
        for number in numbers:
            writer.write(numbered(number), pts(number))


def test_frames_and_their_times_come_back(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", range(150))
    assert_plays(tmp_path / "a.mp4", range(150))


def test_the_first_time_need_not_be_zero(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", range(40, 60))
    assert_plays(tmp_path / "a.mp4", range(40, 60))


def test_every_written_frame_is_in_the_file_before_the_writer_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with VideoWriter(path) as writer:
        for number in range(5):
            writer.write(numbered(number), pts(number))
            assert_plays(path, range(number + 1))


KILLED = """
    import sys
    from pathlib import Path
    from support.numbered_video import numbered, pts
    from streamseg.sinks.video import VideoWriter
    writer = VideoWriter(Path(sys.argv[1]))
    for number in range(60_000):
        writer.write(numbered(number), pts(number))
        print(number, flush=True)
"""


@pytest.mark.parametrize("attempt", range(3))
def test_a_killed_process_loses_no_written_frame(tmp_path: Path, attempt: int) -> None:
    path = tmp_path / "a.mp4"
    enough = random.Random().randrange(1, 60)
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(path)],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": ":".join(sys.path)},
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) >= enough:
                child.kill()
                break
        reported = [int(line) for line in child.stdout.read().splitlines()]
    written = max([enough, *reported]) + 1
    numbers = [number for number, _ in played(path)]
    assert numbers[:written] == list(range(written))
    assert len(numbers) <= written + 1


def test_a_file_whose_last_frame_is_cut_short_plays_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with VideoWriter(path) as writer:
        for number in range(8):
            writer.write(numbered(number), pts(number))
    content = path.read_bytes()
    for length in range(content.rindex(b"mdat") + 4, len(content)):
        path.write_bytes(content[:length])
        with av.open(str(path)) as container:
            sound = [packet for packet in container.demux(video=0) if packet.size and not packet.is_corrupt]
        assert len(sound) == 7


def test_the_fragments_are_numbered_and_none_holds_two_frames(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", range(4))
    content = (tmp_path / "a.mp4").read_bytes()
    assert [int.from_bytes(piece[4:8]) for piece in content.split(b"mfhd")[1:]] == [1, 2, 3, 4]
    assert content.count(b"moof") == content.count(b"mdat") == 4


def test_decoding_can_begin_only_at_keyframes(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write(path, range(125))
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert [index for index, packet in enumerate(packets) if packet.is_keyframe] == [0, 60, 120]


def test_an_existing_file_is_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", range(10))
    write(tmp_path / "a.mp4", range(2))
    assert_plays(tmp_path / "a.mp4", range(2))


def test_times_that_do_not_rise_are_moved_by_one_tick(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4") as writer:
        for number, time in enumerate([-5, 0, 0, 1_000_000_000, 999_999_999, 2_000_000_000]):
            writer.write(numbered(number), time)
    frames = played(tmp_path / "a.mp4")
    assert [number for number, _ in frames] == list(range(6))
    assert [time * 90_000 for _, time in frames] == [0, 1, 2, 90_000, 90_001, 180_000]


@pytest.mark.parametrize(("width", "height"), [(255, 63), (256, 63), (17, 5), (1, 1)])
def test_odd_sizes_are_kept(tmp_path: Path, width: int, height: int) -> None:
    image = np.full((height, width, 3), (200, 90, 30), np.uint8)
    with VideoWriter(tmp_path / "a.mp4") as writer:
        writer.write(image, 0)
        writer.write(image, 10**9)
    with av.open(str(tmp_path / "a.mp4")) as container:
        pictures = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    assert [picture.shape for picture in pictures] == [(height, width, 3)] * 2
    assert np.abs(pictures[1].astype(int) - image).max() < 8


@pytest.mark.parametrize("size", [(64, 48), (63, 47)])
def test_colours_are_those_of_bt709_and_tagged_so(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (30, 140, 220), (0, 0, 0)]
    for number, colour in enumerate(colours):
        image[:, number * 10 :] = colour
    with VideoWriter(tmp_path / "a.mp4") as writer:
        writer.write(image, 0)
    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
    tags = (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range)
    assert tags == (1, 1, 1, 1)
    for number, colour in enumerate(colours):
        for decoded in (frame.to_ndarray(format="bgr24"), cv2.VideoCapture(str(tmp_path / "a.mp4")).read()[1]):
            assert np.abs(decoded[20, number * 10 + 5].astype(int) - colour).max() < 12


@pytest.mark.parametrize("fps", [60, 25, 1])
def test_what_a_crash_leaves_shows_each_frame_as_long_as_the_source_does(tmp_path: Path, fps: int) -> None:
    with VideoWriter(tmp_path / "a.mp4") as writer:
        for number in range(30):
            writer.write(numbered(number), number * 10**9 // fps)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        shown = [packet.duration * stream.time_base for packet in container.demux(stream) if packet.duration]
    assert shown[1:] == pytest.approx([1 / fps] * 29, abs=2e-5)


def test_another_size_is_fitted_with_bars(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4") as writer:
        writer.write(np.full((64, 256, 3), 200, np.uint8), 0)
        writer.write(np.full((128, 128, 3), 200, np.uint8), 10**9)
    with av.open(str(tmp_path / "a.mp4")) as container:
        _, picture = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    assert picture.shape == (64, 256, 3)
    assert picture[:, 100:156].min() > 190
    assert picture[:, :90].max() < 20
    assert picture[:, 166:].max() < 20


def test_a_given_size_holds_from_the_first_frame_on(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", (256, 64)) as writer:
        writer.write(numbered(3, 512, 128), pts(3))
    assert_plays(tmp_path / "a.mp4", range(3, 4))
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (256, 64)


def test_a_video_without_frames_leaves_no_file(tmp_path: Path) -> None:
    VideoWriter(tmp_path / "a.mp4").close()
    assert not (tmp_path / "a.mp4").exists()


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere/a\.mp4 cannot be written: No such file or directory") as caught:
        VideoWriter(tmp_path / "nowhere" / "a.mp4")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full, which only Linux has")
def test_a_full_disk_is_one_line() -> None:
    with VideoWriter(Path("/dev/full")) as writer, pytest.raises(StageError, match="No space left on device") as caught:
        writer.write(numbered(0), 0)
    assert "\n" not in str(caught.value)
