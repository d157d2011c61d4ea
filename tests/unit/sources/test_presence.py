from __future__ import annotations

import socket

import pytest

from streamseg.errors import SourceError
from streamseg.sources import SourceSettings
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


def test_a_host_that_accepts_connections_may_be_a_camera() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_present(SourceSettings(url=f"rtsp://127.0.0.1:{server.getsockname()[1]}/x"))
