from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from streamseg.errors import StageError, UsageError
from streamseg.messages import Dropped, Models, Result, Timings
from streamseg.sinks.jsonl import JsonlSink
from streamseg.wire.record import record


def result(seq: int) -> Result:
    return Result(
        run_id="run",
        epoch=0,
        seq=seq,
        source="cam",
        width=64,
        height=48,
        pts_ns=seq,
        t_capture_unix_ns=0,
        timings=Timings(),
        dropped=Dropped(),
        models=Models(detector="motion", segmenter="nano"),
        boxes_seq=None,
        objects=(),
    )


def write(path: Path, numbers: range, *, resume: bool = False) -> None:
    with JsonlSink(path, resume=resume) as sink:
        for seq in numbers:
            sink.write(result(seq))


def numbers_in(path: Path) -> list[int]:
    lines = path.read_bytes().split(b"\n")
    assert lines.pop() == b""
    return [int(json.loads(line)["seq"]) for line in lines]


def test_one_line_a_result_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with JsonlSink(path) as sink:
        assert sink.last_seq is None
        for seq in range(4):
            sink.write(result(seq))
            assert numbers_in(path) == list(range(seq + 1))
            assert sink.last_seq == seq
    assert path.read_bytes() == b"".join(record(result(seq)) + b"\n" for seq in range(4))


def test_a_file_that_ends_anywhere_is_continued(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    write(whole, range(3))
    content = whole.read_bytes()
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        complete = content[:length].count(b"\n")
        with JsonlSink(path, resume=True) as sink:
            assert sink.last_seq == (complete - 1 if complete else None)
            assert path.read_bytes() == content[: content.rfind(b"\n", 0, length) + 1]
            for seq in range(5):
                sink.write(result(seq))
        assert numbers_in(path) == list(range(5))


KILLED = """
    import sys
    from pathlib import Path
    from streamseg.sinks.jsonl import JsonlSink
    sys.path.insert(0, {tests!r})
    from test_jsonl_sink import result
    sink = JsonlSink(Path({path!r}))
    for seq in range(1_000_000):
        sink.write(result(seq))
        print(seq, flush=True)
"""


def test_a_killed_process_loses_no_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    script = textwrap.dedent(KILLED).format(path=str(path), tests=str(Path(__file__).parent))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) >= 200:
                child.kill()
                break
        printed = [int(line) for line in child.stdout.read().splitlines() if line]
    last = max([200, *printed])
    with JsonlSink(path, resume=True) as sink:
        assert sink.last_seq in (last, last + 1)
        kept = sink.last_seq
    assert kept is not None
    assert numbers_in(path) == list(range(kept + 1))


def test_without_resume_the_file_is_written_anew(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", range(9))
    write(tmp_path / "a.jsonl", range(2))
    assert numbers_in(tmp_path / "a.jsonl") == [0, 1]


def test_resume_without_a_file_begins_one(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", range(2), resume=True)
    assert numbers_in(tmp_path / "a.jsonl") == [0, 1]


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere/a\.jsonl cannot be written: No such file or directory"):
        JsonlSink(tmp_path / "nowhere" / "a.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full, which only Linux has")
def test_a_full_disk_is_one_line() -> None:
    with JsonlSink(Path("/dev/full")) as sink, pytest.raises(StageError, match="No space left on device") as caught:
        sink.write(result(0))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"some text\n", b'{"kind": "result"}\n', b"\xff\xfe\n", b"{}\n\n"])
def test_something_else_is_not_continued(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"a\.jsonl cannot be continued: its last line is not a record"):
        JsonlSink(path, resume=True)
    assert path.read_bytes() == content
