from __future__ import annotations

import struct
import threading
import wave
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image as PilImage
from PIL import ImageOps
from support.clips import cut_short, number_of, write_clip

from streamseg.errors import SourceError
from streamseg.images import read_image
from streamseg.messages import Frame
from streamseg.sources import Rotation, SourceDamage, SourceSettings
from streamseg.sources.file import FileSource
from streamseg.sources.opening import open_file


def read(path: Path, start: int = 0, rotate: Rotation = 0, mirror: bool = False) -> list[Frame | SourceDamage]:
    source = open_file(SourceSettings(url=str(path), rotate=rotate, mirror=mirror))
    items = list(source.frames(start, threading.Event()))
    source.close()
    return items


def play(path: Path, start: int = 0, rotate: Rotation = 0, mirror: bool = False) -> list[Frame]:
    return [item for item in read(path, start, rotate, mirror) if isinstance(item, Frame)]


def lacking(path: Path) -> SourceDamage | None:
    """What the file lacks, which comes last."""
    *_, last = read(path)
    return last if isinstance(last, SourceDamage) else None


def numbers(frames: list[Frame]) -> list[int]:
    return [number_of(frame.image) for frame in frames]


def damage(path: Path, begin: float, end: float) -> Path:
    """Overwrite a part of the file, given as shares of its length, with noise."""
    content = bytearray(path.read_bytes())
    first, last = int(begin * len(content)), int(end * len(content))
    content[first:last] = np.random.default_rng(0).bytes(last - first)
    path.write_bytes(content)
    return path


def turn(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Set the display matrix in the MP4's track header."""
    content = bytearray(path.read_bytes())
    matrix = content.find(b"tkhd") + 44
    content[matrix : matrix + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


def turn_clockwise(path: Path) -> Path:
    return turn(path, 0, 65536, -65536, 0)


def test_every_frame_is_read_once_in_order_with_the_time_of_the_file(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=30, fps=25)
    source = FileSource(SourceSettings(url=str(clip)))
    assert (source.info.fps, source.info.frame_count) == (25.0, 30)

    frames = [item for item in source.frames(0, threading.Event()) if isinstance(item, Frame)]

    assert numbers(frames) == list(range(30))
    assert [frame.pts_ns for frame in frames] == [number * 40_000_000 for number in range(30)]
    stamps = [frame.t_capture_ns for frame in frames]
    assert stamps == sorted(stamps)


def test_sound_is_noticed(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=2)
    assert not FileSource(SourceSettings(url=str(clip))).info.sound
    loud = tmp_path / "loud.mkv"
    with av.open(str(clip)) as reader, av.open(str(loud), "w") as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        writer.add_stream("pcm_s16le", rate=8000)
        for packet in reader.demux(video=0):
            if packet.size:
                packet.stream = stream
                writer.mux(packet)
    assert FileSource(SourceSettings(url=str(loud))).info.sound


def test_colours_arrive_as_blue_green_red(tmp_path: Path) -> None:
    image = play(write_clip(tmp_path / "clip.mp4", frames=1))[0].image
    blue, green, red = image[24, 8]
    assert red > 180 and blue < 20 and green < 20


def test_start_skips_exactly_that_many_frames_and_keeps_the_times(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4")
    whole, rest = play(clip), play(clip, start=17)
    assert numbers(rest) == list(range(17, 30))
    assert [frame.pts_ns for frame in rest] == [frame.pts_ns for frame in whole[17:]]


def test_a_name_with_a_colon_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip(tmp_path / "clip.mp4", frames=3).rename(tmp_path / "take:1.mp4")
    monkeypatch.chdir(tmp_path)
    assert numbers(play(Path("take:1.mp4"))) == [0, 1, 2]


def test_start_beyond_the_end_gives_nothing(tmp_path: Path) -> None:
    assert play(write_clip(tmp_path / "clip.mp4"), start=30) == []


def test_stop_ends_the_frames(tmp_path: Path) -> None:
    stop = threading.Event()
    taken = 0
    for _ in FileSource(SourceSettings(url=str(write_clip(tmp_path / "clip.mp4")))).frames(0, stop):
        taken += 1
        stop.set()
    assert taken == 1


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "width", "height"),
    [
        ("odd.mkv", "libx264", "yuv444p", 63, 47),
        ("ten_bit.mp4", "libx264", "yuv420p10le", 64, 48),
        ("gray.mp4", "libx264", "gray", 64, 48),
        ("old.avi", "mpeg4", "yuv420p", 64, 48),
        ("stream.ts", "libx264", "yuv420p", 64, 48),
        ("untimed.h264", "libx264", "yuv420p", 64, 48),
        ("untimed.mjpeg", "mjpeg", "yuvj420p", 64, 48),
    ],
)
def test_formats_of_every_kind(tmp_path: Path, name: str, codec: str, pixels: str, width: int, height: int) -> None:
    frames = play(write_clip(tmp_path / name, codec=codec, pixels=pixels, width=width, height=height))
    assert {frame.image.shape for frame in frames} == {(height, width, 3)}
    assert numbers(frames) == list(range(30))
    steps = [later.pts_ns - earlier.pts_ns for earlier, later in pairwise(frames)]
    assert frames[0].pts_ns == 0 and min(steps) > 0 and max(steps) < 50_000_000


def test_an_image_is_a_source_of_one_frame(tmp_path: Path) -> None:
    picture = tmp_path / "picture%03d.png"
    cv2.imwrite(str(picture), np.full((40, 50, 3), (10, 20, 200), dtype=np.uint8))
    (frame,) = play(picture)
    assert frame.image.shape == (40, 50, 3)
    assert tuple(frame.image[0, 0]) == (10, 20, 200)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif"])
def test_a_picture_is_upright_as_every_reader_of_pictures_has_it(tmp_path: Path, suffix: str) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    for orientation in (5, 6):
        exif = PilImage.Exif()
        exif[0x0112] = orientation
        picture = tmp_path / f"{orientation}{suffix}"
        PilImage.fromarray(stored).save(picture, exif=exif, quality=95)
        (frame,) = play(picture)
        with PilImage.open(picture) as judge:
            upright = np.asarray(ImageOps.exif_transpose(judge).convert("RGB"))[..., ::-1]
        assert np.abs(frame.image.astype(int) - upright).mean() < 3
        np.testing.assert_array_equal(frame.image, read_image(picture))
    assert play(picture, start=1) == []
    np.testing.assert_array_equal(play(picture, rotate=180)[0].image, frame.image[::-1, ::-1])


def test_half_a_picture_is_refused_and_a_moving_picture_moves(tmp_path: Path) -> None:
    pictures = [PilImage.fromarray(np.full((32, 32, 3), grey, np.uint8)) for grey in (20, 120, 220)]
    pictures[0].save(tmp_path / "moving.avif", save_all=True, append_images=pictures[1:], duration=100)
    assert [int(frame.image[5, 5, 0]) for frame in play(tmp_path / "moving.avif")] == pytest.approx(
        [20, 120, 220], abs=4
    )
    half = tmp_path / "half.jpg"
    half.write_bytes(
        cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))[1].tobytes()[:999]
    )
    with pytest.raises(SourceError, match=r"half\.jpg is not a picture .* expected a complete"):
        play(half)


def test_the_files_own_rotation_is_honoured(tmp_path: Path) -> None:
    # The red half lies left; turned right by a quarter it lies at the top.
    image = play(turn_clockwise(write_clip(tmp_path / "clip.mp4", frames=1)))[0].image
    assert image.shape == (64, 48, 3)
    assert image[10, 10, 2] > 150 and image[-10, 10, 2] < 50


def test_the_files_own_mirroring_is_honoured(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=1)
    image = play(clip)[0].image
    for matrix, shown in (
        ((-65536, 0, 0, 65536), image[:, ::-1]),
        ((65536, 0, 0, -65536), image[::-1]),
        ((0, 65536, 65536, 0), image.transpose(1, 0, 2)),
        ((0, 0, 0, 0), image),
    ):
        np.testing.assert_array_equal(play(turn(clip, *matrix))[0].image, shown)


def test_the_shape_of_the_pixels_turns_with_the_picture(tmp_path: Path) -> None:
    for ratio, stored in ((Fraction(64, 45), (64, 45)), (Fraction(0), (1, 1)), (Fraction(1, 2000), (1, 1))):
        clip = write_clip(tmp_path / "clip.mp4", frames=1, pixel_aspect=ratio)
        assert [frame.pixel_aspect for frame in play(clip)] == [stored]
        assert [frame.pixel_aspect for frame in play(clip, rotate=90)] == [stored[::-1]]
        assert [frame.pixel_aspect for frame in play(turn_clockwise(clip))] == [stored[::-1]]


def test_rotation_of_the_file_and_of_the_options_add_up(tmp_path: Path) -> None:
    clip = turn_clockwise(write_clip(tmp_path / "clip.mp4", frames=1))
    image = play(clip, rotate=90)[0].image
    assert image.shape == (48, 64, 3)
    assert image[10, -10, 2] > 150 and image[10, 10, 2] < 50
    mirrored = play(clip, rotate=90, mirror=True)[0].image
    np.testing.assert_array_equal(mirrored, image[:, ::-1])


def test_a_damaged_middle_costs_frames_but_not_the_rest(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.ts", frames=60)
    frames = play(damage(clip, 0.4, 0.5))
    got = numbers(frames)
    assert 30 <= len(got) < 60
    assert got[:15] == list(range(15))
    assert got[-20:] == list(range(40, 60))
    assert all(later.pts_ns > earlier.pts_ns for earlier, later in pairwise(frames))
    assert frames[-1].pts_ns == pytest.approx(59 / 30 * 1e9, abs=5e7)


def test_skipping_in_a_damaged_file_gives_the_same_frames(tmp_path: Path) -> None:
    clip = damage(write_clip(tmp_path / "clip.ts", frames=60), 0.4, 0.5)
    whole, rest = play(clip), play(clip, start=24)
    assert len(rest) == len(whole) - 24
    for expected, got in zip(whole[24:], rest, strict=True):
        assert got.pts_ns == expected.pts_ns
        np.testing.assert_array_equal(got.image, expected.image)


def test_a_file_cut_short_plays_as_far_as_it_goes(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.ts", frames=60)
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    got = numbers(play(clip))
    assert 15 < len(got) < 50
    assert got[:15] == list(range(15))


def copy(source: Path, target: Path, sound_s: float = 0.0) -> Path:
    """Copy a clip's video, with its index in front, and beside some seconds of silence."""
    with av.open(str(source)) as reader, av.open(str(target), "w", options={"movflags": "faststart"}) as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        sound = writer.add_stream("pcm_s16le", rate=8000) if sound_s else None
        packets = [packet for packet in reader.demux(video=0) if packet.size]
        for packet in packets:
            packet.stream = stream
        if sound is not None:
            for number in range(round(sound_s * 25)):
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 320), np.int16), format="s16", layout="mono")
                silence.rate, silence.pts = 8000, number * 320
                packets.extend(sound.encode(silence))
        for packet in sorted(packets, key=lambda one: float((one.dts or 0) * one.time_base)):
            writer.mux(packet)
    return target


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".flv"])
def test_what_a_cut_file_lacks_is_told_at_its_end(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".avi":
        write_clip(whole, frames=60, codec="mpeg4", keyframes=1)
    else:
        copy(write_clip(tmp_path / "clip.mp4", frames=60, keyframes=1), whole)
    assert lacking(whole) is None
    frames = len(play(cut_short(whole, 0.5)))
    damage = lacking(whole)
    assert 5 < frames < 55
    assert damage is not None
    assert damage.missing == pytest.approx(60 - frames, abs=3)
    assert damage.expected == frames + damage.missing


def test_sound_that_is_longer_than_the_video_is_no_damage_and_also_tells_where_a_file_is_cut(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=50, fps=25)
    assert lacking(copy(clip, tmp_path / "longer.mkv", sound_s=4)) is None
    assert lacking(copy(clip, tmp_path / "shorter.mkv", sound_s=1)) is None
    damage = lacking(cut_short(copy(clip, tmp_path / "cut.mkv", sound_s=2), 0.5))
    assert damage is not None and 15 < damage.missing < 40


@pytest.mark.parametrize("suffix", [".mp4", ".ts"])
def test_what_a_damaged_file_lacks_is_told_at_its_end(tmp_path: Path, suffix: str) -> None:
    clip = write_clip(tmp_path / f"clip{suffix}", frames=60)
    assert lacking(clip) is None
    damage = lacking(damage_middle(clip))
    assert damage is not None
    assert damage.missing == pytest.approx(60 - len(play(clip)), abs=2)
    assert str(damage).startswith(f"about {damage.missing} of {damage.expected} frames could not be read")


def damage_middle(clip: Path) -> Path:
    return damage(clip, 0.3, 0.45)


def test_a_restarting_clock_and_a_wrong_timestamp_are_no_damage(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.ts", frames=40)
    clip.write_bytes(clip.read_bytes() * 2)
    assert lacking(clip) is None


def test_restarting_timestamps_keep_rising(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.ts", frames=60)
    clip.write_bytes(clip.read_bytes() * 2)
    times = [frame.pts_ns for frame in play(clip)]
    assert len(times) == 120
    assert np.diff(times) == pytest.approx(1e9 / 30, rel=0.01)


@pytest.mark.parametrize(("fps", "step_ms"), [(1, 1000.0), (2400, 1000 / 2400)])
def test_slow_and_fast_files_keep_their_steps(tmp_path: Path, fps: int, step_ms: float) -> None:
    frames = play(write_clip(tmp_path / "clip.mp4", frames=12, fps=fps))
    assert [frame.pts_ns / 1e6 for frame in frames] == pytest.approx([n * step_ms for n in range(12)], abs=0.02)


def delay(source: Path, target: Path, milliseconds: int) -> Path:
    """Copy a video with later timestamps."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for packet in reader.demux(video=0):
            if packet.dts is not None and packet.pts is not None:
                ticks = round(milliseconds / 1000 / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts + ticks, packet.dts + ticks, stream
                writer.mux(packet)
    return target


@pytest.mark.parametrize("shift_ms", [36_000_000, -500])
def test_the_clock_of_a_transport_stream_may_restart(tmp_path: Path, shift_ms: int) -> None:
    clip = write_clip(tmp_path / "clip.ts", frames=40, fps=25)
    rest = delay(clip, tmp_path / "rest.ts", 1600 + shift_ms)
    clip.write_bytes(clip.read_bytes() + rest.read_bytes())
    times = [frame.pts_ns for frame in play(clip)]
    assert len(times) == 80
    assert np.diff(times) == pytest.approx(4e7)


def write_nothing(path: Path) -> None:
    path.write_bytes(b"")


def write_text(path: Path) -> None:
    path.write_text("just words\n" * 200)


def write_sound(path: Path) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))


def write_noise(path: Path) -> None:
    """A video with an intact container and noise in every packet."""
    content = write_clip(path).read_bytes()
    start, end = content.find(b"mdat") + 4, content.find(b"moov") - 4
    path.write_bytes(content[:start] + np.random.default_rng(0).bytes(end - start) + content[end:])


def write_playlist(path: Path) -> None:
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:9/part.ts\n#EXT-X-ENDLIST\n")


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("empty.mp4", write_nothing, "cannot be opened as a video"),
        ("notes.txt", write_text, "is text, not a video"),
        ("notes.mp4", write_text, "cannot be opened as a video"),
        ("sound.wav", write_sound, "holds no video"),
        ("noise.mp4", write_noise, "has no frame"),
        ("list.m3u8", write_playlist, "cannot be opened as a video"),
        ("folder", Path.mkdir, "is not a file"),
        ("absent.mp4", None, "no such file"),
    ],
)
def test_a_file_that_is_no_video_is_one_line(tmp_path: Path, name: str, write: object, message: str) -> None:
    path = tmp_path / name
    if callable(write):
        write(path)
    with pytest.raises(SourceError, match=message) as raised:
        open_file(SourceSettings(url=str(path)))
    assert name in str(raised.value) and "\n" not in str(raised.value)
    assert raised.value.exit_code == 3


def test_real_footage(shared_data: Path) -> None:
    source = FileSource(SourceSettings(url=str(shared_data / "clips" / "coffee.mp4")))
    assert source.info.frame_count == 287
    times = [item.pts_ns for item in source.frames(0, threading.Event()) if isinstance(item, Frame)]
    assert len(times) == 287
    assert times[-1] == pytest.approx(286 * 1001 / 30000 * 1e9, rel=1e-6)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux, which lists a process's threads")
def test_decoding_uses_the_given_number_of_threads(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=30)

    def threads_while_decoding(threads: int) -> int:
        frames = FileSource(SourceSettings(url=str(clip)), threads).frames(0, threading.Event())
        next(frames)
        try:
            return len(list(Path("/proc/self/task").iterdir()))
        finally:
            frames.close()  # type: ignore[attr-defined]

    assert threads_while_decoding(4) - threads_while_decoding(1) == 4


def as_avi(tmp_path: Path, before: bytes, after: bytes) -> Path:
    """Three frames as AVI with the title `cafe`, after a change of some bytes."""
    path = tmp_path / "old.avi"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "cafe"
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(stream.encode())
    content = path.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, after))
    return path


def test_a_tag_in_the_encoding_of_an_old_camera_is_no_obstacle(tmp_path: Path) -> None:
    assert len(play(as_avi(tmp_path, b"cafe", b"caf\xe9"))) == 3


def test_a_codec_that_nobody_knows_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has a video in an unknown codec; convert it"):
        play(as_avi(tmp_path, b"FMP4", b"XYZ9"))
