from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import cv2
import pytest
from support.numbered_video import HEIGHT, WIDTH, assert_plays, numbered, played, pts

from streamseg.errors import OutputError, StageError
from streamseg.sinks.joining import join_lines, join_videos, video_size
from streamseg.sinks.parts import existing_parts, next_part, part_path
from streamseg.sinks.video import VideoWriter


def write(path: Path, numbers: range, size: tuple[int, int] | None = None) -> Path:
    with VideoWriter(path, size) as writer:
        for number in numbers:
            writer.write(numbered(number), pts(number))
    return path


def write_lines(path: Path, numbers: range, torn: bytes = b"") -> Path:
    path.write_bytes(b"".join(b'{"seq":"%d"}\n' % number for number in numbers) + torn)
    return path


def boxes(path: Path) -> list[bytes]:
    """The kinds of the boxes of the top level."""
    content, kinds, position = path.read_bytes(), [], 0
    while position < len(content):
        kinds.append(content[position + 4 : position + 8])
        position += int.from_bytes(content[position : position + 4])
    return kinds


def test_a_single_part_becomes_an_ordinary_video_with_its_index_in_front(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", range(40, 110))
    assert b"moof" in boxes(path)
    join_videos([path], path)
    assert_plays(path, range(40, 110))
    kinds = [kind for kind in boxes(path) if kind != b"free"]
    assert kinds == [b"ftyp", b"moov", b"mdat"]
    with av.open(str(path)) as container:
        keys = [index for index, packet in enumerate(container.demux(video=0)) if packet.size and packet.is_keyframe]
    assert keys == [0, 60]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("rate", [Fraction(60), Fraction(25), Fraction(1), Fraction(30_000, 1001), Fraction(2400)])
def test_count_rate_and_duration_are_those_of_the_source(tmp_path: Path, rate: Fraction) -> None:
    path = tmp_path / "a.mp4"
    with VideoWriter(path) as writer:
        for number in range(30):
            writer.write(numbered(number), round(number * 10**9 / rate))
    join_videos([path], path)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.frames, stream.average_rate, stream.base_rate) == (30, rate, rate)
        assert stream.codec_context.framerate == rate
        assert stream.duration is not None and stream.time_base is not None
        assert stream.duration * stream.time_base == 30 / rate
    judge = cv2.VideoCapture(str(path))
    assert judge.get(cv2.CAP_PROP_FRAME_COUNT) == 30
    assert judge.get(cv2.CAP_PROP_FPS) == pytest.approx(float(rate))
    assert [number for number, _ in played(path)] == list(range(30))


def test_each_part_ends_where_a_later_one_starts(tmp_path: Path) -> None:
    parts = [
        write(tmp_path / "a.mp4", range(9)),
        write(tmp_path / "a.part-2.mp4", range(7, 12)),
        write(tmp_path / "a.part-3.mp4", range(12, 14)),
        write(tmp_path / "a.part-4.mp4", range(12, 20)),
    ]
    join_videos(parts, parts[0])
    assert_plays(parts[0], range(20))
    assert list(tmp_path.iterdir()) == [parts[0]]


@pytest.mark.parametrize("cut", [1, 100, 190])
def test_a_frame_that_a_crash_cut_short_is_left_out(tmp_path: Path, cut: int) -> None:
    first, second = write(tmp_path / "a.mp4", range(12)), write(tmp_path / "a.part-2.mp4", range(20, 25))
    last = len(first.read_bytes()) - first.read_bytes().rindex(b"moof")
    first.write_bytes(first.read_bytes()[: -min(cut, last - 1)])
    join_videos([first, second], first)
    assert [number for number, _ in played(first)] == [*range(11), *range(20, 25)]


def test_a_part_that_a_crash_left_empty_is_passed_over(tmp_path: Path) -> None:
    parts = [
        write(tmp_path / "a.mp4", range(5)),
        tmp_path / "a.part-2.mp4",
        write(tmp_path / "a.part-3.mp4", range(5, 9)),
    ]
    parts[1].touch()
    join_videos(parts, parts[0])
    assert_plays(parts[0], range(9))
    assert list(tmp_path.iterdir()) == [parts[0]]


def test_nothing_is_removed_where_a_part_cannot_be_read(tmp_path: Path) -> None:
    parts = [write(tmp_path / "a.mp4", range(5)), write(tmp_path / "a.part-2.mp4", range(5, 9))]
    parts[0].write_bytes(parts[0].read_bytes()[:300])
    with pytest.raises(StageError, match=r"a\.mp4 cannot be read as a video; all parts"):
        join_videos(parts, parts[0])
    assert sorted(tmp_path.iterdir()) == sorted(parts)


def test_parts_without_any_frame_leave_no_file(tmp_path: Path) -> None:
    for part in (tmp_path / "a.mp4", tmp_path / "a.part-2.mp4"):
        part.write_bytes(b"")
    join_videos(existing_parts(tmp_path / "a.mp4"), tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []


def test_joining_again_after_a_crash_during_the_removal_of_the_parts_changes_nothing(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.mp4", range(9)), write(tmp_path / "a.part-2.mp4", range(7, 12))
    kept = second.read_bytes()
    join_videos([first, second], first)
    second.write_bytes(kept)
    join_videos([first, second], first)
    assert_plays(first, range(12))


def test_videos_of_different_sizes_are_kept_as_they_are(tmp_path: Path) -> None:
    parts = [write(tmp_path / "a.mp4", range(3)), write(tmp_path / "a.part-2.mp4", range(3, 6), (128, 64))]
    before = [part.read_bytes() for part in parts]
    with pytest.raises(StageError, match=r"a\.part-2\.mp4 was encoded differently"):
        join_videos(parts, parts[0])
    assert [part.read_bytes() for part in parts] == before
    assert sorted(tmp_path.iterdir()) == sorted(parts)


def test_a_target_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    part = write(tmp_path / "a.mp4", range(3))
    with pytest.raises(StageError, match=r"gone/a\.mp4 could not be finished: No such file or directory") as caught:
        join_videos([part], tmp_path / "gone" / "a.mp4")
    assert "\n" not in str(caught.value)
    assert_plays(part, range(3))


def test_lines_are_joined_without_those_that_are_there_twice_or_cut_short(tmp_path: Path) -> None:
    target = tmp_path / "a.jsonl"
    parts = [
        write_lines(target, range(5), torn=b'{"seq":"5","obj'),
        write_lines(tmp_path / "a.part-2.jsonl", range(0)),
        write_lines(tmp_path / "a.part-3.jsonl", range(4, 9)),
    ]
    join_lines(parts, target)
    assert [int(json.loads(line)["seq"]) for line in target.read_bytes().splitlines()] == list(range(9))
    assert list(tmp_path.iterdir()) == [target]


def test_the_size_of_a_video_is_read_from_its_header(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", range(2))
    assert video_size(path) == (WIDTH, HEIGHT)
    path.write_bytes(b"")
    assert video_size(path) is None


def test_parts_are_numbered_in_order_and_other_files_are_none(tmp_path: Path) -> None:
    target = tmp_path / "a[1].mp4"
    assert existing_parts(target) == []
    for number in (1, 2, 10):
        part_path(target, number).touch()
    for name in ("a[1].part-x.mp4", "a[1].part-2.jsonl", "a1.part-2.mp4", "b.part-2.mp4"):
        (tmp_path / name).touch()
    assert [part.name for part in existing_parts(target)] == ["a[1].mp4", "a[1].part-2.mp4", "a[1].part-10.mp4"]
    with pytest.raises(OutputError, match=r"a\[1\].part-3.mp4 was deleted"):
        next_part(target)
    part_path(target, 10).unlink()
    assert next_part(target).name == "a[1].part-3.mp4"
