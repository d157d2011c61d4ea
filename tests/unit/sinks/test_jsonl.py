from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from support.results import EMPTY_RESULT

from streamseg.errors import StageError, UsageError
from streamseg.messages import ResultMessage
from streamseg.sinks.jsonl import LinesWriter
from streamseg.wire.protocol import json_line


def result(seq: int) -> ResultMessage:
    return replace(EMPTY_RESULT, seq=seq, pts_ns=seq)


def write(path: Path, numbers: range) -> None:
    with LinesWriter(path) as writer:
        for seq in numbers:
            writer.write(result(seq))


def numbers_in(path: Path) -> list[int]:
    lines = path.read_bytes().split(b"\n")
    assert lines.pop() == b""
    return [seq_of(line) for line in lines]


def seq_of(line: bytes) -> int:
    return int(json.loads(line)["seq"])


def test_one_line_a_result_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with LinesWriter(path) as writer:
        for seq in range(4):
            writer.write(result(seq))
            assert numbers_in(path) == list(range(seq + 1))
    assert path.read_bytes() == b"".join(json_line(result(seq)) + b"\n" for seq in range(4))


def test_what_would_break_a_line_or_control_a_terminal_is_escaped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with LinesWriter(path) as writer:
        writer.write(replace(EMPTY_RESULT, run_id="\u2028\x9b"))
    (line,) = path.read_text(encoding="utf-8").splitlines()
    assert line.isprintable()
    assert json.loads(line)["run_id"] == "\u2028\x9b"


KILLED = """
    import sys
    from dataclasses import replace
    from pathlib import Path
    from streamseg.sinks.jsonl import LinesWriter
    sys.path.insert(0, {tests!r})
    from support.results import EMPTY_RESULT
    writer = LinesWriter(Path({path!r}))
    for seq in range(1_000_000):
        writer.write(replace(EMPTY_RESULT, seq=seq))
        print(seq, flush=True)
"""


def test_a_killed_process_loses_no_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    script = textwrap.dedent(KILLED).format(path=str(path), tests=str(Path(__file__).parents[2]))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) >= 200:
                child.kill()
                break
        printed = [int(line) for line in child.stdout.read().splitlines() if line]
    complete = path.read_bytes().count(b"\n")
    assert max([200, *printed]) + 1 <= complete
    assert [seq_of(line) for line in path.read_bytes().split(b"\n")[:complete]] == list(range(complete))


def test_an_existing_file_is_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", range(9))
    write(tmp_path / "a.jsonl", range(2))
    assert numbers_in(tmp_path / "a.jsonl") == [0, 1]


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere/a\.jsonl cannot be written: No such file or directory"):
        LinesWriter(tmp_path / "nowhere" / "a.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full, which only Linux has")
def test_a_full_disk_is_one_line() -> None:
    with LinesWriter(Path("/dev/full")) as writer, pytest.raises(StageError, match="No space left on device") as caught:
        writer.write(result(0))
    assert "\n" not in str(caught.value)
