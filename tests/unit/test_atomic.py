from __future__ import annotations

from pathlib import Path

import pytest

from streamseg.atomic import put_in_place, replacing, unfinished, unfinished_files, write_atomically


def test_a_file_is_replaced_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "data.json"
    write_atomically(target, b"old")
    with replacing(target) as part:
        part.write_bytes(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "data.json"
    write_atomically(target, b"old")
    with pytest.raises(OSError, match="disk full"), replacing(target) as part:
        part.write_bytes(b"half of it")
        raise OSError("disk full")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_two_writers_of_one_file_do_not_share_their_unfinished_files(tmp_path: Path) -> None:
    target = tmp_path / "network.onnx"
    with replacing(target, writer=".1") as first, replacing(target, writer=".2") as second:
        first.write_bytes(b"first")
        second.write_bytes(b"second")
    assert target.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [target]


def test_unfinished_files_are_found_by_their_targets(tmp_path: Path) -> None:
    target = tmp_path / "picture.jpg"
    unfinished(target).write_bytes(b"a picture")
    assert unfinished_files(tmp_path) == [target]
    put_in_place(target)
    assert unfinished_files(tmp_path) == []
    assert target.read_bytes() == b"a picture"
