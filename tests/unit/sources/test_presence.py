from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from streamseg.errors import SourceError
from streamseg.sources import VIDEO_SUFFIXES, SourceSettings
from streamseg.sources.presence import check_present


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("999", "there is no camera 999; cameras of this machine: "),
        ("webcam:999", "there is no camera 999; "),
        ("/dev/video999", "there is no camera /dev/video999; "),
        ("rtsp://127.0.0.1:{port}/x", "refused the connection"),
        (f"rtsp://{'n' * 70}/x", "is unknown"),
    ],
)
def test_a_camera_that_is_not_there_is_refused_unless_it_may_be_absent(url: str, complaint: str) -> None:
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))  # bound, but not listening
        settings = SourceSettings(url=url.format(port=dead.getsockname()[1]))
        with pytest.raises(SourceError, match=complaint):
            check_present(settings)
        check_present(SourceSettings(url=settings.url, wait=True))


def test_until_a_look_the_ending_of_a_web_address_tells_whether_it_is_live() -> None:
    for suffix in VIDEO_SUFFIXES:
        assert SourceSettings(url=f"http://h/x{suffix.upper()}?a=b").is_live == (suffix == ".ts")
    assert all(SourceSettings(url=url).is_live for url in ("http://h.mov", "http://h.mov?x=/y.mp4", "http://h/mp4"))


def test_a_host_that_accepts_connections_may_be_a_camera() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_present(SourceSettings(url=f"rtsp://127.0.0.1:{server.getsockname()[1]}/x"))


SEGMENTS = "#EXTM3U\n" + "#EXTINF:1,\n0.ts\n" * 100_000
LISTS = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\nfolder/best.m3u8\n"


def test_of_a_list_of_lists_in_files_the_best_one_tells_whether_it_is_live(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "main.m3u8").write_text(LISTS)
    settings = SourceSettings(url=str(tmp_path / "main.m3u8"))
    for end in ("", "#EXT-X-ENDLIST\n"):
        (tmp_path / "folder" / "best.m3u8").write_text(SEGMENTS + end)
        assert check_present(settings).live == (not end)


@pytest.mark.parametrize(
    ("variant", "complaint"),
    [
        ("pipe", "pipe is a device or a pipe"),
        ("main.m3u8", "is a list of lists of lists"),
        ("http://127.0.0.1/x.m3u8", "http:// cannot be read"),
        ("gone.m3u8", "cannot be read"),
    ],
)
def test_a_list_of_lists_in_files_names_no_other_kind_of_list(tmp_path: Path, variant: str, complaint: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "main.m3u8").write_text(f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{variant}\n")
    with pytest.raises(SourceError, match=complaint):
        check_present(SourceSettings(url=str(tmp_path / "main.m3u8")))
