from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamseg.errors import SourceError
from streamseg.paths import is_unicode, local_path, unicode_name

NOT_UTF8 = os.fsdecode(b"stra\xdfe.jpg")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:1/x.mjpg", "http://127.0.0.1:1/x.mjpg: http:// cannot be read; give a file"),
        ("HTTPS://cam/a@b?c=d", "HTTPS://cam/a@b?c=d: HTTPS:// cannot be read; give a file"),
        ("rtmp://user:secret@cam/x", "rtmp://***@cam/x: rtmp:// cannot be read; give a file"),
        ("file:///a.mp4", "file:///a.mp4: file:// cannot be read; give a file"),
    ],
)
def test_a_url_is_repeated_as_typed_but_without_a_password(url: str, shown: str) -> None:
    with pytest.raises(SourceError) as caught:
        local_path(url, "a file")
    assert str(caught.value) == shown


@pytest.mark.parametrize("path", ["clip.mp4", "a:b.mp4", "C:/clips/a.mp4", "/a//b", NOT_UTF8])
def test_a_path_is_left_as_it_is(path: str) -> None:
    assert local_path(path, "a file") == Path(path)


def test_a_name_that_is_not_utf8_becomes_unicode() -> None:
    assert (is_unicode(NOT_UTF8), is_unicode("日本.jpg")) == (False, True)
    assert (unicode_name(NOT_UTF8), unicode_name("日本.jpg")) == ("stra%DFe.jpg", "日本.jpg")
